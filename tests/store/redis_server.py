"""A real Redis server that a test may stop, freeze, slow down and start again."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.needs import give_up

START_S_MAX = 10.0


def free_port() -> int:
    """Give a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server on loopback, with nothing on disk: what it forgets is gone."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it must outlive the loop's watcher
            [
                "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--dir", self._folder, "--daemonize", "no", *options,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(START_S_MAX):
            while not await self._answers():  # noqa: ASYNC110 - it announces nothing
                await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"PING\r\n")
            found = await reader.readline()
            writer.close()
            return found == b"+PONG\r\n"
        return False

    def freeze(self) -> None:
        """Stop its process: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, with all that it knows."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


class SlowProxy:
    """A double of a slow network: passes bytes on after `delay_s`, each way.

    It delays and does not lose, reorder or limit; `delay_s` may change at any time.
    """

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._to = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                sink.write(data)
        sink.close()


@asynccontextmanager
async def running_redis() -> AsyncIterator[RedisServer]:
    """Give a server that is started, and ended at the end whatever became of it."""
    if shutil.which("redis-server") is None:
        give_up("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(folder)
        await server.start()
        try:
            yield server
        finally:
            server.kill()


@asynccontextmanager
async def slow_way_to(redis: RedisServer) -> AsyncIterator[SlowProxy]:
    """Give a proxy before a server; it is quick until told otherwise."""
    proxy = SlowProxy(redis.port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
