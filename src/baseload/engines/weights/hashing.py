"""What are the digests of a file: of all of it, and of each chunk?

A SHA-256 is reckoned from front to back, by one core, at 1 to 2 GB/s; disks give more. So when a
file was verified against its source's digest, digests of its chunks are kept too: from then on it
is verified by as many cores as there are.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from baseload.engines.weights.pieces import hasher, unheard

BLOCK_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 16 * 1024 * 1024
"""What has a digest of its own in the manifest: 64 digits, so 4 MB of them for a terabyte."""


class Digests(NamedTuple):
    """What was reckoned of a file."""

    sha256: str
    told: str
    """Of the kind that was asked for, with that kind: `sha256:…` or `git:…`."""
    chunks: tuple[str, ...]
    """SHA-256 of each CHUNK_BYTES."""


def digests_of(path: Path, like: str, size_bytes: int) -> Digests:
    """Reckon a file's digests; `like` is a digest of the kind that is wanted. Raises OSError."""
    whole = hashlib.sha256()
    other = hasher(like, size_bytes) if like.startswith("git:") else None
    chunks, left, chunk = [], CHUNK_BYTES, hashlib.sha256()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer[: min(left, BLOCK_BYTES)]):
            for each in (whole, chunk, other):
                if each is not None:
                    each.update(buffer[:count])
            left -= count
            if left == 0:
                chunks.append(chunk.hexdigest())
                left, chunk = CHUNK_BYTES, hashlib.sha256()
    if left < CHUNK_BYTES:
        chunks.append(chunk.hexdigest())
    digest = whole.hexdigest()
    told = f"sha256:{digest}" if other is None else f"git:{other.hexdigest()}"
    return Digests(digest, told, tuple(chunks))


def chunk_digest(path: Path, chunk: int, on_bytes: Callable[[int], None] = unheard) -> str:
    """Give the digest of one chunk as the disk has it, not as the kernel remembers it."""
    summed, at, end = hashlib.sha256(), chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        forget(file.fileno(), at, CHUNK_BYTES)
        file.seek(at)
        while count := file.readinto(buffer[: min(end - at, BLOCK_BYTES)]):
            summed.update(buffer[:count])
            at += count
            on_bytes(count)
    return summed.hexdigest()


def forget(descriptor: int, at: int = 0, size_bytes: int = 0) -> None:
    """Ask the kernel to forget what it remembers of a file, where it can be asked; 0: all of it."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, at, size_bytes, os.POSIX_FADV_DONTNEED)
