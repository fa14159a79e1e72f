"""What is each replica of a mix there for, and which may sleep?

Replicas of one option are counted through: the first ones are always on and serve (`base`; `floor`
where they are what stands below spot), the next ones serve in some periods (`peak`), further ones
are on and idle until another fails (`hot`), and the last are off until then (`cold`). Each pays for
its own hours and calls, so that roles add up to the option.

Not here: which counts are right (`program`).
"""

from math import ceil

import msgspec

from baseload.plan.mix.answer import Answer, Part
from baseload.plan.mix.option import MONTH_S, Demand, Option, is_cold_reserve
from baseload.plan.mix.reserve import mix_availability
from baseload.plan.result import Mix, Role, Share

NEAR = 1e-6
"""Of a replica: calls that need no further one."""


class Sleeper(msgspec.Struct, frozen=True, kw_only=True):
    """An option that is off altogether in some periods."""

    option: str
    periods: tuple[int, ...]
    """In which, from 0."""
    hours_share: float
    """Part of all hours."""
    saves_usd_month: float
    """Against the same replicas left on."""
    first_call_waits_s: float
    """What the first call waits if the replica starts only when that comes; 0: others answer."""
    is_alone: bool
    """Whether then nothing else is on."""


def shares_of(answer: Answer, options: tuple[Option, ...], demand: Demand) -> tuple[Share, ...]:
    """Give a mix's parts by role, those that cost most first."""
    named = {option.name: option for option in options}
    has_spot = any(named[part.option].is_spot for part in answer.parts)
    found = [
        share
        for part in answer.parts
        for share in _roles(part, named[part.option], demand, has_spot)
    ]
    return tuple(sorted(found, key=lambda share: (-share.usd_month, share.way, share.role)))


def mix_of(
    answer: Answer,
    options: tuple[Option, ...],
    demand: Demand,
    months: int,
    sites: dict[str, float] | None = None,
) -> Mix:
    """Give an answer as a plan has it; the horizon is so many equal months."""
    gap = answer.usd_month - answer.usd_month_bound
    why = "" if answer.is_optimal else f"not proved: others may cost ${gap:,.0f} less a month"
    return Mix(
        shares=shares_of(answer, options, demand),
        usd_month=answer.usd_month,
        usd_horizon=answer.usd_month * months,
        availability=mix_availability(answer.parts, options, demand, sites),
        is_optimal=answer.is_optimal,
        why=why,
    )


def sleepers(answer: Answer, options: tuple[Option, ...], demand: Demand) -> tuple[Sleeper, ...]:
    """Say what may be scaled to nothing, in which periods, and who waits for it."""
    named = {option.name: option for option in options}
    found = []
    for part in answer.parts:
        option = named[part.option]
        off = tuple(number for number, on in enumerate(part.on) if not on)
        if option.is_service or not off or len(off) == len(part.on):
            continue
        hours = sum(demand.periods[number].hours_share for number in off)
        others = [other for other in answer.parts if other is not part]
        is_alone = any(not any(other.on[number] for other in others) for number in off)
        found.append(
            Sleeper(
                option=part.option,
                periods=off,
                hours_share=hours,
                saves_usd_month=hours * part.held * (option.usd_month - option.usd_month_off),
                first_call_waits_s=option.start_s if is_alone else 0.0,
                is_alone=is_alone,
            )
        )
    return tuple(found)


def _roles(part: Part, option: Option, demand: Demand, has_spot: bool) -> list[Share]:
    busy = [ceil(rps / option.replica_rps - NEAR) for rps in part.rps]
    base, serving, on = min(busy), max(busy), max(part.on)
    standing_by: Role = "hot" if option.is_service and is_cold_reserve(option, demand) else "cold"
    always: Role = "floor" if has_spot and demand.spot_floor and not option.is_spot else "base"
    spans: tuple[tuple[Role, int, int], ...] = (
        (always, 0, base), ("peak", base, serving), ("hot", serving, on),
        (standing_by, on, part.held),
    )  # fmt: skip
    found = []
    for role, first, end in spans:
        if end > first:
            pairs = [_replica(part, option, demand, number) for number in range(first, end)]
            found.append(
                Share(
                    way=part.option,
                    role=role,
                    replicas=end - first,
                    share=sum(share for share, _ in pairs),
                    usd_month=sum(usd for _, usd in pairs),
                )
            )
    return found


def _replica(part: Part, option: Option, demand: Demand, number: int) -> tuple[float, float]:
    """Give which part of all calls one replica takes, and what it costs a month."""
    calls = sum(period.rps * period.hours_share for period in demand.periods)
    taken = usd = 0.0
    for period, on, rps in zip(demand.periods, part.on, part.rps, strict=True):
        mine = rps - number * option.replica_rps
        mine = max(0.0, mine if number == on - 1 else min(option.replica_rps, mine))
        price = option.usd_month if number < on else option.usd_month_off
        mine = mine if number < on else 0.0
        taken += period.hours_share * mine
        usd += period.hours_share * (price + mine * MONTH_S * option.usd_request)
    return (taken / calls if calls else 0.0), usd
