"""How are models of the store drawn, and how is told how a pull goes?

On a terminal there is a bar with rate and remaining time; for a script, with `--json`, a line for
each thing that happened; where neither is, nothing until the end.
"""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from baseload.engines.weights.bringing import Watcher
from baseload.engines.weights.pieces import Listing
from baseload.engines.weights.store import FileRecord

TOLD_EVERY_S = 1.0
"""How often a script is told of progress."""

WIDTH = 140


class Lines:
    """JSON, a line for each thing, on standard output."""

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self._rows = list(rows)
        self._lock = threading.Lock()

    def show(self) -> None:
        """Print what it was made with."""
        for row in self._rows:
            self.tell(row)

    def tell(self, row: dict[str, Any]) -> None:
        """Print one line, whole, whichever thread says it."""
        with self._lock:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
            sys.stdout.flush()


def draw_models(rows: Sequence[dict[str, Any]]) -> None:
    """Draw a table of models."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    table = Table(
        "name", "state", "size", "files", "source", "verified", "used by", "path",
        box=None, pad_edge=False,
    )  # fmt: skip
    for row in rows:
        cells = (
            row["name"],
            row["state"],
            size(row["size_bytes"]),
            str(row.get("files", "")),
            " ".join([row.get("source", ""), row.get("revision", "")[:8]]).rstrip(),
            row.get("verified_at", "")[:16].replace("T", " "),
            ", ".join(row["used_by"]),
            row.get("path", ""),
        )
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table, highlight=False)


def size(size_bytes: float) -> str:
    """Write a number of bytes as people read it; units are powers of ten, as disks' are."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.1f} {unit}"
    return f"{size_bytes:.0f} B"


@contextmanager
def watching(what: str, *, as_json: bool, files: Sequence[FileRecord] = ()) -> Iterator[Watcher]:
    """Give who is told how long work goes; `files` where it is known beforehand what there is."""
    total = sum(file.size_bytes for file in files)
    if as_json:
        yield _for_scripts(total)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Watcher()
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(what), total=total or None)

        def on_list(listing: Listing) -> None:
            progress.update(task, total=listing.size_bytes)

        def on_bytes(_: str, count: int) -> None:
            progress.advance(task, count)

        yield Watcher(on_list, on_bytes)


def _for_scripts(total: int) -> Watcher:
    """Say what comes, once a second how much is there, and each file that is verified."""
    lines, began_s = Lines(), time.monotonic()
    state, told_s = {"done_bytes": 0, "total_bytes": total}, [began_s]
    lock = threading.Lock()

    def on_list(listing: Listing) -> None:
        state["total_bytes"] = listing.size_bytes
        said = {"source": listing.source, "revision": listing.revision}
        files = len(listing.pieces)
        lines.tell({"event": "listed", "files": files, "size_bytes": listing.size_bytes} | said)

    def on_bytes(_: str, count: int) -> None:
        now_s = time.monotonic()
        with lock:
            state["done_bytes"] += count
            if now_s - told_s[0] < TOLD_EVERY_S:
                return
            told_s[0] = now_s
            done, total_bytes = state["done_bytes"], state["total_bytes"]
        rate = done / (now_s - began_s)
        left_s = round((total_bytes - done) / rate, 1) if rate > 0 else None
        row = {"done_bytes": done, "total_bytes": total_bytes, "bytes_s": round(rate)}
        lines.tell({"event": "progress"} | row | {"remaining_s": left_s})

    def on_file(record: FileRecord) -> None:
        told = {"path": record.path, "size_bytes": record.size_bytes, "sha256": record.sha256}
        lines.tell({"event": "file"} | told)

    return Watcher(on_list, on_bytes, on_file)
