"""Does a mix keep what was asked?

Each rule of `option` is worked out anew from the counts, without the solver's rows, so that an
answer is proved by something that did not make it. Sums over what may fail are tried out: the
largest replicas are taken away, or a site.

Not here: whether something else were cheaper (the solver says whether it proved that).
"""

from heapq import nlargest

import msgspec

from baseload.plan.mix.answer import Part, part_usd
from baseload.plan.mix.option import (
    Demand,
    Option,
    call_share,
    is_cold_reserve,
    is_meant,
    may_serve,
    may_stand_in,
)

TOLERANCE = 1e-6
"""Of a load or a sum of money: what the solver may round."""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that a mix does not keep."""

    rule: str
    """`load`, `survive`, `survive_site`, `spot_floor`, `bounds`, `kinds_max`, ..."""
    where: str
    """The period, option or site."""
    wanted: float
    found: float


Pairs = list[tuple[Option, Part]]


def check(parts: tuple[Part, ...], options: tuple[Option, ...], demand: Demand) -> list[Broken]:
    """Give all rules that a mix breaks; none: it keeps the demand.

    Raises `KeyError` where a part is of an option that is not there.
    """
    named = {option.name: option for option in options}
    pairs = [(named[part.option], part) for part in parts]
    missing = {option.name for option in options if option.on_min} - {p.option for p in parts}
    broken = [
        Broken(rule="on_min", where=name, wanted=named[name].on_min, found=0)
        for name in sorted(missing)
    ]
    for option, part in pairs:
        broken += _counts(option, part, demand)
    for number, period in enumerate(demand.periods):
        if period.rps > 0:
            broken += _period(pairs, demand, number, period.rps)
    return broken + _whole(pairs, demand)


def _less(found: float, wanted: float) -> bool:
    return found < wanted - TOLERANCE * max(abs(wanted), TOLERANCE)


def _counts(option: Option, part: Part, demand: Demand) -> list[Broken]:
    broken: list[tuple[str, float, float]] = []
    if part.held > option.most:
        broken.append(("replicas_max", option.most, part.held))
    if min(part.on) < option.on_min:
        broken.append(("on_min", option.on_min, min(part.on)))
    if max(part.on) > part.held:
        broken.append(("held", part.held, max(part.on)))
    for on, rps, period in zip(part.on, part.rps, demand.periods, strict=True):
        if rps and not may_serve(option, demand):
            broken.append(("quality", 0.0, rps))
        if _less(on * option.replica_rps, rps) and rps > TOLERANCE * period.rps:
            broken.append(("capacity", on * option.replica_rps, rps))
    return [
        Broken(rule=rule, where=option.name, wanted=wanted, found=found)
        for rule, wanted, found in broken
    ]


def _period(pairs: Pairs, demand: Demand, number: int, rps: float) -> list[Broken]:
    where = f"period {number + 1}"
    asked = [
        ("load", where, rps, sum(part.rps[number] for _, part in pairs)),
        ("spot_floor", where, demand.spot_floor * rps, _steady(pairs, demand, number)),
    ]
    if demand.survive:
        left = _ready(pairs, demand, number) - _lost(pairs, demand, number)
        asked.append(("survive", where, rps, left))
    if demand.survive_site:
        for site in sorted({option.site for option, _ in pairs}):
            there = [(option, part) for option, part in pairs if option.site != site]
            asked.append(("survive_site", f"{where}, {site}", rps, _ready(there, demand, number)))
    return [
        Broken(rule=rule, where=where, wanted=wanted, found=found)
        for rule, where, wanted, found in asked
        if _less(found, wanted)
    ]


def _steady(pairs: Pairs, demand: Demand, number: int) -> float:
    """Give what can be served without spot."""
    return sum(
        part.on[number] * option.replica_rps
        for option, part in pairs
        if not option.is_spot and may_serve(option, demand)
    )


def _ready(pairs: Pairs, demand: Demand, number: int) -> float:
    """Give what can be taken when something fails: by what is on, or can be soon."""
    return sum(
        (part.held if is_cold_reserve(option, demand) else part.on[number]) * option.replica_rps
        for option, part in pairs
        if may_stand_in(option, demand)
    )


def _lost(pairs: Pairs, demand: Demand, number: int) -> float:
    """Give what the worst replicas that are on take with them."""
    each = [
        option.replica_rps
        for option, part in pairs
        if may_stand_in(option, demand)
        for _ in range(part.on[number])
    ]
    return sum(nlargest(demand.survive, each))


def _whole(pairs: Pairs, demand: Demand) -> list[Broken]:
    """Look at rules about all periods together."""
    shares = call_share(demand)
    broken = []
    for bound in demand.bounds:
        taken = sum(
            share * part.rps[number] / period.rps
            for option, part in pairs
            if is_meant(option, bound)
            for number, (share, period) in enumerate(zip(shares, demand.periods, strict=True))
            if period.rps > 0
        )
        if taken < bound.low - TOLERANCE or taken > bound.high + TOLERANCE:
            edge = bound.low if taken < bound.low else bound.high
            broken.append(Broken(rule="bounds", where=bound.who, wanted=edge, found=taken))
    if demand.kinds_max is not None and len(pairs) > demand.kinds_max:
        broken.append(Broken(rule="kinds_max", where="", wanted=demand.kinds_max, found=len(pairs)))
    usd = sum(sum(part_usd(part, option, demand)) for option, part in pairs)
    budget = demand.budget_usd_month
    if budget is not None and _less(-usd, -budget):
        broken.append(Broken(rule="budget_usd_month", where="", wanted=budget, found=usd))
    return broken
