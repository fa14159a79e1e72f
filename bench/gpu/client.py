"""Callers of an OpenAI-compatible server: so many at once, each asking again at once.

Several processes share the calls, so that the client is not what is measured. Each keeps its
connections, reads streams as they come, and notes when the first and the last token of each answer
came, and how many tokens the server says that it made. Prompts are random digits, no two alike, so
that no cache can answer them.
"""

import asyncio
import itertools
import json
import multiprocessing as mp
import re
import time
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httptools

PROCESSES_MAX = 4
CALL_S_MAX = 300.0

_SERIES = itertools.count(1)
"""Each use has prompts of its own: one that came before would be answered from a cache."""
_TOKEN = re.compile(rb'"(?:content|reasoning_content|reasoning)":"[^"]')
_USAGE = re.compile(rb'"completion_tokens":(\d+)')


@dataclass(frozen=True)
class Ask:
    """What callers want: `prompt` tokens in, `answer` tokens out, `calls` one after the other."""

    url: str
    model: str = "m"
    prompt: int = 512
    answer: int = 128
    calls: int = 2
    seconds: float = 0.0
    """If set, calls are made for so long, and `calls` says nothing."""
    api_key: str = ""
    spread: int = 0
    """By how many tokens more or less answers are asked for, each length as often."""
    is_exact: bool = True
    """Have the server say exactly `answer` tokens, whatever the model would like."""


@dataclass(frozen=True)
class Call:
    """One answer: when it was asked for, when it began, when it ended, and what was in it."""

    sent: float
    first: float
    ended: float
    tokens: int
    error: str = ""


def digits(rng: Random, count: int) -> str:
    """Give a prompt that nobody has seen before; to the dummy models each digit is one token."""
    return "".join(rng.choices("0123456789", k=count))


def body_of(ask: Ask, rng: Random) -> bytes:
    """Give one request's body."""
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": [{"role": "user", "content": digits(rng, ask.prompt)}],
        "max_tokens": ask.answer + rng.randint(-ask.spread, ask.spread),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    if ask.is_exact:
        body["ignore_eos"] = True
    return json.dumps(body).encode()


class _Answer(asyncio.Protocol):
    """A kept connection that reads one answer after the other."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] | None = None
        self.reset()

    def reset(self) -> None:
        self.first, self.body, self.status = 0.0, bytearray(), 0
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(ConnectionError(f"no HTTP: {error}"))

    def on_body(self, body: bytes) -> None:
        self.body += body
        if not self.first and _TOKEN.search(self.body):
            self.first = time.monotonic()

    def on_message_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self._end(None)

    def connection_lost(self, _reason: Exception | None) -> None:
        self._end(ConnectionError("connection lost"))

    def _end(self, error: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


class Caller:
    """One caller, with a connection of its own."""

    def __init__(self, ask: Ask, seed: int) -> None:
        self.ask, self.rng = ask, Random(seed)
        parts = urlsplit(ask.url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.head = (
            f"POST {parts.path.rstrip('/')}/chat/completions HTTP/1.1\r\n"
            f"host: {self.host}:{self.port}\r\ncontent-type: application/json\r\n"
            + (f"authorization: Bearer {ask.api_key}\r\n" if ask.api_key else "")
        )
        self.line: _Answer | None = None

    async def call(self) -> Call:
        """Make one call."""
        body = body_of(self.ask, self.rng)
        data = f"{self.head}content-length: {len(body)}\r\n\r\n".encode() + body
        loop, sent = asyncio.get_running_loop(), time.monotonic()
        try:
            if self.line is None or self.line.transport.is_closing():
                _, self.line = await loop.create_connection(_Answer, self.host, self.port)
            line = self.line
            line.reset()
            line.done = loop.create_future()
            sent = time.monotonic()
            line.transport.write(data)
            await asyncio.wait_for(line.done, CALL_S_MAX)
        except (OSError, TimeoutError) as error:
            self.line = None
            return Call(sent, 0.0, time.monotonic(), 0, str(error) or type(error).__name__)
        ended, found = time.monotonic(), _USAGE.findall(line.body)
        tokens = int(found[-1]) if found else 0
        error = "" if line.status == 200 else f"status {line.status}: {bytes(line.body[:200])!r}"
        if not error and b'"error"' in line.body:
            error = f"broken: {bytes(line.body[-200:])!r}"
        return Call(sent, line.first or ended, ended, tokens, error)

    async def run(self) -> list[Call]:
        """Make all calls, one after the other."""
        found: list[Call] = []
        ends = time.monotonic() + self.ask.seconds
        while time.monotonic() < ends if self.ask.seconds else len(found) < self.ask.calls:
            found.append(await self.call())
            if found[-1].error:
                await asyncio.sleep(0.05)
        if self.line is not None:
            self.line.transport.close()
        return found


def _work(asks: list[tuple[Ask, int]], gate: Any, found: Any) -> None:
    async def all_() -> list[Call]:
        callers = [Caller(ask, seed) for ask, seed in asks]
        return [call for calls in await asyncio.gather(*(one.run() for one in callers)) for call in
                calls]  # fmt: skip

    gate.wait()
    found.put(asyncio.run(all_()))


def calls_of(asks: list[Ask]) -> list[Call]:
    """Have so many callers call at once; give all calls."""
    series = next(_SERIES)
    count = min(PROCESSES_MAX, max(1, len(asks) // 8))
    context = mp.get_context("fork")
    gate, found = context.Barrier(count), context.Queue()
    numbered = [(ask, series * 100_003 + number) for number, ask in enumerate(asks)]
    workers = [
        context.Process(target=_work, args=(numbered[at::count], gate, found))
        for at in range(count)
    ]
    for worker in workers:
        worker.start()
    calls = [call for _ in workers for call in found.get(timeout=2 * CALL_S_MAX)]
    for worker in workers:
        worker.join()
    return calls
