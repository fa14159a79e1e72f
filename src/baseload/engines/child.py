"""One child process: what it says, where it listens, and its certain end.

A child is started in a session of its own, so signals meant for the gateway's terminal do not reach
it and all that it starts can be ended with it. Its standard input is a pipe that nobody writes to:
when this process dies, however abruptly, the pipe closes and the child knows.

It does not know what an engine is, whether the child is well, or whether to start another one.
"""

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence

from baseload.engines.asking import Address

ANNOUNCEMENT = re.compile(r"^baseload engine listens on http://([\d.]+):(\d{1,5})$")
"""The line by which a child says that it serves, and where."""

LINE_MAX_BYTES = 65536
KILL_MAX_S = 5.0
"""Longest wait for the kernel to bury a killed process, and for its last words."""


class Child:
    """A child process that has been started; `end()` must follow."""

    def __init__(self, process: Process, hear: Callable[[str], None]) -> None:
        self.pid = process.pid
        self.listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        """Done when the child has said where it listens."""
        self.gone = asyncio.create_task(process.wait())
        """Done when the child is dead."""
        self._process = process
        self._reading = asyncio.create_task(self._read(hear))

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], hear: Callable[[str], None]
    ) -> "Child":
        """Start `command`; `hear` is called with each line that it prints.

        Raises OSError if there is no such command, or no room for another process.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            env=environment,
            limit=LINE_MAX_BYTES,
            start_new_session=True,
        )
        return cls(process, hear)

    async def end(self, wait_max_s: float) -> None:
        """See the child dead: SIGTERM, and SIGKILL to its group when `wait_max_s` is over.

        A cancellation during the wait cuts it short, but never leaves the child alive.
        """
        try:
            if not self.gone.done() and wait_max_s > 0:
                self._signal(signal.SIGTERM)
                await asyncio.wait({self.gone}, timeout=wait_max_s)
        finally:
            self._signal(signal.SIGKILL)
            if self._process.stdin is not None:
                self._process.stdin.close()
            await asyncio.wait({self.gone, self._reading}, timeout=KILL_MAX_S)
            self.gone.cancel()
            self._reading.cancel()
            self.listening.cancel()

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

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

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
