"""From which load on is one way cheaper than another?

A way's cost over requests a day is a staircase on a slope: a fixed part, a step for each replica,
and a part for each request. Two such curves may cross many times: on a slope, where both cost the
same, and at a step, where one jumps over the other and they never do. Between steps both are
straight lines, so each crossing is solved for exactly and none is missed.

A replica that carries `c` requests a day carries the c-th as well: the step comes after it.

Not here: what a replica carries (`queueing`), which mix is best (`mix`).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from math import ceil, inf

import msgspec

from baseload.plan.cost.terms import DAYS_MONTH, check
from baseload.plan.result import Crossing, Curve

STEPS_MAX = 20_000
"""Of one curve, within the range that is looked at; more would take long and say little."""
SLACK = 1e-9
"""By which a load may pass a replica's capacity, and costs may differ, as a part: rounding."""


class CostCurve(msgspec.Struct, frozen=True, kw_only=True):
    """What a way costs over requests a day."""

    name: str
    usd_month_fixed: float = 0.0
    usd_month_replica: float = 0.0
    requests_day_replica: float = inf
    """That one replica carries; infinite where nothing steps (an API)."""
    usd_request: float = 0.0
    replicas_min: int = 0
    """Always on, also without any request."""
    standby: int = 0
    """Beyond those that the load needs, as long as it needs any."""

    def replicas(self, requests_day: float) -> int:
        """Give how many replicas stand, standby included."""
        loaded = requests_day / self.requests_day_replica
        needed = max(self.replicas_min, ceil(loaded * (1.0 - SLACK)))
        return needed + self.standby if needed else 0

    def usd_month(self, requests_day: float) -> float:
        """Give the cost of a month in US dollars."""
        stairs = self.replicas(requests_day) * self.usd_month_replica
        return self.usd_month_fixed + stairs + self.usd_request * requests_day * DAYS_MONTH

    def steps(self, requests_day_max: float) -> Iterator[float]:
        """Give the loads after which it steps up."""
        check(self.requests_day_replica > 0.0, "requests_day_replica is not above 0")
        each = self.requests_day_replica
        check(requests_day_max / each <= STEPS_MAX, f"{self.name}: more than {STEPS_MAX} replicas")
        number = self.replicas_min
        while number * each < requests_day_max:
            yield number * each
            number += 1


def crossings(first: CostCurve, second: CostCurve, requests_day_max: float) -> tuple[Crossing, ...]:
    """Give every load above 0, up to a highest, where the cheaper of two ways changes.

    Where both cost the same for a while, the change is at the end of that while. At a step the
    cost given is that of the way that was cheaper until then. Raises ValueError for more than
    `STEPS_MAX` steps.
    """
    check(0.0 < requests_day_max < inf, "requests_day_max is not above 0, or has no end")
    edges = {0.0, requests_day_max}
    for curve in (first, second):
        edges.update(curve.steps(requests_day_max))
    found: list[Crossing] = []
    sign = 0
    ordered = sorted(edges)
    for low, high in pairwise(ordered):
        for at, new in _signs(first, second, low, high):
            if sign and new == -sign:
                below, above = (first, second) if sign < 0 else (second, first)
                found.append(
                    Crossing(
                        cheaper_below=below.name,
                        cheaper_above=above.name,
                        requests_day=at,
                        usd_month=below.usd_month(at),
                    )
                )
            sign = new or sign
    return tuple(found)


def _signs(
    first: CostCurve, second: CostCurve, low: float, high: float
) -> Iterator[tuple[float, int]]:
    """Give, between two steps, from where on the first way is dearer (1), cheaper (-1) or equal."""
    middle = (low + high) / 2.0
    noise = SLACK * max(1.0, first.usd_month(middle))
    slope = (first.usd_request - second.usd_request) * DAYS_MONTH
    gap = first.usd_month(middle) - second.usd_month(middle)
    at_low, at_high = gap - slope * (middle - low), gap - slope * (middle - high)
    before, after = _sign(at_low, noise), _sign(at_high, noise)
    yield low, before or after
    if before * after < 0:
        yield middle - gap / slope, after


def _sign(value: float, noise: float) -> int:
    return (value > noise) - (value < -noise)


def all_crossings(curves: Sequence[CostCurve], requests_day_max: float) -> tuple[Crossing, ...]:
    """Give the crossings of each pair, by load."""
    found = [
        crossing
        for first, second in combinations(curves, 2)
        for crossing in crossings(first, second, requests_day_max)
    ]
    return tuple(sorted(found, key=lambda crossing: crossing.requests_day))


def drawn(curve: CostCurve, requests_day_max: float, points: int = 100) -> Curve:
    """Give points to draw a curve with; each step has one before it and one just after."""
    check(points >= 1, f"points: {points} is below 1")
    xs = {requests_day_max * number / points for number in range(points + 1)}
    for step in curve.steps(requests_day_max):
        xs.update((step, step * (1.0 + 2.0 * SLACK)))
    ordered = sorted(xs)
    return Curve(way=curve.name, x=tuple(ordered), y=tuple(map(curve.usd_month, ordered)))


def breakeven_use(usd_always: float, usd_full: float) -> float:
    """Give the use at which what is paid always costs as much as what is paid only while used.

    `usd_always / usd_full`, the latter at full use, over the same time. Above 1 the former never
    pays.
    """
    check(usd_full > 0.0, f"usd_full: {usd_full:g} is not above 0")
    return usd_always / usd_full


def breakeven_requests_day(usd_month: float, usd_request: float) -> float:
    """Give the requests a day at which paying for each costs as much as a fixed sum.

    Infinite where requests cost nothing.
    """
    return usd_month / (usd_request * DAYS_MONTH) if usd_request > 0.0 else inf
