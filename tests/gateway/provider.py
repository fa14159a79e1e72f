"""A provider that misbehaves exactly as told: what does the gateway make of it?

It is a test double. It listens on loopback and answers each request with a *script*: a row of
steps, each of them bytes that go out as they are, a pause in seconds, an event to wait for, or a
cut of the connection. It counts what only the far side can know (connections, requests, how many
at once, bytes in and out) and notes when the gateway leaves in the middle of an answer.

What it does not prove: anything about real providers. It knows no model, no tokens, no limits of
its own, it misbehaves only in ways that somebody thought of, and loopback loses and delays nothing.
"""

import asyncio
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from math import inf
from pathlib import Path
from resource import getpagesize
from time import monotonic
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from baseload.config import fleet
from baseload.core import desk
from baseload.gateway.gateway import Gateway
from tests.gateway.harness import COMPLETION, DONE, Answer, chat, raw, token, until

# -- what a provider says ------------------------------------------------------------------------

END = b"0\r\n\r\n"
FINISH = token("", "stop")


def whole(value: Any = COMPLETION, status: int = 200, head: str = "") -> bytes:
    """Give a whole answer with its length; a value that is no bytes becomes JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{head}"
    return f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def refusal(status: int, message: str = "no", head: str = "") -> bytes:
    """Give an error as OpenAI's API words it."""
    error = {"message": message, "type": "t", "param": None, "code": None}
    return whole({"error": error}, status, head)


def begin(head: str = "") -> bytes:
    """Give the head of a chunked stream of events."""
    lines = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{head}"
    return f"{lines}transfer-encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """Give one chunk of a chunked body."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def stream(*texts: str) -> bytes:
    """Give a whole healthy stream at once."""
    events = [token(text) for text in texts] + [FINISH, DONE]
    return begin() + b"".join(chunk(event) for event in events) + END


# -- scripts -------------------------------------------------------------------------------------


class Cut(Enum):
    """How a script ends its connection."""

    CLOSE = "close"  # in good order, after everything written
    RESET = "reset"  # at once, as a crashed process or a firewall does
    HALF = "half"  # nothing more is said, below TLS if there is TLS, but this side still listens


CLOSE, RESET, HALF = Cut
Step = bytes | float | asyncio.Event | Cut
Script = Iterable[Step]


def drip(data: bytes, size: int = 1, pause_s: float = 0.0) -> Iterator[Step]:
    """Give data in small pieces; on uvloop each is read by itself."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
        yield pause_s


@dataclass
class Asked:
    """One request as the provider read it; `turn` counts those on its connection from 0.

    `at` is when it was whole and `over_at` when its script ended or the gateway left, on the
    monotonic clock.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    number: int
    turn: int
    at: float
    over_at: float = inf

    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)


def healthy(asked: Asked) -> Script:
    """Answer as asked, whole or as a stream."""
    return [stream("hel", "lo") if asked.json().get("stream") else whole()]


def in_turn(*scripts: Script) -> Callable[[Asked], Script]:
    """Play the first script for the first request, and so on; the last one for all that follow."""
    return lambda asked: scripts[min(asked.number, len(scripts) - 1)]


# -- the provider --------------------------------------------------------------------------------


class Provider:
    """A scripted model server. Give it steps for every request, or a function that chooses."""

    def __init__(
        self,
        *steps: Step,
        play: Callable[[Asked], Script] = healthy,
        tls: ssl.SSLContext | None = None,
        held: socket.socket | None = None,
    ) -> None:
        """With `held` it listens on that socket, which was bound before and refused everybody."""
        self.play = (lambda _asked: steps) if steps else play
        self.tls, self._held = tls, held
        self.greeting: Cut | None = None
        """Set it to have every new connection cut before a request."""
        self.asked: list[Asked] = []
        self.accepts = self.bytes_read = self.in_flight = self.in_flight_max = self.written = 0
        self.departures: list[float] = []
        """When, on the monotonic clock, the gateway left in the middle of an answer."""
        self.errors: list[Exception] = []
        self.lines: set[_Line] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        where = {"sock": self._held} if self._held else {"host": "127.0.0.1", "port": 0}
        self._server = await loop.create_server(lambda: _Line(self), ssl=self.tls, **where)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = [line.task for line in self.lines if line.task]
        for line in list(self.lines):
            line.cut(RESET)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: not self.lines)

        assert [] == self.errors

    @property
    def url(self) -> str:
        """The base URL for a fleet."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def bytes_written(self) -> int:
        """Bytes that the kernel has taken."""
        return self.written - sum(line.transport.get_write_buffer_size() for line in self.lines)

    def hang_up(self) -> int:
        """Close every connection on which nothing is being answered; say how many."""
        idle = [line for line in self.lines if line.task is None]
        for line in idle:
            line.cut(CLOSE)
        return len(idle)


class _Line(asyncio.Protocol):
    """One connection of the provider; requests on it are answered one after another."""

    transport: asyncio.Transport

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.task: asyncio.Task[None] | None = None
        self._unread = bytearray()
        self._turns = 0
        self._is_cut = False
        self._is_writable = asyncio.Event()
        self._is_writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.provider.accepts += 1
        self.provider.lines.add(self)
        if self.provider.greeting is not None:
            self.cut(self.provider.greeting)

    def data_received(self, data: bytes) -> None:
        self.provider.bytes_read += len(data)
        self._unread += data
        self._begin()

    def eof_received(self) -> bool:
        self._note_departure()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._note_departure()
        self._is_cut = True
        self.provider.lines.discard(self)
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._is_writable.clear()

    def resume_writing(self) -> None:
        self._is_writable.set()

    def cut(self, how: Cut) -> None:
        """End the connection from this side."""
        pipe = self.transport.get_extra_info("socket")
        if how is HALF:
            with socket.socket(fileno=os.dup(pipe.fileno())) as twin:
                twin.shutdown(socket.SHUT_WR)
            return
        self._is_cut = True
        if how is CLOSE:
            self.transport.close()
        else:
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _note_departure(self) -> None:
        if self.task is not None and not self._is_cut:
            self.provider.departures.append(monotonic())
            self._is_cut = True

    def _begin(self) -> None:
        """Answer the next request, if it is whole and the last one is answered."""
        head, found, rest = bytes(self._unread).partition(b"\r\n\r\n")
        if self.task is not None or not found:
            return
        first, *lines = head.decode("ascii").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        provider = self.provider
        self._unread = bytearray(rest[length:])
        number, body = len(provider.asked), rest[:length]
        asked = Asked(method, path, headers, body, number, self._turns, monotonic())
        provider.asked.append(asked)
        self._turns += 1
        provider.in_flight += 1
        provider.in_flight_max = max(provider.in_flight_max, provider.in_flight)
        self.task = asyncio.get_running_loop().create_task(self._answer(asked))

    async def _answer(self, asked: Asked) -> None:
        try:
            for step in self.provider.play(asked):
                await self._take(step)
                if self._is_cut:
                    break
        except Exception as error:  # noqa: BLE001 - a script's mistake must fail its test
            self.provider.errors.append(error)
        finally:
            asked.over_at = monotonic()
            self.provider.in_flight -= 1
            self.task = None
        if not self._is_cut:
            self._begin()

    async def _take(self, step: Step) -> None:
        """Do one step. Bytes that the kernel takes at once do not suspend, so counts stay exact."""
        if isinstance(step, bytes):
            self.transport.write(step)
            self.provider.written += len(step)
            if not self._is_writable.is_set():
                await self._is_writable.wait()
        elif isinstance(step, asyncio.Event):
            await step.wait()
        elif isinstance(step, Cut):
            await until(lambda: not self.transport.get_write_buffer_size())
            self.cut(step)
        else:
            await asyncio.sleep(step)


# -- fleets of providers -------------------------------------------------------------------------


def backends(*providers: Any, **fields: Any) -> dict[str, fleet.Backend]:
    """Give the fleet's backends `b0`, `b1` and so on, all with the same fields."""
    plain = {"probe_s": 0.0} | fields
    return {
        f"b{number}": fleet.Backend(**(plain | {"name": f"b{number}", "url": provider.url}))
        for number, provider in enumerate(providers)
    }


@asynccontextmanager
async def nowhere() -> AsyncIterator[Any]:
    """Give a place where nobody listens; it is held, so that nobody else comes to listen there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield SimpleNamespace(url=f"http://127.0.0.1:{held.getsockname()[1]}/v1")


@asynccontextmanager
async def black_hole() -> AsyncIterator[Any]:
    """Give a place that never takes a connection: its line of them is full."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield SimpleNamespace(url=f"http://127.0.0.1:{full.getsockname()[1]}/v1")


def ask_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gates that are made from now on try no backend twice for one call."""
    monkeypatch.setattr(desk, "RETRY_SHARE", 0.0)
    monkeypatch.setattr(desk, "RETRIES_MIN", 0)


async def ask(gateway: Gateway, data: bytes | None = None) -> Answer:
    """Send one request, by default for a chat that is not streamed, and read the whole answer."""
    (answer,) = await raw(gateway.address[1], data or chat())
    return answer


def ended(gateway: Gateway) -> dict[str, Any]:
    """Give how attempts and calls ended at each backend so far, as metrics tell; no numbers."""
    facts: dict[str, list[str]] = {}
    for metric in gateway.telemetry.collect():
        for sample in metric.samples:
            fact = sample.labels.get("outcome") or sample.labels.get("fact")
            if fact is not None:
                facts.setdefault(sample.labels["backend"], []).append(fact)
    each = {backend: sorted(set(found)) for backend, found in facts.items()}
    return {backend: found[0] if len(found) == 1 else found for backend, found in each.items()}


def rss_bytes() -> int:
    """Give the memory that this process really holds, the double's and the test's own included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
