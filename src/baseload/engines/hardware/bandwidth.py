"""How fast does a disk write and read, past the memory that hides it?

A file of random bytes, which no disk can compress, is written and read back in large pieces by a
few threads, as who loads weights does it. O_DIRECT goes past the page cache; where a file system
has none, pages are dropped before reading. The file loses its name as soon as it is open, so that
it is gone with this process, however that ends.

Cloud disks may be faster for some minutes than they are in the long run: this measures seconds.
"""

import mmap
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from baseload.errors import BaseloadError

PIECE_BYTES = 4 * 2**20
FILE_BYTES = 512 * 2**20
"""More than the cache of a disk without power protection, in most cases."""
RESERVE_BYTES = 2**30
"""Room that is left to others, whatever is measured."""
STEP_S_MAX = 4.0
"""How long writing may take, and how long reading: a slow disk is measured with less."""
THREADS = 4
"""One thread that waits for each piece leaves a fast disk idle half of the time."""


class Bandwidth(NamedTuple):
    """What a disk did, in bytes a second."""

    write_bytes_s: float
    read_bytes_s: float
    is_direct: bool
    """Past the page cache in both directions; else cached pages were dropped before reading."""


def measure(
    folder: Path,
    on_progress: Callable[[float], None] = lambda _part: None,
    file_bytes: int = FILE_BYTES,
) -> Bandwidth:
    """Measure the disk that holds a folder; takes 2 * STEP_S_MAX and little more.

    `on_progress` hears which part is done, 0 to 1. Raises BaseloadError if there is no room, or
    nothing can be written there.
    """
    pieces = max(1, file_bytes // PIECE_BYTES)
    try:
        room = os.statvfs(folder)
        free = room.f_bavail * room.f_frsize
        if free < pieces * PIECE_BYTES + RESERVE_BYTES:
            raise BaseloadError(
                f"{folder}: not measured: {free / 1e9:.1f} GB are free, "
                f"{(pieces * PIECE_BYTES + RESERVE_BYTES) / 1e9:.1f} GB are wanted"
            )
        fd, is_direct = _open(folder)
        try:
            return _measure(fd, pieces, is_direct, on_progress)
        finally:
            os.close(fd)
    except OSError as error:
        raise BaseloadError(f"{folder}: not measured: {error.strerror}") from error


def _measure(
    fd: int, pieces: int, is_direct: bool, on_progress: Callable[[float], None]
) -> Bandwidth:
    buffers = [mmap.mmap(-1, PIECE_BYTES) for _ in range(THREADS)]  # O_DIRECT wants whole pages.
    for buffer in buffers:
        buffer.write(secrets.token_bytes(PIECE_BYTES))
    began = time.perf_counter()
    written = _pieces(
        lambda at, buffer: os.pwritev(fd, [buffer], at * PIECE_BYTES), buffers, pieces,
        lambda part: on_progress(part / 2),
    )  # fmt: skip
    os.fsync(fd)
    write_s = time.perf_counter() - began
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    read = _pieces(
        lambda at, buffer: os.preadv(fd, [buffer], at * PIECE_BYTES), buffers, written,
        lambda part: on_progress(0.5 + part / 2),
    )  # fmt: skip
    read_s = time.perf_counter() - began
    on_progress(1.0)
    return Bandwidth(written * PIECE_BYTES / write_s, read * PIECE_BYTES / read_s, is_direct)


def _pieces(
    do: Callable[[int, mmap.mmap], int],
    buffers: list[mmap.mmap],
    count: int,
    on_progress: Callable[[float], None],
) -> int:
    """Do pieces in turns, one a thread, until all are done or time is over; give how many were."""
    ends, done = time.perf_counter() + STEP_S_MAX, 0
    with ThreadPoolExecutor(THREADS) as pool:
        while done < count and (not done or time.perf_counter() < ends):
            turn = range(done, min(count, done + 4 * THREADS))
            lanes = [turn[lane::THREADS] for lane in range(THREADS)]
            list(pool.map(_lane, repeat(do), lanes, buffers))
            done = turn.stop
            on_progress(done / count)
    return done


def _lane(do: Callable[[int, mmap.mmap], int], places: range, buffer: mmap.mmap) -> None:
    for at in places:
        if (count := do(at, buffer)) != PIECE_BYTES:
            raise OSError(0, f"only {count} of {PIECE_BYTES} bytes were moved")


def _open(folder: Path) -> tuple[int, bool]:
    """Open a new file that has no name any more; say whether it goes past the page cache."""
    path = folder / f".baseload-bandwidth-{secrets.token_hex(8)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    direct = getattr(os, "O_DIRECT", 0)
    try:
        fd = os.open(path, flags | direct, 0o600)
        is_direct = bool(direct)
    except OSError:
        path.unlink(missing_ok=True)  # Some file systems refuse only once the file is there.
        fd, is_direct = os.open(path, flags, 0o600), False
    path.unlink()
    return fd, is_direct
