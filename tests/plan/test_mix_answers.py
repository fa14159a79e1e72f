"""What is said of a mix: its proof, its tolls, its roles, and what to give up where there is none."""

import sys
from math import inf

import msgspec
import pytest

from baseload.errors import BaseloadError
from baseload.plan.mix.answer import Part
from baseload.plan.mix.mixing import find_mix, not_outdone, toll_usd_month
from baseload.plan.mix.nearest import nearest
from baseload.plan.mix.option import MONTH_S, Bound, Demand, Option, Period
from baseload.plan.mix.proof import Broken, check
from baseload.plan.mix.roles import mix_of, shares_of, sleepers

OWNED = Option(
    name="owned", site="room", tenure="owned", capacity_rps=2.0, usd_month=100.0,
    usd_month_off=80.0, replicas_max=8, start_s=120.0, availability=0.99,
)  # fmt: skip
RENTED = Option(
    name="rented", site="cloud", tenure="on_demand", capacity_rps=2.0, usd_month=150.0,
    replicas_max=8, start_s=120.0, availability=0.99,
)  # fmt: skip
SPOT = Option(
    name="spot", site="cloud", tenure="spot", capacity_rps=2.0, usd_month=60.0, replicas_max=8,
    start_s=120.0, availability=0.99,
)  # fmt: skip
API = Option(
    name="api", site="provider", tenure="api", capacity_rps=inf, rate_rps=4.0,
    usd_request=1e-3, availability=0.99,
)  # fmt: skip
DAY = (Period(4.0, 0.25), Period(1.0, 0.75))


def demand(**changes) -> Demand:
    return Demand(periods=DAY, **changes)


def with_(option: Option, **changes) -> Option:
    return msgspec.structs.replace(option, **changes)


def counts(answer) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {part.option: (part.held, part.on) for part in answer.parts}


def test_rented_replicas_follow_the_load_and_one_more_stands_by():
    """In each period as many are on as the load needs, and one that may fail."""
    answer = find_mix((RENTED,), demand())

    assert {"rented": (3, (3, 2))} == counts(answer)
    assert (0.25 * 450 + 0.75 * 300, True) == (answer.usd_month, answer.is_optimal)
    assert (112.5, 225.0) == answer.usd_month_periods


def test_cold_standby_replaces_hot_only_within_patience():
    """What starts within patience stands by switched off; what takes longer must be on."""
    quick = with_(OWNED, start_s=5.0)

    assert {"owned": (3, (2, 1))} == counts(find_mix((quick,), demand()))
    assert {"owned": (3, (3, 2))} == counts(find_mix((OWNED,), demand()))
    assert {"owned": (3, (2, 1))} == counts(find_mix((OWNED,), demand(patience_s=120.0)))


def test_spot_that_is_off_is_no_reserve():
    """However fast spot starts, its market may have none: the reserve is on."""
    quick = with_(SPOT, start_s=5.0)

    assert {"spot": (3, (3, 2))} == counts(find_mix((quick,), demand()))


def test_the_floor_keeps_part_of_the_load_off_spot():
    """With a floor of half, half of each period's load can be served without spot."""
    answer = find_mix((SPOT, RENTED), demand(survive=0, spot_floor=0.5))

    assert {"spot": (1, (1, 0)), "rented": (1, (1, 1))} == counts(answer)
    assert {("rented", "floor"), ("spot", "peak")} == {
        (share.way, share.role)
        for share in shares_of(answer, (SPOT, RENTED), demand(spot_floor=0.5))
    }


def test_interruptions_leave_a_margin():
    """Spot that is away for a third of the time counts for two thirds."""
    away = with_(SPOT, interruptions_hour=15.0)

    assert 2.0 * 2 / 3 == pytest.approx(away.replica_rps)
    assert {"spot": (3, (3, 1))} == counts(find_mix((away,), demand(survive=0)))


def test_the_loss_of_a_site_needs_all_of_the_load_elsewhere():
    """With a site that may fail, each site could serve without the other."""
    asked = demand(survive_site=True)
    answer = find_mix((OWNED, RENTED), asked)

    assert {"owned": (2, (2, 1)), "rented": (2, (2, 1))} == counts(answer)


def test_an_api_fails_as_one():
    """An API that could serve everything alone still needs somebody beside it."""
    assert find_mix((API,), demand()) is None
    answer = find_mix((API, OWNED), demand())

    assert {"owned": 2, "api": 1} == {part.option: part.held for part in answer.parts}
    assert (2, 1) == counts(answer)["owned"][1]
    assert [] == check(answer.parts, (API, OWNED), demand())


def test_bounds_hold_over_all_calls():
    """Ninety to ten as a bound: the API takes a tenth of all calls, neither more nor less."""
    bound = Bound(who="api", low=0.1, high=0.1)
    answer = find_mix((API, OWNED), demand(survive=0, bounds=(bound,)))
    taken = {s.way: 0.0 for s in shares_of(answer, (API, OWNED), demand())}
    for share in shares_of(answer, (API, OWNED), demand()):
        taken[share.way] += share.share

    assert {"api": pytest.approx(0.1), "owned": pytest.approx(0.9)} == taken


def test_a_lower_class_may_stand_in_but_not_serve():
    """A smaller model takes over when something has failed, where that is allowed."""
    small = with_(RENTED, name="small", capacity_rps=4.0, usd_month=20.0, quality=0)
    good = with_(RENTED, quality=1)
    asked = demand(quality_min=1, quality_failed_min=0)
    answer = find_mix((good, small), asked)

    assert {"rented": (2, (2, 1)), "small": (1, (1, 1))} == counts(answer)
    assert (0.0, 0.0) == answer.parts[1].rps


def test_roles_add_up_to_the_mix():
    """Base, peak, hot and cold replicas together cost what the mix costs and take all calls."""
    quick = with_(OWNED, start_s=5.0, usd_request=1e-6)
    options = (quick, RENTED)
    answer = find_mix(options, demand())
    shares = shares_of(answer, options, demand())

    assert answer.usd_month == pytest.approx(sum(share.usd_month for share in shares))
    assert 1.0 == pytest.approx(sum(share.share for share in shares))
    assert {("base", 1), ("peak", 1), ("cold", 1)} == {(s.role, s.replicas) for s in shares}


def test_a_mix_has_its_horizon_and_availability():
    """The horizon is so many months, and availability is weighted by the periods' hours."""
    answer = find_mix((RENTED,), demand())
    mix = mix_of(answer, (RENTED,), demand(), months=36)
    three = 3 * 0.99**2 * 0.01 + 0.99**3

    assert 36 * answer.usd_month == mix.usd_horizon
    assert 0.25 * three + 0.75 * (1 - 0.01**2) == pytest.approx(mix.availability)
    assert (True, "") == (mix.is_optimal, mix.why)


def test_what_may_sleep_says_who_waits():
    """Spot that is off at night saves its hours, and as another is on, nobody waits for it."""
    asked = demand(survive=0, spot_floor=0.5)
    answer = find_mix((SPOT, RENTED), asked)
    (sleeper,) = sleepers(answer, (SPOT, RENTED), asked)

    assert ("spot", (1,), 0.75, 45.0) == (
        sleeper.option, sleeper.periods, sleeper.hours_share, sleeper.saves_usd_month,
    )  # fmt: skip
    assert (0.0, False) == (sleeper.first_call_waits_s, sleeper.is_alone)


def test_a_fleet_that_sleeps_makes_the_first_call_wait():
    """Where nothing is on in hours without load, the first call waits for a start."""
    asked = Demand(periods=(Period(2.0, 0.5), Period(0.0, 0.5)), survive=0)
    answer = find_mix((RENTED,), asked)

    assert {"rented": (1, (1, 0))} == counts(answer)
    assert [(120.0, True, 75.0)] == [
        (s.first_call_waits_s, s.is_alone, s.saves_usd_month)
        for s in sleepers(answer, (RENTED,), asked)
    ]


def test_each_demand_has_its_toll():
    """N-1 costs one replica at all hours; a limit that does not bind costs nothing."""
    asked = demand(kinds_max=1)
    answer = find_mix((RENTED,), asked)

    assert 150.0 == toll_usd_month((RENTED,), asked, answer, "survive")
    assert 0.0 == toll_usd_month((RENTED,), asked, answer, "kinds_max")
    unproved = msgspec.structs.replace(answer, is_optimal=False)
    assert 0.0 == toll_usd_month((RENTED,), asked, unproved, "survive")


def test_what_is_outdone_is_left_out_and_nothing_else():
    """The same capacity for more money is left out; but not where it is another site that counts."""
    dear = with_(RENTED, name="dear", site="far", usd_month=200.0)
    twin = with_(RENTED, name="twin")

    assert (RENTED,) == not_outdone((RENTED, dear, twin), demand())
    assert (RENTED, dear) == not_outdone((RENTED, dear), demand(survive_site=True))
    assert (with_(RENTED, replicas_max=2), dear) == not_outdone(
        (with_(RENTED, replicas_max=2), dear), demand()
    )


GOOD = (Part(option="rented", held=3, on=(3, 2), rps=(4.0, 1.0)),)


@pytest.mark.parametrize(
    ("part", "asked", "rule"),
    [
        ({"rps": (3.0, 1.0)}, {}, "load"),
        ({"on": (1, 2), "held": 2}, {"survive": 0}, "capacity"),
        ({"on": (2, 2)}, {}, "survive"),
        ({"on": (3, 1)}, {}, "survive"),
        ({}, {"survive": 2}, "survive"),
        ({}, {"survive_site": True}, "survive_site"),
        ({}, {"budget_usd_month": 300.0}, "budget_usd_month"),
        ({}, {"kinds_max": 0}, "kinds_max"),
        ({}, {"bounds": (Bound(who="cloud", high=0.5),)}, "bounds"),
        ({}, {"bounds": (Bound(who="room", low=0.5),)}, "bounds"),
        ({"held": 9}, {}, "replicas_max"),
        ({"held": 2}, {}, "held"),
        ({}, {"quality_min": 1, "quality_failed_min": 0}, "quality"),
    ],
)  # fmt: skip
def test_the_proof_finds_what_is_broken(part, asked, rule):
    """A good mix with one thing wrong breaks the rule that says so."""
    wrong = (msgspec.structs.replace(GOOD[0], **part),)

    assert [] == check(GOOD, (RENTED,), demand())
    assert rule in {broken.rule for broken in check(wrong, (RENTED,), demand(**asked))}


def test_the_proof_looks_at_floors_and_at_what_is_always_on():
    """Spot alone breaks a floor, and an option that must be on may not be missing."""
    spot = (Part(option="spot", held=3, on=(3, 2), rps=(4.0, 1.0)),)

    assert [
        Broken(rule="spot_floor", where="period 1", wanted=2.0, found=0.0),
        Broken(rule="spot_floor", where="period 2", wanted=0.5, found=0.0),
    ] == check(spot, (SPOT,), demand(spot_floor=0.5))
    assert [Broken(rule="on_min", where="owned", wanted=1, found=0)] == check(
        GOOD, (RENTED, with_(OWNED, on_min=1)), demand()
    )


def found(options, asked) -> dict[str, tuple[str, float]]:
    assert find_mix(options, asked) is None
    none = nearest(options, asked)
    for failing in none.alone:
        answer = find_mix(options, failing.relaxed)
        assert failing.usd_month == pytest.approx(answer.usd_month)
        assert [] == check(answer.parts, options, failing.relaxed)
    return {failing.demand: (failing.nearest, failing.by) for failing in none.alone}


def test_a_budget_that_is_too_small_says_how_much_is_missing():
    """N-1 over the budget: pay more, survive nothing, wait for a start, or serve less."""
    near = found((RENTED,), demand(budget_usd_month=300.0))

    assert {"budget_usd_month", "survive", "patience_s", "load"} == set(near)
    assert ("$337.50", 37.5) == near["budget_usd_month"]
    assert ("0 replicas may fail", 1.0) == near["survive"]
    assert ("2 requests/s", 0.5) == (near["load"][0], pytest.approx(near["load"][1], abs=1e-4))


def test_a_load_that_is_too_high_says_what_can_be_served():
    """Four replicas, one of which may fail, serve six of eight requests a second."""
    few = with_(RENTED, replicas_max=4)
    near = found((few,), Demand(periods=(Period(8.0, 1.0),)))

    assert {"load", "survive"} == set(near)
    assert 0.25 == pytest.approx(near["load"][1], abs=1e-4)


def test_other_demands_give_way_as_far_as_they_must():
    """A floor, bounds and kinds are brought as near as can be, and not dropped."""
    rented = with_(RENTED, replicas_max=1)
    floor = found((rented, SPOT), demand(survive=0, spot_floor=1.0))
    bounds = found(
        (with_(OWNED, replicas_max=1), API),
        demand(survive=0, bounds=(Bound(who="owned", low=0.95),)),
    )
    kinds = found((rented, with_(SPOT, replicas_max=1)), demand(survive=0, kinds_max=1))

    assert 0.5 == pytest.approx(floor["spot_floor"][1], abs=1e-4)
    assert 0.95 - 5 / 7 == pytest.approx(bounds["bounds"][1], abs=1e-4)
    assert ("2 kinds", 1.0) == kinds["kinds_max"]


def test_choices_that_would_do_are_named():
    """A slower start or a lower class is named where it is enough."""
    cold = (with_(OWNED, replicas_max=3),)
    slow = found(cold, demand(budget_usd_month=270.0))
    lower = found((with_(RENTED, quality=1),), demand(quality_min=3))

    assert ("120 s", 110.0) == slow["patience_s"]
    assert ("class 1", 2.0) == lower["quality_min"]


def test_where_nothing_does_alone_what_must_go_together_is_named():
    """Two demands that each fail by themselves are both named, and the others are not."""
    asked = Demand(periods=(Period(4.0, 1.0),), survive_site=True, spot_floor=1.0, kinds_max=2)
    none = nearest((SPOT,), asked)

    assert ((), ("survive_site", "spot_floor"), 1.0) == (none.alone, none.together, none.load_kept)


def test_where_even_the_bare_load_fails_its_part_is_told():
    """One replica of two for a load of eight, nothing else asked: a quarter can be served."""
    few = with_(RENTED, replicas_max=1, on_min=1)
    none = nearest((few,), Demand(periods=(Period(8.0, 1.0),), survive=1))

    assert ((), (), pytest.approx(0.25)) == (none.alone, none.together, none.load_kept)


@pytest.mark.parametrize(
    ("options", "asked", "sentence"),
    [
        ((), {}, "there are no options"),
        ((RENTED, RENTED), {}, "two options have the same name"),
        ((RENTED,), {"spot_floor": 1.5}, "spot_floor is a part of the load"),
        ((with_(RENTED, usd_month_off=500.0),), {}, "rented costs more when it is off"),
        ((with_(RENTED, on_min=9),), {}, "rented: on_min is above its replicas"),
        ((with_(API, rate_rps=inf),), {}, "api has neither capacity nor rate"),
    ],
)  # fmt: skip
def test_input_without_sense_is_refused(options, asked, sentence):
    """What makes no sense is named, instead of being solved."""
    with pytest.raises(BaseloadError, match=sentence):
        find_mix(options, demand(**asked))


def test_without_scipy_one_is_told_what_to_install(monkeypatch):
    """The extra is named where it is missing."""
    monkeypatch.setitem(sys.modules, "scipy", None)

    with pytest.raises(BaseloadError, match=r"pip install 'baseload\[plan\]'"):
        find_mix((RENTED,), demand())


def test_calls_cost_what_a_month_of_them_costs():
    """An API alone costs its price for each call of a month of 730 hours."""
    answer = find_mix((API,), demand(survive=0))

    assert 1.75 * MONTH_S * 1e-3 == pytest.approx(answer.usd_month)
    assert 730 * 3600 == MONTH_S
