"""Which ways together? From ways to options of the optimiser, and back to a plan's mix.

The mix has two demands that a single way does not have: load changes over the day, so that what is
paid by the hour may be off at night, and spot is never all there is. What may fail at once is one
unit of anything, an API as a whole.

Not here: the optimiser (`mix`), ways (`sizing`, `offers`).
"""

from baseload.errors import BaseloadError
from baseload.plan.catalog.rows import ApiPrice
from baseload.plan.cost.rented import Rental
from baseload.plan.cost.terms import DAYS_MONTH, HOURS_MONTH
from baseload.plan.mix.answer import Answer
from baseload.plan.mix.mixing import find_mix, without
from baseload.plan.mix.nearest import nearest
from baseload.plan.mix.option import Demand, Option
from baseload.plan.mix.periods import periods_of
from baseload.plan.mix.roles import mix_of
from baseload.plan.request import Request
from baseload.plan.result import Mix, Refused, Way
from baseload.plan.settings import with_settings
from baseload.plan.sizing import Sized

SPOT_FLOOR = 0.5
"""Part of the load that is not left to spot; `--set mix.spot_floor` changes it."""
KINDS_MAX = 3
"""Different ways that people would run; `--set mix.kinds_max` changes it."""
LIMIT_S = 1.0
"""Seconds that the optimiser may take for the best it can prove."""
SPARE = 3
"""Times the units that the load alone takes, up to which an option may be used."""
API_RPS = 1e4
"""What an API takes: no provider says, so it is no bound."""


def options_of(
    ways: list[Sized], apis: list[tuple[Way, ApiPrice]], request: Request
) -> tuple[Option, ...]:
    """Give what the mix may be made of."""
    calls = request.load.requests_day * DAYS_MONTH
    served = [
        Option(
            name=way.name, site=way.cloud, tenure="api", capacity_rps=API_RPS,
            usd_request=way.usd_month / calls, availability=way.availability,
        )
        for way, _ in apis
    ]  # fmt: skip
    return (*(_option(sized, request) for sized in ways), *served)


def _option(sized: Sized, request: Request) -> Option:
    way, unit = sized.way, sized.unit
    every = sized.units + request.objectives.survive
    most = max(1, sized.units) * SPARE + request.objectives.survive
    if unit.place.machines_max is not None:
        most = min(most, unit.place.machines_max // unit.machines)
    return Option(
        name=way.name, site=unit.place.site, tenure=way.tenure,
        capacity_rps=unit.rps(request.objectives), usd_month=way.usd_month / every,
        usd_month_off=min(sized.idle_usd_month, way.usd_month / every), replicas_max=most,
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
    base = Demand(
        periods=periods_of(request.load), survive=request.objectives.survive,
        spot_floor=SPOT_FLOOR, kinds_max=KINDS_MAX,
    )  # fmt: skip
    return with_settings(base, "mix", request.settings)


def mixed(
    options: tuple[Option, ...], request: Request
) -> tuple[Mix | None, list[str], list[Refused]]:
    """Give the cheapest mix, with notes; or why there is none."""
    if not options:
        return None, [], []
    demand = demand_of(request)
    try:
        answer = find_mix(options, demand, LIMIT_S)
    except BaseloadError as error:
        return None, [f"no mix: {error}"], []
    if answer is None:
        return None, [], _refusals(options, demand)
    mix = mix_of(answer, options, demand, request.months)
    return mix, _notes(answer, options, demand), []


def _notes(answer: Answer, options: tuple[Option, ...], demand: Demand) -> list[str]:
    """Say what surviving a failure adds to the month."""
    if not demand.survive or not answer.is_optimal:
        return []
    bare = find_mix(options, without(demand, "survive"), LIMIT_S)
    if bare is None or not bare.is_optimal:
        return []
    if (usd := answer.usd_month - bare.usd_month) < 1.0:
        return []
    return [f"Surviving the loss of any one machine or API adds ${usd:,.0f} a month to the mix."]


def _refusals(options: tuple[Option, ...], demand: Demand) -> list[Refused]:
    found = nearest(options, demand, LIMIT_S)
    return [
        Refused(
            name="mix", objective=each.demand, wanted=each.wanted, found="nothing does",
            nearest=f"{each.nearest}: ${each.usd_month:,.0f} a month",
        )
        for each in found.alone
    ]  # fmt: skip
