"""Two backends in the caller's own process, which answer by script over real HTTP: doubles.

The word in the prompt says what to do, the number behind it under which name times are noted.
They know no model and no load; what they prove is how soon a gateway acts, and nothing else.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

CALLS = 900
"""Calls that each of several callers makes; numbers of callers lie so far apart."""
SEAM_FIRST_TOKEN_S = 0.1
SEAM_TOKENS = 20
CAPACITY = 200  # calls a second that the overloaded backend answers

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BUSY = b"HTTP/1.1 503 X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def token(text: str, finish: str | None = None) -> bytes:
    """Give a chunk of a stream as it stands on the wire."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [choice]}  # fmt: skip
    data = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


FINISH = token("", "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@dataclass
class Book:
    """When things happened, by the number that the prompt carries."""

    failed_at: dict[int, float] = field(default_factory=dict)
    asked_b_at: dict[int, float] = field(default_factory=dict)
    served: int = 0


class Backend(asyncio.Protocol):
    """A double: reads whole requests and answers by the word in the prompt."""

    def __init__(self, book: Book, name: str) -> None:
        self._book, self._name = book, name
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Read until a request is whole, note when, and answer it."""
        now = time.perf_counter()
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not found or length is None or len(body) < int(length.group(1)):
            return
        self._buffer = b""
        said = re.search(rb"(\w+)/(\d+)", body)
        assert said is not None
        word, number = said.group(1).decode(), int(said.group(2))
        if self._name == "b":
            self._book.asked_b_at[number] = now
        getattr(self, f"_{word}")(number)

    def _plain(self, number: int) -> None:
        self._transport.write(HEAD + token("hello") + FINISH)

    def _switch(self, number: int) -> None:
        if self._name == "b" or (number + number // CALLS) % 4:  # Never two callers at once.
            self._plain(number)
            return
        kind = number // 4 % 3
        self._book.failed_at[number] = time.perf_counter()
        if kind == 0:
            self._transport.write(BUSY)
        elif kind == 1:
            self._transport.abort()
        else:
            self._transport.close()

    def _seam(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        if self._name == "b":
            loop.call_later(
                SEAM_FIRST_TOKEN_S, lambda: self._transport.write(HEAD + token("on") + FINISH)
            )
            return
        self._transport.write(HEAD)
        for at in range(SEAM_TOKENS):
            loop.call_later(0.003 * at, self._transport.write, token(f" w{at}"))
        loop.call_later(0.003 * SEAM_TOKENS, self._cut, number)

    def _cut(self, number: int) -> None:
        self._book.failed_at[number] = time.perf_counter()
        self._transport.close()

    def _slow(self, number: int) -> None:
        self._book.served += 1
        loop = asyncio.get_running_loop()
        loop.call_later(4 / CAPACITY, lambda: self._transport.write(HEAD + token("x") + FINISH))
