"""`baseload plan fit`: what a model fits on, and with how much room for calls.

It exits with 0 if something fits, with 1 if nothing does, and with 2 if it was asked in a way that
it cannot understand.

Not here: what fits (`baseload.plan.hardware.fitting`), what it costs and how fast it is (`plan`).
"""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from baseload.cli.plan_wishes import model_of, wrong
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import Catalogue, load, own_file
from baseload.plan.catalog.rows import BITS
from baseload.plan.hardware.fitting import Fitting, Weighed, Wish, fitting, precisions_of
from baseload.plan.hardware.machines import Hardware, every, hardware_of
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.report import words
from baseload.plan.report.terminal import WIDTH

NOTHING_FITS = 1
CONTEXT = 8192
KV = ("bf16", "fp8")
FITS = ("hardware", "bits", "split", "weights\nGB each", "KV cache\ntokens", "longest\ncall",
        "calls\nat once")  # fmt: skip
MISSES = ("hardware", "bits", "split", "weights\nGB each", "missing\nGB each", "why")
INSTANCES_MAX = 3
"""Instances of the smallest hardware that are named."""

Model = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="A model's name, or the path of its config.json."),
]
HardwareNames = Annotated[
    list[str] | None,
    typer.Option(
        "--hardware", metavar="8xh100|NAME",
        help="8xh100, 2x8xh100 or an instance (p5.48xlarge); may be repeated. All when absent.",
    ),
]  # fmt: skip
Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", metavar="|".join(BITS), help="Of weights; may be repeated."),
]
Kv = Annotated[str, typer.Option("--kv", metavar="|".join(KV), help="Of the KV cache.")]
Context = Annotated[
    int, typer.Option("--context", min=1, metavar="TOKENS", help="Of one call, answer included.")
]
Calls = Annotated[int, typer.Option("--calls", min=1, metavar="N", help="Calls at once.")]
Own = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", exists=True, dir_okay=False, help="Your own rows."),
]
All = Annotated[bool, typer.Option("--all", help="Show everything that was tried.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def fit(  # noqa: PLR0913, PLR0917 - each is an option
    model: Model = None, hardware: HardwareNames = None, precision: Precisions = None,
    kv: Kv = "bf16", context: Context = CONTEXT, calls: Calls = 1, catalog: Own = None,
    has_all: All = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Say what a model fits on, and how many calls at once.

    The smallest hardware comes first, then what fits with its room, then what misses least. Bytes
    are weighed on each accelerator: weights, activations, the engine's reserve and the KV cache,
    within the 90 % of memory that an engine takes. Exits with 1 if nothing fits.

    Example: baseload plan fit --model deepseek-v3 --context 32768 --calls 16

    Example: baseload plan fit --model deepseek-r1-distill-llama-70b --hardware 4xl40s --precision
    int4

    Example: baseload plan fit --model deepseek-v3 --hardware p5.48xlarge --hardware 2xp5.48xlarge
    """
    shape = shape_of(model)
    if kv not in KV:
        wrong("--kv", f"`{kv}` is none of {', '.join(KV)}")
    if context > shape.context_max:
        wrong("--context", f"{shape.name} knows contexts of at most {shape.context_max:,} tokens")
    wanted = [precision_of(word) for word in precision or ()]
    rows = catalogue_of(catalog)
    named = [named_hardware(text, rows) for text in hardware or ()]
    found = fitting(
        shape, named or every(rows), dict.fromkeys(wanted or precisions_of(shape)),
        Wish(context=context, calls=calls, kv_precision=kv), has_all=has_all or bool(named),
    )  # fmt: skip
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        _draw(found)
    raise typer.Exit(0 if found.smallest else NOTHING_FITS)


# -- reading options ------------------------------------------------------------------------------


def shape_of(model: str | None) -> Shape:
    """Give the model that is meant."""
    try:
        return find(model_of(model))
    except BaseloadError as error:
        wrong("--model", str(error))


def precision_of(word: str) -> str:
    """Give a precision that is one."""
    if word.lower() not in BITS:
        wrong("--precision", f"`{word}` is none of {', '.join(BITS)}")
    return word.lower()


def catalogue_of(own: Path | None) -> Catalogue:
    """Give the catalogue, with the person's own rows over it."""
    try:
        return load(own or own_file(), today=datetime.now(UTC).date())
    except BaseloadError as error:
        wrong("--catalog", str(error))


def named_hardware(text: str, rows: Catalogue) -> Hardware:
    """Give the hardware that is meant."""
    try:
        return hardware_of(text, rows)
    except BaseloadError as error:
        wrong("--hardware", str(error))


# -- drawing --------------------------------------------------------------------------------------


def console() -> Console:
    """Give a console that is as wide as the terminal, or as a page where there is none."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def table_of(heads: Iterable[str], rows: Iterable[Iterable[str]], texts: int = 1) -> Table:
    """Give a plain table, whose first columns are texts and whose others are numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, head in enumerate(heads):
        is_text = number < texts or head.startswith("why")
        table.add_column(head, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(words.plain(cell)) for cell in row))
    return table


def _draw(found: Fitting) -> None:
    out = console()
    size = f"{found.params / 1e9:,.1f}B parameters"
    calls = f"{found.calls:,} calls at once" if found.calls > 1 else "one call"
    asked = f"{calls} of {found.context:,} tokens, KV cache in {found.kv_precision}"
    for line in _smallest(found):
        out.print(Text(line, "bold green"))
    if not found.smallest:
        out.print(Text("Nothing fits.", "bold red"))
    out.print(Text(words.plain(f"{found.model}, {size}: {asked}.")))
    does = [each for each in found.ways if each.fit.fits]
    misses = [each for each in found.ways if not each.fit.fits]
    if does:
        out.print(Text("\nWhat fits, smallest first", "bold"))
        out.print(table_of(FITS, map(_does, does), texts=3))
    if misses:
        out.print(Text("\nWhat does not, nearest first", "bold"))
        out.print(table_of(MISSES, map(_misses, misses), texts=3))
    for note in _notes(found):
        out.print(Text(f"\n{words.plain(note)}", "dim"))


def _smallest(found: Fitting) -> list[str]:
    """Say in each precision what is least, and what is least of what can be rented."""
    rented = {each.precision: each for each in found.rented}
    lines = []
    for each in found.smallest:
        other = rented.get(each.precision)
        more = f"; to rent: {_called(other)}" if other is not None and other != each else ""
        lines.append(f"Smallest in {each.precision}: {_called(each)}{more}")
    return lines


def _called(each: Weighed) -> str:
    rented = ", ".join(each.instances[:INSTANCES_MAX])
    more = len(each.instances) - INSTANCES_MAX
    rented += f" and {more} more" if more > 0 else ""
    as_rented = f" (each {rented})" if each.machines > 1 else f" ({rented})"
    is_said = not rented or each.hardware.endswith(each.instances[0])
    return words.plain(_marked(each) + ("" if is_said else as_rented))


def _marked(each: Weighed) -> str:
    return each.hardware + ("" if each.is_verified else " ?")


def _head(each: Weighed) -> tuple[str, str, str]:
    return _marked(each), each.precision, words.split(each.layout)


def _does(each: Weighed) -> tuple[str, ...]:
    room = each.fit
    return (
        *_head(each), f"{room.weights_bytes / 1e9:,.1f}", f"{room.kv_tokens:,}",
        f"{room.context_max:,}", f"{room.sequences_max:,}",
    )  # fmt: skip


def _misses(each: Weighed) -> tuple[str, ...]:
    room = each.fit
    if not each.is_possible:
        return *_head(each), words.NONE, words.NONE, room.why
    is_alone = room.weights_bytes > room.usable_bytes
    why = "weights alone are too large" if is_alone else "no room beside weights"
    if room.sequences_max:
        why = f"room for {room.sequences_max:,} such calls"
    return (
        *_head(each), f"{room.weights_bytes / 1e9:,.1f}", f"{room.missing_bytes / 1e9:,.1f}", why,
    )  # fmt: skip


def _notes(found: Fitting) -> list[str]:
    notes = []
    if found.left_out:
        notes.append(f"{found.left_out:,} more were tried; --all shows them.")
        notes += [
            f"Not in {precision}: {', '.join(names)}."
            for precision, names in found.impossible.items()
        ]
    if any(not each.is_verified for each in (*found.ways, *found.rented)):
        notes.append("? its figures were read at second hand only: baseload catalog show NAME.")
    return notes
