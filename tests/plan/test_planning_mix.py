"""The plan's mix: what stands when something fails, what it is counted in, what is no mix."""

import sys

import msgspec
import pytest

from baseload.errors import BaseloadError
from baseload.plan import mixture
from baseload.plan.catalog.rows import ApiPrice
from baseload.plan.mix.mixing import without
from baseload.plan.mix.proof import check
from baseload.plan.mix.roles import sleepers
from baseload.plan.mixture import demand_of, mixed, options_of
from baseload.plan.offers import api_way
from baseload.plan.planning import make
from baseload.plan.request import Machine
from tests.plan import plans


def _solved(monkeypatch, request):
    """Plan, and give what the optimiser was asked and said."""
    said = []
    find_mix = mixture.find_mix

    def kept(options, demand, limit_s):
        answer = find_mix(options, demand, limit_s)
        said.append((options, demand, answer))
        return answer

    monkeypatch.setattr(mixture, "find_mix", kept)
    return make(request), said[0]


def _less(parts, place):
    """Take one unit away, wherever it is on."""
    part = parts[place]
    on = tuple(min(each, part.held - 1) for each in part.on)
    left = msgspec.structs.replace(part, held=part.held - 1, on=on, rps=(0.0,) * len(on))
    return (*parts[:place], left, *parts[place + 1 :])


@pytest.mark.parametrize("day_factor", [1.0, 0.4])
def test_any_one_may_fail(monkeypatch, day_factor):
    """The mix is proved, and with any one unit away the others can take each period's load."""
    request = plans.asked(of=plans.load(20.0, day_factor=day_factor))
    plan, (options, demand, answer) = _solved(monkeypatch, request)
    named = {option.name: option for option in options}

    assert [] == check(answer.parts, options, demand)
    assert plan.mix.is_optimal
    for place in range(len(answer.parts)):
        left = _less(answer.parts, place)
        for number, period in enumerate(demand.periods):
            stands = sum(part.on[number] * named[part.option].replica_rps for part in left)
            assert stands >= period.rps * (1 - 1e-6)


def test_what_survives_a_failure_is_dearer_than_what_does_not(monkeypatch):
    """The note tells what surviving costs: the difference to the cheapest mix without."""
    plan, (options, demand, answer) = _solved(monkeypatch, plans.asked())
    bare = mixture.find_mix(options, without(demand, "survive"), 1.0)

    cost = f"${answer.usd_month - bare.usd_month:,.0f} a month"
    assert f"Surviving the loss of any one machine or API adds {cost} to the mix." in plan.notes


def test_what_may_sleep_is_told(monkeypatch):
    """Where load falls at night, what is off then is named, with hours, savings and its start."""
    request = plans.asked(of=plans.load(20.0, day_factor=0.2))
    plan, (options, demand, answer) = _solved(monkeypatch, request)
    (sleeper,) = sleepers(answer, options, demand)
    (note,) = [note for note in plan.notes if " is off for " in note]
    started = next(way.start_s for way in plan.ways if way.name == sleeper.option)

    assert note.startswith(f"{sleeper.option} is off for {sleeper.hours_share:.0%} of all hours")
    assert f"saves ${sleeper.saves_usd_month:,.0f} a month" in note
    assert f"it takes {started / 60:.0f} minutes to come back" in note


def test_a_mix_counts_replicas():
    """A machine of eight accelerators with four replicas is four replicas, not one."""
    machines = (Machine(accelerator="big", per_machine=8),)
    plan = make(plans.asked(tenures=("owned",), hardware=machines))
    way = plan.ways[0]

    assert 4 == way.standby
    assert way.replicas + way.standby == sum(share.replicas for share in plan.mix.shares)
    assert plan.mix.usd_month == pytest.approx(way.usd_month)


def test_few_machines_of_ones_own_are_a_part_of_the_mix():
    """One paid-for machine is too few by itself, since it may fail; beside others it serves."""
    request = plans.asked(
        tenures=("owned", "on_demand"), survive=0, of=plans.load(120.0),
        hardware=(Machine(accelerator="big", per_machine=8, machines_max=1),),
        settings={"owned.accelerator_usd": 0.0, "owned.server_usd": 0.0, "owned.staff_persons": 0},
    )  # fmt: skip
    plan = make(request)
    (short,) = [each for each in plan.refused if each.objective == "machines"]
    (own,) = [share for share in plan.mix.shares if share.way.startswith("own 8xbig")]

    assert short.name == own.way
    assert not any(way.tenure == "owned" for way in plan.ways)
    assert 0.1 < own.share < 0.9


def test_a_load_that_no_mix_takes_is_told_with_what_it_would_take():
    """One machine that may fail, and far too much load: nothing alone helps, so that is said."""
    machines = (Machine(accelerator="big", per_machine=8, machines_max=1),)
    plan = make(plans.asked(tenures=("owned",), hardware=machines, of=plans.load(1000.0)))
    (mix,) = [each for each in plan.refused if each.name == "mix"]

    assert ("load", "1,000 requests/s") == (mix.objective, mix.wanted)
    taken_rps = float(mix.found.split()[0])
    assert 1000.0 / taken_rps - 1 == pytest.approx(mix.over, rel=0.01)


def test_a_token_s_emissions_are_explained():
    """Each way that says its joules a token says its CO2 as well, in milligrams."""
    machines = (Machine(accelerator="big", per_machine=8),)
    way = make(plans.asked(tenures=("owned",), hardware=machines)).ways[0]
    (formula,) = [each for each in way.formulas if each.what == "CO2 of an answer token"]

    expected_mg = way.speed.joules_token / 3.6e6 * 366.0 * 1e3
    assert expected_mg == pytest.approx(float(formula.result.removesuffix(" mg")), rel=0.01)


def test_all_of_it_may_be_spot_if_nothing_else_is_wanted():
    """A floor without spot is asked for only where something else may be used."""
    spot, both = plans.asked(tenures=("spot",)), plans.asked()

    assert (0.0, 0.5) == (demand_of(spot).spot_floor, demand_of(both).spot_floor)
    assert make(spot).mix is not None


def _api(name, usd, request, host=""):
    row = ApiPrice(
        name=name, host=host or name, model="m", input_usd_mtok=usd, cached_usd_mtok=usd,
        output_usd_mtok=usd, source="a test", seen=plans.TODAY, verified=True,
    )  # fmt: skip
    return api_way(row, request)


@pytest.mark.parametrize(("survive", "parts"), [(0, 1), (1, 2), (2, 3), (3, None)])
def test_apis_that_stand_by_may_fail_too(survive, parts):
    """Each failure that is to be survived takes one more provider; three cannot survive three."""
    request = plans.asked(tenures=("api",), clouds=(), survive=survive)
    apis = [_api(name, usd, request) for name, usd in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    mix, _, refused = mixed(options_of([], apis, request), [], request)

    assert parts == (len(mix.shares) if mix else None)
    assert (mix is None) == any(each.objective == "survive" for each in refused)


def test_one_provider_s_models_fail_together():
    """A provider's other model is no reserve for its first one: the cheapest of each counts."""
    request = plans.asked(tenures=("api",), clouds=())
    apis = [_api("a", 3.0, request, "host"), _api("b", 2.0, request, "host")]

    assert ["b"] == [option.name for option in options_of([], apis, request)]
    assert mixed(options_of([], apis, request), [], request)[0] is None


def test_a_standby_api_is_the_one_whose_calls_cost_less():
    """Of two that are only called when another fails the cheaper is chosen, and costs nothing."""
    request = plans.asked(tenures=("api", "on_demand"), clouds=())

    dear, cheap = _api("dear", 9.0, request), _api("cheap", 8.0, request)
    own = make(plans.asked(tenures=("on_demand",)))
    for apis in ([dear, cheap], [cheap, dear]):
        machine = msgspec.structs.replace(
            options_of([], [cheap], request)[0], name="machine", site="room", tenure="on_demand",
            usd_month=own.ways[0].usd_month, usd_request=0.0,
        )  # fmt: skip
        mix, _, _ = mixed((machine, *options_of([], apis, request)), [], request)

        assert [("machine", "base"), ("cheap", "hot")] == [(s.way, s.role) for s in mix.shares]
        assert mix.usd_month == pytest.approx(own.ways[0].usd_month)
        assert 0.0 == mix.shares[1].usd_month


def test_without_a_solver_ways_still_come(monkeypatch):
    """The mix says what is missing; all else is as with it."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    plan = make(plans.asked())
    monkeypatch.undo()

    assert plan.mix is None
    assert "pip install 'baseload[plan]'" in plan.notes[0]
    assert plan.ways == make(plans.asked()).ways


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mix.spot_floor": 3.0}, "spot_floor is a part of the load: 0 to 1"),
        ({"mix.spot_flor": 0.3}, "did you mean `mix.spot_floor`"),
    ],
)
def test_a_setting_that_makes_no_sense_is_a_mistake(settings, said):
    """It is not planned around."""
    with pytest.raises(BaseloadError, match=said):
        make(plans.asked(settings=settings))


def test_a_budget_too_small_is_told_with_what_would_do():
    """The ways are still there; the mix says how much money it would take."""
    plan = make(plans.asked(settings={"mix.budget_usd_month": 30.0}))
    (refused,) = [each for each in plan.refused if each.name == "mix"]
    enough = float(refused.nearest.removeprefix("$").replace(",", ""))

    assert plan.mix is None
    assert ("budget_usd_month", "$30.00") == (refused.objective, refused.wanted)
    assert mixture.NO_MIX in plan.notes
    assert make(plans.asked()).mix.usd_month == pytest.approx(enough, abs=0.01)
