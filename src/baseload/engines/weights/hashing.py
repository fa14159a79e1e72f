"""What are the digests of a file?"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from baseload.engines.weights.pieces import hasher, unheard

READ_BYTES = 4 * 1024 * 1024


def digests_of(
    path: Path,
    like: str,
    size_bytes: int,
    on_bytes: Callable[[int], None] = unheard,
    *,
    past_cache: bool = False,
) -> tuple[str, str]:
    """Give a file's SHA-256, and its digest of the kind that `like` is of, with that kind.

    `past_cache`: what is read is what the disk has, as far as the kernel lets go of what it
    remembers. Raises OSError.
    """
    sha256 = hashlib.sha256()
    other = hasher(like, size_bytes) if like.startswith("git:") else None
    buffer = memoryview(bytearray(READ_BYTES))
    with path.open("rb", buffering=0) as file:
        forget(file.fileno(), does=past_cache)
        while count := file.readinto(buffer):
            sha256.update(buffer[:count])
            if other is not None:
                other.update(buffer[:count])
            on_bytes(count)
    digest = sha256.hexdigest()
    return digest, f"sha256:{digest}" if other is None else f"git:{other.hexdigest()}"


def forget(descriptor: int, *, does: bool = True) -> None:
    """Ask the kernel to forget what it remembers of a file, where it can be asked."""
    if does and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
