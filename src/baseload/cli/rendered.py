"""How do rendered files get into folders, all of them or none?

Everything is first written into drafts: beside a folder that is new, within one that is there, so
that a draft is on the disk that the folder is on. Only when all drafts are whole are files moved to
their places, each folder's record last; a full disk before that leaves all folders as they were,
and so does a kill, but for the drafts. A kill between two moves leaves some files new and some old,
and rendering again mends it: what is new already counts as unchanged.

Not here: what may be overwritten (`render.difference`), the verb (`render`).
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from baseload.errors import BaseloadError
from baseload.render.difference import RECORD, Record, Step, record_for, record_of, steps
from baseload.render.files import File

FILE_BYTES_MAX = 16 * 1024 * 1024
"""The largest file that is compared; no rendering is near it."""
DRAFT = ".baseload-render-"
"""How folders of drafts begin."""


def compare(folder: Path, files: Iterable[File]) -> list[Step]:
    """Give what a rendering would change in a folder. Raises BaseloadError if it cannot be told."""
    files = tuple(files)
    with _told(folder):
        above = {parent for file in files for parent in (folder / file.path).parents}
        for place in sorted(above):
            if place.exists() and not place.is_dir():
                raise BaseloadError(f"{place}: not a folder")
        record = _record(folder)
        paths = {file.path for file in files} | set(record.files if record else ())
        found = {path: _read(folder / path) for path in paths}
    return steps(files, {path: data for path, data in found.items() if data is not None}, record)


def write(folders: Mapping[Path, Iterable[File]], compared: Mapping[Path, list[Step]]) -> None:
    """Put files into their places, and take away what is gone. Raises BaseloadError."""
    rendered = {folder: tuple(files) for folder, files in folders.items()}
    with ExitStack() as drafts:
        written = {
            folder: drafts.enter_context(_draft(folder, files))
            for folder, files in rendered.items() if not _is_done(folder, files, compared[folder])
        }  # fmt: skip
        for folder in written:
            if compare(folder, rendered[folder]) != compared[folder]:
                raise BaseloadError(f"{folder}: was changed by somebody else meanwhile; try again")
        for folder, draft in written.items():
            with _told(folder):
                _move(draft, folder, compared[folder])


def _is_done(folder: Path, files: tuple[File, ...], done: list[Step]) -> bool:
    """Say whether nothing is to do, not even to the record."""
    with _told(folder):
        record = _read(folder / RECORD)
    return all(step.what == "same" for step in done) and record == record_for(files)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn what the system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        name = str(error.filename or folder)
        where = folder if DRAFT in name else name
        raise BaseloadError(f"{where}: {error.strerror or error}") from None


@contextmanager
def _draft(folder: Path, files: tuple[File, ...]) -> Iterator[Path]:
    """Write everything into a folder that is there only for now, with those above that lack."""
    with ExitStack() as after, _told(folder):
        for above in (each for each in reversed(folder.parents) if not each.exists()):
            above.mkdir(exist_ok=True)
            after.callback(_remove_empty, above)
        draft = Path(mkdtemp(prefix=DRAFT, dir=folder if folder.exists() else folder.parent))
        after.callback(shutil.rmtree, draft, ignore_errors=True)
        for file in files:
            path = draft / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, "utf-8")
            path.chmod(0o755 if file.is_executable else 0o644)
        (draft / RECORD).write_bytes(record_for(files))
        draft.chmod(0o755)
        yield draft


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _record(folder: Path) -> Record | None:
    data = _read(folder / RECORD)
    return None if data is None else record_of(data)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _move(draft: Path, folder: Path, done: list[Step]) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    kept = [step.path for step in done if step.after is not None]
    for path in kept:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    for path in kept:
        (draft / path).replace(folder / path)
    for step in done:
        if step.what == "gone":
            _remove(folder, step.path)
    (draft / RECORD).replace(folder / RECORD)


def _remove(folder: Path, path: str) -> None:
    """Remove a file and the folders that it leaves empty, up to the one that was rendered into."""
    (folder / path).unlink(missing_ok=True)
    for parent in (folder / path).parents:
        if parent == folder or any(parent.iterdir()):
            return
        parent.rmdir()
