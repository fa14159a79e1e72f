"""The cheapest mix, found by trying every count: slow, and without a line of the solver's.

Written from the rules' words alone. Each set of held replicas is tried with each set of those that
are on, each loss that must be survived is taken away in turn, and calls go to the cheapest that are
on. A bound is tried for two options only, of which it means the first: then what goes there in a
period may be anything between what the second cannot take and what the first can.
"""

from collections.abc import Iterator
from itertools import combinations, product
from math import inf

from baseload.plan.mix.option import Demand, Option

NEAR = 1e-9
HOURS_S = 730 * 3600


def size(option: Option) -> float:
    present_s = inf if not option.interruptions_hour else 3600 / option.interruptions_hour
    share = 1.0 if present_s == inf else present_s / (present_s + option.start_s)
    return min(option.capacity_rps, option.rate_rps) * share


def serves(option: Option, demand: Demand) -> bool:
    return option.quality >= demand.quality_min and demand.weights in {"", option.weights}


def stands_in(option: Option, demand: Demand) -> bool:
    lower = demand.quality_failed_min
    return serves(option, demand) or (lower is not None and option.quality >= lower)


def cheapest(options: tuple[Option, ...], demand: Demand) -> float | None:
    """Give US dollars of a month, or None where nothing keeps the demand."""
    found = [usd for held in _counts(options) if (usd := _held(options, held, demand)) is not None]
    best = min(found, default=None)
    budget = demand.budget_usd_month
    return None if best is None or (budget is not None and best > budget) else best


def _counts(options: tuple[Option, ...]) -> Iterator[tuple[int, ...]]:
    return product(*(range(o.on_min, o.replicas_max + 1) for o in options))


def _held(options: tuple[Option, ...], held: tuple[int, ...], demand: Demand) -> float | None:
    if demand.kinds_max is not None and sum(map(bool, held)) > demand.kinds_max:
        return None
    every = []
    for number in range(len(demand.periods)):
        each = product(*(range(o.on_min, h + 1) for o, h in zip(options, held, strict=True)))
        every.append([on for on in each if _does(options, held, on, demand, number)])
    if demand.bounds:
        return min(
            (usd for ons in product(*every) for usd in _bound(options, held, ons, demand)),
            default=None,
        )
    total = 0.0
    for number, able in enumerate(every):
        if not able:
            return None
        total += min(
            _pay(options, held, on, demand, number) + _calls(options, on, demand, number)
            for on in able
        )
    return total


def _does(options, held, on, demand: Demand, number: int) -> bool:
    rps = demand.periods[number].rps
    if not rps:
        return True
    fit = [(o, n) for o, n in zip(options, on, strict=True) if serves(o, demand)]
    if sum(n * size(o) for o, n in fit) < rps - NEAR:
        return False
    if sum(n * size(o) for o, n in fit if o.tenure != "spot") < demand.spot_floor * rps - NEAR:
        return False
    reserve = [
        (o, h - n)
        for o, h, n in zip(options, held, on, strict=True)
        if stands_in(o, demand) and o.start_s <= demand.patience_s and o.tenure != "spot"
    ]
    running = [
        o for o, n in zip(options, on, strict=True) if stands_in(o, demand) for _ in range(n)
    ]
    losses = combinations(range(len(running)), min(demand.survive, len(running)))
    cold = sum(n * size(o) for o, n in reserve)
    for lost in losses:
        if cold + sum(size(o) for i, o in enumerate(running) if i not in lost) < rps - NEAR:
            return False
    if demand.survive_site:
        for site in {o.site for o in options}:
            left = sum(size(o) for o in running if o.site != site)
            if left + sum(n * size(o) for o, n in reserve if o.site != site) < rps - NEAR:
                return False
    return True


def _pay(options, held, on, demand: Demand, number: int) -> float:
    return demand.periods[number].hours_share * sum(
        n * o.usd_month + (h - n) * o.usd_month_off
        for o, h, n in zip(options, held, on, strict=True)
    )


def _calls(options, on, demand: Demand, number: int) -> float:
    left, usd = demand.periods[number].rps, 0.0
    for o, n in sorted(zip(options, on, strict=True), key=lambda pair: pair[0].usd_request):
        if serves(o, demand):
            taken = min(left, n * size(o))
            left -= taken
            usd += taken * HOURS_S * demand.periods[number].hours_share * o.usd_request
    return usd


def _bound(options, held, ons, demand: Demand) -> Iterator[float]:
    """Pay for two options, of which the first must take a part of all calls."""
    (first, second), (bound,) = options, demand.bounds
    total = sum(p.rps * p.hours_share for p in demand.periods)
    low = high = 0.0
    for period, (one, two) in zip(demand.periods, ons, strict=True):
        low += period.hours_share * max(0.0, period.rps - two * size(second))
        high += period.hours_share * min(period.rps, one * size(first))
    low, high = max(low, bound.low * total), min(high, bound.high * total)
    if low <= high + NEAR:
        taken = high if first.usd_request < second.usd_request else low
        usd = sum(_pay(options, held, on, demand, number) for number, on in enumerate(ons))
        yield usd + HOURS_S * (taken * first.usd_request + (total - taken) * second.usd_request)
