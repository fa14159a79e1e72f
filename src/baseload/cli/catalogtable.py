"""How the catalogue is drawn on a terminal: rows of a kind in a table, or one with all it says.

Not here: which rows are shown (`catalog`), where they come from (`baseload.plan.catalog`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload.plan.catalog.reading import is_stale
from baseload.plan.catalog.refreshing import Refreshed
from baseload.plan.catalog.rows import Row

TITLES = {
    "accelerator": "accelerators", "link": "links", "storage": "storage", "instance": "instances",
    "serverless": "serverless", "api": "APIs",
}  # fmt: skip
GIB = 2**30
Cell = Callable[[Any], str]


def _usd(value: float | None) -> str:
    """Write a price with the digits that matter."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if value >= 0.1 else f"{value:.3g}"


def _range(value: tuple[float, float] | None) -> str:
    return "" if value is None else f"{_usd(value[0])} to {_usd(value[1])}"


COLUMNS: dict[str, dict[str, Cell]] = {
    "accelerator": {
        "memory GiB": lambda row: f"{row.memory_bytes / GIB:.1f}",
        "GB/s": lambda row: f"{row.bandwidth_bytes_s / 1e9:,.0f}",
        "TFLOPS 16 bit": lambda row: _tera(row, "bf16"),
        "8 bit": lambda row: _tera(row, "fp8") if "fp8" in row.flops else _tera(row, "int8"),
        "link GB/s": lambda row: f"{row.link_bytes_s / 1e9:,.0f}" if row.link_bytes_s else "-",
        "W": lambda row: f"{row.tdp_w:,.0f}",
    },
    "link": {
        "kind": lambda row: row.kind,
        "GB/s": lambda row: f"{row.bytes_s / 1e9:,.2f}",
        "latency us": lambda row: f"{row.latency_s * 1e6:g}",
    },
    "storage": {
        "kind": lambda row: row.kind,
        "GB/s": lambda row: f"{row.read_bytes_s / 1e9:,.2f}",
        "$/GiB month": lambda row: _usd(row.usd_gib_month),
    },
    "instance": {
        "cloud": lambda row: row.cloud,
        "region": lambda row: row.region,
        "accelerators": lambda row: f"{row.count} x {row.accelerator}",
        "$/h": lambda row: _usd(row.on_demand_usd_hour),
        "1 year": lambda row: _usd(row.reserved_1y_usd_hour),
        "3 years": lambda row: _usd(row.reserved_3y_usd_hour),
        "spot": lambda row: _usd(row.spot_usd_hour),
        "zones": lambda row: _range(row.spot_range_usd_hour),
    },
    "serverless": {
        "cloud": lambda row: row.cloud,
        "accelerator": lambda row: row.accelerator or "-",
        "longest s": lambda row: "-" if row.run_max_s is None else f"{row.run_max_s:g}",
        "$/s": lambda row: _usd(row.usd_second),
        "$/call": lambda row: _usd(row.usd_call),
    },
    "api": {
        "input $/Mtok": lambda row: _usd(row.input_usd_mtok),
        "cached": lambda row: _usd(row.cached_usd_mtok),
        "output": lambda row: _usd(row.output_usd_mtok),
        "peak": lambda row: f"x{row.peak_factor:g} {row.peak_share:.0%}" if row.peak_share else "",
    },
}
_WORDS = ("kind", "cloud", "region", "accelerators", "accelerator")
"""Columns of words, which stand on the left."""


def marks(row: Row, today: date) -> str:
    """Say what a reader must know of a row's figures; empty if nothing."""
    found = [] if row.verified else ["unverified"]
    return ", ".join([*found, "stale"] if is_stale(row, today) else found)


def draw(console: Console, kinds: Mapping[str, Iterable[Row]], today: date) -> None:
    """Draw a table for each kind."""
    is_first = True
    for kind, rows in kinds.items():
        if not is_first:
            console.print()
        is_first = False
        table = Table(box=None, pad_edge=False, title=TITLES[kind], title_justify="left")
        table.add_column("name", overflow="fold")
        for column in COLUMNS[kind]:
            table.add_column(column, justify="left" if column in _WORDS else "right")
        table.add_column("seen", no_wrap=True)
        table.add_column("")
        for row in rows:
            cells = [escape(cell(row)) for cell in COLUMNS[kind].values()]
            mark = f"[yellow]{marks(row, today)}[/]" if marks(row, today) else ""
            table.add_row(escape(row.name), *cells, row.seen, mark)
        console.print(table)


def draw_one(console: Console, kind: str, row: Row, today: date) -> None:
    """Draw everything that a row says."""
    title = f"[bold]{escape(row.name)}[/] ({kind})"
    if mark := marks(row, today):
        title += f" [yellow]{mark}[/]"
    console.print(title, highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for field, value in msgspec.structs.asdict(row).items():
        if field != "name":
            table.add_row(field, escape(_plain(field, value)))
    console.print(table)


def draw_changes(console: Console, refreshed: Refreshed) -> None:
    """Draw what a newer file changes: old, new, and by how much."""
    if refreshed.changes:
        table = Table("row", "field", box=None, pad_edge=False)
        for column in ("old", "new", ""):
            table.add_column(column, justify="right")
        for change in refreshed.changes:
            by = "" if change.ratio is None else f"{change.ratio - 1:+.1%}"
            table.add_row(
                escape(change.name), change.field, escape(_plain(change.field, change.old)),
                escape(_plain(change.field, change.new)), by,
            )  # fmt: skip
        console.print(table)
    if refreshed.left_out:
        few = "; ".join(refreshed.left_out[:5])
        more = f"; and {len(refreshed.left_out) - 5} more" if len(refreshed.left_out) > 5 else ""
        console.print(f"Left out: {escape(few)}{more}.", style="dim", highlight=False)


def _tera(row: Any, precision: str) -> str:
    return f"{row.flops[precision] / 1e12:,.0f}" if precision in row.flops else "-"


def _plain(field: str, value: Any) -> str:
    """Write a value, with what it amounts to in units that people use."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(field, part)}" for name, part in value.items())
    if isinstance(value, tuple | list):
        return " to ".join(_plain(field, part) for part in value)
    return _number(field, value) if isinstance(value, int | float) else str(value)


def _number(field: str, value: float) -> str:
    if field.endswith("bytes"):
        return f"{value:,} ({value / GIB:,.1f} GiB)"
    if field.endswith("bytes_s"):
        return f"{value:,.0f} ({value / 1e9:,.2f} GB/s)"
    return f"{value:,g}" if abs(value) < 1e6 else f"{value:.6g}"
