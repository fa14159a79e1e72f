"""Which models are in the store, where do they lie, and what is known of their files?

    STORE/NAME/…                        a whole model, and its manifest
    STORE/.incoming/NAME/…              one that is on its way, with part files
    STORE/.locks/NAME                   held by whoever changes NAME

A model has its name once all its files were verified: it is put together aside and then moved, so
nobody ever sees half of one. Nothing here follows a link out of the store.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from baseload.engines.weights.hashing import CHUNK_BYTES
from baseload.engines.weights.pieces import NAME, WeightsError, inside, model_name

VARIABLE = "BASELOAD_WEIGHTS"
DEFAULT = "~/.local/state/baseload/weights"
"""Below the fleet file's default `state_dir`."""

MANIFEST = ".baseload-weights.json"
MANIFEST_BYTES_MAX = 64_000_000
INCOMING = ".incoming"
OLD = ".old"
LOCKS = ".locks"


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model, as it was when it was last verified."""

    path: str
    size_bytes: int
    sha256: str
    source_digest: str = ""
    """What the source said of it: `sha256:` or `git:` and hex digits."""
    chunks: tuple[str, ...]
    """SHA-256 of each part of it (`hashing.CHUNK_BYTES`), so that many cores can verify it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model in the store."""

    source: str
    revision: str = ""
    files: tuple[FileRecord, ...]
    pulled_at: str
    """UTC, ISO 8601."""
    pulled_s: float
    """How long it took to come, verification included; only of the run that ended it."""
    verified_at: str
    """When digests were last seen to be right."""
    damaged: tuple[str, ...] = ()
    """Files that were found to be wrong since; a pull brings them again."""

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


def store_path(
    given: Path | None, state_dir: str = "", env: Mapping[str, str] = os.environ
) -> Path:
    """Give the store's folder: as given, else `BASELOAD_WEIGHTS`, else in the state directory."""
    usual = str(Path(state_dir) / "weights") if state_dir else DEFAULT
    return Path(given or env.get(VARIABLE) or usual).expanduser()


class Store:
    """A folder of models."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """Give a model's folder, whether it is there or not; raises WeightsError for odd names."""
        return self.root / model_name(name)

    def incoming(self, name: str) -> Path:
        """Give the folder in which a model is put together."""
        return self.root / INCOMING / model_name(name)

    def names(self) -> list[str]:
        """List models that are there, whole or not, by name.

        Only folders with a manifest: a store may lie in a folder that holds other things, too, and
        those are nobody's to list or remove here.
        """
        if not self.root.is_dir():
            return []
        found = (each for each in self.root.iterdir() if NAME.fullmatch(each.name))
        return sorted(each.name for each in found if _is_ours(each))

    def see_place(self, name: str) -> None:
        """Raise WeightsError if what has this name is no model of ours: none may replace it."""
        folder = self.folder(name)
        if (folder.exists() or folder.is_symlink()) and not _is_ours(folder):
            raise WeightsError(
                f"{folder} is there and no model of this store: it stays; give another --name"
            )

    def name_of(self, model: str) -> str:
        """Give the name of that model of the store which a fleet file means; empty if it is none.

        A fleet file names it, one of its files, or a path that leads into the store.
        """
        name = split_name(model)[0]
        if name and (_is_ours(self.folder(name)) or self.incoming(name).is_dir()):
            return name
        try:
            inner = Path(model).expanduser().resolve().relative_to(self.root.resolve()).parts
        except (OSError, ValueError, RuntimeError):  # Elsewhere, or links in a circle.
            return ""
        return inner[0] if inner else ""

    def manifest(self, name: str) -> Manifest | None:
        """Give what is known of a model; None if it is not there, or not whole."""
        folder = self.folder(name)
        if folder.is_symlink():
            return None
        return read_manifest(folder)

    def needed(self, name: str) -> Manifest:
        """Give what is known of a model; raises WeightsError if it is not there."""
        found = self.manifest(name)
        if found is None:
            what = "is not whole" if _is_ours(self.folder(name)) else "is not there"
            names = ", ".join(self.names()) or "nothing"
            raise WeightsError(
                f"{name} {what} in {self.root} (there: {names}); `baseload weights pull` brings it"
            )
        return found

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a model while it is changed; raises WeightsError if somebody else does.

        The kernel lets go of the lock with the process, however that ends.
        """
        path = self.root / LOCKS / model_name(name)
        for own in (INCOMING, OLD, LOCKS):
            if (self.root / own).is_symlink():
                raise WeightsError(f"{self.root / own} is a link: nothing is changed behind it")
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WeightsError(
                    f"{name} is being changed by another process; wait for it to end"
                ) from None
            self._mend(name)
            yield
        finally:
            os.close(descriptor)

    def publish(self, name: str, manifest: Manifest) -> None:
        """Give a whole model its name; what had the name before goes. Only while it is held."""
        incoming, folder, old = self.incoming(name), self.folder(name), self._old(name)
        self.see_place(name)
        write_manifest(incoming, manifest)
        if folder.exists():
            make_folder(old.parent)
            folder.rename(old)
        incoming.rename(folder)
        sync_folder(self.root)
        remove(old)

    def taken_bytes(self, name: str) -> int:
        """Give what a model's files take on the disk."""
        return taken_bytes(self.folder(name))

    def remove_part(self, name: str) -> None:
        """Remove what came of a model so far. Only while it is held."""
        remove(self.incoming(name))

    def remove(self, name: str) -> None:
        """Remove a model and what came of it. Only while it is held."""
        self.see_place(name)
        self.remove_part(name)
        folder = self.folder(name)
        # Its name goes first, so that nobody finds a model of which half is gone.
        make_folder(self._old(name).parent)
        if folder.exists():
            folder.rename(self._old(name))
        remove(self._old(name))

    def parts(self) -> dict[str, int]:
        """List models that are on their way, with the bytes that they take."""
        folder = self.root / INCOMING
        if not folder.is_dir() or folder.is_symlink():
            return {}
        found = (each for each in folder.iterdir() if NAME.fullmatch(each.name))
        return {each.name: taken_bytes(each) for each in found if not each.is_symlink()}

    def _old(self, name: str) -> Path:
        return self.root / OLD / model_name(name)

    def _mend(self, name: str) -> None:
        """End what a process that was killed between two renames began."""
        old, folder = self._old(name), self.folder(name)
        if old.exists() and not folder.exists():
            old.rename(folder)
        remove(old)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder is a model's: it has a manifest, be it one that cannot be read."""
    return folder.is_dir() and not folder.is_symlink() and (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest | None:
    """Read a manifest; None if there is none that can be understood."""
    path = folder / MANIFEST
    try:
        if path.is_symlink() or path.stat().st_size > MANIFEST_BYTES_MAX:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
        for file in found.files:
            inside(file.path)
            if len(file.chunks) != -(-file.size_bytes // CHUNK_BYTES):
                return None
    except (OSError, msgspec.MsgspecError, WeightsError):
        return None
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest at one stroke."""
    new = folder / f"{MANIFEST}.new"
    data = msgspec.json.format(msgspec.json.encode(manifest))
    with new.open("wb") as file:
        file.write(data + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / MANIFEST)
    sync_folder(folder)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises WeightsError if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot make the folder {path}: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """See to it that names in a folder outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a folder or a link, never what a link leads to."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def taken_bytes(path: Path) -> int:
    """Give what a folder's files take on the disk; links are not followed."""
    total = 0
    for base, _, names in os.walk(path):
        for name in names:
            total += Path(base, name).lstat().st_blocks * 512
    return total


def split_name(model: str) -> tuple[str, str]:
    """Split `NAME/FILE.gguf` into a model's name and its file; the file may be empty."""
    name, _, file = model.partition("/")
    return (name, file) if re.fullmatch(NAME, name) else ("", "")
