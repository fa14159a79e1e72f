"""`baseload usage`: who used how much of what, and what that cost, as the ledger has it.

It reads the database itself and asks no gateway, so it works while none runs.
"""

import csv
import io
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload.cli.common import Config, fail, load_fleet_to_ask
from baseload.errors import BaseloadError
from baseload.store.database import Database
from baseload.store.usage import DIMENSIONS, GROUPS_MAX, Usage, UsageError
from baseload.store.usage import usage as usage_of

WIDTH = 120
"""Signs in a line where no terminal says how many there may be."""
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NUMBERS = tuple(name for name in Usage.__struct_fields__ if name != "by")


def usage(  # noqa: PLR0913, PLR0917 - each is an option
    config: Config = None,
    by: Annotated[
        str, typer.Option(metavar="WORDS", help=f"Any of {', '.join(DIMENSIONS)}.")
    ] = "key,model",
    since: Annotated[
        str, typer.Option(metavar="TIME", help="30m, 24h, 7d, 4w ago, or 2026-11-01T12:00 (UTC).")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before then; now when absent.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Only calls of this key.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only calls for this model.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show what callers used and what it cost.

    Costs are in US dollars. A call to a backend without a known price has none and is counted as
    unpriced; tokens that a backend did not report were counted here and are shown as estimated.

    Example: baseload usage --by day,model --since 4w --csv
    """
    if as_json and as_csv:
        fail("--json or --csv: one at a time")
    now = time.time()
    words = [word.strip() for word in by.split(",") if word.strip()]
    begin, end = _moment(since, now, "--since"), _moment(until, now, "--until")
    assert begin is not None
    filters: dict[str, Any] = {"since": begin, "until": end, "key": key, "model": model}
    try:
        database = Database(load_fleet_to_ask(config).store.ledger, must_exist=True)
        try:
            rows = usage_of(database, words, **filters, has_percentiles=True)
            total = usage_of(database, (), **filters, has_percentiles=True)
        finally:
            database.close()
    except UsageError as error:
        fail(f"--by: {error}")
    except BaseloadError as error:
        fail(f"store.ledger: {error}")
    if as_json:
        typer.echo(msgspec.json.encode(rows))
    elif as_csv:
        typer.echo(_csv(words, rows), nl=False)
    else:
        _draw(words, rows, total, _span(begin, end or now))


def _moment(text: str | None, now: float, option: str) -> float | None:
    """Read `7d` as that long ago, and a date as its beginning, in UTC."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text.strip()):
        return now - int(ago[1]) * _UNIT_S[ago[2]]
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        fail(f"{option}: `{text}` is neither a span (30m, 24h, 7d, 4w) nor a date (2026-11-01)")


def _span(begin: float, end: float) -> str:
    form = "%Y-%m-%d %H:%M"
    shown = [time.strftime(form, time.gmtime(moment)) for moment in (begin, end)]
    return f"{shown[0]} to {shown[1]} UTC"


def _csv(words: Sequence[str], rows: Sequence[Usage]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*words, *_NUMBERS])
    for row in rows:
        numbers = [getattr(row, name) for name in _NUMBERS]
        writer.writerow([*(_safe(row.by[word]) for word in words), *numbers])
    return out.getvalue()


def _safe(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _draw(words: Sequence[str], rows: Sequence[Usage], total: Sequence[Usage], span: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if not rows:
        console.print(f"No calls from {span}.", highlight=False)
        return
    table = Table(box=None, pad_edge=False, show_footer=bool(words))
    has_energy = total[0].energy_j is not None
    cells = _cells(total[0], has_energy=has_energy)
    for number, word in enumerate(words):
        table.add_column(word, footer="" if number else "in all", overflow="fold")
    for name, value in cells.items():
        table.add_column(name, footer=value, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            *(escape(row.by[word] or "-") for word in words),
            *_cells(row, has_energy=has_energy).values(),
        )
    console.print(table)
    notes = [f"From {span}; cost in US dollars."]
    if total[0].unpriced:
        notes.append(f"{total[0].unpriced:,} calls have no known price and are not in the cost.")
    if has_energy:
        notes.append("Energy is an estimate, of calls whose engine has a sensor.")
    if len(rows) == GROUPS_MAX:
        notes.append(f"Only the first {GROUPS_MAX:,} rows are shown.")
    console.print(" ".join(notes), style="dim", highlight=False)


def _cells(row: Usage, *, has_energy: bool) -> dict[str, str]:
    """Give what is shown of a row; energy only where any is known."""
    cells = {
        "calls": _short(row.calls),
        "failed": _short(row.failed),
        "prompt": _short(row.prompt_tokens),
        "cached": _short(row.cached_tokens),
        "output": _short(row.completion_tokens),
        "reasoning": _short(row.reasoning_tokens),
        "cost": "-" if row.cost_usd is None else f"{row.cost_usd:,.4f}",
        "estimated": f"{row.estimated / row.calls:.0%}",
        "first token": _seconds(row.first_token_p50_s),
        "p95": _seconds(row.first_token_p95_s),
    }
    return cells | {"energy": _energy(row.energy_j)} if has_energy else cells


def _short(count: int) -> str:
    """Give a number in at most six signs; JSON and CSV have all of them."""
    for least, size, unit in ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if count >= least:
            return f"{count / size:.1f}{unit}"
    return f"{count:,}"


def _energy(joules: float | None) -> str:
    if joules is None:
        return "-"
    return f"{joules / 3.6e6:,.3f} kWh" if joules >= 3.6e5 else f"{joules:,.0f} J"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
