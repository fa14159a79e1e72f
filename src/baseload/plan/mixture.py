"""Which ways together? From ways to options of the optimiser, and back to a plan's mix.

The mix has two demands that a single way does not have: load changes over the day, so that what is
paid by the hour may be off at night, and spot is never all there is, unless nothing else may be
used. What may fail at once is one unit of anything, an API as a whole.

A unit costs here what it costs in a way of its own: what owning costs whatever its size (staff,
access to the internet) is shared out among the units that the whole load takes, so that a few own
machines beside others look a little cheaper than they are.

Not here: the optimiser (`mix`), ways (`sizing`, `offers`).
"""

import msgspec

from baseload.errors import BaseloadError
from baseload.plan.cost.rented import Rental
from baseload.plan.cost.terms import DAYS_MONTH, HOURS_MONTH
from baseload.plan.mix.answer import Answer
from baseload.plan.mix.mixing import find_mix, toll_usd_month
from baseload.plan.mix.nearest import nearest
from baseload.plan.mix.option import Demand, Option, require_sound
from baseload.plan.mix.periods import periods_of
from baseload.plan.mix.proof import check
from baseload.plan.mix.roles import mix_of, sleepers
from baseload.plan.request import Request
from baseload.plan.result import Mix, Refused, Way
from baseload.plan.settings import with_settings
from baseload.plan.sizing import Sized, fixed_and_each

SPOT_FLOOR = 0.5
"""Part of the load that is not left to spot; `--set mix.spot_floor` changes it."""
KINDS_MAX = 3
"""Different ways that people would run; `--set mix.kinds_max` changes it."""
LIMIT_S = 1.0
"""Seconds that the optimiser may take for the best it can prove."""
SPARE = 3
"""Times the units that the load alone takes, up to which an option may be used."""
API_RPS = 1e6
"""What an API takes: no provider says, so it is no bound."""
NEVER_S = 1e9
"""An API's start, so that one which only stands by counts as on: it may be down as well."""
NO_MIX = "No mix keeps what was asked of it; each way is reckoned by itself."


def options_of(ways: list[Sized], apis: list[Way], request: Request) -> tuple[Option, ...]:
    """Give what the mix may be made of; of APIs that fail together, a provider's, the cheapest."""
    calls = request.load.requests_day * DAYS_MONTH
    by_host: dict[str, Way] = {}
    for way in sorted(apis, key=lambda each: each.usd_month):
        by_host.setdefault(way.cloud, way)
    served = [
        Option(
            name=way.name, site=way.cloud, tenure="api", capacity_rps=API_RPS,
            usd_request=way.usd_month / calls, availability=way.availability, start_s=NEVER_S,
        )
        for way in by_host.values()
    ]  # fmt: skip
    return (*(_option(sized, request) for sized in ways if _can(sized)), *served)


def _can(sized: Sized) -> bool:
    """Say whether there are machines for one unit at all."""
    most = sized.unit.place.machines_max
    return most is None or most >= sized.unit.machines


def _option(sized: Sized, request: Request) -> Option:
    way, unit = sized.way, sized.unit
    every = sized.units + request.objectives.survive
    most = sized.units * SPARE + request.objectives.survive
    if unit.place.machines_max is not None:
        most = min(most, unit.place.machines_max // unit.machines)
    fixed, each = fixed_and_each(sized, request)
    usd_month = each + fixed / min(every, most)
    return Option(
        name=way.name, site=unit.place.site, tenure=way.tenure,
        capacity_rps=unit.rps(request.objectives), usd_month=usd_month,
        usd_month_off=min(sized.idle_usd_month, usd_month), replicas_max=most,
        start_s=sized.start_s, availability=sized.stands,
        interruptions_hour=_interruptions(sized, request),
    )  # fmt: skip


def _interruptions(sized: Sized, request: Request) -> float:
    if sized.way.tenure != "spot":
        return 0.0
    rental = with_settings(Rental(usd_hour=0.0), "rented", request.settings)
    return rental.interruptions_month / HOURS_MONTH


def demand_of(request: Request) -> Demand:
    """Give what is asked of the mix."""
    has_other = any(tenure != "spot" for tenure in request.tenures)
    base = Demand(
        periods=periods_of(request.load), survive=request.objectives.survive,
        spot_floor=SPOT_FLOOR if has_other else 0.0, kinds_max=KINDS_MAX,
    )  # fmt: skip
    return with_settings(base, "mix", request.settings)


def mixed(
    options: tuple[Option, ...], ways: list[Sized], request: Request
) -> tuple[Mix | None, list[str], list[Refused]]:
    """Give the cheapest mix, with notes; or why there is none.

    Raises BaseloadError for a setting of the mix that makes no sense. Without a solver, or where it
    finds nothing in time, the plan has no mix, and a note says so.
    """
    if not options:
        return None, [], []
    demand = demand_of(request)
    require_sound(options, demand)
    try:
        answer = find_mix(options, demand, LIMIT_S)
    except BaseloadError as error:
        return None, [f"no mix: {error}"], []
    if answer is None:
        return None, [NO_MIX], _refusals(options, demand)
    answer = _cheaper_standby(answer, options, demand)
    mix = in_replicas(mix_of(answer, options, demand, request.months), ways)
    return mix, _notes(answer, options, demand), []


def _cheaper_standby(answer: Answer, options: tuple[Option, ...], demand: Demand) -> Answer:
    """Let the API whose calls cost least be the one that is only called when others fail.

    Until then none of them costs anything, so that the optimiser has no choice to make.
    """
    calls = {option.name: option.usd_request for option in options if option.tenure == "api"}
    parts = list(answer.parts)
    for place, part in enumerate(parts):
        if part.option not in calls or any(part.rps):
            continue
        taken = {other.option for other in parts}
        for name in sorted(calls.keys() - taken, key=lambda name: calls[name]):
            other = msgspec.structs.replace(part, option=name)
            tried = (*parts[:place], other, *parts[place + 1 :])
            if calls[name] < calls[part.option] and not check(tried, options, demand):
                parts[place] = other
                break
    return msgspec.structs.replace(answer, parts=tuple(parts))


def in_replicas(mix: Mix, ways: list[Sized]) -> Mix:
    """Count replicas, where the optimiser counted units."""
    each = {sized.way.name: sized.unit.replicas for sized in ways}
    shares = tuple(
        msgspec.structs.replace(share, replicas=share.replicas * each.get(share.way, 1))
        for share in mix.shares
    )
    return msgspec.structs.replace(mix, shares=shares)


def _notes(answer: Answer, options: tuple[Option, ...], demand: Demand) -> list[str]:
    """Say what may sleep, and what surviving a failure and the floor below spot add."""
    notes = [
        f"{each.option} is off for {each.hours_share:.0%} of all hours, which saves"
        f" ${each.saves_usd_month:,.0f} a month; it takes {named.start_s / 60:.0f} minutes to come"
        " back, so start it before the load does."
        for each in sleepers(answer, options, demand)
        for named in options
        if named.name == each.option
    ]
    count = demand.survive
    what = "any one machine or API" if count == 1 else f"any {count} machines or APIs"
    if count and (usd := toll_usd_month(options, demand, answer, "survive", LIMIT_S)) >= 1.0:
        notes.append(f"Surviving the loss of {what} adds ${usd:,.0f} a month to the mix.")
    has_both = any(each.is_spot for each in options) and demand.spot_floor > 0
    if has_both and (usd := toll_usd_month(options, demand, answer, "spot_floor", LIMIT_S)) >= 1.0:
        notes.append(
            f"That {demand.spot_floor:.0%} of the load can be taken without spot adds ${usd:,.0f} a"
            " month; --set mix.spot_floor=0 leaves all to spot."
        )
    return notes


def _refusals(options: tuple[Option, ...], demand: Demand) -> list[Refused]:
    found = nearest(options, demand, LIMIT_S)
    if found.together:
        return [
            Refused(
                name="mix", objective=found.together[0], wanted=", ".join(found.together),
                found="nothing does", nearest=f"without {' and '.join(found.together)}",
            )
        ]  # fmt: skip
    if not found.alone:
        peak = max(period.rps for period in demand.periods)
        kept = peak * found.load_kept
        return [
            Refused(
                name="mix", objective="load", wanted=f"{peak:,g} requests/s",
                found=f"{kept:,.3g} requests/s, with nothing else asked",
                over=peak / kept - 1 if kept else None,
            )
        ]  # fmt: skip
    return [
        Refused(
            name="mix", objective=each.demand, wanted=each.wanted, found="nothing does",
            nearest=each.nearest
            if each.demand == "budget_usd_month"
            else f"{each.nearest}: ${each.usd_month:,.0f} a month",
        )
        for each in found.alone
    ]  # fmt: skip
