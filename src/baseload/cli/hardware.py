"""`baseload hardware`: what is there to run a model on: GPUs, processor, memory, disks?

It looks at this machine alone, needs no fleet file and no GPU, and changes nothing. Only with
`--measure` does it write: a file of half a gigabyte on each disk, which is gone afterwards.
"""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from baseload.engines.hardware.found import Cpu, Disk, Gpu, Hardware
from baseload.engines.hardware.looking import look

WIDTH = 120
"""Signs in a line where no terminal says how many there may be."""
GIB = 2**30

hardware = typer.Typer(rich_markup_mode="rich", add_completion=False)


@hardware.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Also write and read 512 MiB on each disk, past the page cache: 10 s each.",
        ),
    ] = False,
    path: Annotated[
        list[Path] | None,
        typer.Option(
            "--path",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Only the disk that holds this folder, measured there. May be repeated.",
        ),
    ] = None,
) -> None:
    """Show what this machine has to run models on, and what could not be read.

    A machine without a GPU is no error. Sizes of GPUs are what their driver has.

    Example: baseload hardware --measure --path /models
    """
    paths = tuple(path or ())
    found = _look_slowly(paths) if measure else look(paths=paths)
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        draw(Console(width=None if sys.stdout.isatty() else WIDTH), found)


def _look_slowly(paths: tuple[Path, ...]) -> Hardware:
    """Measure too, with a bar for each disk on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def tell(path: str, part: float) -> None:
            if path not in tasks:
                tasks[path] = progress.add_task(f"measuring {escape(path)}", total=1.0)
            progress.update(tasks[path], completed=part)  # type: ignore[arg-type]

        return look(measure=True, paths=paths, on_progress=tell)


def draw(console: Console, found: Hardware) -> None:
    """Draw all that was found."""
    for table in (_gpus(found.gpus), _cpu(found.cpu), _disks(found.disks)):
        if table.row_count:
            console.print(table)
            console.print()
    for note in found.notes:
        console.print(f"· {escape(note)}", style="dim", highlight=False)


def _gpus(gpus: tuple[Gpu, ...]) -> Table:
    table = _table("GPUs", "", "name", memory=1, free=1, driver=0, compute=1, watts=1, NUMA=1)
    for gpu in gpus:
        table.add_row(
            str(gpu.index), escape(gpu.name), _size(gpu.memory_bytes), _size(gpu.free_bytes),
            escape(gpu.driver), _or_dash(gpu.compute and ".".join(map(str, gpu.compute))),
            _or_dash(gpu.watts_max and f"{gpu.watts_max:,.0f}"), _or_dash(gpu.numa),
        )  # fmt: skip
    return table


def _cpu(cpu: Cpu) -> Table:
    table = _table("Processor", "name", cores=1, memory=1, features=0)
    table.add_row(
        escape(cpu.model), str(cpu.cores), _size(cpu.memory_bytes), " ".join(cpu.features) or "-"
    )
    if len(cpu.numa) > 1:
        for node in cpu.numa:
            table.add_row(f"  NUMA {node.index}", str(node.cores), _size(node.memory_bytes), "")
    return table


def _disks(disks: tuple[Disk, ...]) -> Table:
    table = _table("Disks", "path", device=0, kind=0, size=1, free=1, read=1, write=1)
    for disk in disks:
        table.add_row(
            escape(disk.path), escape(disk.device), disk.kind, _size(disk.size_bytes),
            _size(disk.free_bytes), _speed(disk.read_bytes_s), _speed(disk.write_bytes_s),
        )  # fmt: skip
    return table


def _table(title: str, *words: str, **columns: int) -> Table:
    """Give an empty table; of `columns`, those with a 1 hold numbers."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for word in words:
        table.add_column(word, overflow="fold")
    for word, is_number in columns.items():
        table.add_column(word, justify="right" if is_number else "left", overflow="fold",
                         no_wrap=bool(is_number))  # fmt: skip
    return table


def _size(count: int) -> str:
    return f"{count / GIB:,.1f} GiB"


def _speed(bytes_s: float | None) -> str:
    return "-" if bytes_s is None else f"{bytes_s / 1e9:.2f} GB/s"


def _or_dash(value: object) -> str:
    return "-" if value in (None, "") else str(value)
