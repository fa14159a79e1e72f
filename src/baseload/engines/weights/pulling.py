"""How do a model's files come: many ranges at once, going on after anything, verified, then named?

A few workers take ranges of files until all are there. Files that were begun come first, so that
few are half way at any time. The first range of a file shows whether its server has ranges; if not,
that one answer is the whole file. Whoever brings the last chunk verifies the file, checks its
format, and gives it its name. One failure that asking again cannot mend ends all of it; what came
by then is kept, and the next pull goes on from there.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from baseload.engines.weights import formats
from baseload.engines.weights.copying import FULL
from baseload.engines.weights.hashing import digests_of
from baseload.engines.weights.parts import CHUNK_BYTES, RANGE_CHUNKS_MAX, Part, part_path
from baseload.engines.weights.pieces import Piece, WeightsError, unheard
from baseload.engines.weights.store import FileRecord, make_folder, sync_folder
from baseload.engines.weights.wire import Answer, ChangedError, PassingError, Source

WORKERS = 8
"""Connections at once: one seldom fills a network. All may be busy with one file."""

ATTEMPTS_MAX = 8
"""Failures in a row, for each range, in which not one chunk came."""

PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30.0
CHUNK_MAX_S = 900.0
"""The longest that one chunk may take: 9 kB/s."""

ANEW_MAX = 3
"""How often a file may change at its source while it comes."""

logger = logging.getLogger("baseload.weights")


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard is tried; tests are less patient."""

    attempts_max: int = ATTEMPTS_MAX
    pause_first_s: float = PAUSE_FIRST_S
    pause_max_s: float = PAUSE_MAX_S


PATIENCE = Patience()


@dataclass(slots=True)
class _File:
    """A file on its way."""

    piece: Piece
    target: Path
    part: Part | None = None
    has_ranges: bool | None = None
    """None until its server has shown it."""
    claimed: set[int] = field(default_factory=set)
    """Chunks that a worker is fetching."""
    workers: int = 0
    is_ending: bool = False


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a worker has taken on: chunks of a file that follow each other."""

    file: _File
    part: Part
    generation: int
    chunks: range


class Pull:
    """Bring the files of a source into a folder. `run` may be called once."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        on_bytes: Callable[[str, int], None] = unheard,
        on_file: Callable[[FileRecord], None] = unheard,
        *,
        patience: Patience = PATIENCE,
        rng: Random | None = None,
    ) -> None:
        """Prepare.

        `on_bytes` is told how many bytes of which file came (less than none if it is begun anew),
        `on_file` each file that is verified and has its name; both from several threads.
        """
        self._source = source
        self._folder = folder
        self._on_bytes = on_bytes
        self._on_file = on_file
        self._patience = patience
        self._rng = rng or Random()  # noqa: S311 - spreads retries, guards nothing
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._waiting: list[_File] = []
        self._begun: list[_File] = []
        self._records: dict[str, FileRecord] = {}

    def run(self, known: dict[str, FileRecord]) -> tuple[FileRecord, ...]:
        """Bring all files and give what they are.

        `known` are those that are in the folder and verified. Raises WeightsError and OSError.
        """
        make_folder(self._folder)
        self._records = dict(known)
        self._see_room()
        threads = [
            threading.Thread(target=self._work, name=f"pull-{number}", daemon=True)
            for number in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # Short, so that Ctrl-C is heard.
        finally:
            self._stop.set()
        for file in self._begun:
            if file.part is not None:
                file.part.close()
        if self._error is not None:
            raise self._error
        return tuple(self._records[piece.path] for piece in self._source.listing.pieces)

    def _see_room(self) -> None:
        """Refuse before the first byte what the disk cannot hold."""
        needed = 0
        for piece in self._source.listing.pieces:
            if piece.path in self._records:
                self._on_bytes(piece.path, piece.size_bytes)
                continue
            target = self._folder / piece.path
            part = part_path(target)
            needed += piece.size_bytes - (part.stat().st_blocks * 512 if part.exists() else 0)
            self._waiting.append(_File(piece, target))
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise WeightsError(
                f"{needed:,} more bytes are needed in {self._folder}, where {free:,} are free: "
                "make room (`baseload weights prune`), or name another folder (--dir)"
            )

    def _work(self) -> None:
        """Fetch ranges until there are no more."""
        try:
            while (claim := self._claim()) is not None:
                try:
                    self._fetch(claim)
                finally:
                    is_last = self._let_go(claim)
                if is_last:
                    self._finish(claim.file, claim.part)
        except BaseException as error:  # noqa: BLE001 - it is raised again where `run` waits
            with self._changed:
                self._error = self._error or _worded(error, self._folder)
                self._stop.set()
                self._changed.notify_all()

    # -- who fetches what -------------------------------------------------------------------------

    def _claim(self) -> _Claim | None:
        """Take on what is to be fetched next; wait while others may leave some; None at the end."""
        with self._changed:
            while not self._stop.is_set() and (self._begun or self._waiting):
                for file in self._begun:
                    if (claim := _claimed_of(file)) is not None:
                        return claim
                if self._waiting:
                    file = self._waiting.pop(0)
                    make_folder(file.target.parent)
                    file.part = Part(file.target, file.piece)
                    self._begun.append(file)
                    self._on_bytes(file.piece.path, file.part.done_bytes)
                    continue
                self._changed.wait(1.0)
            return None

    def _let_go(self, claim: _Claim) -> bool:
        """Give a claim back; tell whether the file is whole and nobody else is at it."""
        with self._changed:
            claim.file.workers -= 1
            claim.file.claimed.difference_update(claim.chunks)
            self._changed.notify_all()
            if not claim.part.is_whole or claim.file.workers or claim.file not in self._begun:
                return False
            claim.file.is_ending = True
            return True

    # -- one range --------------------------------------------------------------------------------

    def _fetch(self, claim: _Claim) -> None:
        """Fetch a claim, trying again while it may help."""
        failures = 0
        while not self._stop.is_set() and claim.generation == claim.part.generation:
            left = [chunk for chunk in claim.chunks if chunk not in claim.part.done]
            if not left:
                return
            try:
                self._fetch_once(claim, left[0])
            except PassingError as error:
                came = any(chunk in claim.part.done for chunk in left)
                failures = 1 if came else failures + 1
                if failures >= self._patience.attempts_max:
                    raise WeightsError(
                        f"{error}; given up after {failures} attempts. What came is kept: the same "
                        "command goes on from there"
                    ) from None
                logger.info("trying again: %s", error)
                self._stop.wait(max(error.after_s, self._pause_s(failures)))

    def _pause_s(self, failures: int) -> float:
        """Give the pause after failures in a row: doubled each time, and never the same for all."""
        longest = min(self._patience.pause_max_s, self._patience.pause_first_s * 2**failures)
        return float(longest * (0.5 + 0.5 * self._rng.random()))

    def _fetch_once(self, claim: _Claim, first: int) -> None:
        """Ask once for the rest of a claim, and write what comes."""
        file, part, piece = claim.file, claim.part, claim.file.piece
        begin, end = first * CHUNK_BYTES, part.end_of(claim.chunks[-1])
        with self._source.open(piece, begin, end) as answer:
            if answer.size_bytes not in {None, piece.size_bytes}:
                raise ChangedError(
                    f"{piece.path} has {answer.size_bytes} bytes; {piece.size_bytes} were listed"
                )
            had_bytes = part.done_bytes
            if not part.agree(answer.etag):
                if part.begun_anew > ANEW_MAX:
                    raise ChangedError(f"{piece.path} changes again and again")
                logger.info("%s changed at its source: it is begun anew", piece.path)
                self._on_bytes(piece.path, -had_bytes)
                return
            if answer.is_part and answer.begin != begin:
                raise PassingError(f"{piece.path}: another part came than was asked for")
            if file.has_ranges and not answer.is_part:
                raise PassingError(f"{piece.path}: the server gave ranges, and no longer does")
            if file.has_ranges is None:
                with self._changed:
                    file.has_ranges = answer.is_part
                    self._changed.notify_all()
            until = end if answer.is_part else piece.size_bytes
            self._take(claim, answer, until)

    def _take(self, claim: _Claim, answer: Answer, until: int) -> None:
        """Write what comes up to `until`, and note each chunk that is whole."""
        part, at, began_s = claim.part, answer.begin, time.monotonic()
        for block in answer.blocks:
            data = memoryview(block)[: until - at]
            while data and not self._stop.is_set():
                chunk = at // CHUNK_BYTES
                some = data[: part.end_of(chunk) - at]
                if chunk not in part.done and not part.write(claim.generation, at, some):
                    return  # It was begun anew: this is of another file.
                at, data = at + len(some), data[len(some) :]
                if at == part.end_of(chunk):
                    if part.note(claim.generation, chunk):
                        self._on_bytes(claim.file.piece.path, at - chunk * CHUNK_BYTES)
                    began_s = time.monotonic()
            if at >= until or self._stop.is_set():
                return
            if time.monotonic() - began_s > CHUNK_MAX_S:
                break
        what = "is too slow" if at < until and time.monotonic() - began_s > CHUNK_MAX_S else "ended"
        raise PassingError(f"{claim.file.piece.path}: the connection {what} at byte {at}")

    # -- one file ---------------------------------------------------------------------------------

    def _finish(self, file: _File, part: Part) -> None:
        """Verify a whole file, give it its name, and count it as done."""
        piece = file.piece
        part.close()
        self._records[piece.path] = record = verified(part.path, piece, part.remove)
        part.path.replace(file.target)
        sync_folder(file.target.parent)
        part.remove()
        self._on_file(record)
        with self._changed:
            self._begun.remove(file)
            self._changed.notify_all()


def _claimed_of(file: _File) -> _Claim | None:
    """Take some chunks of a file, if there are any that nobody fetches."""
    part = file.part
    if part is None or file.is_ending or (file.workers and not file.has_ranges):
        return None
    free = (c for c in range(part.chunks) if c not in part.done and c not in file.claimed)
    first = next(free, None)
    if first is None:
        if file.workers:
            return None
        first = last = part.chunks  # All is there, but nobody has verified it.
    else:
        last = first + 1
        while last < min(part.chunks, first + RANGE_CHUNKS_MAX):
            if last in part.done or last in file.claimed:
                break
            last += 1
    chunks = range(first, last)
    file.claimed.update(chunks)
    file.workers += 1
    return _Claim(file, part, part.generation, chunks)


def verified(path: Path, piece: Piece, remove: Callable[[], None]) -> FileRecord:
    """Give what a file that came is; `remove` it and raise WeightsError if it is not right.

    A local file without a digest is read once more at its source.
    """
    found = digests_of(path, piece.digest, piece.size_bytes)
    wanted = piece.digest or digests_of(Path(piece.at), "", piece.size_bytes).told
    if found.told != wanted:
        remove()
        raise WeightsError(
            f"{piece.path}: its digest is {found.told}, not {wanted}: it was damaged on the way "
            "or at its source, and is removed; pull again"
        )
    if (wrong := formats.fault(path, piece.path)) is not None:
        remove()
        raise WeightsError(f"{piece.path} {wrong}; it is as its source has it, and was removed")
    return FileRecord(
        path=piece.path,
        size_bytes=piece.size_bytes,
        sha256=found.sha256,
        source_digest=wanted,
        chunks=found.chunks,
    )


def _worded(error: BaseException, folder: Path) -> BaseException:
    """Put what ended a pull into words that a person can act on."""
    if isinstance(error, OSError) and error.errno in FULL:
        return WeightsError(
            f"the disk of {folder} is full ({error.strerror}). What came is kept: make room, and "
            "the same command goes on from there"
        )
    if isinstance(error, OSError):
        return WeightsError(f"{error.filename or folder}: {error.strerror or error}")
    if isinstance(error, ChangedError):
        return WeightsError(f"{error}: it changed at its source while it came; pull again")
    return error
