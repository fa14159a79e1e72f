"""How do rendered files get into a folder, all of them or none?

Everything is first written into a temporary folder beside the one that is meant. Only when the last
byte is on the disk are files moved to their places, the record last; a full disk or a kill before
that leaves the folder as it was. A kill between two moves leaves some files new and some old, and
rendering again mends it: what is new already counts as unchanged.

Not here: what may be overwritten (`render.difference`), the verb (`render`).
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp

from baseload.errors import BaseloadError
from baseload.render.difference import RECORD, Record, Step, record_for, record_of, steps
from baseload.render.files import File

FILE_BYTES_MAX = 16 * 1024 * 1024
"""The largest file that is compared; no rendering is near it."""


def compare(folder: Path, files: Iterable[File]) -> list[Step]:
    """Give what a rendering would change in a folder. Raises BaseloadError if it is unreadable."""
    if folder.exists() and not folder.is_dir():
        raise BaseloadError(f"{folder}: not a folder")
    files = tuple(files)
    record = _record(folder)
    paths = {file.path for file in files} | set(record.files if record else ())
    return steps(files, {path: data for path in paths if (data := _read(folder / path))}, record)


def write(folder: Path, files: Iterable[File], done: Iterable[Step]) -> None:
    """Put files into their places and take away what is gone. Raises BaseloadError."""
    files = tuple(files)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BaseloadError(f"{folder.parent}: {error.strerror}") from None
    try:
        for file in files:
            _write(draft / file.path, file)
        (draft / RECORD).write_bytes(record_for(files))
        _move(draft, folder, [file.path for file in files])
        for step in done:
            if step.what == "gone":
                _remove(folder, step.path)
    except OSError as error:
        raise BaseloadError(f"{error.filename or folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _record(folder: Path) -> Record | None:
    data = _read(folder / RECORD)
    return None if data is None else record_of(data)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BaseloadError(f"{path}: {error.strerror}") from None


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.text, "utf-8")
    path.chmod(0o755 if file.is_executable else 0o644)


def _move(draft: Path, folder: Path, paths: list[str]) -> None:
    draft.chmod(0o755)
    if not folder.exists():
        draft.rename(folder)
        return
    for path in (*paths, RECORD):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (draft / path).replace(folder / path)


def _remove(folder: Path, path: str) -> None:
    """Remove a file and the folders that it leaves empty, up to the one that was rendered into."""
    (folder / path).unlink(missing_ok=True)
    for parent in (folder / path).parents:
        if parent == folder or any(parent.iterdir()):
            return
        parent.rmdir()
