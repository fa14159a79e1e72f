"""`baseload plan score` and `baseload plan claims`: how far the planner can be trusted.

`score` predicts what a file of measurements holds, and gives the errors by group. `claims` works
out figures that are often quoted, with the planner's own functions, and says what follows from
what.

Not here: predicting (`baseload.plan.speed`), the claims (`baseload.plan.claims`).
"""
# ruff: noqa: PLC0415 - each verb imports what the others do not need

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from baseload.cli.plan_fit import Own, catalogue_of, console
from baseload.cli.plan_wishes import wrong
from baseload.errors import BaseloadError
from baseload.plan.report import words

INDENT = (0, 0, 0, 2)
GROUP = ("system", "backend", "model", "mode")
COUNTS = ("n", "predicted")
ERRORS = {
    "tpot_median": "TPOT\nmedian",
    "tpot_p90": "TPOT\np90",
    "ttft_median": "TTFT\nmedian",
}

Measured = Annotated[
    Path,
    typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Measured points, as CSV."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def score(file: Measured, as_json: Json = False) -> None:
    """Compare what the planner predicts with measurements, by group.

    Errors are absolute and relative: 12 % is as far above as below. Rows that it cannot predict
    count in n but not in predicted.

    Example: baseload plan score measurements.csv --json
    """
    from baseload.plan.speed.score import score as score_of

    try:
        groups = score_of(file)
    except BaseloadError as error:
        wrong("FILE", str(error))
    except OSError as error:
        wrong("FILE", f"{file}: it cannot be read: {error.strerror or error}")
    if as_json:
        typer.echo(msgspec.json.encode(groups))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in GROUP:
        table.add_column(name, overflow="fold")
    for name in (*COUNTS, *ERRORS.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        table.add_row(
            *(Text(words.plain(str(getattr(group, name)))) for name in GROUP),
            *(f"{getattr(group, name):,}" for name in COUNTS),
            *(words.percent(getattr(group, name)) for name in ERRORS),
        )
    console().print(table)


def claims(catalog: Own = None, as_json: Json = False) -> None:
    """Work out figures that are often quoted, and say what follows from what.

    What things cost today comes from the catalogue.

    Example: baseload plan claims
    """
    from baseload.plan.claims.examples import worked_examples

    found = worked_examples(catalogue_of(catalog))
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    out = console()
    for number, claim in enumerate(found):
        if number:
            out.print()
        _draw(out, claim)


def _draw(out: Console, claim: Any) -> None:
    out.print(Text(words.plain(claim.name), "bold"))
    out.print(Text(f"“{words.plain(claim.says)}”"))
    verdict = Text(words.plain(claim.verdict).capitalize(), "bold")
    out.print(verdict.append(f": {words.plain(claim.because)}", "not bold"))
    out.print(Padding(_rows(claim.given, ("what", "value", "source")), INDENT, expand=False))
    steps = _rows(claim.steps, ("what", "formula", "numbers", "result"))
    out.print(Padding(steps, INDENT, expand=False))


def _rows(rows: Any, names: tuple[str, ...]) -> Table:
    heads = {"what": "step" if "formula" in names else "given"}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(heads.get(name, name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(words.plain(getattr(row, name))) for name in names))
    return table
