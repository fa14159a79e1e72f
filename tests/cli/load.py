"""Callers of several kinds who never stop asking, and note each failure."""

import asyncio
from collections import Counter

from tests.gateway.harness import DONE, Caller, chat, token

PIECES = 40
PAUSE_S = 0.05
"""A long stream takes two seconds."""


async def slowly(asked, wire):
    """Answer a stream in many pieces, and anything else at once."""
    if not asked.json().get("stream"):
        await wire.json({"object": "chat.completion", "choices": [], "model": "m"})
        return
    await wire.begin()
    for _ in range(PIECES):
        await wire.chunk(token("x"))
        await asyncio.sleep(PAUSE_S)
    await wire.chunk(token("", "stop") + DONE)
    await wire.chunk(b"")


class Load:
    """Short calls on new connections, short calls on kept ones, and long streams."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.done: Counter[str] = Counter()
        self.stale = 0
        """Kept connections that were found closed with no byte of an answer, and asked anew, as
        every client does."""
        self.failures: list[str] = []
        self._is_over = False

    async def run(self, new: int, kept: int, streams: int) -> None:
        """Ask until `stop`, with so many callers of each kind; each finishes what it began."""
        callers = [self._repeat("new", self._new) for _ in range(new)]
        callers += [self._kept() for _ in range(kept)]
        callers += [self._repeat("stream", self._stream) for _ in range(streams)]
        await asyncio.gather(*callers)

    def stop(self) -> None:
        """Begin nothing more."""
        self._is_over = True

    async def _repeat(self, kind: str, ask) -> None:
        while not self._is_over:
            try:
                await ask()
                self.done[kind] += 1
            except (OSError, EOFError, AssertionError, ValueError) as error:
                self.failures.append(f"{kind}: {error!r}")
            await asyncio.sleep(0.01)

    async def _dial(self) -> Caller:
        return Caller(*await asyncio.open_connection("127.0.0.1", self.port))

    async def _new(self) -> None:
        caller = await self._dial()
        try:
            await caller.send(chat())
            answer = await caller.answer()
            assert 200 == answer.status, answer
        finally:
            caller.abort()

    async def _stream(self) -> None:
        caller = await self._dial()
        try:
            await caller.send(chat(stream=True))
            answer = await caller.answer()
            assert 200 == answer.status, answer
            assert "x" * PIECES == answer.text()
        finally:
            caller.abort()

    async def _kept(self) -> None:
        """Keep a connection for as long as it is good; rest at times, as people do."""
        caller: Caller | None = None
        turn = 0
        while not self._is_over:
            is_fresh = caller is None
            try:
                caller = caller or await self._dial()
                await caller.send(chat())
                answer = await caller.answer()
                assert 200 == answer.status, answer
                self.done["kept"] += 1
            except (OSError, EOFError, AssertionError, ValueError) as error:
                partial = getattr(error, "partial", b"")
                if is_fresh or partial or isinstance(error, AssertionError):
                    self.failures.append(f"kept: {error!r}")
                else:
                    self.stale += 1
                if caller is not None:
                    caller.abort()
                caller = None
                continue
            if answer.headers.get("connection") == "close":
                caller.abort()
                caller = None
            turn += 1
            await asyncio.sleep(0.3 if turn % 7 == 0 else 0.01)
        if caller is not None:
            caller.abort()
