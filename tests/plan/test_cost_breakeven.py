"""Where one way becomes cheaper than another: on slopes and at steps, none missed."""

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.cost.breakeven import (
    CostCurve,
    all_crossings,
    breakeven_requests_day,
    breakeven_use,
    crossings,
    drawn,
)
from baseload.plan.cost.terms import DAYS_MONTH

API = CostCurve(name="api", usd_request=0.001)
RENTED = CostCurve(name="rented", usd_month_replica=3000.0, requests_day_replica=150_000.0)
MAX = 1e6

CURVES = st.builds(
    CostCurve,
    name=st.just("x"),
    usd_month_fixed=st.integers(0, 5).map(lambda n: n * 1000.0),
    usd_month_replica=st.integers(0, 5).map(lambda n: n * 700.0),
    requests_day_replica=st.sampled_from([inf, 10_000.0, 70_000.0, 100_000.0 / 3, 250_000.0]),
    usd_request=st.integers(0, 5).map(lambda n: n * 0.0003),
    replicas_min=st.integers(0, 3),
    standby=st.integers(0, 1),
)


def _named(curve, name):
    return msgspec.structs.replace(curve, name=name)


def test_a_slope_meets_a_flat_line_where_both_cost_the_same():
    """$3,000 a month at a tenth of a cent: 98,630 requests a day."""
    crossing = crossings(API, RENTED, 140_000.0)[0]

    assert 3000.0 / DAYS_MONTH / 0.001 == pytest.approx(crossing.requests_day)
    assert ("api", "rented") == (crossing.cheaper_below, crossing.cheaper_above)
    assert 3000.0 == pytest.approx(crossing.usd_month)


def test_a_step_turns_it_back():
    """The second replica makes renting dearer at once; the slope then overtakes it again."""
    found = crossings(API, RENTED, 250_000.0)

    assert ["api", "rented", "api"] == [crossing.cheaper_below for crossing in found]
    assert 150_000.0 == found[1].requests_day
    assert 3000.0 == found[1].usd_month


def test_a_replica_carries_its_last_request():
    """The step comes after as many requests as one replica carries."""
    assert [0, 1, 1, 2] == [RENTED.replicas(x) for x in (0.0, 1.0, 150_000.0, 150_001.0)]


def test_standby_stands_only_beside_what_is_needed():
    """One more replica as long as any is needed; none at rest, unless some are always on."""
    spare = CostCurve(name="s", requests_day_replica=100.0, standby=1)

    assert [0, 2, 3] == [spare.replicas(x) for x in (0.0, 100.0, 101.0)]
    always = msgspec.structs.replace(spare, replicas_min=2)
    assert [3, 3, 3, 4] == [always.replicas(x) for x in (0.0, 100.0, 200.0, 201.0)]


def test_equal_for_a_while_changes_at_the_end_of_it():
    """Two ways that cost the same between two steps change where that ends."""
    small = CostCurve(name="small", usd_month_replica=100.0, requests_day_replica=10.0)
    large = CostCurve(name="large", usd_month_replica=200.0, requests_day_replica=20.0)

    assert () == crossings(small, large, 100.0)
    dearer = CostCurve(name="dearer", usd_month_replica=200.0, requests_day_replica=10.0)
    mixed = CostCurve(name="mixed", usd_month_fixed=300.0, usd_month_replica=50.0,
                      requests_day_replica=10.0)  # fmt: skip
    [crossing] = crossings(dearer, mixed, 40.0)
    assert 20.0 == crossing.requests_day
    assert ("dearer", "mixed") == (crossing.cheaper_below, crossing.cheaper_above)


def test_equal_ways_never_cross():
    """A way does not become cheaper than itself."""
    assert () == crossings(RENTED, _named(RENTED, "same"), MAX)


@given(CURVES, CURVES)
def test_each_crossing_is_one(first, second):
    """On a slope both sides cost the same there; at a step they change places across it."""
    first, second = _named(first, "first"), _named(second, "second")
    steps = {*first.steps(MAX), *second.steps(MAX)}
    by_name = {"first": first, "second": second}
    for crossing in crossings(first, second, MAX):
        at = crossing.requests_day
        below, above = by_name[crossing.cheaper_below], by_name[crossing.cheaper_above]
        if at in steps:
            assert above.usd_month(at * (1 + 1e-6)) <= below.usd_month(at * (1 + 1e-6)) + 1e-2
        else:
            assert below.usd_month(at) == pytest.approx(above.usd_month(at), rel=1e-9)
        assert below.usd_month(at) == crossing.usd_month


@given(CURVES, CURVES, st.lists(st.floats(1.0, MAX), max_size=50))
def test_between_crossings_the_cheaper_one_stays(first, second, loads):
    """Whoever is named as cheaper on a side is not dearer at any load of it: none is missed."""
    first, second = _named(first, "first"), _named(second, "second")
    by_name = {"first": first, "second": second}
    found = crossings(first, second, MAX)
    for load in loads:
        below = [crossing for crossing in found if crossing.requests_day < load * (1 - 1e-6)]
        above = [crossing for crossing in found if crossing.requests_day > load * (1 + 1e-6)]
        if len(below) + len(above) != len(found) or not found:
            continue
        name = below[-1].cheaper_above if below else above[0].cheaper_below
        other = "second" if name == "first" else "first"
        assert by_name[name].usd_month(load) <= by_name[other].usd_month(load) + 1e-6


@given(CURVES, CURVES)
def test_order_does_not_matter(first, second):
    """The same crossings come out whichever way is named first."""
    first, second = _named(first, "first"), _named(second, "second")

    assert crossings(first, second, MAX) == crossings(second, first, MAX)


@given(CURVES, st.floats(0.0, MAX), st.floats(0.0, MAX))
def test_more_requests_never_cost_less(curve, one, other):
    """A curve never falls."""
    low, high = sorted((one, other))

    assert curve.usd_month(low) <= curve.usd_month(high)


def test_all_pairs_are_looked_at_and_ordered_by_load():
    """Three ways: the crossings of each two, by load."""
    owned = CostCurve(name="owned", usd_month_fixed=5000.0)

    found = all_crossings([API, RENTED, owned], 180_000.0)

    loads = [crossing.requests_day for crossing in found]
    assert sorted(loads) == loads
    assert {("api", "rented"), ("rented", "api"), ("api", "owned"), ("rented", "owned")} == {
        (crossing.cheaper_below, crossing.cheaper_above) for crossing in found
    }


def test_a_drawn_step_is_upright():
    """A point before each step and one just after it, so that a line between them is upright."""
    curve = drawn(RENTED, 300_000.0, points=2)

    at = curve.x.index(150_000.0)
    assert (3000.0, 6000.0) == curve.y[at : at + 2]
    assert 1e-3 > curve.x[at + 1] - curve.x[at]


def test_too_many_steps_are_refused():
    """A replica that carries next to nothing would make too many steps."""
    tiny = CostCurve(name="tiny", usd_month_replica=1.0, requests_day_replica=1.0)

    with pytest.raises(ValueError, match="tiny: more than 20000 replicas"):
        crossings(tiny, API, MAX)


def test_break_even_use_is_a_quotient():
    """$480 that are always paid against $600 at full use: 80 %."""
    assert 0.8 == breakeven_use(480.0, 600.0)
    with pytest.raises(ValueError, match="usd_full: 0 is not above 0"):
        breakeven_use(1.0, 0.0)


@given(st.floats(1.0, 1e6), st.floats(1e-6, 1.0))
def test_break_even_requests_cost_as_much(usd_month, usd_request):
    """At that many requests paying for each is the fixed sum; free requests never are."""
    requests = breakeven_requests_day(usd_month, usd_request)

    assert usd_month == pytest.approx(requests * DAYS_MONTH * usd_request)
    assert inf == breakeven_requests_day(usd_month, 0.0)
