"""Which mix is the cheapest, and what does each demand on it cost?

The solver's answer is proved (`proof.check`) before it is given, because HiGHS has given wrong ones
to small programmes (scipy/scipy#24141); one that does not hold is sought again by another way.

Not here: the rules (`option`), what to do where nothing keeps them (`nearest`).
"""

import msgspec

from baseload.errors import BaseloadError
from baseload.plan.mix.answer import Answer, Part, answer_of
from baseload.plan.mix.option import (
    Demand,
    Option,
    is_cold_reserve,
    is_meant,
    may_serve,
    may_stand_in,
    require_sound,
)
from baseload.plan.mix.program import solve
from baseload.plan.mix.proof import Broken, check

LIMIT_S = 10.0
SAME = 1e-12
RELAXED: dict[str, int | bool | float | str | tuple[()] | None] = {
    "survive": 0, "survive_site": False, "spot_floor": 0.0, "bounds": (), "kinds_max": None,
    "weights": "", "quality_min": 0, "budget_usd_month": None,
}  # fmt: skip
"""What each demand is when nothing is asked."""


def find_mix(
    options: tuple[Option, ...], demand: Demand, limit_s: float = LIMIT_S
) -> Answer | None:
    """Find the cheapest mix that keeps a demand; None where there is none.

    After `limit_s` seconds the best that was found is given, with `is_optimal` false and how low
    others might be. Raises `BaseloadError` where input makes no sense, SciPy is missing, or nothing
    was found in time.
    """
    require_sound(options, demand)
    kept = not_outdone(options, demand)
    broken: list[Broken] = []
    for is_presolved in (False, True):
        if (found := solve(kept, demand, limit_s, is_presolved)) is None:
            return None
        if not (broken := check(found.parts, options, demand)):
            parts = _trimmed(found.parts, options, demand)
            return answer_of(
                parts,
                options,
                demand,
                found.is_optimal,
                min(found.usd_month_bound, found.usd_month),
            )
    raise BaseloadError(f"mix: the solver's answer does not keep {broken[0].rule}")


def without(demand: Demand, name: str) -> Demand:
    """Give a demand that does not ask for one thing, by its field."""
    return msgspec.structs.replace(demand, **{name: RELAXED[name]})


def asked(demand: Demand) -> tuple[str, ...]:
    """Give the fields that ask for something."""
    return tuple(name for name, nothing in RELAXED.items() if getattr(demand, name) != nothing)


def toll_usd_month(
    options: tuple[Option, ...], demand: Demand, answer: Answer, name: str, limit_s: float = LIMIT_S
) -> float:
    """Give what one thing that is asked adds to the month; 0 where that was not proved.

    It is the mix's cost less that of the cheapest without it.
    """
    if not answer.is_optimal:
        return 0.0
    bare = find_mix(options, without(demand, name), limit_s)
    return max(0.0, answer.usd_month - bare.usd_month) if bare and bare.is_optimal else 0.0


def not_outdone(options: tuple[Option, ...], demand: Demand) -> tuple[Option, ...]:
    """Leave out what another option does as well for no more money, in any number.

    Each of its replicas could be changed for one of the other's without breaking a rule or adding
    cost, so that some cheapest mix has none of it. Of two that are alike the first stays.
    """
    peak = max(period.rps for period in demand.periods)
    kept = []
    for place, option in enumerate(options):
        rivals = [
            rival
            for other, rival in enumerate(options)
            if other != place and _outdoes(rival, option, demand, peak)
            if other < place or not _outdoes(option, rival, demand, peak)
        ]
        if not rivals:
            kept.append(option)
    return tuple(kept)


def _outdoes(rival: Option, option: Option, demand: Demand, peak: float) -> bool:
    enough = peak / rival.replica_rps + demand.survive + 1
    return (
        not option.on_min
        and rival.most >= enough
        and abs(rival.replica_rps - option.replica_rps) <= SAME * option.replica_rps
        and rival.usd_month <= option.usd_month
        and rival.usd_month_off <= option.usd_month_off
        and rival.usd_request <= option.usd_request
        and may_serve(rival, demand) >= may_serve(option, demand)
        and may_stand_in(rival, demand) >= may_stand_in(option, demand)
        and is_cold_reserve(rival, demand) >= is_cold_reserve(option, demand)
        and rival.is_spot <= option.is_spot
        and (rival.site == option.site or not demand.survive_site)
        and all(is_meant(rival, bound) == is_meant(option, bound) for bound in demand.bounds)
    )


def _trimmed(
    parts: tuple[Part, ...], options: tuple[Option, ...], demand: Demand
) -> tuple[Part, ...]:
    """Let go of what costs nothing and is not needed, so that people run fewer things."""
    for part in reversed(parts):
        rest = tuple(other for other in parts if other is not part)
        if not any(part.rps) and not check(rest, options, demand):
            parts = rest
            continue
        for held in range(max(part.on), part.held):
            less = msgspec.structs.replace(part, held=held)
            fewer = tuple(less if other is part else other for other in parts)
            if not check(fewer, options, demand):
                parts = fewer
                break
    return parts
