"""Which units are worth listing? The cheapest, as far as calls that were followed say.

Every unit has an estimated knee, which may be far off, above all for bursty traffic. So units wait
in order of what they would cost if they took somewhat more than estimated; the first is followed
and goes back to its place by what was found; who comes up again is chosen. Of one machine and one
way of paying only the cheapest split is chosen; of those that cost the same, the model's own
precision, then the one with the most room.

Not here: knees (`following`), costs (`sizing`).
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import msgspec

from baseload.plan.following import Follower
from baseload.plan.result import Tenure
from baseload.plan.units import Unit

FOLLOWED_MAX = 10
"""Knees that are looked for before estimates decide which other units are chosen."""

HOPE = 1.25
"""Times an estimated knee that one may turn out to be, so that no cheaper unit is passed over."""


class Paid(NamedTuple):
    """A unit, and a way of paying for it."""

    unit: Unit
    tenure: Tenure


class _Waiting(NamedTuple):
    usd_month: float
    is_other: bool
    """Whether its precision is not the model's own."""
    is_estimated: bool
    slowness: float
    number: int
    """Who came first, so that units themselves are never compared."""
    paid: Paid


def cheapest(
    every: Iterable[Paid], usd_month: Callable[[Paid], float], native: str, follower: Follower,
    count: int,
) -> list[Paid]:  # fmt: skip
    """Give up to so many, cheapest first, and the cheapest of each further way of paying."""
    units = list(every)
    chosen = _first(units, usd_month, native, follower, count)
    for tenure in dict.fromkeys(paid.tenure for paid in units):
        if all(paid.tenure != tenure for paid in chosen):
            those = [paid for paid in units if paid.tenure == tenure]
            chosen += _first(those, usd_month, native, follower, 1)
    return chosen


def _first(
    units: list[Paid], usd_month: Callable[[Paid], float], native: str, follower: Follower,
    count: int,
) -> list[Paid]:  # fmt: skip
    def waiting(number: int, paid: Paid) -> _Waiting:
        unit = paid.unit
        hope = 1.0 if unit.is_followed else HOPE
        hoped = msgspec.structs.replace(unit, knee_rps=unit.knee_rps * hope)
        return _Waiting(
            usd_month(Paid(hoped, paid.tenure)), unit.build.precision != native,
            not unit.is_followed, -unit.replicas * unit.knee_rps / unit.machines, number, paid,
        )  # fmt: skip

    queue = [waiting(number, paid) for number, paid in enumerate(units)]
    heapify(queue)
    chosen: dict[tuple[str, Tenure], Paid] = {}
    while queue and len(chosen) < count:
        *_, number, paid = heappop(queue)
        place = paid.unit.place.name, paid.tenure
        if place in chosen:
            continue
        is_spent = follower.knees >= FOLLOWED_MAX and not follower.knows(paid.unit)
        if paid.unit.is_followed or is_spent:
            chosen[place] = paid
            continue
        unit = follower.followed(paid.unit)
        if unit.knee_rps > 0:
            heappush(queue, waiting(number, Paid(unit, paid.tenure)))
    return list(chosen.values())
