"""`baseload plan move`: how long weights take to load, to be sent elsewhere, and what networks buy.

It answers with times at full speed, each with what limits it; of bytes that are named, or of a
model's weights. For a model whose replica spans machines it compares networks.

Not here: the times (`baseload.plan.transport.moving`, `baseload.plan.transport.spanning`).
"""

import re
from math import isfinite
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from rich.text import Text

from baseload.cli.plan_fit import (
    CONTEXT,
    Json,
    Model,
    Own,
    catalogue_of,
    console,
    named_hardware,
    precision_of,
    shape_of,
    table_of,
)
from baseload.cli.plan_wishes import wrong
from baseload.config.mistakes import nearest, shown
from baseload.plan.catalog.reading import Catalogue
from baseload.plan.hardware.capability import refusal
from baseload.plan.hardware.machines import Hardware
from baseload.plan.hardware.memory import Fit, even_layout, fit, misfit, weights_bytes
from baseload.plan.models.shape import Shape
from baseload.plan.report import words
from baseload.plan.speed.layout import Build, Layout
from baseload.plan.transport.loading import Start
from baseload.plan.transport.moving import EGRESS_USD_GB, Cargo, Load, Moving, moving, own_network
from baseload.plan.transport.spanning import ANSWERS, Over, Spanning, best_of, spanning

JOINED_MAX = 8
"""Machines up to which the least number is looked for that a model fits on."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18,
         "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}  # fmt: skip
SHOWN = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
LOADERS_NOTE = "Loaders as measured into one H100, 3.4 and 20.5 GB/s; several may reach more."
SECOND_HAND = "? read at second hand, or a usual figure: baseload catalog show NAME."
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtpe]i?)?b?", re.IGNORECASE)

Precision = Annotated[
    str | None, typer.Option(metavar="WORD", help="Of weights; the model's own when absent.")
]
Size = Annotated[
    str | None, typer.Option("--bytes", metavar="141GB", help="So many, instead of --model.")
]
HardwareName = Annotated[
    str | None,
    typer.Option("--hardware", metavar="8xh100|NAME", help="The machine, or an instance."),
]
Split = Annotated[int | None, typer.Option(min=1, max=4096, metavar="N", help="As in engines.")]
StorageName = Annotated[
    str | None, typer.Option("--storage", metavar="NAME", help="From which the start loads.")
]
Links = Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Links side by side.")]
Egress = Annotated[
    float, typer.Option("--egress-usd", metavar="USD", help="For each GB that leaves.")
]
Calls = Annotated[
    int, typer.Option("--calls", min=1, max=1_000_000, metavar="N", help="Answers of a turn.")
]


class Asked(NamedTuple):
    """What is moved, and the replica that it is for."""

    cargo: Cargo
    shape: Shape | None = None
    build: Build | None = None
    misfit: str = ""
    """Why the replica does not fit on that hardware; empty if it does."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    moving: Moving
    spanning: Spanning | None
    """None for bytes that are no replica, or one that stays in its machine."""
    misfit: str
    """Why the replica does not fit on that hardware; empty if it does."""


def move(  # noqa: PLR0913, PLR0917 - each is an option
    model: Model = None, precision: Precision = None, size: Size = None,
    hardware: HardwareName = None, tp: Split = None, pp: Split = None, dp: Split = None,
    ep: Split = None, storage: StorageName = None, links: Links = 1,
    egress_usd: Egress = EGRESS_USD_GB, calls: Calls = ANSWERS, catalog: Own = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Say how long bytes take to load and to be sent, and what networks buy a replica.

    Times are at the full speed of storage and links: nothing is faster. With --hardware, its buses
    and its network count, too; with a model that spans machines, InfiniBand and Ethernet are
    compared turn by turn.

    Example: baseload plan move --bytes 1PB

    Example: baseload plan move --model deepseek-v3 --hardware p5.48xlarge

    Example: baseload plan move --model deepseek-v3 --hardware 8xh100 --tp 16 --pp 2 --json
    """
    rows = catalogue_of(catalog)
    if storage is not None and storage not in rows.storage:
        wrong("--storage", f"`{shown(storage)}`: no such row; {nearest(storage, rows.storage)}")
    if not isfinite(egress_usd) or egress_usd < 0:
        wrong("--egress-usd", f"{egress_usd:g} must be a number of 0 or more")
    machine = None if hardware is None else named_hardware(hardware, rows)
    sizes = {"tp": tp, "pp": pp, "dp": dp, "ep": ep}
    split = {name: count for name, count in sizes.items() if count is not None}
    asked = _bytes(size, model, precision, split, machine) if size else _weights(
        shape_of(model), precision, split, machine
    )  # fmt: skip
    found = Answer(
        moving=moving(asked.cargo, rows, storage=storage, links=links, egress_usd_gb=egress_usd),
        spanning=_spanning(asked, machine, rows, calls), misfit=asked.misfit,
    )  # fmt: skip
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        _draw(found, asked)


# -- reading options ------------------------------------------------------------------------------


def size_of(text: str) -> float:
    """Read `141GB` or `1.5 TiB`, in bytes."""
    match = _SIZE.fullmatch(text.strip())
    value = float(match[1]) * UNITS[(match[2] or "").lower()] if match else 0.0
    if match is None or not 1 <= value <= UNITS["e"]:
        wrong("--bytes", f"`{shown(text)}`: write 141GB or 1PB; at most 1EB")
    return value


def _bytes(
    size: str, model: str | None, precision: str | None, split: dict[str, int],
    machine: Hardware | None,
) -> Asked:  # fmt: skip
    named = {"model": model, "precision": precision, **split}
    for option, word in named.items():
        if word is not None:
            wrong(f"--{option}", "goes with a model's weights; leave it out, or --bytes")
    value = size_of(size)
    return Asked(Cargo(
        what="bytes", size_bytes=value, machine_bytes=value,
        machines=machine.machines if machine else 1, hardware=machine,
        is_weights=machine is not None,
    ))  # fmt: skip


def _weights(
    shape: Shape, precision: str | None, split: dict[str, int], machine: Hardware | None
) -> Asked:
    """Give a model's weights, and the replica if hardware is known."""
    kept = precision_of(precision) if precision else shape.native
    whole = shape.weight_bytes(kept)
    what = f"{shape.name} in {kept}"
    if machine is None:
        if split:
            wrong(f"--{next(iter(split))}", "of which machines? Name one: --hardware 8xh100")
        return Asked(Cargo(what=what, size_bytes=whole, machine_bytes=whole), shape)
    if why := refusal(machine.accelerator, kept, "bf16"):
        wrong("--precision", why)
    layout = _layout(shape, kept, split, machine)
    here = min(layout.accelerators, layout.per_machine)
    cargo = Cargo(
        what=what, size_bytes=whole, machine_bytes=weights_bytes(shape, layout, kept) * here,
        machines=layout.machines, hardware=machine,
    )  # fmt: skip
    build = Build(accelerator=machine.accelerator, layout=layout, precision=kept)
    return Asked(cargo, shape, build, _fit(shape, build).why)


def _fit(shape: Shape, build: Build) -> Fit:
    """Weigh a replica with one call."""
    context = min(CONTEXT, shape.context_max)
    return fit(shape, build.accelerator, build.layout, build.precision, context=context)


def _layout(shape: Shape, kept: str, split: dict[str, int], machine: Hardware) -> Layout:
    """Give the split that was named, or over as few such machines as the model fits on."""
    each = machine.per_machine
    if split:
        layout = Layout(**split, per_machine=each)
        if why := misfit(shape, layout):
            wrong(f"--{next(iter(split))}", why)
        if 1 < machine.machines < layout.machines:
            wrong("--hardware", f"this split takes {layout.machines} machines")
        return layout
    if machine.machines > 1:
        return even_layout(shape, each, machine.machines)
    for machines in range(1, JOINED_MAX + 1):
        layout = even_layout(shape, each, machines)
        if _fit(shape, Build(accelerator=machine.accelerator, layout=layout, precision=kept)).fits:
            return layout
    return even_layout(shape, each, 1)


def _spanning(
    asked: Asked, machine: Hardware | None, rows: Catalogue, calls: int
) -> Spanning | None:
    if asked.shape is None or asked.build is None:
        return None
    links = [row for row in rows.links.values() if row.kind == "network"]
    own = own_network(machine, rows)
    return spanning(asked.shape, asked.build, [*links, *([own] if own else [])], calls)


# -- drawing --------------------------------------------------------------------------------------


def _draw(found: Answer, asked: Asked) -> None:
    out, it = console(), found.moving
    out.print(Text(words.plain(_headline(it)), "bold"))
    if found.misfit:
        out.print(Text(words.plain(f"It does not fit there: {found.misfit}."), "red"))
    out.print(Text(f"\nInto {_where(it)}", "bold"))
    heads = ("storage", "drives", "limit", "GB/s", "at full\nspeed", "safetensors\nloader",
             "ServerlessLLM\nloader")  # fmt: skip
    out.print(table_of(heads, map(_load, it.loads), texts=1))
    out.print(Text(LOADERS_NOTE, "dim"))
    if it.start is not None:
        _draw_start(out, it, it.start)
    out.print(Text(f"\nTo another site, {_bytes_of(it.size_bytes)}", "bold"))
    sent = (
        (f"{each.link}{_mark(each)}", f"{each.links}", f"{each.bytes_s * 8e-9:,.0f}",
         words.seconds(each.seconds))
        for each in it.sent
    )  # fmt: skip
    out.print(table_of(("network", "links", "Gb/s", "time"), sent))
    egress = f"Out of a cloud: {words.usd(it.egress_usd)} at ${it.egress_usd_gb:g} a GB"
    if it.egress_usd_gb == EGRESS_USD_GB:
        egress += ", AWS' rate for the first 10 TB; larger amounts cost less for each GB"
    out.print(Text(f"{egress}."))
    if found.spanning is not None:
        _draw_networks(out, found.spanning)
    elif asked.build is not None:
        out.print(Text("\nThe replica stays in one machine: no network between machines counts."))
    out.print(Text(f"\n{SECOND_HAND}", "dim"))


def _draw_start(out: Any, it: Moving, start: Start) -> None:
    span = _span(start.low_s, start.high_s)
    out.print(Text(f"\nA start from nothing, weights on {words.plain(it.storage)}: {span}", "bold"))
    rows = ((part.what, _span(part.low_s, part.high_s), part.source) for part in start.parts)
    out.print(table_of(("part", "time", "source"), rows, texts=3))


def _draw_networks(out: Any, found: Spanning) -> None:
    layout = found.layout
    out.print(Text(
        f"\nBetween {found.machines} machines of {layout.per_machine} ({words.split(layout)}),"
        f" {words.three(found.between_bytes_token / 1e3)} kB a token out of each", "bold",
    ))  # fmt: skip
    heads = ("network", "ports", f"{found.answers:,} answers\nnetwork", "turn", "share",
             f"{found.prompt:,} of prompts\nnetwork", "turn", "share")  # fmt: skip
    out.print(table_of(heads, map(_over, found.networks)))
    fast, slow = best_of(found, "infiniband"), best_of(found, "ethernet")
    if fast is not None and slow is not None:
        out.print(Text(_bought(fast, slow)))


def _bought(fast: Over, slow: Over) -> str:
    """Say what the best InfiniBand buys over the best Ethernet."""
    saved = [
        words.percent(1 - getattr(fast, kind).seconds / getattr(slow, kind).seconds)
        for kind in ("writing", "reading")
    ]
    return (
        f"{words.plain(fast.network)} instead of {words.plain(slow.network)}: turns that write are"
        f" {saved[0]} shorter, turns that read {saved[1]}."
    )


def _over(each: Over) -> tuple[str, ...]:
    cells = [f"{each.network}{_mark(each)}", f"{each.ports}"]
    for turn in (each.writing, each.reading):
        cells += [words.seconds(turn.network_s), words.seconds(turn.seconds)]
        cells.append(words.percent(turn.share))
    return tuple(cells)


def _load(each: Load) -> tuple[str, ...]:
    return (
        f"{each.storage}{_mark(each)}", f"{each.drives}" if each.kind == "disk" else words.NONE,
        each.limit, words.three(each.bytes_s / 1e9), words.seconds(each.seconds),
        *(words.seconds(seconds) for seconds in each.loader_s.values()),
    )  # fmt: skip


def _headline(it: Moving) -> str:
    whole = f"{it.what}: {_bytes_of(it.size_bytes)}"
    if it.machines == 1 or it.machine_bytes == it.size_bytes:
        return whole
    return f"{whole}, {_bytes_of(it.machine_bytes)} into each of {it.machines} machines"


def _where(it: Moving) -> str:
    if not it.hardware:
        return "a machine whose buses and network are never the limit"
    return it.hardware if it.machines == 1 else f"{it.hardware}, each of {it.machines} machines"


def _mark(each: Any) -> str:
    return "" if each.is_verified else " ?"


def _bytes_of(size: float) -> str:
    least, unit = next(each for each in SHOWN if size >= each[0])
    return f"{words.three(size / least)} {unit}"


def _span(low_s: float, high_s: float) -> str:
    if low_s == high_s:
        return words.seconds(low_s)
    return f"{words.seconds(low_s)} to {words.seconds(high_s)}"
