"""How do ways compare over other loads and other prices? What plots are drawn from.

Cost over load: each way as stairs of units and a slope of calls, with every crossing where the
cheaper of two changes. Latency over load: one replica followed at rates up to its knee and a little
past it. Levers: each input of one way moved alone.

Not here: drawing (`report`), the stairs themselves (`cost.breakeven`).
"""

from collections.abc import Callable, Iterable

import msgspec

from baseload.plan.cost.breakeven import CostCurve, all_crossings, drawn
from baseload.plan.cost.owned import Ownership, owned
from baseload.plan.cost.sensitivity import Span, levers
from baseload.plan.cost.terms import DAYS_MONTH, SECONDS_DAY
from baseload.plan.queueing.latency import Latency
from baseload.plan.request import Request
from baseload.plan.result import Crossing, Curve, Lever, Way
from baseload.plan.sizing import Sized, fixed_and_each, owned_inputs, usd_month_of
from baseload.plan.units import Unit

CURVES = 6
"""Ways that are compared over load."""
POINTS = 48
SPAN = 8.0
"""Times the asked load up to which costs are drawn."""
CROSSINGS_MAX = 12
FOLLOWED = 3
"""Ways whose latency is drawn."""
RATES = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0, 1.05, 1.1)
"""Of the knee."""
PAST_S = 60.0
"""Latencies beyond it are drawn as this: the queue grows without end."""
HALF = 0.5
"""The load at which own machines are reckoned before theirs is known."""
UNITS_MAX = 400
"""Of one way, up to which costs are drawn: stairs finer than that are no stairs to the eye."""
SHARE = 0.2
"""By which each input is moved."""


def compared(pairs: list[tuple[Way, Sized | None]]) -> list[tuple[Way, Sized | None]]:
    """Give the ways whose costs are drawn: the cheapest of each way of paying, then others."""
    first = {way.tenure: way.name for way, _ in reversed(pairs)}
    chosen = [pair for pair in pairs if first[pair[0].tenure] == pair[0].name]
    chosen += [pair for pair in pairs if first[pair[0].tenure] != pair[0].name]
    kept = {way.name for way, _ in chosen[:CURVES]}
    return [pair for pair in pairs if pair[0].name in kept]


def cost_curve(way: Way, sized: Sized | None, request: Request) -> CostCurve:
    """Give a way's cost over load, its standby included."""
    calls = request.load.requests_day * DAYS_MONTH
    if sized is None:  # An API: every call costs.
        return CostCurve(
            name=way.name, usd_month_fixed=0.0, usd_month_replica=0.0,
            requests_day_replica=request.load.requests_day * SPAN,
            usd_request=way.usd_month / calls, replicas_min=1, standby=0,
        )  # fmt: skip
    fixed, unit_usd = fixed_and_each(sized, request)
    each = sized.unit.rps(request.objectives) * SECONDS_DAY * request.load.day_factor
    return CostCurve(
        name=way.name, usd_month_fixed=fixed, usd_month_replica=unit_usd,
        requests_day_replica=each, usd_request=0.0, replicas_min=1,
        standby=request.objectives.survive,
    )  # fmt: skip


def cost_curves(
    curves: list[CostCurve], request: Request
) -> tuple[tuple[Curve, ...], tuple[Crossing, ...]]:
    """Give lines and crossings, up to a multiple of the load that has few enough steps."""
    most = request.load.requests_day * SPAN
    most = min([most, *(curve.requests_day_replica * UNITS_MAX for curve in curves)])
    found = all_crossings(curves, most)
    return tuple(drawn(curve, most, POINTS) for curve in curves), found[:CROSSINGS_MAX]


def latency_curves(
    ways: Iterable[Sized], follow: Callable[[Unit, float], Latency]
) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    """Give TTFT and TPOT over load of the first few ways whose units differ."""
    first: dict[str, Sized] = {}
    for sized in ways:
        build = sized.unit.build
        first.setdefault(f"{build.accelerator.name} {build.precision} {build.layout}", sized)
    ttft: list[Curve] = []
    tpot: list[Curve] = []
    for sized in list(first.values())[:FOLLOWED]:
        rates = tuple(sized.unit.knee_rps * part for part in RATES)
        found = [follow(sized.unit, rps) for rps in rates]
        for curves, name in ((ttft, "ttft_p95_s"), (tpot, "tpot_p95_s")):
            values = tuple(min(getattr(each, name), PAST_S) for each in found)
            curves.append(Curve(way=sized.way.name, x=rates, y=values))
    return tuple(ttft), tuple(tpot)


# -- levers -------------------------------------------------------------------------------------


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the cost of a rented way or an API hangs on."""

    usd_hour: float
    rps: float
    knee_rps: float


OWNED = (
    ("accelerator_usd", "price of an accelerator", "$"), ("kept_year", "value kept each year", ""),
    ("interest_year", "interest a year", ""), ("pue", "PUE", ""), ("usd_kwh", "power", "$/kWh"),
    ("colocation_usd_kw_month", "colocation", "$/kW"), ("server_usd", "rest of a server", "$"),
    ("staff_persons", "staff for the cluster", "persons"), ("wage_usd_year", "wage", "$ a year"),
    ("maintenance_year", "maintenance a year", ""), ("network_usd", "network of a server", "$"),
)  # fmt: skip


def levers_of(sized: Sized | None, request: Request) -> tuple[Lever, ...]:
    """Give what moving each input by a fifth does to a way's month; nothing without a way."""
    if sized is None:
        return ()
    every, busy = sized.units + request.objectives.survive, sized.busy
    base = Inputs(usd_hour=1.0, rps=request.load.rps, knee_rps=sized.unit.knee_rps)

    def month(inputs: Inputs) -> float:
        load = msgspec.structs.replace(request.load, rps=inputs.rps)
        unit = msgspec.structs.replace(sized.unit, knee_rps=inputs.knee_rps)
        other = msgspec.structs.replace(request, load=load)
        units = unit.needed(load, request.objectives) + request.objectives.survive
        bill = usd_month_of(unit, sized.way.tenure, other, units, busy)
        return bill.usd_month * inputs.usd_hour

    spans = [
        _span("rps", base.rps, "load", "requests/s"),
        _span("knee_rps", base.knee_rps, "load that a replica takes", "requests/s"),
    ]
    if sized.way.tenure == "owned":
        own = owned_inputs(sized.unit, request, every, busy)
        found = levers(own, lambda inputs: owned(inputs).usd_month, _owned_spans(own))
    else:
        rate = sized.unit.place.usd_hour[sized.way.tenure]
        found = tuple(
            msgspec.structs.replace(lever, low=f"${rate * 0.8:.4g}", high=f"${rate * 1.2:.4g}")
            for lever in levers(base, month, [_span("usd_hour", 1.0, "price of an hour", "$")])
        )
    both = (*found, *levers(base, month, spans))
    return tuple(sorted(both, key=lambda each: -abs(each.usd_month_high - each.usd_month_low)))


def _span(field: str, value: float, what: str, unit: str) -> Span:
    return Span(
        field=field, low=value * (1 - SHARE), high=value * (1 + SHARE), what=what, unit=unit
    )


def _owned_spans(own: Ownership) -> list[Span]:
    tops = {"kept_year": 1.0}
    spans = []
    for field, what, unit in OWNED:
        span = _span(field, getattr(own, field), what, unit)
        low = max(1.0, span.low) if field == "pue" else span.low
        high = min(span.high, tops.get(field, span.high))
        spans.append(msgspec.structs.replace(span, low=low, high=high))
    return [span for span in spans if span.high > 0]
