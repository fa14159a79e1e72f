"""How do the foreman and a worker talk?

Over a socket pair that only the two of them hold: a frame is its length and a message in msgpack.
Either side may ask the other, and is answered or told an error; every question has a time limit and
every frame a bound. When one side is gone, the other hears the end of the stream: there is no need
to ask whether it lives.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from itertools import count

import msgspec

from baseload.errors import BaseloadError

ASK_S_MAX = 5.0
"""How long an answer may take; whoever needs longer is stuck."""
FRAME_BYTES_MAX = 16 * 1024 * 1024
"""A fleet of the largest file, or the metrics of many hundred models, with room to spare."""
WAITING_MAX = 1024
"""Questions of one side that may be unanswered."""
_LENGTH_BYTES = 4

Answer = Callable[[str, bytes], Awaitable[bytes]]
"""Gives the answer to a question; what it raises is told to whoever asked."""


class ChannelError(BaseloadError):
    """The other side did not answer, or answered with an error."""


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    """A question, an answer or an error."""

    kind: str
    id: int
    what: str
    body: bytes


class Channel:
    """One side's end."""

    def __init__(self, pipe: socket.socket, answer: Answer) -> None:
        """`answer` gives the answers to what the other side asks."""
        self._pipe = pipe
        self._answer = answer
        self._ids = count()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Be able to ask; answers are heard by `run`."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._pipe)

    async def run(self) -> None:
        """Hear the other side until it is gone."""
        reader = self._reader
        try:
            with contextlib.suppress(EOFError, OSError, msgspec.MsgspecError):
                while True:
                    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
                    if length > FRAME_BYTES_MAX:
                        break
                    body = await reader.readexactly(length)
                    self._take(msgspec.msgpack.decode(body, type=_Frame))
        finally:
            self.close()

    def close(self) -> None:
        """Hear and say no more; whoever waits for an answer is told so."""
        if self._writer is not None:
            self._writer.close()
        else:
            self._pipe.close()
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(ChannelError("it is gone"))
        for task in self._tasks:
            task.cancel()

    async def ask(self, what: str, body: bytes = b"", wait_s: float = ASK_S_MAX) -> bytes:
        """Ask the other side; raises ChannelError."""
        if len(self._asked) >= WAITING_MAX:
            raise ChannelError("too many questions are unanswered")
        number = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send(_Frame("ask", number, what, body))
            async with asyncio.timeout(wait_s):
                return await answer
        except TimeoutError as error:
            raise ChannelError(f"no answer to `{what}` within {wait_s:g} s") from error
        finally:
            del self._asked[number]

    def _send(self, frame: _Frame) -> None:
        body = msgspec.msgpack.encode(frame)
        if len(body) > FRAME_BYTES_MAX:
            raise ChannelError(f"`{frame.what}` takes {len(body)} bytes")
        if self._writer is None or self._writer.is_closing():
            raise ChannelError("it is gone")
        self._writer.write(len(body).to_bytes(_LENGTH_BYTES) + body)

    def _take(self, frame: _Frame) -> None:
        if frame.kind == "ask":
            task = asyncio.ensure_future(self._reply(frame))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        waiting = self._asked.get(frame.id)
        if waiting is None or waiting.done():
            return  # It comes too late.
        if frame.kind == "error":
            waiting.set_exception(ChannelError(frame.body.decode("utf-8", "replace")))
        else:
            waiting.set_result(frame.body)

    async def _reply(self, asked: _Frame) -> None:
        try:
            frame = _Frame(
                "answer", asked.id, asked.what, await self._answer(asked.what, asked.body)
            )
        except BaseloadError as error:
            frame = _Frame("error", asked.id, asked.what, str(error).encode())
        except Exception as error:  # noqa: BLE001 - a defect on one side must not hang the other
            frame = _Frame("error", asked.id, asked.what, repr(error).encode())
        with contextlib.suppress(ChannelError):
            self._send(frame)
