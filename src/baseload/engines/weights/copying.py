"""How are files copied as fast as their disks are, and what bound it?

Some workers each take a chunk: read, reckon its digest, write, in blocks, until no chunk is left.
Several are at different steps at any time, so disks and cores work at once. Reading and writing go
past the page cache (O_DIRECT) where the file system can do that: a model is larger than what else
the cache is good for. Each worker adds up how long it waited for which step; that says what bound
it.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from baseload.engines.weights.hashing import CHUNK_BYTES, forget
from baseload.engines.weights.pieces import WeightsError, unheard
from baseload.engines.weights.store import FileRecord

WORKERS = max(4, min(16, os.cpu_count() or 1))
BLOCK_BYTES = 2 * 1024 * 1024
"""What is read, reckoned and written at once: larger ones leave the processor's caches between two
steps, and were up to a tenth slower here."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ALIGNED_BYTES = 4096
"""What O_DIRECT wants offsets, lengths and memory to be multiples of; disks' blocks divide it."""

STARVED = 1.5
"""A step that needs only a core, and takes this many times longer than it has one, lacks cores."""

_FICLONE = 0x40049409
"""Linux' ioctl that lets two files share their blocks (btrfs, XFS), from linux/fs.h."""

_DIRECT = getattr(os, "O_DIRECT", 0)
Step = Literal["read", "hash", "write"]


@dataclass(slots=True)
class Spent:
    """Where the workers' time went, in seconds, all workers together."""

    read: float = 0.0
    hash: float = 0.0
    write: float = 0.0
    hash_core: float = 0.0
    """How long reckoning digests had a core."""

    def add(self, step: Step, began_s: float) -> float:
        """Add what a step took; give the time now."""
        now_s = time.perf_counter()
        setattr(self, step, getattr(self, step) + now_s - began_s)
        return now_s

    def bound(self) -> tuple[Step, float]:
        """Give the step that bound it, and the share of the time that went there.

        That is the step that took most, with one exception. Reckoning digests needs a core and
        nothing else; where it took much longer than it had a core, cores are what is short, and
        the other steps were waiting for them, too.
        """
        steps: tuple[Step, ...] = ("read", "hash", "write")
        most = max(steps, key=lambda step: float(getattr(self, step)))
        if self.hash_core and self.hash / self.hash_core > STARVED:
            most = "hash"
        return most, float(getattr(self, most)) / max(self.read + self.hash + self.write, 1e-9)


@dataclass(slots=True)
class Copied:
    """What copying came to."""

    size_bytes: int = 0
    seconds: float = 0.0
    cloned_bytes: int = 0
    """Of files that share their blocks with the source: read and verified, but not written."""
    is_direct: bool = True
    """Whether reading and writing went past the page cache."""
    spent: Spent = field(default_factory=Spent)

    @property
    def bytes_s(self) -> float:
        """The rate."""
        return self.size_bytes / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class Task:
    """A file that is read; written too if it has a target, and verified if it has digests."""

    source: Path
    target: Path | None
    size_bytes: int
    record: FileRecord | None = None


def copy(
    tasks: Sequence[Task],
    on_bytes: Callable[[int], None] = unheard,
    *,
    workers: int = WORKERS,
    clones: bool = True,
) -> Copied:
    """Copy files, verify what was read, and return once all of it is on the disk.

    Raises WeightsError that names a file which is not as it came, and OSError.
    """
    done, began_s = Copied(), time.perf_counter()
    opened = [_Opened(task, clones=clones) for task in tasks]
    try:
        pool = _Workers(opened, on_bytes)
        pool.run(workers)
        for each in opened:
            write_s = time.perf_counter()
            each.settle()
            pool.spent.add("write", write_s)
            done.size_bytes += each.task.size_bytes
            done.cloned_bytes += each.task.size_bytes if each.is_cloned else 0
            done.is_direct = done.is_direct and each.is_direct
        done.spent, done.seconds = pool.spent, time.perf_counter() - began_s
    finally:
        for each in opened:
            each.close()
    return done


class _Opened:
    """A file's two ends, each past the cache if that can be."""

    def __init__(self, task: Task, *, clones: bool) -> None:
        self.task = task
        self.is_direct = True
        self.is_cloned = False
        self._lock = threading.Lock()
        self.reads = self._open(task.source, os.O_RDONLY)
        self.writes: int | None = None
        if task.target is None:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        plain = os.open(task.target, flags, 0o644)
        try:
            self.is_cloned = clones and _clone(self.reads, plain)
            if not self.is_cloned:
                _reserve(plain, task.size_bytes)
        finally:
            os.close(plain)
        if self.is_cloned:
            os.close(self.reads)
            self.reads = self._open(task.target, os.O_RDONLY)  # What is verified is the copy.
        else:
            self.writes = self._open(task.target, os.O_WRONLY)

    def read(self, buffer: memoryview, at: int) -> int:
        """Read into a buffer; gives how much."""
        return self._tried("reads", lambda end: os.preadv(end, [buffer], at))

    def write(self, buffer: memoryview, at: int) -> None:
        """Write a whole buffer; what is behind the file's end is cut off in the end."""
        done = 0
        while done < len(buffer):
            some, where = buffer[done:], at + done
            done += self._tried("writes", partial(_pwrite, some, where))

    def settle(self) -> None:
        """See to it that all is on the disk, in its size."""
        if self.writes is not None:
            os.ftruncate(self.writes, self.task.size_bytes)
            os.fsync(self.writes)

    def close(self) -> None:
        """Close both ends."""
        for end in (self.reads, self.writes):
            if end is not None:
                os.close(end)

    def _open(self, path: Path, flags: int) -> int:
        flags |= os.O_CLOEXEC
        if _DIRECT:
            try:
                return os.open(path, flags | _DIRECT)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        self.is_direct = False
        end = os.open(path, flags)
        forget(end)
        return end

    def _tried(self, name: str, work: Callable[[int], int]) -> int:
        """Read or write; where the file system takes O_DIRECT back, go on without it."""
        end = getattr(self, name)
        try:
            return work(end)
        except OSError as error:
            if error.errno != errno.EINVAL or not _DIRECT:
                raise
        with self._lock:
            flags = fcntl.fcntl(end, fcntl.F_GETFL)
            fcntl.fcntl(end, fcntl.F_SETFL, flags & ~_DIRECT)
            self.is_direct = False
        return work(end)


class _Workers:
    """Those who copy. They share a list of chunks, and a place for what went wrong."""

    def __init__(self, opened: Sequence[_Opened], on_bytes: Callable[[int], None]) -> None:
        self.spent = Spent()
        self._chunks = _chunks_of(opened)
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def run(self, workers: int) -> None:
        """Copy all chunks; raises what went wrong first."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # Short, so that Ctrl-C is heard.
        except BaseException as error:
            self._error = self._error or error
            for thread in threads:
                thread.join()  # At most a block later: files are closed then.
            raise
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        spent = Spent()
        try:
            with _aligned(BLOCK_BYTES) as buffer:
                while self._error is None:
                    with self._lock:
                        opened, chunk = next(self._chunks, (None, 0))
                    if opened is None:
                        break
                    self._copy(opened, chunk, buffer, spent)
        except BaseException as error:  # noqa: BLE001 - it is raised again where `run` waits
            self._error = self._error or error
        with self._lock:
            for step in ("read", "hash", "write", "hash_core"):
                setattr(self.spent, step, getattr(self.spent, step) + getattr(spent, step))

    def _copy(self, opened: _Opened, chunk: int, buffer: memoryview, spent: Spent) -> None:
        task, summed = opened.task, hashlib.sha256()
        at, end = chunk * CHUNK_BYTES, min((chunk + 1) * CHUNK_BYTES, task.size_bytes)
        while at < end and self._error is None:
            clock_s = time.perf_counter()
            count = min(opened.read(buffer, at), end - at)
            clock_s = spent.add("read", clock_s)
            if count <= 0:
                raise WeightsError(f"{task.source} is cut short: it ends at byte {at}")
            if task.record is not None:
                core_s = time.thread_time()
                summed.update(buffer[:count])
                spent.hash_core += time.thread_time() - core_s
                clock_s = spent.add("hash", clock_s)
            if opened.writes is not None:
                opened.write(buffer[: -(-count // ALIGNED_BYTES) * ALIGNED_BYTES], at)
                spent.add("write", clock_s)
            at += count
            self._on_bytes(count)
        if (
            at >= end
            and task.record is not None
            and task.record.chunks[chunk] != summed.hexdigest()
        ):
            raise WeightsError(
                f"{task.source} is not as it came, between bytes {chunk * CHUNK_BYTES} and {end}: "
                "`baseload weights verify` looks at all of it"
            )


def _reserve(target: int, size_bytes: int) -> None:
    """Take a file's place on the disk at once, so that workers need not agree on it as they write.

    Raises OSError if there is no room.
    """
    try:
        if size_bytes:
            os.posix_fallocate(target, 0, size_bytes)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", None) in FULL:
            raise
        os.ftruncate(target, size_bytes)  # It cannot be reserved here.


def _pwrite(data: memoryview, at: int, end: int) -> int:
    return os.pwrite(end, data, at)


def _chunks_of(opened: Sequence[_Opened]) -> Iterator[tuple[_Opened, int]]:
    for each in opened:
        for chunk in range(-(-each.task.size_bytes // CHUNK_BYTES)):
            yield each, chunk


@contextmanager
def _aligned(size_bytes: int) -> Iterator[memoryview]:
    """Give memory that begins on a page, as O_DIRECT wants it."""
    pages = mmap.mmap(-1, size_bytes)
    view = memoryview(pages)
    try:
        yield view
    finally:
        view.release()
        _closed(pages)


def _closed(pages: Any) -> None:
    try:
        pages.close()
    except BufferError:
        return  # An error still holds a part of it, and lets go with itself.


def _clone(source: int, target: int) -> bool:
    """Let the target share the source's blocks; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
