"""Axes, their ticks, and labels that keep apart."""

import itertools
from math import log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.report.draw import NARROW, WIDE, Flag, rows, spread
from baseload.plan.report.scale import Scale, fitted

SIZES = st.floats(min_value=1e-6, max_value=1e12)


def test_ticks_of_a_linear_axis():
    """Ticks are round numbers from zero on."""
    assert (0, 10, 20, 30, 40, 50) == Scale(0, 50).ticks(6)
    assert (0.0, 0.5, 1.0) == Scale(0, 1).ticks(2)


def test_ticks_of_a_logarithmic_axis():
    """Ticks are 1, 2 and 5 of each power of ten; fewer where there is no room for them."""
    axis = Scale(900, 120_000, is_log=True)

    assert (1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5) == axis.ticks(8)
    assert (1e3, 3e3, 1e4, 3e4, 1e5) == axis.ticks(5)
    assert (1e3, 1e4, 1e5) == axis.ticks(3)


@given(st.lists(SIZES, min_size=1, max_size=20), st.integers(min_value=2, max_value=12))
def test_ticks_are_round_and_on_the_axis(values, wanted):
    """Every tick is 1, 2, 3 or 5 times a power of ten or their sum of steps, and on the axis."""
    axis = fitted(values)
    ticks = axis.ticks(wanted)

    assert len(ticks) <= wanted + 1
    assert list(ticks) == sorted(set(ticks))
    for tick in ticks:
        assert -1e-9 <= axis.part(tick) <= 1 + 1e-9 if tick else not axis.is_log
        if axis.is_log:
            assert min(
                abs(log10(tick) % 1 - log10(step) % 1) for step in (1, 2, 3, 5, 10)
            ) < 1e-6 or (abs(log10(tick) % 1 - 1) < 1e-6)


@given(st.lists(SIZES, min_size=1, max_size=20))
def test_an_axis_holds_its_values(values):
    """All values lie on the axis that is made for them, larger ones farther along."""
    axis = fitted(values)
    parts = [axis.part(value) for value in sorted(values)]

    assert all(-1e-9 <= part <= 1 + 1e-9 for part in parts)
    assert parts == sorted(parts)


@pytest.mark.parametrize("values", [[], [0.0], [float("nan")], [float("inf")], [-3.0]])
def test_an_axis_without_values_is_one_all_the_same(values):
    """Nothing to show is no reason to fail."""
    assert Scale(0.0, 1.0) == fitted(values)


def test_what_spans_much_is_shown_on_a_logarithmic_axis():
    """Twenty times is where a linear axis would hide the small ones."""
    assert [False, True] == [fitted([1, 20]).is_log, fitted([1, 21]).is_log]


@given(
    st.lists(st.floats(min_value=-50, max_value=450), max_size=25),
    st.floats(min_value=1, max_value=30),
)
def test_labels_do_not_overlap(places, gap):
    """Labels keep their order, their distance as far as there is room, and stay in the picture."""
    found = spread(places, gap, 0.0, 400.0)
    apart = min(gap, 400.0 / max(len(places), 1))
    order = sorted(range(len(places)), key=lambda index: (places[index], index))
    moved = [found[index] for index in order]

    assert len(places) == len(found)
    assert all(b - a >= apart - 1e-6 for a, b in itertools.pairwise(moved))
    assert all(-1e-6 <= place <= 400 + 1e-6 for place in found)


def test_labels_with_room_stay_where_they_are():
    """A label is moved only if another is too near."""
    assert [100.0, 10.0, 60.0] == spread([100.0, 10.0, 60.0], 15, 0, 400)
    assert [42.5, 57.5] == spread([50.0, 50.0], 15, 0, 400)


@given(st.lists(st.floats(min_value=44, max_value=330), max_size=8), st.booleans())
def test_flags_do_not_overlap(places, is_wide):
    """Two flags on one row never share a place, and none leaves the picture."""
    size = WIDE if is_wide else NARROW
    flags = [Flag(place, None, "ab", "label of a flag", "") for place in places]
    wide = len("label of a flag" if is_wide else "ab") * 6
    found = rows(flags, places, size)

    for index, (start, row) in enumerate(found):
        assert start + wide <= size.width
        for other, (begin, line) in enumerate(found):
            assert index == other or row != line or begin >= start + wide or start >= begin + wide
