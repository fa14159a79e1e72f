"""How much of its share a backend gets."""

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.core.bending import HOLD_S, Bend, pressure
from baseload.core.overload import GREEN, RED, YELLOW


def _portions(bend: Bend, times: list[float]) -> list[float]:
    portions = []
    for now in times:
        bend.settle(now)
        portions.append(bend.portion)
    return portions


def test_down_at_once_and_up_in_steps():
    """A press takes effect at once; after the hold, a quarter comes back each second."""
    bend = Bend()
    bend.press(0.0, 10.0)

    assert [0, 0, 0.25, 0.5, 0.75, 0.75, 1, 1] == _portions(
        bend, [10.0, 12.9, 13.0, 14.0, 15.0, 15.9, 16.0, 99.0]
    )
    assert inf == bend.deadline


@pytest.mark.parametrize(
    ("target", "portion"),
    [(2.0, 1.0), (1.0, 1.0), (0.99, 0.75), (0.5, 0.5), (0.49, 0.25), (0.1, 0.0), (-1.0, 0.0)],
)
def test_the_step_at_or_below_the_target(target: float, portion: float):
    """A target between two steps means the lower one."""
    bend = Bend()
    bend.press(target, 0.0)

    assert portion == bend.portion


def test_evidence_for_the_same_portion_keeps_it():
    """As long as the evidence is repeated within the hold, nothing comes back."""
    bend = Bend()
    for second in range(10):
        bend.press(0.5, float(second))

    assert (0.5, 9.0 + HOLD_S) == (bend.portion, bend.deadline)


def test_evidence_for_more_does_not_hinder_the_way_up():
    """Milder evidence lets the portion rise as far as it says, and stops it there."""
    bend = Bend()
    bend.press(0.0, 0.0)
    for tenth in range(1, 100):
        bend.press(0.6, tenth / 10)

    assert 0.5 == bend.portion


def test_evidence_on_the_way_up_stops_it():
    """A press for the step that was reached holds it; a press for less goes down again."""
    bend = Bend()
    bend.press(0.25, 0.0)
    bend.press(0.5, HOLD_S + 0.5)
    held = (bend.portion, bend.deadline)
    bend.press(0.25, HOLD_S + 1.0)

    assert ((0.5, 2 * HOLD_S + 0.5), 0.25) == (held, bend.portion)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 4), st.floats(0, 1)), max_size=30),
    st.integers(0, 2**32),
)
def test_extra_looks_change_nothing(presses: list[tuple[float, float]], seed: int):
    """The same presses give the same state, however often time is let pass in between."""
    watched, alone, now, rng = Bend(), Bend(), 0.0, Random(seed)
    looks = sorted(rng.uniform(0, 130) for _ in range(500))
    for pause_s, target in presses:
        now += pause_s
        while looks and looks[0] < now:
            watched.settle(looks.pop(0))
        for bend in (watched, alone):
            bend.press(target, now)

        assert (alone.portion, alone.deadline) == (watched.portion, watched.deadline)


@pytest.mark.parametrize(
    ("level", "queued_s", "saturation", "expected"),
    [
        (GREEN, 0.0, 0.0, 1.0),
        (GREEN, 4.0, 0.8, 1.0),
        (GREEN, 0.0, 0.9, 0.75),
        (GREEN, 4.5, 0.0, 0.75),
        (GREEN, 4.5, 1.0, 0.5),
        (GREEN, 60.0, 7.0, 0.5),
        (YELLOW, 0.0, 0.0, 0.5),
        (YELLOW, 60.0, 1.0, 0.5),
        (RED, 0.0, 0.0, 0.0),
    ],
)
def test_pressure(level, queued_s, saturation, expected):
    """The level sets the bounds; fullness and the provider's queue bend within them."""
    assert pytest.approx(expected) == pressure(level, queued_s, 5.0, saturation)
