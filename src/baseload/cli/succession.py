"""How does a process give its place to another, without a caller being refused?

The running process starts its successor: the same command, so the same Python, file and options,
with whatever code is on the disk now. It leaves it the open sockets and waits for word on a pipe.
Until the word comes it serves on; if the successor ends, hangs or fails, nothing has happened but
a line in the log. Once the word has come both serve for a moment, and the old one leaves.

Not here: leaving politely (`Gateway.hand_over`), and the successor's own start (`station`).
"""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from baseload.cli.sockets import HANDOVER, Handover, Sockets
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError

START_S_MAX = 60.0
"""How long a successor may take to serve: a cold disk and a busy machine, generously. What engines
take to load comes on top (`EngineRoom.ready_max_s`)."""
WAIT_S_MAX = 4 * 3600.0
"""The most that is waited for a successor, whatever its engines may take: meanwhile the old process
serves, and can neither reload nor restart."""
STOP_S_MAX = 5.0
"""From SIGTERM to SIGKILL for a successor that is not wanted any more."""
LOOK_S = 0.05
FILE_CHARACTERS_MAX = 4096
"""What is read of a file with a pid."""
READY = b"ready"
WORD_BYTES_MAX = 1024
"""What a successor may say: that it serves, or in a sentence why it cannot."""

logger = logging.getLogger("baseload.cli")


class SuccessionError(BaseloadError):
    """There is no successor, and why."""


async def succeed(
    fleet: Fleet, sockets: Sockets, orders: dict[str, str], engines_s: float = 0.0
) -> int:
    """Start a successor and wait until it serves; give its pid. Raises SuccessionError.

    `engines_s` is how long its engines may take to be ready.
    """
    wait_s = min(START_S_MAX + engines_s, WAIT_S_MAX)
    reading, writing = os.pipe()
    fds = [one.fileno() for one in [*sockets.all_listening(), *sockets.admin]]
    left = Handover(
        listen=fleet.listen,
        admin=fleet.admin,
        listen_fds=[[one.fileno() for one in group] for group in sockets.listen],
        admin_fds=[one.fileno() for one in sockets.admin],
        ready_fd=writing,
        orders=orders,
    )
    env = os.environ | {HANDOVER: msgspec.json.encode(left).decode()}
    command = [sys.executable, *sys.orig_argv[1:]]
    try:
        # Not asyncio's: those are killed when the loop of their parent ends.
        child = await asyncio.to_thread(
            subprocess.Popen, command, pass_fds=[*fds, writing], env=env
        )
    except OSError as error:
        os.close(reading)
        raise SuccessionError(f"it cannot be started: {error.strerror}") from error
    finally:
        os.close(writing)
    logger.info("successor %d is starting", child.pid)
    try:
        word = await _word(reading, wait_s)
    except asyncio.CancelledError:
        child.terminate()  # We are told to stop, and so is whoever would take our place.
        raise
    finally:
        os.close(reading)
    if word == READY:
        # It is no child to be waited for: it outlives us.
        child.returncode = 0
        return child.pid
    code = await _ended(child)
    if word:
        raise SuccessionError(" ".join(word.decode(errors="replace").split()))
    why = f"it ended with {code}" if word is not None else f"it was not ready within {wait_s:g} s"
    raise SuccessionError(f"{why}; its own words are on its standard error")


async def _word(reading: int, wait_s: float) -> bytes | None:
    """Give what the successor said before it closed the pipe, or None if it was silent."""
    loop = asyncio.get_running_loop()
    os.set_blocking(reading, False)
    heard: asyncio.Future[bytes] = loop.create_future()

    def hear() -> None:
        with contextlib.suppress(BlockingIOError):
            word = os.read(reading, WORD_BYTES_MAX)
            if not heard.done():
                heard.set_result(word)

    loop.add_reader(reading, hear)
    try:
        async with asyncio.timeout(wait_s):
            return await heard
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(reading)


async def _ended(child: "subprocess.Popen[bytes]") -> str:
    """See to it that a successor is gone; say how it ended."""
    until = time.monotonic() + STOP_S_MAX
    while child.poll() is None and time.monotonic() < until:
        child.terminate()
        await asyncio.sleep(LOOK_S)
    if child.poll() is None:
        child.kill()
        await asyncio.to_thread(child.wait)
    code = child.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class PidFile:
    """Where a running process is found: its pid, and what became of its last restart.

    There is one for each operators' address, so gateways may share a state folder.
    """

    def __init__(self, fleet: Fleet) -> None:
        name = "".join(sign if sign.isalnum() or sign == "." else "-" for sign in fleet.admin)
        self.path = Path(fleet.state_dir).expanduser() / "run" / f"{name}.pid"
        self._failures = 0

    def write(self, failure: str = "") -> None:
        """Say that this process serves; `failure` is why a restart came to nothing."""
        self._failures += bool(failure)
        text = f"{os.getpid()}\n{self._failures} {failure}\n"
        with contextlib.suppress(OSError):  # A folder that cannot be written stops no gateway.
            self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
            new = self.path.with_suffix(f".{os.getpid()}")
            new.unlink(missing_ok=True)  # Whatever stands there, nothing is written through it.
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            new.replace(self.path)

    def read(self) -> tuple[int, str] | None:
        """Give the pid that is written there and its second line, or None.

        Nobody can name another user's process in it: whoever is told to restart gets a signal.
        """
        try:
            with self.path.open() as file:
                owner = os.fstat(file.fileno()).st_uid
                pid, _, rest = file.read(FILE_CHARACTERS_MAX).partition("\n")
            number = int(pid)
        except (OSError, ValueError):
            return None
        try:
            is_theirs = Path(f"/proc/{number}").stat().st_uid == owner
        except OSError:
            is_theirs = True  # It has ended, or there is no /proc.
        return (number, rest.strip()) if is_theirs else None

    def remove(self) -> None:
        """Take it away, unless it is a successor's by now."""
        found = self.read()
        if found is not None and found[0] == os.getpid():
            self.path.unlink(missing_ok=True)


def tell_predecessor(left: Handover | None, word: bytes = READY) -> None:
    """Say to a predecessor that this process serves, or why it cannot."""
    if left is not None:
        with contextlib.suppress(OSError):  # It has given up waiting, or has died.
            os.write(left.ready_fd, word[:WORD_BYTES_MAX])
        os.close(left.ready_fd)
