"""What the ledger costs: rows a second, and CPU time for each, beside their targets.

    python bench/ledger.py [--rows N] [--postgresql URL] [--json FILE]

Rows are entered at a rate, as an event loop would, and written by the ledger's own thread; CPU time
is that of the whole process, less what making the rows takes. Then rows are entered as
fast as they go. PostgreSQL is measured where a URL of an empty database is given; the server's own
CPU time is not in the figures. Exit code 0: all targets are met; 1: one is missed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from baseload.store.entry import Entry
from baseload.store.ledger import Ledger

PER_S = 25_000  # what the gateway does on one core
STEP = 250
CPU_US_MAX = 4.0
CPU_US_MAX_POSTGRESQL = 5.0
ROWS_PER_S_MIN = 5_000
ENTER_US_MAX = 1.0

console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class Figure:
    """One measured number, the target beside it, and whether it is met."""

    what: str
    value: str
    target: str
    is_met: bool


def _entry(number: int) -> Entry:
    return Entry(
        time.time(), f"req-0badc0de-{number:x}", "team-a", "chat/completions", "deepseek-chat",
        "deepseek-chat", "deepseek", "done", 1, 1, 0, False, True, 0.0001, 0.2, 1.2, 100, 50, 200,
        20, False, 0.0003,
    )  # fmt: skip


def _paced(rows: int, enter: Callable[[Entry], None]) -> None:
    began = time.perf_counter()
    for done in range(0, rows, STEP):
        for number in range(done, done + STEP):
            enter(_entry(number))
        if (ahead_s := began + (done + STEP) / PER_S - time.perf_counter()) > 0:
            time.sleep(ahead_s)


def _enter_us(rows: int) -> float:
    entry, enter = _entry(0), Ledger.enter
    ledger = Ledger("sqlite:///")
    began = time.thread_time()
    for _ in range(rows):
        enter(ledger, entry)
    spent_s = time.thread_time() - began
    ledger.close()
    return spent_s / rows * 1e6


def _measure(name: str, url: str, rows: int, cpu_us_max: float) -> Iterator[Figure]:
    began_cpu = time.process_time()
    _paced(rows, lambda _: None)
    without_s = time.process_time() - began_cpu
    ledger = Ledger(url)
    began, began_cpu = time.perf_counter(), time.process_time()
    _paced(rows, ledger.enter)
    behind = ledger.waiting
    took_s = time.perf_counter() - began
    ledger.close()
    cpu_us = (time.process_time() - began_cpu - without_s) / rows * 1e6
    whole = f"{rows} rows in {took_s:.1f} s, {behind} behind, {ledger.lost} lost"
    is_whole = ledger.written == rows and not ledger.lost
    yield Figure(f"{name}, {PER_S} rows a second", whole, "none lost", is_whole)
    yield Figure(
        f"{name}, CPU a row", f"{cpu_us:.2f} us", f"<= {cpu_us_max:g} us", cpu_us <= cpu_us_max
    )
    ledger = Ledger(url)
    began = time.perf_counter()
    for number in range(rows):
        ledger.enter(_entry(number))
    ledger.close(wait_s=60)
    per_s = ledger.written / (time.perf_counter() - began)
    yield Figure(
        f"{name}, as fast as they go", f"{per_s:,.0f} rows/s", f">= {ROWS_PER_S_MIN:,} rows/s",
        per_s >= ROWS_PER_S_MIN,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="What the ledger costs.")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    enter_us = _enter_us(args.rows)
    figures = [
        Figure(
            "enter(), on the event loop",
            f"{enter_us:.2f} us",
            f"<= {ENTER_US_MAX:g} us",
            enter_us <= ENTER_US_MAX,
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        figures += _measure("SQLite", f"sqlite:///{folder}/ledger.db", args.rows, CPU_US_MAX)
    if args.postgresql:
        figures += _measure("PostgreSQL", args.postgresql, args.rows, CPU_US_MAX_POSTGRESQL)
    table = Table("figure", "measured", "target", "", box=None, pad_edge=False)
    for figure in figures:
        verdict = "[green]met[/]" if figure.is_met else "[red]missed[/]"
        table.add_row(figure.what, figure.value, figure.target, verdict)
    console.print(table)
    if args.json:
        args.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2))
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
