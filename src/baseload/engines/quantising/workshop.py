"""Where is a result put together before it has its name?

In a hidden folder beside it, on the same disk, so that a rename publishes it. The folder is locked
while somebody works in it; what a killed run left there, the next one clears.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from baseload.errors import EngineError

LOCK = "lock"


@contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """Give a folder that is ours alone, with nothing in it but its lock, and is gone afterwards.

    Raises EngineError if somebody else works in it, if a link stands in its place, or for what the
    disk refuses.
    """
    folder = out.with_name(f".{out.name}.quantising")
    try:
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise EngineError(f"{folder} is a link: nothing is written or removed behind it")
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(f"somebody is writing {out} at this moment") from None
            _clear(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise EngineError(f"cannot write {out}: {error.strerror or error}") from error


def _clear(folder: Path) -> None:
    for leftover in folder.iterdir():
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        elif leftover.name != LOCK:
            leftover.unlink()
