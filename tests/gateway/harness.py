"""What tests of the data plane share: loops, a gateway, callers, and a scripted backend.

Callers are plain sockets that parse answers with their own few lines, so the gateway's framing is
judged by something that shares no code with it. A test that leaves a permit out, a call in flight
or an exception in a callback fails here, whatever it asserted itself.
"""

import asyncio
import functools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import uvloop

from baseload.config import fleet
from baseload.config.fleet import Fleet, Model, Target
from baseload.gateway.gateway import Gateway

TEST_S_MAX = 30.0
"""No test may take longer; one that hangs fails instead."""
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def run(main: Coroutine[Any, Any, Any], loop: str = "uvloop", s_max: float = TEST_S_MAX) -> Any:
    """Run to the end on one of `LOOPS`; an exception in any callback fails it too."""
    unhandled: list[dict[str, Any]] = []

    async def bounded() -> Any:
        here = asyncio.get_running_loop()
        here.set_exception_handler(lambda _loop, context: unhandled.append(context))
        async with asyncio.timeout(s_max):
            return await main

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        result = runner.run(bounded())

    assert not unhandled, unhandled
    return result


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a pytest function of a coroutine function."""

    @functools.wraps(test)
    def on_loop(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return on_loop


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a pytest function that runs a coroutine function on uvloop, then on asyncio's loop."""

    @functools.wraps(test)
    def on_loops(*args: Any, **kwargs: Any) -> None:
        for loop in LOOPS:
            try:
                run(test(*args, **kwargs), loop)
            except BaseException as error:
                error.add_note(f"on {loop}")
                raise

    return on_loops


# -- callers -------------------------------------------------------------------------------------


@dataclass
class Answer:
    """One HTTP answer as it stood on the wire. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    is_chunked: bool = False

    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)

    def events(self) -> list[str]:
        """Give the data of a stream's events, in order."""
        assert self.body.endswith(b"\n\n"), self.body[-100:]
        return [
            line[6:]
            for event in self.body.decode().split("\n\n")
            for line in event.splitlines()
            if line.startswith("data: ")
        ]

    def text(self) -> str:
        """Give what the model said in a stream's events."""
        chunks = [json.loads(data) for data in self.events() if data != "[DONE]"]
        choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


class Caller:
    """One connection to a gateway, used as roughly as a test likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Write, at the pace at which the gateway reads."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        """Read an answer's head and leave its body unread."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        version, status, reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        assert reason
        headers: dict[str, str] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"twice: {name}"
            headers[name.lower()] = value
        return Answer(int(status), headers, b"", headers.get("transfer-encoding") == "chunked")

    async def answer(self, method: str = "POST") -> Answer:
        """Read one whole answer; raises IncompleteReadError if it is cut off."""
        answer = await self.head()
        length = answer.headers.get("content-length")
        assert not (answer.is_chunked and length is not None)
        if method == "HEAD" or answer.status < 200:
            return answer
        if answer.is_chunked:
            while chunk := await self.chunk():
                answer.body += chunk
        elif length is not None:
            answer.body = await self.reader.readexactly(int(length))
        else:
            answer.body = await self.reader.read()
        return answer

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        chunk = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return chunk

    async def rest(self) -> bytes:
        """Read until the gateway closes; a reset counts as a close."""
        data = b""
        with suppress(ConnectionError):
            while more := await self.reader.read(1 << 16):
                data += more
        return data

    def abort(self) -> None:
        """Drop the connection at once."""
        self.writer.transport.abort()


@asynccontextmanager
async def call_up(
    port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Caller]:
    """Open a connection to a gateway; at the end it is dropped and seen to be gone."""
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    caller = Caller(reader, writer)
    try:
        yield caller
    finally:
        caller.abort()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def raw(port: int, data: bytes, count: int = 1) -> list[Answer]:
    """Send bytes on a new connection and read so many answers."""
    async with call_up(port) as caller:
        caller.writer.write(data)
        return [await caller.answer() for _ in range(count)]


def request(
    body: Any = None, path: str = "/v1/chat/completions", method: str = "POST", head: str = ""
) -> bytes:
    """Give a request's bytes; a body that is no bytes becomes JSON. `head` is whole lines."""
    lines = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n{head}"
    if body is None:
        return f"{lines}\r\n".encode()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"{lines}content-length: {len(content)}\r\n\r\n".encode() + content


def chat(model: str = "m", *, stream: bool = False, **fields: Any) -> bytes:
    """Give the bytes of a request for a chat."""
    messages = [{"role": "user", "content": "hi"}]
    return request({"model": model, "messages": messages, "stream": stream} | fields)


# -- a backend -----------------------------------------------------------------------------------


@dataclass
class Asked:
    """One request as the backend read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)


@dataclass
class Wire:
    """What a script writes its answer with.

    `sent` counts the bytes that were taken, but for what this side's own small buffer holds.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0

    async def send(self, data: bytes) -> None:
        """Write bytes as they are, at the pace at which they are read."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def json(self, value: Any) -> None:
        """Give a whole JSON answer."""
        body = json.dumps(value).encode()
        lines = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        await self.send(lines + b"content-length: %d\r\n\r\n%b" % (len(body), body))

    async def begin(self) -> None:
        """Begin a chunked event stream."""
        lines = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        await self.send(lines + b"transfer-encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        """Give one chunk; an empty one ends the answer."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def hung_up(self) -> None:
        """Wait until the gateway leaves."""
        with suppress(ConnectionError):
            await self.reader.read(1)


Script = Callable[[Asked, Wire], Awaitable[None]]


def token(text: str = "x", finish: str | None = None) -> bytes:
    """Give one event of a chat's stream, in the form that OpenAI sends."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}


async def hello(asked: Asked, wire: Wire) -> None:
    """Answer as a healthy backend does: whole, or as a stream of a few tokens."""
    if not asked.json().get("stream"):
        await wire.json(COMPLETION)
        return
    await wire.begin()
    for text in ("hel", "lo"):
        await wire.chunk(token(text))
    await wire.chunk(token("", "stop") + DONE)
    await wire.chunk(b"")


@dataclass
class Backend:
    """A test double of a model server: each request is answered as the script says.

    It proves nothing about real servers: it has no model, no tokens, no batching and no limits of
    its own, it sends only what a script's author thought of, and loopback loses and delays nothing.
    """

    script: Script = hello
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    asked: list[Asked] = field(default_factory=list)
    """Every request read so far."""
    connections: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    @property
    def url(self) -> str:
        """The base URL for a fleet."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/v1"

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._answer_all(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked, wire = await self._read(reader), Wire(reader, writer)
                if asked.method == "GET":  # The gateway looks whether anybody is there.
                    writer.write(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
                    continue
                self.asked.append(asked)
                await self.script(asked, wire)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # The gateway hung up, or the test is over.
        finally:
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        method, path, _ = lines[0].split(" ")
        pairs = (line.partition(": ") for line in lines[1:-2])
        headers = {name.lower(): value for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Asked(method, path, headers, body)


PLAIN = {"assemble": False, "resume": "off"}
"""What is asked is passed on as it is, and what breaks stays broken."""


def fleet_of(*backends: Backend, model: dict[str, Any] | None = None, **overrides: Any) -> Fleet:
    """Give a fleet whose model `m` has one tier a backend, called `b0`, `b1`, and so on.

    `model` overrides fields of the model, `overrides` those of the fleet. Unless told otherwise
    answers are plainly relayed and nobody looks at backends, so a backend sees what callers send.
    """
    named = {f"b{number}": backend for number, backend in enumerate(backends)}
    tiers = tuple({name: Target(backend=name, model="m")} for name in named)
    whole: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "drain_s": 2.0,
        "backends": {
            name: fleet.Backend(name=name, url=b.url, probe_s=0.0) for name, b in named.items()
        },
        "models": {"m": Model(**({"name": "m", "tiers": tiers} | PLAIN | (model or {})))},
    }
    return Fleet(**(whole | overrides))


@asynccontextmanager
async def start_gateway(
    *backends: Backend, model: dict[str, Any] | None = None, **overrides: Any
) -> AsyncIterator[Gateway]:
    """Start a gateway for `fleet_of`; at the end it drains and must hold nothing any more."""
    gateway = Gateway(fleet_of(*backends, model=model, **overrides))
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.drain()

    held = [seat.name for seat in gateway.gate.seats.values() if seat.in_flight]
    assert (held, len(gateway.driver), len(gateway.gate.line)) == ([], 0, 0)
    assert not gateway.clients


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event announces; `TEST_S_MAX` bounds it."""
    while not condition():  # noqa: ASYNC110 - of things that announce nothing
        await asyncio.sleep(0.005)
