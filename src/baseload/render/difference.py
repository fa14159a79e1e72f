"""What would a rendering change in a folder, and what may it not touch?

A folder that was rendered into keeps a list of what was written there, with a digest of each file
(`RECORD`). By it a file that a person has changed since is told from one that only an older
rendering has left: the first is never overwritten unasked, the second is replaced, or removed where
the fleet no longer has it. Files that were never rendered are nobody's business.

Not here: reading and writing the folder (`cli.rendered`).
"""

from collections.abc import Iterable, Mapping
from difflib import unified_diff
from hashlib import sha256
from typing import Final, Literal

import msgspec

from baseload import __version__
from baseload.config.mistakes import shown
from baseload.errors import BaseloadError
from baseload.render.files import File

RECORD: Final = ".baseload-render.json"
"""The list of what was written, in the folder itself."""
What = Literal["new", "changed", "same", "gone", "edited", "edited and gone"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was written into a folder."""

    made_by: str
    files: dict[str, str]
    """SHA-256 of each file's bytes, by path."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one file."""

    path: str
    what: What
    before: str | None = None
    """Its text now; None if it is not there."""
    after: File | None = None
    """None if it goes."""


def digest(data: bytes) -> str:
    """Give what the record keeps of a file."""
    return sha256(data).hexdigest()


def record_of(text: bytes) -> Record:
    """Read a record; raises BaseloadError if it is none, or names files of other folders."""
    try:
        record = msgspec.json.decode(text, type=Record)
    except msgspec.DecodeError as error:
        raise BaseloadError(f"{RECORD}: not what `baseload render` writes: {error}") from None
    for path in record.files:
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            what = f"`{shown(path)}` is outside this folder"
            raise BaseloadError(f"{RECORD}: not what `baseload render` writes: {what}")
    return record


def record_for(files: Iterable[File]) -> bytes:
    """Write the record of a rendering."""
    digests = {file.path: digest(file.text.encode()) for file in files}
    record = Record(made_by=f"baseload {__version__}", files=dict(sorted(digests.items())))
    return msgspec.json.format(msgspec.json.encode(record)) + b"\n"


def steps(files: Iterable[File], found: Mapping[str, bytes], record: Record | None) -> list[Step]:
    """Give what a rendering would do, by path; `found` holds what is there of old and new paths."""
    written = record.files if record else {}
    after = {file.path: file for file in files}
    return [
        _step(path, after.get(path), found.get(path), written.get(path))
        for path in sorted({*after, *written})
        if path in after or path in found
    ]


def _step(path: str, after: File | None, data: bytes | None, written: str | None) -> Step:
    before = None if data is None else data.decode("utf-8", "replace")
    if data is None:
        return Step(path=path, what="new", after=after)
    if after is not None and data == after.text.encode():
        return Step(path=path, what="same", before=before, after=after)
    is_ours = digest(data) == written
    if after is None:
        return Step(path=path, what="gone" if is_ours else "edited and gone", before=before)
    return Step(path=path, what="changed" if is_ours else "edited", before=before, after=after)


def as_diff(step: Step) -> str:
    """Give a step as a unified diff; empty for what stays."""
    if step.what == "edited and gone":
        return ""
    after = step.after.text if step.after else ""
    before = step.before or ""
    names = (
        "/dev/null" if step.before is None else f"a/{step.path}",
        "/dev/null" if step.after is None else f"b/{step.path}",
    )
    return "".join(
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
        for line in unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), *names
        )
    )
