"""Two backends that fail and go dark, and callers who should not notice."""

import pytest
from bench.scenarios import week


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hours_of_faults_cost_no_call(seed: int):
    """In two hours with eight dark minutes and half a per cent of faults, all calls are answered."""
    actual = week(7200.0, 1.0, seed)

    assert ({}, actual.calls) == (dict(actual.failed), actual.answered)


def test_the_hours_are_worth_something():
    """The runs above really meet errors, cuts, silence and darkness."""
    met = {fact.label for fact in week(7200.0, 1.0).met}

    assert {"failed", "cut", "slow", "unreachable", "lost", "done"} <= met
