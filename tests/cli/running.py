"""What tests of whole processes share: `baseload up` on free ports, asked from a test's own loop.

Backends are the scripted doubles of the gateway's tests; see what these do not prove there.
"""

import asyncio
import functools
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.gateway.harness import Answer, Backend, call_up, request, run

PORT = re.compile(r"at https?://[^ :]+:(\d+)/v1")
ADMIN = re.compile(r"Operators: http://[^ :]+:(\d+)")


PROCESSES_S_MAX = 180.0
"""No test may take longer. A process takes a second to start, and many where much else runs."""


def with_processes(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a pytest function of a coroutine function that starts processes."""

    @functools.wraps(test)
    def on_loop(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs), s_max=PROCESSES_S_MAX)

    return on_loop


def fleet_file(folder: Path, *backends: Backend, **overrides) -> Path:
    """Write a fleet file whose model `m` has one tier a backend, `b0`, `b1`, and so on."""
    named = {f"b{at}": {"url": backend.url, "probe_s": 0} for at, backend in enumerate(backends)}
    tiers = [{name: {"model": "m"}} for name in named]
    fleet = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "state_dir": str(folder),
        "store": {"ledger": f"sqlite:///{folder / 'ledger.db'}"},
        "drain_s": 5,
        "backends": named,
        "models": {"m": {"tiers": tiers, "assemble": False, "resume": "off"}},
    }
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet | overrides, sort_keys=False))
    return file


class Running:
    """One `baseload up`, and the successors that it starts; `lines` is what all of them printed."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.lines: list[str] = []
        self.port = self.admin = 0
        self._changed = asyncio.Condition()

    async def read(self) -> None:
        """Read what is printed until every process that could print is gone."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode())
            async with self._changed:
                self._changed.notify_all()

    async def said(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until so many printed lines match; give the last match."""
        while True:
            found = [match for line in self.lines if (match := re.search(pattern, line))]
            if len(found) >= times:
                return found[times - 1]
            async with self._changed:
                await self._changed.wait()

    def pids(self) -> list[int]:
        """Give the pids that the pid files of its state folder name; one may vanish meanwhile."""
        found: list[int] = []
        for file in sorted((self.folder / "run").glob("*.pid")):
            with suppress(FileNotFoundError):
                found.append(int(file.read_text().split()[0]))
        return found

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to whoever serves now."""
        os.kill(self.pids()[0], number)

    async def look(self, path: str, method: str = "GET") -> Answer:
        """Ask the operators' port."""
        head = "connection: close\r\nx-baseload-admin: 1\r\n"
        words = request(method=method, path=path, head=head)
        async with call_up(self.admin) as caller:
            await caller.send(words.replace(b"Host: gateway", b"Host: localhost", 1))
            return await caller.answer(method)


@contextmanager
def no_leftovers(folder: Path) -> Iterator[None]:
    """Whatever happens, end the processes that a test's pid files name."""
    try:
        yield
    finally:
        for file in (folder / "run").glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text().split()[0]), signal.SIGKILL)


@asynccontextmanager
async def up(
    file: Path, *options: str, env: dict[str, str] | None = None
) -> AsyncIterator[Running]:
    """Start `baseload up` and wait until it serves; at the end it must drain and exit with 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baseload", "up", "-c", str(file), *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | (env or {}),
    )  # fmt: skip
    running = Running(process, file.parent)
    reading = asyncio.ensure_future(running.read())
    with no_leftovers(file.parent):
        try:
            running.port = int((await running.said(PORT.pattern)).group(1))
            running.admin = int((await running.said(ADMIN.pattern)).group(1))
            yield running
            for pid in running.pids():
                os.kill(pid, signal.SIGTERM)
            await reading
            await process.wait()
        except BaseException as error:
            error.add_note("".join(running.lines))
            raise
        finally:
            reading.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert 0 == process.returncode, "".join(running.lines)
