"""Tests of how many cores a control group pays for."""

import pytest

from baseload.engines.cores import quota_cores, usable_cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", 64),
        ("-1 100000", 64),
        (" ", 64),
        ("100000 0", 64),
    ],
)
def test_a_quota_is_rounded_up_to_whole_cores(limit, cores):
    """A quota of either version of control groups gives its cores; no quota gives the default."""
    assert cores == quota_cores(limit, 64)


def test_this_process_may_use_a_core():
    """There is always at least one core."""
    assert usable_cores() >= 1
