"""How often do enough replicas stand?

Replicas stand or not, each by itself: with k needed of n, the availability is the upper tail of a
binomial distribution; kinds of different capacity are folded together, and sites with all that is
in them may fail as well. That failures are independent is an assumption: a bad release, a full
provider or a cut fibre takes many at once, so that the figures are what hardware alone allows.

Not here: what must stand (`option`), how long a repair takes (it is an input).
"""

from itertools import product
from math import exp, fsum, lgamma, log, log1p

from baseload.errors import BaseloadError
from baseload.plan.mix.answer import Part
from baseload.plan.mix.option import Demand, Option, is_cold_reserve, may_stand_in

ACCELERATOR_HOURS_A_STOP = 50_700.0
"""419 unexpected stops in 54 days on 16,384 H100 (Meta's Llama 3 405B, as told by
datacenterdynamics.com, seen 2026-11-26): one for about 50,700 hours of one accelerator. An 8-GPU
machine stops every 264 days. Training stresses them otherwise than serving does."""
SITES_MAX = 12
RARE = 1e-15
ROUNDING = 1e-9


def replica_availability(
    accelerators: int, away_hours: float, hours_a_stop: float = ACCELERATOR_HOURS_A_STOP
) -> float:
    """Give the part of the time in which a replica stands: MTBF / (MTBF + time away).

    Each of its accelerators stops once in `hours_a_stop`, and any stop takes it away for
    `away_hours`: until the machine is repaired, or another one has started in its place.
    """
    between = hours_a_stop / accelerators
    return between / (between + away_hours)


def availability(replica: float, needed: int, have: int) -> float:
    """Give the part of the time in which at least `needed` of `have` replicas stand."""
    return min(1.0, fsum(_standing(replica, have)[max(0, needed) :]))


def _standing(replica: float, have: int) -> list[float]:
    """Give the probability that exactly 0, 1, ... of them stand."""
    if replica <= 0.0 or replica >= 1.0:
        certain = have if replica >= 1.0 else 0
        return [1.0 if up == certain else 0.0 for up in range(have + 1)]
    up_log, down_log = log(replica), log1p(-replica)
    ways = lgamma(have + 1)
    return [
        exp(ways - lgamma(up + 1) - lgamma(have - up + 1) + up * up_log + (have - up) * down_log)
        for up in range(have + 1)
    ]


def sites_availability(sites: tuple[float, ...]) -> float:
    """Give the part of the time in which at least one of several whole sites stands.

    Two of 99.5 % give 99.9975 %, if they are independent and callers move at once.
    """
    down = 1.0
    for each in sites:
        down *= 1.0 - each
    return 1.0 - down


def mix_availability(
    parts: tuple[Part, ...],
    options: tuple[Option, ...],
    demand: Demand,
    sites: dict[str, float] | None = None,
) -> float:
    """Give the part of the time in which what stands can take the load.

    `sites` has the availability of sites that may fail as a whole; others do not. A cold reserve
    that starts within patience counts as standing. Each period counts by its hours. What is too
    rare to matter counts as failed.
    """
    named = {option.name: option for option in options}
    pairs = [
        (named[part.option], part) for part in parts if may_stand_in(named[part.option], demand)
    ]
    chances = sites or {}
    failing = sorted({o.site for o, _ in pairs if chances.get(o.site, 1.0) < 1.0})
    if len(failing) > SITES_MAX:
        raise BaseloadError(f"mix: more than {SITES_MAX} sites may fail")
    total = 0.0
    for standing in product((True, False), repeat=len(failing)):
        gone = {site for site, stands in zip(failing, standing, strict=True) if not stands}
        chance = 1.0
        for site in failing:
            chance *= 1.0 - chances[site] if site in gone else chances[site]
        there = [(option, part) for option, part in pairs if option.site not in gone]
        total += chance * _hours(there, demand)
    return min(1.0, total)


def _hours(pairs: list[tuple[Option, Part]], demand: Demand) -> float:
    return fsum(
        period.hours_share * _enough(pairs, demand, number, period.rps)
        for number, period in enumerate(demand.periods)
    )


def _enough(pairs: list[tuple[Option, Part]], demand: Demand, number: int, rps: float) -> float:
    """Give the probability that capacities of what stands add up to the load."""
    wanted = rps * (1.0 - ROUNDING)
    sums = {0.0: 1.0}
    for option, part in pairs:
        have = part.held if is_cold_reserve(option, demand) else part.on[number]
        chances = _standing(option.availability, have)
        folded: dict[float, float] = {}
        for before, chance in sums.items():
            for up, each in enumerate(chances):
                both = chance * each
                if both < RARE:
                    continue
                after = before + up * option.replica_rps
                after = wanted if after >= wanted else round(after, 9)
                folded[after] = folded.get(after, 0.0) + both
        sums = folded
    return fsum(chance for found, chance in sums.items() if found >= wanted)
