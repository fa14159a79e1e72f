"""Plans from end to end, with the real catalogue and with one that never changes."""

import io
from datetime import date
from math import prod
from random import Random

import msgspec
import pytest
from rich.console import Console

from baseload.plan.catalog.reading import load as read_catalogue
from baseload.plan.following import CALLS, SEED
from baseload.plan.hardware.memory import fit
from baseload.plan.models.known import find
from baseload.plan.planning import make
from baseload.plan.queueing.arrivals import draw, split
from baseload.plan.queueing.knee import follow
from baseload.plan.report import terminal
from baseload.plan.request import Machine
from baseload.plan.result import Plan
from baseload.plan.speed.engine import engine_of
from baseload.plan.speed.layout import Build
from tests.plan import plans
from tests.plan.golden import golden

LUCK = 1.1
"""By how much other calls than those that were planned with may be slower."""


def _printed(plan):
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=False)
    console.print(terminal.render(plan, 100))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _by_tenure(plan):
    """Give the cheapest way of each tenure."""
    return {way.tenure: way for way in reversed(plan.ways)}


def test_the_first_example_in_a_terminal():
    """The answer, the mix, ways by cost, why others are not, notes and marks."""
    printed = _printed(plans.north())

    assert golden("planned.txt", printed) == printed


def _again(way, plan, seed):
    """Build a way's replica anew, and follow calls at its part of the planned load."""
    shape = find(plan.model)
    cloud = read_catalogue(plans.catalogue(), today=date.fromisoformat(plans.TODAY))
    row = cloud.instances.get(way.hardware)
    accelerator = cloud.accelerators[row.accelerator if row else way.hardware]
    build = Build(accelerator=accelerator, layout=way.layout, precision=way.precision)
    context = int(plan.load.prompt + plan.load.answer)
    room = fit(shape, accelerator, way.layout, way.precision, context=context)
    calls = draw(split(plan.load, way.replicas), CALLS, Random(seed))
    engine = engine_of(shape, build, room.kv_tokens)
    return room, follow(engine, calls, plan.load.rps / way.replicas)


@pytest.mark.parametrize("way", plans.north().ways, ids=lambda way: way.name)
def test_every_way_fits_and_keeps_its_objectives(way):
    """Built again and followed again, it gets what the plan says; with other calls about that."""
    plan = plans.north()
    room, same = _again(way, plan, SEED)
    _, other = _again(way, plan, SEED + 1)

    assert room.fits
    assert (same.ttft_p95_s, same.tpot_p95_s) == (way.speed.ttft_p95_s, way.speed.tpot_p95_s)
    assert same.ttft_p95_s <= plan.objectives.ttft_p95_s
    assert same.tpot_p95_s <= plan.objectives.tpot_p95_s
    assert other.ttft_p95_s <= plan.objectives.ttft_p95_s * LUCK
    assert other.tpot_p95_s <= plan.objectives.tpot_p95_s * LUCK


def test_every_real_way_keeps_its_objectives():
    """So does each way of the whole catalogue that runs models itself."""
    plan = plans.first()
    speeds = [way.speed for way in plan.ways if way.speed]

    assert len(speeds) >= 10
    assert max(speed.ttft_p95_s for speed in speeds) <= plan.objectives.ttft_p95_s
    assert max(speed.tpot_p95_s for speed in speeds) <= plan.objectives.tpot_p95_s
    assert max(speed.utilisation for speed in speeds) <= plan.objectives.utilisation_max


def test_ways_come_by_cost_and_every_tenure_is_there():
    """The cheapest stands first; own machines are among them, however dear."""
    plan = plans.first()
    months = [way.usd_month for way in plan.ways]

    assert sorted(months) == months
    assert {"owned", "on_demand", "spot", "api"} <= {way.tenure for way in plan.ways}
    assert len(plan.ways) == len({way.name for way in plan.ways})


def test_money_adds_up():
    """Kinds add up to the month, months to the horizon; a million tokens are a part of it."""
    plan = plans.first()
    mtok = plan.load.requests_day * 730 / 24 * 1600 / 1e6

    for way in plan.ways:
        assert way.usd_month == pytest.approx(sum(way.costs.values()))
        assert way.usd_horizon == pytest.approx(way.usd_month * 36)
        assert way.usd_mtok == pytest.approx(way.usd_month / mtok)
    assert plan.mix.usd_month == pytest.approx(sum(each.usd_month for each in plan.mix.shares))
    assert plan.mix.usd_month <= min(way.usd_month for way in plan.ways) * (1 + 1e-9)
    assert 1.0 == pytest.approx(sum(each.share for each in plan.mix.shares))


def test_rented_machines_cost_their_rate():
    """Two machines, one of them in reserve, at $4 an hour, for 730 hours."""
    way = _by_tenure(plans.north())["on_demand"]

    assert (1, 1) == (way.replicas, way.standby)
    assert 2 * 4.0 * 730 == pytest.approx(way.usd_month)


def test_whole_terms_are_paid():
    """Of a year's commitment 18 months are 24 months paid."""
    request = plans.asked(months=18, tenures=("reserved_1y",))
    way = make(request).ways[0]

    assert 2 * 3.0 * 730 * 24 / 18 == pytest.approx(way.usd_month)
    assert 2 * 3.0 * 730 * 24 == pytest.approx(way.usd_horizon)


def test_dearer_prices_make_nothing_cheaper():
    """With every rate of one machine a fifth higher no way costs less, nor does the mix."""
    before = make(plans.asked())
    text = plans.CATALOGUE
    for low, high in (("hour = 4.0", "hour = 4.8"), ("hour = 3.0", "hour = 3.6"),
                      ("hour = 1.5", "hour = 1.8")):  # fmt: skip
        text = text.replace(low, high)
    after = make(plans.asked(catalogue=plans.catalogue(text)))
    dearer = {way.name: way.usd_month for way in after.ways}

    assert {way.name for way in before.ways} == dearer.keys()
    assert all(dearer[way.name] >= way.usd_month for way in before.ways)
    assert before.ways[0].usd_month * 1.2 == pytest.approx(after.ways[0].usd_month)
    assert after.mix.usd_month > before.mix.usd_month


def test_more_load_is_never_cheaper():
    """Neither the mix nor the cheapest way of any tenure costs less for more calls."""
    made = [make(plans.asked(of=plans.load(rps))) for rps in (0.5, 2.0, 8.0, 20.0)]
    mixes = [plan.mix.usd_month for plan in made]

    assert sorted(mixes) == mixes
    for tenure in plans.RENTED:
        months = [_by_tenure(plan)[tenure].usd_month for plan in made]
        assert sorted(months) == months
    assert mixes[-1] > mixes[0]


@pytest.mark.parametrize("curves", ["ttft_curves", "tpot_curves"])
def test_more_load_is_never_faster(curves):
    """Along each curve latency grows, but for the luck of some calls."""
    found = getattr(plans.first(), curves)

    assert 3 == len(found)
    for curve in found:
        assert sorted(curve.x) == list(curve.x)
        for low, high in zip(curve.y, curve.y[1:], strict=False):
            assert high >= low * 0.97


def test_surviving_more_never_costs_less():
    """One more machine that may fail is one more that is paid for."""
    months = [make(plans.asked(survive=survive)).ways[0].usd_month for survive in (0, 1, 2)]

    assert [1095.0, 2190.0, 3285.0] == pytest.approx(months, rel=1e-4)


def test_the_same_request_gives_the_same_plan():
    """Byte for byte; nothing of it is drawn anew."""
    request = plans.asked(hardware=(Machine(accelerator="big", per_machine=8),),
                          tenures=("owned", *plans.RENTED))  # fmt: skip

    assert msgspec.json.encode(plans.north()) == msgspec.json.encode(make(request))


@pytest.mark.parametrize("plan", [plans.north, plans.first])
def test_a_plan_survives_json(plan):
    """What is printed as data is the plan."""
    data = msgspec.json.encode(plan())

    assert plan() == msgspec.json.decode(data, type=Plan)


def test_how_many_are_listed_changes_nothing_else():
    """The mix is made of the same ways; what it uses is listed in any case."""
    few = make(plans.asked(ways_max=1))
    many = make(plans.asked())

    assert many.mix == few.mix
    assert {each.way for each in few.mix.shares} <= {way.name for way in few.ways}


def test_marks_of_figures():
    """What is old or hearsay is marked in each way that rests on it, and nothing else is."""
    marks = {
        (figure.what, figure.is_stale, figure.is_verified)
        for way in plans.north().ways
        for figure in way.figures
    }

    assert {what for what, is_stale, _ in marks if is_stale} == {"north-small-4 on demand, north-2"}
    assert {what for what, _, is_verified in marks if not is_verified} == {
        "small memory", "small bandwidth", "small fp8 operations", "small power"
    }  # fmt: skip
    assert ("big to buy", False, True) in marks
    assert ("north-big spot, north-1", False, True) in marks


def test_levers_move_what_they_say():
    """A price a fifth higher makes the rented way a fifth dearer; more load never cheaper."""
    levers = {lever.what: lever for lever in make(plans.asked(tenures=("on_demand",))).levers}
    price, load = levers["price of an hour"], levers["load"]

    assert 1.2 / 0.8 == pytest.approx(price.usd_month_high / price.usd_month_low)
    assert ("$3.2", "$4.8") == (price.low, price.high)
    assert load.usd_month_low <= load.usd_month_high
    assert ("2.4 requests/s", "3.6 requests/s") == (load.low, load.high)


MONTHS = {"tenures": ("serverless",), "model": plans.QWEN_7B, "of": plans.load(0.02, 100.0, 20.0)}


@pytest.mark.parametrize(
    "request_",
    [plans.asked(tenures=(tenure,), months=18) for tenure in plans.RENTED]
    + [plans.asked(**MONTHS, survive=0)],
    ids=lambda request: request.tenures[0],
)
def test_a_month_s_numbers_give_the_month(request_):
    """Multiplied and added up as they stand there, they are what the way costs."""
    for way in make(request_).ways:
        (month,) = [formula for formula in way.formulas if formula.what == "a month"]
        terms = [
            prod(float(each.strip(" $").replace(",", "")) for each in term.split("*"))
            for term in month.numbers.split("+")
        ]
        assert way.usd_month == pytest.approx(sum(terms), rel=2e-3)
        assert f"${way.usd_month:,.0f}" == month.result


def test_steps_of_formulas_lead_to_the_figures():
    """Explanations end in the numbers that the way shows."""
    way = _by_tenure(plans.north())["on_demand"]
    results = {formula.what: formula.result for formula in way.formulas}

    assert f"${way.usd_month:,.0f}" == results["a month"]
    assert "1 + 1" == results["units"]
    assert f"${way.usd_mtok:,.3g}" == results["a million tokens"]
    assert f"{way.speed.knee_rps:.3g} requests/s" == results["knee of one replica"]
