"""How soon does an engine speak? One chat at a time, streamed or whole, with its times.

Warming needs what supervising does not: the moment of the first token, and how many tokens the
prompt had by the engine's own count. So this reads an answer while it comes. One connection a
question, closed by the server at the end, and everything bounded by time and size.

It is no client for callers' traffic (`gateway.upstream` is), and what an engine answers is never
kept: it may quote the prompt.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec

from baseload.apis.chunks import ChunkError, choice_of, chunks, texts_of
from baseload.apis.sse import EventTooLongError, Splitter
from baseload.apis.unreadable import UNREADABLE
from baseload.config.addresses import show_address
from baseload.engines.asking import PLAIN, Access, Address

PAGE_BYTES_MAX = 1024 * 1024
"""What is read of any answer; vLLM's metrics are some 100 KiB."""

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Said:
    """What one chat took."""

    first_s: float
    """From before the connection to the first text; to the end, if the answer was whole."""
    total_s: float
    prompt_tokens: int | None
    """By the engine's count; None if it told none."""
    cached_tokens: int | None
    """Of these, those that it had read before; None if it told none."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _Tokens(msgspec.Struct):
    """llama.cpp lists the tokens; vLLM and SGLang also count them."""

    tokens: list[msgspec.Raw] | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Speaker:
    """A server that speaks OpenAI's API, and how it is reached. It holds no connection."""

    address: Address
    model: str
    """As the server calls it."""
    access: Access = PLAIN

    async def chat(
        self, messages: Sequence[Message], *, answer_tokens: int, stream: bool, wait_max_s: float
    ) -> Said:
        """Have one chat answered. Raises OSError if it is not, which never quotes anything."""
        body = {"model": self.model, "messages": messages, "max_tokens": answer_tokens}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        ear = _Ear(asyncio.get_running_loop().time, is_stream=stream)
        path = f"{self.access.prefix}/chat/completions"
        status = await self._exchange(path, msgspec.json.encode(body), ear.hear, wait_max_s)
        if status != 200:
            raise ConnectionError(f"a chat was answered {status}")
        return ear.said()

    async def tokens(self, text: str, wait_max_s: float) -> int | None:
        """Count a text's tokens by the engine's own tokenizer; None if it cannot be asked.

        llama.cpp (`content`), vLLM and SGLang (`prompt`) all have `/tokenize`, and pass over the
        other's field.
        """
        body = msgspec.json.encode({"model": self.model, "prompt": text, "content": text})
        answer = bytearray()
        try:
            status = await self._exchange(f"{self._root}/tokenize", body, answer.extend, wait_max_s)
            found = msgspec.json.decode(answer, type=_Tokens) if status == 200 else _Tokens()
        except (OSError, *UNREADABLE):
            return None
        return found.count if found.tokens is None else len(found.tokens)

    async def page(self, path: str, wait_max_s: float) -> bytes | None:
        """Read a page such as `/metrics`; None if there is none. Longer ones are cut."""
        answer = bytearray()
        try:
            status = await self._exchange(f"{self._root}{path}", b"", answer.extend, wait_max_s)
        except OSError:
            return None
        return bytes(answer) if status == 200 else None

    @property
    def _root(self) -> str:
        """What is no part of OpenAI's API lies beside it."""
        return self.access.prefix.removesuffix("/v1")

    async def _exchange(
        self, path: str, body: bytes, hear: Callable[[bytes], object], wait_max_s: float
    ) -> int:
        """Ask once (POST if there is a `body`), pass the answer on as it comes; give its status."""
        async with asyncio.timeout(wait_max_s):
            reader, writer = await asyncio.open_connection(*self.address, ssl=self.access.tls)
            try:
                writer.write(self._head(path, body) + body)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                words = head.split(maxsplit=2)
                if len(words) < 3 or not words[1].isdigit():
                    raise ConnectionError("the engine's answer is not HTTP")
                is_chunked = b"\r\ntransfer-encoding: chunked" in head
                async for piece in _chunked(reader) if is_chunked else _plain(reader):
                    hear(piece)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
                raise ConnectionError("the engine's answer broke off, or is not HTTP") from error
            finally:
                writer.transport.abort()  # As `asking` does.
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        return int(words[1])

    def _head(self, path: str, body: bytes) -> bytes:
        lines = [
            f"{'POST' if body else 'GET'} {path} HTTP/1.1",
            f"Host: {self.access.authority or show_address(*self.address)}",
            "Content-Type: application/json",
            "Accept-Encoding: identity",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        if self.access.api_key:
            lines.append(f"Authorization: Bearer {self.access.api_key}")
        return "\r\n".join([*lines, "", ""]).encode()


class _Ear:
    """Hears one answer: when its first text came, and which usage it told."""

    def __init__(self, clock: Callable[[], float], *, is_stream: bool) -> None:
        self._clock = clock
        self._began_at = clock()
        self._first_at: float | None = None
        self._is_stream = is_stream
        self._events = Splitter()
        self._whole = bytearray()
        self._usage = _Usage()

    def hear(self, piece: bytes) -> None:
        if not self._is_stream:
            self._whole += piece
            return
        try:
            for data, chunk in chunks(self._events.feed(piece)):
                if chunk is None:
                    continue
                self._read_usage(data)
                choice = choice_of(chunk)
                if self._first_at is None and choice is not None and any(texts_of(choice)):
                    self._first_at = self._clock()
        except (ChunkError, EventTooLongError) as error:
            raise ConnectionError("a chat was not answered as a stream") from error

    def said(self) -> Said:
        if not self._is_stream:
            self._read_usage(bytes(self._whole))
        total_s = self._clock() - self._began_at
        # A model may end at once, and then its end is all that it says.
        first_s = total_s if self._first_at is None else self._first_at - self._began_at
        details = self._usage.prompt_tokens_details or _Details()
        return Said(first_s, total_s, self._usage.prompt_tokens, details.cached_tokens)

    def _read_usage(self, data: bytes) -> None:
        with contextlib.suppress(*UNREADABLE):
            self._usage = msgspec.json.decode(data, type=_Answer).usage or self._usage


async def _plain(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    left = PAGE_BYTES_MAX
    while left > 0 and (piece := await reader.read(left)):
        left -= len(piece)
        yield piece


async def _chunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Undo HTTP's chunked coding (RFC 9112, 7.1); trailers are not read."""
    left = PAGE_BYTES_MAX
    while left > 0 and (size := int((await reader.readuntil(b"\n")).partition(b";")[0], 16)) > 0:
        piece = await reader.readexactly(min(size, left))
        left -= len(piece)
        yield piece
        if size == len(piece):
            await reader.readuntil(b"\n")
