"""What does a way rest on? Figures of the catalogue with their sources, formulas with numbers.

Not here: how they are shown (`report.explain`).
"""

from datetime import date

import msgspec

from baseload.plan.catalog.reading import is_stale
from baseload.plan.catalog.rows import ApiPrice, Instance, Row, Serverless
from baseload.plan.cost.power import CO2_G_KWH, co2_g_token
from baseload.plan.cost.rented import RATES
from baseload.plan.cost.terms import DAYS_MONTH, GB, HOURS_MONTH
from baseload.plan.hardware.capability import arithmetic
from baseload.plan.load import Load
from baseload.plan.request import Request
from baseload.plan.result import Figure, Formula, Tenure, Way
from baseload.plan.transport.loading import Start
from baseload.plan.units import Unit

TB = 1e12


def figures_of(unit: Unit, tenure: Tenure, today: date) -> tuple[Figure, ...]:
    """Give the catalogue's figures that a unit's way rests on: price, memory, bandwidth, speed."""
    row = unit.place.accelerator
    does = arithmetic(row, unit.build.precision)
    assert does is not None, "a unit can calculate"
    hardware = (
        ("memory", f"{row.memory_bytes / GB:,.1f} GB"),
        ("bandwidth", f"{row.bandwidth_bytes_s / TB:,.3g} TB/s"),
        (f"{does} operations", f"{row.flops[does] / TB:,.0f} T/s"),
        ("power", f"{row.tdp_w:,.0f} W"),
    )
    found = [figure(f"{row.name} {what}", value, row) for what, value in hardware]
    if isinstance(service := unit.place.row, Serverless):
        found.insert(0, figure(service.name, f"${service.usd_second:.4g}/s", service, today))
    if tenure == "owned":
        if row.usd is not None:
            found.insert(0, figure(f"{row.name} to buy", f"${row.usd:,.0f}", row, today))
        return tuple(found)
    if (field := RATES.get(tenure)) and (instance := unit.place.instance):
        price = f"${getattr(instance, field):,.4g}/h"
        what = f"{instance.name} {tenure.replace('_', ' ')}, {instance.region}"
        found.insert(0, figure(what, price, _as_seen(instance, tenure), today))
    return tuple(found)


def _as_seen(row: Instance, tenure: Tenure) -> Instance:
    """Give a row as of where and when the price of this way of paying was seen."""
    spot, reserved = (row.spot_seen, row.spot_source), (row.reserved_seen, row.reserved_source)
    other = {"spot": spot, "reserved_1y": reserved, "reserved_3y": reserved}
    seen, source = other.get(tenure, ("", ""))
    return msgspec.structs.replace(row, seen=seen or row.seen, source=source or row.source)


def figure(what: str, value: str, row: Row, today: date | None = None) -> Figure:
    """Give one figure of a row, with where the row has it from; prices grow old, with a day."""
    return Figure(
        what=what, value=value, source=row.source, seen=row.seen, is_verified=row.verified,
        is_stale=today is not None and is_stale(row, today),
    )  # fmt: skip


def formulas_of(
    way: Way, unit: Unit, units: int, request: Request, start: Start
) -> tuple[Formula, ...]:
    """Give the steps from a model's bytes to a month's cost."""
    load, objectives = request.load, request.objectives
    each = f"{unit.replicas} * {unit.knee_rps:.3g} * {objectives.utilisation_max:g}"
    return (
        *_of_replica(way, unit, load),
        Formula(
            what="knee of one replica",
            formula="highest load at which 95 of 100 calls keep both objectives, calls followed",
            numbers=f"TTFT {objectives.ttft_p95_s:g} s, TPOT {objectives.tpot_p95_s:g} s",
            result=f"{unit.knee_rps:.3g} requests/s",
        ),
        Formula(
            what="units",
            formula="load / (replicas * knee * utilisation), rounded up, + what may fail",
            numbers=f"{load.rps:g} / ({each}) + {objectives.survive}",
            result=f"{units} + {objectives.survive}",
        ),
        *_energy(way),
        _month(way, unit, units, request),
        Formula(
            what="a million tokens", formula="month / (requests * (prompt + answer)) * 1e6",
            numbers=f"${way.usd_month:,.0f} / ({load.requests_day * DAYS_MONTH:,.0f} * "
            f"({load.prompt:,.0f} + {load.answer:,.0f})) * 1e6",
            result=f"${way.usd_mtok:,.3g}",
        ),
        Formula(
            what="start from nothing", formula="machine + image + weights + warm-up",
            numbers=" + ".join(
                f"{part.low_s:.0f} to {part.high_s:.0f} s" if part.high_s > part.low_s
                else f"{part.low_s:.0f} s" for part in start.parts
            ),
            result=f"{way.start_s or 0:.0f} s in the middle",
        ),
    )  # fmt: skip


def _of_replica(way: Way, unit: Unit, load: Load) -> tuple[Formula, ...]:
    assert way.speed is not None
    room, build, k = unit.fit, unit.build, unit.engine.k
    turn_s = unit.engine.turn_s(
        max(1, round(way.speed.batch)), load.prompt + load.answer / 2, 0, 0.0, 0
    )
    return (
        Formula(
            what="weights on each accelerator",
            formula="split part of attention, dense parts and experts, copies, embeddings",
            numbers=f"{build.precision}, {_split(unit)}",
            result=f"{room.weights_bytes / GB:.2f} GB",
        ),
        Formula(
            what="tokens in the KV cache",
            formula="copies * (memory * utilisation - weights - activations - reserve) / token",
            numbers=f"{build.layout.dp} * ({room.usable_bytes / GB:.1f} - "
            f"{room.weights_bytes / GB:.1f} - {room.activations_bytes / GB:.1f} - "
            f"{room.reserve_bytes / GB:.1f}) GB / {room.kv_token_bytes:,.0f} B",
            result=f"{room.kv_tokens:,}",
        ),
        Formula(
            what=f"turn with {way.speed.batch:.1f} answers",
            formula="layers * layer + turn + (weights^3 + multiply^3)^(1/3) + cache + attention"
            " + sending + answers * answer",
            numbers=f"{unit.engine.w.layers:.0f} * {k.layer_s * 1e6:.0f} us + "
            f"{k.turn_s * 1e3:.2f} ms + weights at {k.weights_part:.0%} of bandwidth, cache at "
            f"{k.cache_part:.0%}, multiplying at {k.write_part:.0%}",
            result=f"{turn_s * 1e3:.2f} ms",
        ),
    )


def _energy(way: Way) -> tuple[Formula, ...]:
    if way.speed is None or (joules := way.speed.joules_token) is None:
        return ()
    return (
        Formula(
            what="CO2 of an answer token",
            formula="joules at the meter / 3.6e6 * grams a kWh of the USA's mean power in 2023",
            numbers=f"{joules:.3g} / 3.6e6 * {CO2_G_KWH:g}",
            result=f"{co2_g_token(joules) * 1e3:.3g} mg",
        ),
    )


def _split(unit: Unit) -> str:
    layout = unit.build.layout
    return f"tp {layout.tp}, pp {layout.pp}, dp {layout.dp}, ep {layout.ep}"


def _month(way: Way, unit: Unit, units: int, request: Request) -> Formula:
    machines = (units + request.objectives.survive) * unit.machines
    if way.tenure == "owned":
        parts = " + ".join(f"{kind} ${usd:,.0f}" for kind, usd in way.costs.items() if usd)
        return Formula(
            what="a month",
            formula="capital + interest + power + colocation + network + staff + maintenance",
            numbers=f"{machines} machines: {parts}", result=f"${way.usd_month:,.0f}",
        )  # fmt: skip
    rate = unit.place.usd_hour.get(way.tenure, 0.0)
    if way.tenure == "serverless":
        full = machines * rate * HOURS_MONTH
        calls = sum(usd for kind, usd in way.costs.items() if kind != "seconds")
        up = way.costs["seconds"] / full
        return Formula(
            what="a month",
            formula="instances * rate * hours * part of them that one is up + what calls cost",
            numbers=f"{machines} * ${rate:,.4g} * {HOURS_MONTH:.0f} * {up:.3g} + ${calls:,.0f}",
            result=f"${way.usd_month:,.0f}",
        )
    extra = sum(usd for kind, usd in way.costs.items() if kind not in {"compute", "standby"})
    return Formula(
        what="a month",
        formula="machines * rate * hours + what the way of paying adds",
        numbers=f"{machines} * ${rate:,.4g} * {HOURS_MONTH:.0f} + ${extra:,.0f}",
        result=f"${way.usd_month:,.0f}",
    )


def api_formulas(way: Way, row: ApiPrice, load: Load) -> tuple[Formula, ...]:
    """Give the one step from prices to a month."""
    return (
        Formula(
            what="a month",
            formula="requests * (prompt * (1 - cached) * input + prompt * cached * cached price"
            " + answer * output) / 1e6 * (1 + peak hours * (factor - 1))",
            numbers=f"{load.requests_day * DAYS_MONTH:,.0f} * ({load.prompt:,.0f} * "
            f"{1 - load.cached:g} * ${row.input_usd_mtok:g} + {load.prompt:,.0f} * {load.cached:g}"
            f" * ${row.cached_usd_mtok:g} + {load.answer:,.0f} * ${row.output_usd_mtok:g}) / 1e6 * "
            f"{1 + row.peak_share * (row.peak_factor - 1):.3f}",
            result=f"${way.usd_month:,.0f}",
        ),
    )
