"""Tests of the bounds between which an engine's calls at once are learnt, as a file says them."""

import pytest

from baseload.config.reading import parse_fleet
from baseload.errors import FleetFileError


def fleet(batch: str) -> str:
    """Write a fleet with one backend that has this batch."""
    return (
        f"backends:\n  a: {{url: 'https://a.example/v1', batch: {{{batch}}}}}\n"
        "models: {m: {tiers: [{a: {model: m}}]}}\n"
    )


@pytest.mark.parametrize("batch", ["", "max: 1", "min: 8, max: 8", "min: 100"])
def test_bounds_that_leave_a_number_are_sound(batch):
    """`max` alone may be less than the usual `min`, which then is no more than it."""
    assert parse_fleet(fleet(batch), "f", {}).backends["a"].batch is not None


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ("min: 9, max: 8", "9 is more than `max`, which is 8"),
        ("min: 200", "200 is more than `max`, which is 128"),
    ],
)
def test_a_least_that_is_more_than_the_most_is_a_mistake(batch, what):
    """It is told at `min`, also where `max` is the usual one."""
    with pytest.raises(FleetFileError) as found:
        parse_fleet(fleet(batch), "f", {})
    (mistake,) = found.value.mistakes

    assert ("backends.a.batch.min", what) == (mistake.path, mistake.what)


def test_a_bound_that_is_unsound_is_one_mistake():
    """What is no number is not compared."""
    with pytest.raises(FleetFileError) as found:
        parse_fleet(fleet("min: 9, max: many"), "f", {})

    assert ["backends.a.batch.max"] == [mistake.path for mistake in found.value.mistakes]
