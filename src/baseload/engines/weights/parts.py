"""How is a file kept while it comes in pieces, so that nothing is lost when the process is killed?

Beside a file on its way, `.NAME.part`, lies a journal, `.NAME.ranges`: its first line says of what
the part is a part, each further line is the number of a chunk that is on the disk. A chunk is noted
only after `fdatasync`, so whatever the journal says is true, even after a power cut; what it does
not say is fetched again. A line that was cut while it was written is not read.
"""

import os
import threading
from pathlib import Path

import msgspec

from baseload.engines.weights.pieces import Piece

CHUNK_BYTES = 8 * 1024 * 1024
"""What is noted at once, and so the most that each connection fetches twice."""

RANGE_CHUNKS_MAX = 8
"""Chunks that are asked for in one request: 64 MiB, so that a request's own time matters little."""

JOURNAL_BYTES_MAX = 64 * 1024 * 1024


def part_path(path: Path) -> Path:
    """Give the name that a file has while it comes."""
    return path.with_name(f".{path.name}.part")


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """Of what a part is a part. Any difference, and it is begun anew."""

    size_bytes: int
    digest: str
    chunk_bytes: int
    etag: str = ""


class Part:
    """One file on its way. Its methods may be called from several threads."""

    def __init__(self, path: Path, piece: Piece) -> None:
        """Open it, going on from what there is; raises OSError."""
        self.path = part_path(path)
        self.journal = path.with_name(f".{path.name}.ranges")
        self.size_bytes = piece.size_bytes
        self.chunks = -(-piece.size_bytes // CHUNK_BYTES)
        self.generation = 0
        """Grows when it is begun anew; what was asked for before is then no part of it."""
        self.begun_anew = 0
        self._is_closed = False
        self._digest = piece.digest
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o644)
        self._notes = os.open(self.journal, flags | os.O_APPEND, 0o644)
        self._head, self.done = self._read()
        if self._head is None:
            self._anew("")

    def close(self) -> None:
        """Close its files; they stay."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._file)
            os.close(self._notes)

    def remove(self) -> None:
        """Remove its files; it must be closed."""
        self.path.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    @property
    def done_bytes(self) -> int:
        """How much of it is on the disk for certain."""
        return sum(self.end_of(chunk) - chunk * CHUNK_BYTES for chunk in self.done)

    @property
    def is_whole(self) -> bool:
        """Tell whether all chunks are there."""
        return len(self.done) == self.chunks

    def end_of(self, chunk: int) -> int:
        """Give where a chunk ends, in bytes from the beginning."""
        return min((chunk + 1) * CHUNK_BYTES, self.size_bytes)

    def agree(self, etag: str) -> bool:
        """Take the ETag of an answer; False if it is another file's, and the part begun anew."""
        with self._lock:
            known = self._head.etag if self._head else ""
            if not etag or etag == known:
                return True
            is_first = not known and not self.done
            self._anew(etag)
            if not is_first:
                self.begun_anew += 1
            return is_first

    def write(self, generation: int, at: int, data: memoryview) -> bool:
        """Write bytes where they belong; False if the part was begun anew since. Raises OSError."""
        with self._lock:
            if generation != self.generation:
                return False
            while data:
                written = os.pwrite(self._file, data, at)
                data, at = data[written:], at + written
            return True

    def note(self, generation: int, chunk: int) -> bool:
        """Note a chunk that was written, once it is on the disk; tell whether it was new.

        Raises OSError.
        """
        if chunk in self.done:
            return False
        os.fdatasync(self._file)
        with self._lock:
            if generation != self.generation:
                return False
            os.write(self._notes, b"%d\n" % chunk)
            self.done.add(chunk)
            return True

    def _anew(self, etag: str) -> None:
        """Forget all that came. Workers that still write an older generation are not heard."""
        if self._head is not None and (self.done or self._head.etag):
            self.generation += 1
        self._head = _Head(
            size_bytes=self.size_bytes, digest=self._digest, chunk_bytes=CHUNK_BYTES, etag=etag
        )
        self.done = set()
        os.ftruncate(self._notes, 0)
        os.ftruncate(self._file, 0)
        os.write(self._notes, msgspec.json.encode(self._head) + b"\n")
        os.fsync(self._notes)

    def _read(self) -> tuple[_Head | None, set[int]]:
        """Read the journal: of what it is, which chunks are there; nothing of another's."""
        text = os.pread(self._notes, JOURNAL_BYTES_MAX, 0)
        head, _, rest = text.partition(b"\n")
        try:
            known = msgspec.json.decode(head, type=_Head)
        except msgspec.MsgspecError:
            return None, set()
        mine = (self.size_bytes, self._digest, CHUNK_BYTES)
        if mine != (known.size_bytes, known.digest, known.chunk_bytes):
            return None, set()
        lines = rest.split(b"\n")[:-1]  # The last one is empty, or was cut while it was written.
        chunks = {int(line) for line in lines if line.isdigit() and len(line) < 12}
        have_bytes = os.fstat(self._file).st_size
        whole = {c for c in chunks if c < self.chunks and self.end_of(c) <= have_bytes}
        if rest and not rest.endswith(b"\n"):
            os.write(self._notes, b"\n")
        return known, whole
