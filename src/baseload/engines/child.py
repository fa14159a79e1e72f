"""One child process: what it says, where it listens, and its certain end.

A child is started in a session of its own, so signals meant for the gateway's terminal do not reach
it, and with a mark in its environment, so that all that it starts can be found and ended with it
(`processes`). Its standard input is a pipe that nobody writes to: when this process dies, however
abruptly, the pipe closes and the child knows.

It does not know what an engine is, whether the child is well, or whether to start another one.
"""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence

from baseload.engines import processes
from baseload.engines.asking import Address

ANNOUNCEMENT = re.compile(r"^baseload engine listens on http://([\d.]+):(\d{1,5})$")
"""The line by which a child says that it serves, and where."""

LEASH = (sys.executable, "-P", "-m", "baseload.engines.leash")
"""Before a command that does not end by itself when whoever started it is gone."""

LINE_MAX_BYTES = 65536
KILL_MAX_S = 5.0
"""Longest wait for the kernel to bury killed processes, and for their last words."""
KILL_LOOK_S = 0.02
GONE_LOOK_S = 0.1


def free_port() -> int:
    """Give a port that nobody has just now; a start that finds it taken gets another one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Child:
    """A child process that has been started; `end()` must follow."""

    def __init__(self, process: Process, mark: str, hear: Callable[[str], None]) -> None:
        self.pid = process.pid
        self.survivors: list[int] = []
        """Processes of this life that even SIGKILL has not ended; known after `end()`."""
        self._life = processes.Life(process.pid, mark)
        self.listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        """Done when the child has said where it listens."""
        self._process = process
        self.gone = asyncio.create_task(self._until_gone())
        """Done when the child is dead, whoever of its own may still live."""
        self._reading = asyncio.create_task(self._read(hear))

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], hear: Callable[[str], None]
    ) -> "Child":
        """Start `command`; `hear` is called with each line that it prints.

        Raises OSError if there is no such command, or no room for another process.
        """
        mark = secrets.token_hex(16)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            env={**environment, processes.MARK: mark},
            limit=LINE_MAX_BYTES,
            start_new_session=True,
        )
        return cls(process, mark, hear)

    async def end(self, wait_max_s: float) -> None:
        """See all of it dead: SIGTERM to the child, SIGKILL to whoever is left after `wait_max_s`.

        A cancellation during the wait cuts it short, but never leaves the child alive.
        """
        try:
            if not self.gone.done() and wait_max_s > 0:
                with contextlib.suppress(ProcessLookupError):
                    self._process.terminate()
                await asyncio.wait({self.gone}, timeout=wait_max_s)
        finally:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._life.kill()
            if self._process.stdin is not None:
                self._process.stdin.close()
            await asyncio.wait({self.gone, self._reading}, timeout=KILL_MAX_S)
            await self._bury()
            self.gone.cancel()
            self._reading.cancel()
            self.listening.cancel()

    async def _until_gone(self) -> None:
        """Wait for the child alone; asyncio waits for whoever else holds its standard output."""
        waiting = asyncio.create_task(self._process.wait())
        try:
            while self._process.returncode is None:
                await asyncio.wait({waiting}, timeout=GONE_LOOK_S)
        finally:
            waiting.cancel()

    async def _bury(self) -> None:
        """Kill until nobody is left: one that was just being born escapes the first time."""
        clock = asyncio.get_running_loop().time
        until = clock() + KILL_MAX_S
        while (left := self._life.kill()) and clock() < until:  # noqa: ASYNC110
            await asyncio.sleep(KILL_LOOK_S)
        self.survivors = left

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.returncode

    def how_it_ended(self) -> str:
        """Return the exit code or the name of the signal that ended the child, in words."""
        code = self._process.returncode
        if code is None:
            return "still there after SIGKILL"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    async def _read(self, hear: Callable[[str], None]) -> None:
        """Pass on what the child prints until it can print no more."""
        stream = self._process.stdout
        assert stream is not None, "the child was started with a pipe"
        while not stream.at_eof():
            try:
                line = (await stream.readline()).decode(errors="replace").strip()
            except ValueError:
                continue  # Longer than LINE_MAX_BYTES: the stream has dropped it.
            found = ANNOUNCEMENT.match(line)
            if found and not self.listening.done():
                self.listening.set_result((found[1], int(found[2])))
            hear(line)
