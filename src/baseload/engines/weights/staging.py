"""How does a model get onto a faster disk, how fast was that, and what does it spare each start?

The model is copied into another folder that is a store too, verified while it is copied, and has
its name once it is whole. What a pair of disks gives is measured in the same run, with the same
blocks and workers, on a sample: that is what the rate is held against. An engine's start contains
reading its weights, which takes

    load_s = size_bytes / bytes_s

with the rate at which this disk gives what the page cache does not hold. What a start takes beyond
that no disk can shorten.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from baseload.engines.weights.copying import Copied, Task, copy
from baseload.engines.weights.hashing import BLOCK_BYTES
from baseload.engines.weights.pieces import WeightsError, unheard
from baseload.engines.weights.store import FileRecord, Manifest, Store, make_folder

SAMPLE_BYTES_MAX = 2_000_000_000
"""What is read or written to measure a disk."""

SCRATCH = ".measure"


@dataclass(frozen=True, slots=True)
class Pair:
    """What two disks give, in bytes/s, measured past the page cache, without digests."""

    read_bytes_s: float
    write_bytes_s: float
    copy_bytes_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """How long reading a model's files takes."""

    size_bytes: int
    past_cache_bytes_s: float
    cached_bytes_s: float
    """What the page cache held of them was read from it."""

    @property
    def past_cache_s(self) -> float:
        """How long from the disk."""
        return self.size_bytes / max(self.past_cache_bytes_s, 1.0)

    @property
    def cached_s(self) -> float:
        """How long once the cache holds it."""
        return self.size_bytes / max(self.cached_bytes_s, 1.0)


def stage(
    store: Store, name: str, to: Store, on_bytes: Callable[[int], None] = unheard
) -> Copied | None:
    """Copy a model from one store to another; None if it is there already.

    Raises WeightsError: a file is damaged, there is no room, another model has that name there.
    """
    if store.root.resolve() == to.root.resolve():
        raise WeightsError(f"{to.root} is the store itself: name a folder on another disk")
    with store.locked(name), to.locked(name):
        to.see_place(name)
        manifest, have = store.needed(name), to.manifest(name)
        if have is not None and have.files == manifest.files and _is_there(to.folder(name), have):
            return None
        if have is not None and have.source != manifest.source:
            raise WeightsError(f"{to.folder(name)} came from {have.source}: it stays")
        to.remove_part(name)
        incoming = to.incoming(name)
        make_folder(incoming)
        free = shutil.disk_usage(incoming).free
        if manifest.size_bytes > free:
            raise WeightsError(
                f"{manifest.size_bytes:,} bytes are needed in {to.root}, where {free:,} are free"
            )
        tasks = []
        for file in manifest.files:
            make_folder((incoming / file.path).parent)
            source = _within(store.folder(name), file)
            tasks.append(Task(source, incoming / file.path, file.size_bytes, file))
        try:
            done = copy(tasks, on_bytes)
        except (OSError, WeightsError) as error:
            to.remove_part(name)  # A copy is begun anew: it costs no network.
            raise WeightsError(_worded(error, to.root)) from None
        to.publish(name, manifest)
        return done


def measure_pair(store: Store, name: str, to: Store) -> Pair:
    """Measure what the disks below two stores give: reading, writing, and both at once."""
    manifest, folder = store.needed(name), store.folder(name)
    file = max(manifest.files, key=lambda file: file.size_bytes)
    size = min(file.size_bytes, SAMPLE_BYTES_MAX)
    source, scratch = _within(folder, file), to.root / SCRATCH
    make_folder(to.root)
    try:
        read = copy([Task(source, None, size)])
        both = copy([Task(source, scratch, size)], clones=False)
        began_s = time.perf_counter()
        _write(scratch, size)
        return Pair(read.bytes_s, size / (time.perf_counter() - began_s), both.bytes_s)
    except OSError as error:
        raise WeightsError(_worded(error, to.root)) from None
    finally:
        scratch.unlink(missing_ok=True)


def measure_load(store: Store, name: str) -> Load:
    """Measure how long a model's files take to be read, past the page cache and from it."""
    manifest, folder = store.needed(name), store.folder(name)
    tasks, left = [], SAMPLE_BYTES_MAX
    for file in manifest.files:
        if file.size_bytes and left > 0:
            size = min(file.size_bytes, left)
            tasks.append(Task(_within(folder, file), None, size))
            left -= size
    disk = copy(tasks)
    _read_cached(tasks)
    began_s = time.perf_counter()
    read_bytes = _read_cached(tasks)
    cached = read_bytes / max(time.perf_counter() - began_s, 1e-9)
    return Load(manifest.size_bytes, disk.bytes_s, cached)


def _within(folder: Path, file: FileRecord) -> Path:
    path = folder / file.path
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size_bytes:
        raise WeightsError(f"{path} is missing or cut short: `baseload weights pull` mends it")
    return path


def _is_there(folder: Path, manifest: Manifest) -> bool:
    try:
        return all(_within(folder, file) for file in manifest.files)
    except WeightsError:
        return False


def _write(path: Path, size_bytes: int) -> None:
    """Write a file of zeros as copies are written, and wait until the disk has it."""
    zeros = Path("/dev/zero")
    copy([Task(zeros, path, size_bytes)], clones=False)


def _read_cached(tasks: list[Task]) -> int:
    """Read files as programs usually do; gives how many bytes there were."""
    buffer, total = bytearray(BLOCK_BYTES), 0
    for task in tasks:
        with task.source.open("rb", buffering=0) as file:
            left = task.size_bytes
            while left > 0 and (count := file.readinto(buffer)):
                left -= count
                total += count
    return total


def _worded(error: OSError | WeightsError, root: Path) -> str:
    if isinstance(error, WeightsError):
        return str(error)
    return f"{error.filename or root}: {os.strerror(error.errno) if error.errno else error}"
