"""How numbers and ways are written."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.report import words
from baseload.plan.result import Refused
from baseload.plan.speed.layout import Layout
from tests.plan.sample import figure, plan, way


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "$0.00"), (0.00123, "$0.00123"), (0.5, "$0.50"), (3.4567, "$3.46"), (99.99, "$99.99"),
        (99.999, "$100"), (1234567.8, "$1,234,568"), (-1500.0, "-$1,500"), (nan, "-"),
    ],
)  # fmt: skip
def test_dollars(value, text):
    """Amounts have separators, cents below a hundred, three digits below one."""
    assert text == words.usd(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.0, "$12.00"), (999.4, "$999"), (61_300.0, "$61.3k"), (999_600.0, "$1M"),
        (2_214_000.0, "$2.21M"), (-61_300.0, "-$61.3k"), (inf, "-"),
    ],
)  # fmt: skip
def test_dollars_in_brief(value, text):
    """Where room is scarce an amount has three digits and a letter."""
    assert text == words.short_usd(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.0, "0 s"), (0.0000121, "12.1 µs"), (0.0121, "12.1 ms"), (0.9996, "1 s"),
        (1.24, "1.24 s"), (95.0, "95 s"), (410.0, "6.83 min"), (7_200.0, "2 h"), (inf, "-"),
    ],
)  # fmt: skip
def test_seconds(value, text):
    """A time is in the unit that needs the fewest signs."""
    assert text == words.seconds(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 %"), (0.43, "43 %"), (0.0899, "9 %"), (0.0123, "1.2 %"), (1, "100 %")],
)
def test_percent(value, text):
    """Parts are whole per cent, and have a place where they are small."""
    assert text == words.percent(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "100 %"),
        (0.9999999, "99.9999 %"),
        (0.999975, "99.9975 %"),
        (0.995, "99.5 %"),
        (0.0, "0 %"),
    ],
)
def test_an_availability_is_never_rounded_up(value, text):
    """What is not always there is never said to be there for 100 %."""
    assert text == words.availability(value)


@given(st.floats(min_value=0.0, max_value=1.0))
def test_an_availability_promises_no_more_than_there_is(value):
    """What is printed is at most what was given, to the last bit of a double."""
    assert float(words.availability(value).removesuffix(" %")) <= value * 100 + 1e-9


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_short_numbers_are_near_what_they_stand_for(value):
    """A number of three digits is within half a per cent of what it stands for."""
    text = words.short(value)
    size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1.0)

    assert abs(float(text.rstrip("kMG").replace(",", "")) * size / value - 1) <= 0.0051


def test_a_layout_names_only_what_is_split():
    """Sizes of one are not named, and an API has no layout."""
    made = [
        words.layout(way("a", "spot", "h", 1.0, layout=layout))
        for layout in (Layout(), Layout(tp=8), Layout(tp=8, pp=2, dp=2, ep=16), None)
    ]

    assert ["tp1", "tp8", "tp8 pp2 dp2 ep16", "-"] == made


def test_machines_are_counted_as_they_are_paid_for():
    """Rented: machines; owned: accelerators; small replicas share a machine."""
    spot = way("a", "spot", "p5.48xlarge", 1.0, layout=Layout(tp=2))
    two = way("a", "spot", "p5.48xlarge", 1.0, layout=Layout(tp=8, pp=2))
    owned = way("a", "owned", "h100", 1.0, layout=Layout(tp=2))

    assert f"1 {words.TIMES} p5.48xlarge" == words.machines(spot, 4)
    assert f"2 {words.TIMES} p5.48xlarge" == words.machines(spot, 5)
    assert f"6 {words.TIMES} p5.48xlarge" == words.machines(two, 3)
    assert f"8 {words.TIMES} h100" == words.machines(owned, 4)


def test_marks_are_those_of_a_ways_figures():
    """One stale or unverified figure marks the way."""
    old, doubtful = figure("a", "1", is_stale=True), figure("b", "2", is_verified=False)

    assert [""] == [words.marks(way("a", "spot", "h", 1.0, figures=(figure("c", "3"),)))]
    assert "*" == words.marks(way("a", "spot", "h", 1.0, figures=(old,)))
    assert "*?" == words.marks(way("a", "spot", "h", 1.0, figures=(old, doubtful)))
    assert ["*", "", "?", "*", ""] == [words.marks(one) for one in plan().ways]


@pytest.mark.parametrize(
    ("wanted", "found", "text"),
    [
        ("1 s", "1.31 s", "31 % over"), ("71.2 GB", "64.8 GB", "9 % under"),
        ("at most 50 ms", "at least 500 ms", "10 times as much"), ("1 s", "50 ms", ""),
        ("a GPU", "none", ""), ("1,000 W", "1,500 W", "50 % over"), ("0 s", "1 s", ""),
        ("1 s", "1 s", ""), (", s", "1 s", ""),
    ],
)  # fmt: skip
def test_how_far_an_objective_is_missed(wanted, found, text):
    """By how much is said where both sides are numbers of one unit, and only there."""
    refused = Refused(name="a", objective="x", wanted=wanted, found=found)

    assert text == words.excess(refused)


def test_plain_text_has_no_signs_that_steer():
    """Escape sequences and signs that turn reading order are replaced, letters are kept."""
    assert "a\ufffd[31m\ufffdb 模型 é" == words.plain("a\x1b[31m\u202eb 模型 é")
