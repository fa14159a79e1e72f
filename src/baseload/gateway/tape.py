"""Where does the tape of a running gateway go, and what bounds it?

The driver's events are packed in memory (`core.tape`) and handed, ten times a second, to a thread
that writes them to a file: a disk that hangs may not keep the event loop waiting. Whatever goes
wrong (a full disk, a slow one, the bound that was set) ends the recording with one line in the log,
and never the gateway. What was written until then can be replayed.

A tape is not overwritten: the one before is kept beside it, because it may be that of the crash
after which the gateway was started again.
"""

import asyncio
import logging
import os
import stat
import time
from io import FileIO
from math import inf
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Self

from baseload import __version__
from baseload.core.records import Ended
from baseload.core.setup import Setup
from baseload.core.tape import (
    CLOSED,
    NAME,
    Head,
    Packer,
    block,
)
from baseload.errors import BaseloadError
from baseload.gateway.driver import Driver

FLUSH_S = 0.1
"""How much of the latest is lost when the gateway is killed."""
WAITING_MAX = 64
"""Flushes that may wait for the disk; with one more it is too slow for this."""
CLOSE_S_MAX = 2.0
"""How long the end of the gateway waits for the disk."""
END_BYTES_MAX = 256
"""Kept free for the record that says why a tape ended."""
WHY_CHARACTERS_MAX = 100

logger = logging.getLogger("baseload.gateway")


class Recorder:
    """Writes down what a driver does, from its first call on, into at most `bytes_max` bytes.

    Make it inside the running loop; it begins at once. Raises BaseloadError if the file cannot be
    had.
    """

    def __init__(self, driver: Driver, setup: Setup, path: Path, bytes_max: int) -> None:
        assert not len(driver), "a tape begins before the first call"
        self._driver = driver
        self._path = path
        self._bytes_max = bytes_max
        gate = driver.gate
        now = gate.now if gate.now > -inf else driver.clock()
        self._packer = Packer(Head(__version__, time.time(), now, setup))
        for name, seat in gate.seats.items():
            if not seat.is_up:  # Engines that have to start were announced before we came.
                self._packer.announced(name, False, now)
        head = self._packer.take()
        self._size = len(head)
        if self._size + END_BYTES_MAX > bytes_max:
            raise BaseloadError(f"--tape-mb: the fleet alone takes {self._size} bytes; allow more")
        self._file = _open(path)
        self._error: OSError | None = None
        self._blocks: SimpleQueue[bytes | None] = SimpleQueue()
        self._blocks.put(head)
        self._writer = Thread(target=self._write, name="baseload-tape", daemon=True)
        self._writer.start()
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(FLUSH_S, self._flush)
        driver.tape = self._packer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, and on the tape that this is all. A second time does nothing."""
        if self._is_open:
            self._flush()
        if self._is_open:
            self._stop(CLOSED)
            self._writer.join(CLOSE_S_MAX)
            if self._error is not None or self._writer.is_alive():
                logger.warning("tape %s: its end could not be written", self._path)
        else:
            self._writer.join(CLOSE_S_MAX)

    def _flush(self) -> None:
        """Hand over what was packed since, or end the recording."""
        self._timer.cancel()
        blocks = self._packer.take()
        if self._error is not None:
            self._give_up(f"it cannot be written: {self._error.strerror or self._error}")
        elif self._size + len(blocks) + END_BYTES_MAX > self._bytes_max:
            self._give_up(f"it is full, at {self._size} bytes")
        elif self._blocks.qsize() >= WAITING_MAX:
            self._give_up("the disk is too slow for it")
        else:
            if blocks:
                self._size += len(blocks)
                self._blocks.put(blocks)
            if self._packer.failure:
                self._give_up(f"an event cannot be written: {self._packer.failure}")
            else:
                self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def _give_up(self, why: str) -> None:
        logger.warning("tape %s ends here: %s; the gateway goes on", self._path, why)
        self._stop(why)

    def _stop(self, why: str) -> None:
        self._is_open = False
        self._timer.cancel()
        self._driver.tape = None
        self._blocks.put(block([Ended(why[:WHY_CHARACTERS_MAX])]))
        self._blocks.put(None)

    def _write(self) -> None:
        """Write what is handed over, in a thread of its own, until there is no more."""
        while (blocks := self._blocks.get()) is not None:
            if self._error is not None:
                continue
            try:
                while blocks:
                    blocks = blocks[self._file.write(blocks) :]
            except OSError as error:
                self._error = error
        try:
            self._file.close()
        except OSError as error:
            self._error = error


def _open(path: Path) -> FileIO:
    """Open a file of our own for a tape; what is no tape of ours is left as it is."""
    try:
        if path.exists() and path.stat().st_size and stat.S_ISREG(path.stat().st_mode):
            earlier = path.with_name(f"{path.name}.1")
            for old in (path, earlier):
                if old.exists() and not _is_tape(old):
                    raise BaseloadError(f"--tape: {old} is there and is no tape; name another file")
            path.replace(earlier)
        # Traffic tells much about its callers even without their words: for our own eyes only.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise BaseloadError(f"--tape: {path} cannot be written: {error.strerror}") from error
    return FileIO(number, "w")


def _is_tape(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(NAME)) == NAME
