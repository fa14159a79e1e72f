"""How does a model get into the store, and is what is there still what it was?"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from baseload.engines.weights import formats
from baseload.engines.weights.hashing import CHUNK_BYTES, chunk_digest
from baseload.engines.weights.pieces import Listing, Piece, WeightsError, unheard
from baseload.engines.weights.pulling import PATIENCE, Patience, Pull
from baseload.engines.weights.sources import source_of
from baseload.engines.weights.store import (
    MANIFEST,
    FileRecord,
    Manifest,
    Store,
    make_folder,
    read_manifest,
    write_manifest,
)
from baseload.engines.weights.wire import PassingError, Source

VERIFIERS = min(4, os.cpu_count() or 1)
"""Files that are verified at once: a core reckons 1 to 2 GB/s of SHA-256, disks give more."""


LISTINGS_MAX = 4
"""How often a source is asked what it has: nothing is lost yet if that fails."""


class Watcher(NamedTuple):
    """Who is told how a pull or a verification goes, from several threads."""

    on_list: Callable[[Listing], None] = unheard
    on_bytes: Callable[[str, int], None] = unheard
    on_file: Callable[[FileRecord], None] = unheard


NOBODY = Watcher()


class Fault(NamedTuple):
    """What is wrong with a file of a model."""

    path: str
    what: str
    """The end of a sentence that began with the file's name."""


def pull(
    store: Store,
    name: str,
    text: str,
    *,
    sha256: str = "",
    watcher: Watcher = NOBODY,
    patience: Patience = PATIENCE,
    env: Mapping[str, str] = os.environ,
) -> tuple[Manifest, bool]:
    """Bring a model into the store; give its manifest, and whether anything had to come.

    Raises WeightsError, which says what to do. Whatever ends this, what came is kept, and the model
    that had the name is there until the new one is whole.
    """
    with store.locked(name), ExitStack() as closing:
        store.see_place(name)
        ask = partial(source_of, text, closing, sha256, env)
        source = _listed(text, ask, patience)
        listing, have = source.listing, store.manifest(name)
        watcher.on_list(listing)
        if have is not None and have.source != listing.source:
            raise WeightsError(
                f"{name} in {store.root} came from {have.source}: give this one another --name, or "
                f"remove that one (`baseload weights prune {name}`)"
            )
        if have is not None and _is_same(store.folder(name), have, listing):
            return have, False
        began_s = time.monotonic()
        incoming = store.incoming(name)
        make_folder(incoming)
        known = _known(incoming, read_manifest(incoming), listing)
        if have is not None:
            known |= _linked(store.folder(name), incoming, have, listing, set(known))
        records = _Records(incoming, listing, known, watcher)
        pulling = Pull(source, incoming, watcher.on_bytes, records.add, patience=patience)
        files = pulling.run(known)
        if (wrong := formats.fault_of_model(incoming, [file.path for file in files])) is not None:
            raise WeightsError(f"{listing.source} is not whole: {wrong}")
        _tidy(incoming, {file.path for file in files})
        manifest = records.manifest(files, time.monotonic() - began_s)
        store.publish(name, manifest)
        return manifest, True


def verify(store: Store, name: str, watcher: Watcher = NOBODY) -> list[Fault]:
    """Read each file of a model anew, and give what is wrong; nothing if all is as it came.

    Digests are taken of what the disk has, not of what the kernel remembers, of each chunk on its
    own. The manifest says what came of it, and the next pull brings what is damaged.
    Raises WeightsError if there is no such model.
    """
    with store.locked(name):
        manifest, folder = store.needed(name), store.folder(name)
        found = {file.path: _wrong_outside(folder, file) for file in manifest.files}
        sound = [file for file in manifest.files if found[file.path] is None]
        chunks = [(file, chunk) for file in sound for chunk in range(len(file.chunks))]

        def look(asked: tuple[FileRecord, int]) -> tuple[str, str | None]:
            file, chunk = asked
            if found[file.path] is not None:
                return file.path, None  # One damaged place is enough.
            told = partial(watcher.on_bytes, file.path)
            wrong = _wrong_chunk(folder, file, chunk, told)
            return file.path, wrong

        with ThreadPoolExecutor(VERIFIERS) as pool:
            for path, wrong in pool.map(look, chunks):
                found[path] = found[path] or wrong
        for file in sound:
            if found[file.path] is None:
                watcher.on_file(file)
        faults = [Fault(path, wrong) for path, wrong in found.items() if wrong is not None]
        if not faults and (wrong := formats.fault_of_model(folder, list(found))) is not None:
            faults.append(Fault(MANIFEST, wrong))
        damaged = tuple(sorted(fault.path for fault in faults))
        at = manifest.verified_at if faults else now()
        write_manifest(folder, msgspec.structs.replace(manifest, damaged=damaged, verified_at=at))
        return sorted(faults)


def now() -> str:
    """Give the time as manifests have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Records:
    """Which files are verified, kept beside them: a pull that goes on need not look again."""

    def __init__(
        self, folder: Path, listing: Listing, known: dict[str, FileRecord], watcher: Watcher
    ) -> None:
        self._folder = folder
        self._listing = listing
        self._files = dict(known)
        self._watcher = watcher
        self._lock = threading.Lock()

    def add(self, record: FileRecord) -> None:
        """Keep that a file is verified and has its name."""
        with self._lock:
            self._files[record.path] = record
            write_manifest(self._folder, self.manifest(tuple(self._files.values()), 0.0))
        self._watcher.on_file(record)

    def manifest(self, files: tuple[FileRecord, ...], pulled_s: float) -> Manifest:
        """Give the manifest of these files."""
        said, at = self._listing, now()
        return Manifest(
            source=said.source, revision=said.revision, files=files, pulled_at=at,
            pulled_s=round(pulled_s, 3), verified_at=at,
        )  # fmt: skip


def _listed(text: str, ask: Callable[[], Source], patience: Patience) -> Source:
    """Ask a source what it has, again and again within bounds."""
    pause = threading.Event()
    attempts = min(patience.attempts_max, LISTINGS_MAX)
    for attempt in range(1, attempts + 1):
        try:
            return ask()
        except PassingError as error:
            if attempt == attempts:
                raise WeightsError(f"{error}; given up after {attempt} attempts") from None
            longest = min(patience.pause_max_s, patience.pause_first_s * 2**attempt)
            pause.wait(max(error.after_s, longest))
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # No list of files.
            raise WeightsError(f"{text} cannot be listed: {error!r:.200}") from None
    raise AssertionError("the last attempt returns or raises")


def _is_same(folder: Path, have: Manifest, listing: Listing) -> bool:
    """Tell whether what is there is what is listed, by the manifest and the files' sizes."""
    files = {file.path: file for file in have.files if file.path not in have.damaged}
    return set(files) == {piece.path for piece in listing.pieces} and all(
        _fits(folder, files[piece.path], piece) for piece in listing.pieces
    )


def _fits(folder: Path, file: FileRecord, piece: Piece) -> bool:
    path = folder / file.path
    is_same = piece.digest in {file.source_digest, f"sha256:{file.sha256}"} or (
        not piece.digest and _changed_ns(Path(piece.at)) <= _changed_ns(path)
    )
    if path.is_symlink() or not path.is_file():
        return False
    return is_same and file.size_bytes == piece.size_bytes == path.stat().st_size


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _known(folder: Path, said: Manifest | None, listing: Listing) -> dict[str, FileRecord]:
    """Give those files in a folder that were verified and are the ones that are listed."""
    files = {f.path: f for f in said.files if f.path not in said.damaged} if said else {}
    return {
        piece.path: files[piece.path]
        for piece in listing.pieces
        if piece.path in files and _fits(folder, files[piece.path], piece)
    }


def _linked(
    folder: Path, incoming: Path, have: Manifest, listing: Listing, known: set[str]
) -> dict[str, FileRecord]:
    """Take over files that an older revision has, too, without copying them."""
    found = {}
    for path, record in _known(folder, have, listing).items():
        target = incoming / path
        if path in known:
            continue
        make_folder(target.parent)
        try:
            target.unlink(missing_ok=True)  # Nobody knows whether it is right.
            os.link(folder / path, target, follow_symlinks=False)
        except OSError:
            continue  # A file system without links: it comes again.
        found[path] = record
    return found


def _tidy(folder: Path, wanted: set[str]) -> None:
    """Remove what earlier attempts at other files left."""
    for base, _, names in os.walk(folder):
        for name in names:
            path = Path(base, name)
            if path.relative_to(folder).as_posix() not in wanted and name != MANIFEST:
                path.unlink()


def _wrong_outside(folder: Path, file: FileRecord) -> str | None:
    """Say what is wrong with a file as far as its size and its header tell."""
    path = folder / file.path
    try:
        if path.is_symlink() or not path.is_file():
            return "is not there"
        if (size := path.stat().st_size) != file.size_bytes:
            what = "is cut short" if size < file.size_bytes else "has grown"
            return f"{what}: {size} bytes, and {file.size_bytes} came"
        return formats.fault(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _wrong_chunk(
    folder: Path, file: FileRecord, chunk: int, on_bytes: Callable[[int], None]
) -> str | None:
    try:
        digest = chunk_digest(folder / file.path, chunk, on_bytes)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if digest == file.chunks[chunk]:
        return None
    begin = chunk * CHUNK_BYTES
    end = min(begin + CHUNK_BYTES, file.size_bytes)
    return f"is damaged between bytes {begin} and {end}: pull it again"
