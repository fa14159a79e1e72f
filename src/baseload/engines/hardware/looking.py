"""What is there to run a model on? Everything that is known of this machine, in one look.

Looking never fails: what cannot be read is a note.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from baseload.engines.hardware import amd, disks, nvidia, processor
from baseload.engines.hardware.bandwidth import measure as measure_folder
from baseload.engines.hardware.found import Disk, Gpu, Hardware
from baseload.engines.hardware.reading import ROOT
from baseload.errors import BaseloadError

SYSTEM_ROOT = "BASELOAD_HOST_ROOT"
"""The variable that says where a machine's `/proc` and `/sys` are, if not at `/`: in a container
that has the host's mounted elsewhere."""
Progress = Callable[[str, float], None]
"""Hears which path is measured, and which part of that is done, 0 to 1."""


def host_root() -> Path:
    """Give below what `/proc` and `/sys` are the machine's."""
    return Path(os.environ.get(SYSTEM_ROOT) or ROOT)


def look(
    *,
    disks: bool = True,
    measure: bool = False,
    paths: Sequence[Path] = (),
    on_progress: Progress = lambda _path, _part: None,
    root: Path | None = None,
    nvml: Any = None,
) -> Hardware:
    """Look at this machine.

    `disks` adds disks, only those that hold `paths` if there are any; `measure` also writes and
    reads some hundred megabytes on each, for some ten seconds. `root` and `nvml` stand in for `/`
    and NVIDIA's binding in tests. Blocks: seconds where a driver wakes up. Never raises.
    """
    root = host_root() if root is None else root
    gpus, notes = _gpus(root, nvml)
    cpu, more = processor.look(root)
    notes += more
    found: list[Disk] = []
    if disks:
        found, more = _disks(root, paths)
        notes += more
    if disks and measure:
        found, more = _measured(found, paths, on_progress)
        notes += more
    return Hardware(gpus=tuple(gpus), cpu=cpu, disks=tuple(found), notes=tuple(notes))


def free_bytes(gpu_index: int) -> int | None:
    """Give the free memory of a GPU now, in bytes; None if it cannot be read. Blocks."""
    found = nvidia.free_bytes(gpu_index)
    return amd.free_bytes(gpu_index, host_root()) if found is None else found


def _gpus(root: Path, nvml: Any) -> tuple[list[Gpu], list[str]]:
    """Give NVIDIA's or, if there are none, AMD's: nobody runs one engine on both."""
    found, notes = nvidia.gpus(root, nvml)
    if found:
        return found, notes
    if others := amd.gpus(root):
        return others, []
    return [], [*notes, "no AMD GPU: none in /sys/class/drm"]


def _disks(root: Path, paths: Sequence[Path]) -> tuple[list[Disk], list[str]]:
    found, notes = disks.look(root)
    if not paths:
        return found, notes
    wanted: list[Disk] = []
    for path in paths:
        disk = disks.holding(found, path)
        if disk is None:
            notes.append(f"{path}: which disk holds it is not known")
        elif disk not in wanted:
            wanted.append(disk)
    return wanted, notes


def _measured(
    found: Sequence[Disk], paths: Sequence[Path], on_progress: Progress
) -> tuple[list[Disk], list[str]]:
    measured: list[Disk] = []
    notes: list[str] = []
    for disk in found:
        folder = _folder(disk, found, paths)
        if disk.kind == "memory":
            measured.append(disk)
        elif folder is None:
            measured.append(disk)
            notes.append(f"{disk.path}: not measured: no folder there may be written; name one")
        else:
            result, more = _measured_one(disk, folder, on_progress)
            measured.append(result)
            notes += more
    return measured, notes


def _measured_one(disk: Disk, folder: Path, on_progress: Progress) -> tuple[Disk, list[str]]:
    try:
        speed = measure_folder(folder, partial(on_progress, disk.path))
    except BaseloadError as error:
        return disk, [str(error)]
    told = replace(disk, read_bytes_s=speed.read_bytes_s, write_bytes_s=speed.write_bytes_s)
    dropped = (
        f"{disk.path}: it takes no direct access; pages were dropped from memory before reading"
    )
    return told, [] if speed.is_direct else [dropped]


def _folder(disk: Disk, found: Sequence[Disk], paths: Sequence[Path]) -> Path | None:
    """Give a folder on a disk that may be written: a named one, its top, or one of the usual."""
    usual = [Path(disk.path), Path(tempfile.gettempdir()), Path.home(), Path.cwd()]
    return next(
        (
            path
            for path in (*paths, *usual)
            if disks.holding(found, path) == disk and path.is_dir() and os.access(path, os.W_OK)
        ),
        None,
    )
