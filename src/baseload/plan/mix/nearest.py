"""Where no mix keeps a demand: what fails, by how much, and what is the nearest that works?

Each thing that is asked gives way in turn while all others are kept. Where it is a number, the
solver brings it as near as it can (an elastic programme, with the slack as what is to be least);
where it is a choice, the next ones are tried. Where nothing works alone, all but the load give way,
and what can be asked again is, one after another; what is left must go together.

Not here: what the demands mean (`option`).
"""

from collections.abc import Iterator

import msgspec

from baseload.plan.mix.answer import Answer
from baseload.plan.mix.mixing import LIMIT_S, asked, find_mix, not_outdone, without
from baseload.plan.mix.option import Bound, Demand, Option, Period
from baseload.plan.mix.program import Program

TRIES_MAX = 8
"""Other choices that are tried for one demand."""
INSIDE = 1e-6
"""How much the nearest stays off its edge, so that rounding does not break it."""


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """One demand that could give way, and what would do."""

    demand: str
    """A field of `Demand`; `load` for its periods."""
    wanted: str
    nearest: str
    by: float
    """By how much they differ: a part of the load or of calls, a count, dollars, seconds."""
    usd_month: float
    """What the cheapest mix costs then."""
    relaxed: Demand
    """The demand that works."""


class NoMix(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no mix."""

    alone: tuple[Failing, ...]
    """Each of these would do, least cost first."""
    together: tuple[str, ...] = ()
    """Where none would: demands that must go together; empty where even the bare load fails."""
    load_kept: float = 1.0
    """Part of the load that can be served if nothing else is asked."""


def nearest(options: tuple[Option, ...], demand: Demand, limit_s: float = LIMIT_S) -> NoMix:
    """Say what could give way, for a demand that no mix keeps. `limit_s` holds for each try."""
    alone = tuple(
        sorted(
            (found for found in _alone(options, demand, limit_s)),
            key=lambda failing: failing.usd_month,
        )
    )
    if alone:
        return NoMix(alone=alone)
    bare = demand
    for name in asked(demand):
        bare = without(bare, name)
    if find_mix(options, bare, limit_s) is None:
        kept = _knob(options, bare, "load", limit_s)
        return NoMix(alone=(), load_kept=0.0 if kept is None else kept)
    for name in asked(demand):
        tried = msgspec.structs.replace(bare, **{name: getattr(demand, name)})
        if find_mix(options, tried, limit_s) is not None:
            bare = tried
    together = tuple(name for name in asked(demand) if getattr(bare, name) != getattr(demand, name))
    return NoMix(alone=(), together=together)


def _alone(options: tuple[Option, ...], demand: Demand, limit_s: float) -> Iterator[Failing]:
    for name, tries in _tries(options, demand, limit_s).items():
        for relaxed, wanted, near, by in tries:
            if (found := find_mix(options, relaxed, limit_s)) is not None:
                yield _failing(name, wanted, near, by, found, relaxed)
                break


Try = tuple[Demand, str, str, float]


def _failing(
    name: str, wanted: str, near: str, by: float, found: Answer, relaxed: Demand
) -> Failing:
    if name == "budget_usd_month":
        usd = found.usd_month
        by, near = usd - by, f"${usd:,.2f}"
        relaxed = msgspec.structs.replace(relaxed, budget_usd_month=usd * (1 + INSIDE))
    return Failing(
        demand=name, wanted=wanted, nearest=near, by=by, usd_month=found.usd_month, relaxed=relaxed
    )


def _tries(options: tuple[Option, ...], demand: Demand, limit_s: float) -> dict[str, Iterator[Try]]:
    """Give for each demand what might do instead, nearest first."""
    return {
        "load": _load(options, demand, limit_s),
        "survive": _survive(demand),
        "survive_site": _survive_site(demand),
        "spot_floor": _spot_floor(options, demand, limit_s),
        "bounds": _bounds(options, demand, limit_s),
        "kinds_max": _kinds(options, demand, limit_s),
        "budget_usd_month": _budget(demand),
        "quality_min": _quality(options, demand),
        "patience_s": _patience(options, demand),
    }


def _knob(options: tuple[Option, ...], demand: Demand, give: str, limit_s: float) -> float | None:
    """Bring one demand as near as it can be; None where that does not help."""
    program = Program(not_outdone(options, demand), demand, give)
    solution = program.matrix.solve(limit_s)
    return None if solution is None else program.kept(solution)


def _load(options: tuple[Option, ...], demand: Demand, limit_s: float) -> Iterator[Try]:
    kept = _knob(options, demand, "load", limit_s)
    if kept is None or kept <= INSIDE:
        return
    kept *= 1.0 - INSIDE
    periods = tuple(Period(period.rps * kept, period.hours_share) for period in demand.periods)
    peak = max(period.rps for period in demand.periods)
    relaxed = msgspec.structs.replace(demand, periods=periods)
    yield relaxed, f"{peak:g} requests/s", f"{peak * kept:.4g} requests/s", 1.0 - kept


def _survive(demand: Demand) -> Iterator[Try]:
    for count in reversed(range(demand.survive)):
        relaxed = msgspec.structs.replace(demand, survive=count)
        yield relaxed, _replicas(demand.survive), _replicas(count), float(demand.survive - count)


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'} may fail"


def _survive_site(demand: Demand) -> Iterator[Try]:
    if demand.survive_site:
        yield without(demand, "survive_site"), "any site may fail", "no whole site may fail", 1.0


def _spot_floor(options: tuple[Option, ...], demand: Demand, limit_s: float) -> Iterator[Try]:
    floor = demand.spot_floor
    if floor and (kept := _knob(options, demand, "spot_floor", limit_s)) is not None:
        near = max(0.0, floor * kept - INSIDE)
        relaxed = msgspec.structs.replace(demand, spot_floor=near)
        yield relaxed, f"{floor:.1%} without spot", f"{near:.1%}", floor - near


def _bounds(options: tuple[Option, ...], demand: Demand, limit_s: float) -> Iterator[Try]:
    if not demand.bounds or (missed := _knob(options, demand, "bounds", limit_s)) is None:
        return
    missed += INSIDE
    wider = tuple(
        Bound(who=bound.who, low=max(0.0, bound.low - missed), high=min(1.0, bound.high + missed))
        for bound in demand.bounds
    )
    relaxed = msgspec.structs.replace(demand, bounds=wider)
    yield relaxed, _shares(demand.bounds), _shares(wider), missed


def _shares(bounds: tuple[Bound, ...]) -> str:
    return ", ".join(f"{bound.who} {bound.low:.1%} to {bound.high:.1%}" for bound in bounds)


def _kinds(options: tuple[Option, ...], demand: Demand, limit_s: float) -> Iterator[Try]:
    if (most := demand.kinds_max) is None:
        return
    if (least := _knob(options, demand, "kinds_max", limit_s)) is not None:
        count = round(least)
        relaxed = msgspec.structs.replace(demand, kinds_max=count)
        yield relaxed, f"{most} kinds at most", f"{count} kinds", float(count - most)


def _budget(demand: Demand) -> Iterator[Try]:
    if (budget := demand.budget_usd_month) is not None:
        yield without(demand, "budget_usd_month"), f"${budget:,.2f}", "", budget


def _quality(options: tuple[Option, ...], demand: Demand) -> Iterator[Try]:
    lower = {option.quality for option in options if option.quality < demand.quality_min}
    for quality in sorted(lower, reverse=True)[:TRIES_MAX]:
        relaxed = msgspec.structs.replace(demand, quality_min=quality)
        by = float(demand.quality_min - quality)
        yield relaxed, f"class {demand.quality_min}", f"class {quality}", by


def _patience(options: tuple[Option, ...], demand: Demand) -> Iterator[Try]:
    later = {option.start_s for option in options if option.start_s > demand.patience_s}
    for start_s in sorted(later)[:TRIES_MAX]:
        relaxed = msgspec.structs.replace(demand, patience_s=start_s)
        yield relaxed, f"{demand.patience_s:g} s", f"{start_s:g} s", start_s - demand.patience_s
