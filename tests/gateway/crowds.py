"""What tests of shared answers share: callers who ask the same, and a backend that waits."""

import asyncio
from contextlib import AsyncExitStack

from baseload.gateway.gateway import Gateway
from tests.gateway.harness import DONE, Answer, Caller, call_up, request, until
from tests.gateway.provider import END, FINISH, Provider, chunk, stream, whole

SHARED = {"share_identical": True}
PATH = "/v1/chat/completions"
LAST = chunk(FINISH), chunk(DONE) + END


def ask_once(name: str = "", path: str = PATH, head: str = "", **fields: object) -> bytes:
    """Give a request; with a name it has that id, and else it is the same bytes each time."""
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": messages, "stream": False} | fields
    return request(body, path, head=head + (f"x-request-id: {name}\r\n" if name else ""))


async def arrive(gateway: Gateway, caller: Caller, data: bytes) -> None:
    """Ask, and wait until the gateway has seen it: as a call, or as one who joins a call."""

    def seen() -> int:
        return len(gateway.driver) + gateway.telemetry.shared

    before = seen()
    await caller.send(data)
    await until(lambda: seen() > before)


async def gather(
    stack: AsyncExitStack, gateway: Gateway, count: int, **fields: object
) -> list[Caller]:
    """Have so many callers `r0`, `r1` and so on ask the same, one after the other."""
    callers = []
    for number in range(count):
        caller = await stack.enter_async_context(call_up(gateway.address[1]))
        await arrive(gateway, caller, ask_once(f"r{number}", **fields))
        callers.append(caller)
    return callers


async def answers_of(callers: list[Caller]) -> list[Answer]:
    """Read a whole answer for each."""
    return [await caller.answer() for caller in callers]


def held_back(may_go: asyncio.Event) -> Provider:
    """Give a provider that answers as asked, once it may."""
    return Provider(
        play=lambda asked: [may_go, stream("hel", "lo") if asked.json()["stream"] else whole()]
    )


async def rest_of(caller: Caller) -> bytes:
    """Read a chunked answer from where the caller stands to its end."""
    pieces = []
    while piece := await caller.chunk():
        pieces.append(piece)
    return b"".join(pieces)
