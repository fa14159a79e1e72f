"""How ways compare over other loads: stairs, crossings, and which ways are drawn."""

from datetime import date

import pytest

from baseload.plan import planning
from baseload.plan.catalog.reading import load as read_catalogue
from baseload.plan.comparing import CURVES, SPAN, UNITS_MAX, compared, cost_curve, cost_curves
from baseload.plan.following import Follower
from baseload.plan.models.known import find
from baseload.plan.request import Machine
from baseload.plan.sizing import fixed_and_each, usd_month_of
from tests.plan import plans

OWN = (Machine(accelerator="big", per_machine=8),)
REQUEST = plans.asked(tenures=("owned", *plans.RENTED), hardware=OWN)


@pytest.fixture(scope="module")
def found():
    """Give sized ways of the made-up cloud."""
    cloud = read_catalogue(plans.catalogue(), today=date.fromisoformat(plans.TODAY))
    shape = find(REQUEST.model)
    units, _ = planning._units(shape, REQUEST, cloud)
    follower = Follower(REQUEST.load, REQUEST.objectives)
    ways, _ = planning._ways(units, shape, REQUEST, cloud, follower)
    return ways


def _at(curve, x):
    """Read a curve at one of its points; the first of several at the same place."""
    return curve.y[curve.x.index(x)]


def test_a_curve_has_the_way_s_cost_at_its_own_load(found):
    """At the planned load each curve costs what the way costs."""
    for sized in found:
        curve = cost_curve(sized.way, sized, REQUEST)
        assert sized.way.usd_month == pytest.approx(curve.usd_month(REQUEST.load.requests_day))


def test_what_owning_costs_whatever_its_size_is_no_part_of_a_step(found):
    """Three units cost the fixed part and three steps; of rented ones the fixed part is nothing."""
    for sized in found:
        fixed, each = fixed_and_each(sized, REQUEST)
        three = usd_month_of(sized.unit, sized.way.tenure, REQUEST, 3, sized.busy).usd_month
        assert fixed + 3 * each == pytest.approx(three, rel=1e-4)
        assert (fixed > 0) == (sized.way.tenure == "owned")


def test_crossings_lie_on_both_curves(found):
    """Where the cheaper of two changes, both cost the same, or one steps over the other there."""
    curves = {each.way.name: cost_curve(each.way, each, REQUEST) for each in found}
    _, crossings = cost_curves(list(curves.values()), REQUEST)

    assert crossings
    for crossing in crossings:
        below, above = curves[crossing.cheaper_below], curves[crossing.cheaper_above]
        at = crossing.requests_day
        assert crossing.usd_month == pytest.approx(below.usd_month(at))
        before, after = at * (1 - 1e-6), at * (1 + 1e-6)
        assert below.usd_month(before) <= above.usd_month(before) * (1 + 1e-4)
        assert above.usd_month(after) <= below.usd_month(after) * (1 + 1e-4)


def test_each_way_of_paying_is_drawn():
    """However many spot machines are cheaper, own ones and APIs have their line."""
    plan = plans.first()
    tenures = {way.name: way.tenure for way in plan.ways}
    drawn = [tenures[curve.way] for curve in plan.cost_curves]

    assert "owned" in drawn
    assert set(tenures.values()) == set(drawn)
    assert CURVES == len(drawn)


def test_few_ways_are_all_drawn(found):
    """They keep their order."""
    pairs = [(each.way, each) for each in found]

    assert pairs == compared(pairs)


def test_lines_end_where_stairs_would_be_a_slope(found):
    """Up to eight times the load, or so many units that steps are no longer seen."""
    curves = [cost_curve(each.way, each, REQUEST) for each in found]
    lines, _ = cost_curves(curves, REQUEST)
    least = min(curve.requests_day_replica for curve in curves) * UNITS_MAX

    assert {min(REQUEST.load.requests_day * SPAN, least)} == {line.x[-1] for line in lines}
    assert all(list(line.y) == sorted(line.y) for line in lines)
