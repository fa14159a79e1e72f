"""Callers who share an answer and leave, or read slowly: what the others notice, and the backend.

Sockets are kept small where a reader is slow, so that a few megabytes are more than they hold.
"""

import asyncio
from contextlib import AsyncExitStack
from statistics import median
from time import monotonic

import pytest

from baseload.config.fleet import Inbound
from baseload.gateway.connection import Connection
from baseload.gateway.gateway import Gateway
from baseload.gateway.server import Client
from tests.gateway.crowds import (
    LAST,
    SHARED,
    arrive,
    ask_once,
    gather,
    held_back,
    rest_of,
)
from tests.gateway.harness import (
    DONE,
    Caller,
    on_both_loops,
    on_uvloop,
    start_gateway,
    token,
    until,
)
from tests.gateway.provider import (
    FINISH,
    Provider,
    _Line,
    begin,
    chunk,
    ended,
)
from tests.gateway.slow import keep_small, slow_caller

ROUNDS = 5
NOTICED_S_MAX = 0.5
"""Five times what is promised: a shared machine may look away for a while."""
EVENT = token("x" * 16_000)
EVENTS = 200
"""Three megabytes: several times what all buffers on the way take, if sockets are kept small."""
SOCKET_BYTES = 64 << 10
QUIET_S = 0.1


# -- who leaves ----------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_who_leaves_takes_nothing_from_the_others(place, has_begun):
    """Be it the first, for whom the request was made, or another: the answer goes on."""
    may_go, may_end = asyncio.Event(), asyncio.Event()
    steps = may_go, begin(), chunk(token("hello")), may_end, *LAST
    async with (
        AsyncExitStack() as stack,
        Provider(*steps) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await gather(stack, gateway, 3, stream=True)
        before = len(gateway.clients)
        if has_begun:
            may_go.set()
            for caller in callers:
                await caller.head()
                await caller.chunk()
        callers.pop(place).abort()
        await until(lambda: len(gateway.clients) < before)
        may_go.set()
        may_end.set()
        if not has_begun:
            for caller in callers:
                await caller.head()
        rests = [await rest_of(caller) for caller in callers]

        assert [(b"" if has_begun else token("hello")) + FINISH + DONE] * 2 == rests
        assert (1, []) == (len(provider.asked), provider.departures)
        assert {"b0": "done"} == ended(gateway)


async def _all_leave(
    gateway: Gateway, provider: Provider, may_begin: asyncio.Event | None
) -> float:
    """Have a crowd leave one by one; give how late the backend saw it after the last, in s."""
    departures = len(provider.departures)
    async with AsyncExitStack() as stack:
        callers = await gather(stack, gateway, 3, stream=True)
        await until(lambda: len(provider.asked) > departures)
        if may_begin is not None:
            may_begin.set()
            for caller in callers:
                await caller.head()
                await caller.chunk()
            may_begin.clear()
        for caller in callers[:-1]:
            before = len(gateway.clients)
            caller.abort()
            await until(lambda before=before: len(gateway.clients) < before)
        assert departures == len(provider.departures)
        left_at = monotonic()
        callers[-1].abort()
        await until(lambda: len(provider.departures) > departures)
        return provider.departures[-1] - left_at


@on_both_loops
@pytest.mark.parametrize("has_begun", [False, True])
async def test_when_the_last_one_leaves_the_backend_learns_at_once(has_begun):
    """Only then the request is given up, and its permit is back."""
    may_begin = asyncio.Event()
    async with (
        Provider(may_begin, begin(), chunk(token("x")), 30.0) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        took_s = [
            await _all_leave(gateway, provider, may_begin if has_begun else None)
            for _ in range(ROUNDS)
        ]

        assert median(took_s) < NOTICED_S_MAX
        assert (ROUNDS, ROUNDS) == (len(provider.asked), len(provider.departures))
        assert 0 == gateway.gate.seats["b0"].in_flight
        assert {"b0": "gone"} == ended(gateway)
        assert not gateway.crowds._open


@on_uvloop
async def test_who_asks_after_all_have_left_begins_anew():
    """Nobody joins a call that was given up."""
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        held_back(may_go) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        for caller in await gather(stack, gateway, 2):
            caller.abort()
        await until(lambda: len(gateway.driver) == 0)
        (late,) = await gather(stack, gateway, 1)
        may_go.set()

        assert 200 == (await late.answer()).status


# -- who reads slowly ----------------------------------------------------------------------------


@pytest.fixture
def small_sockets(monkeypatch):
    """Keep the kernel from growing any socket: it may by more than these answers."""
    keep_small(monkeypatch, SOCKET_BYTES, Connection, Client, _Line)


async def _two_speeds(stack: AsyncExitStack, gateway: Gateway) -> tuple[Caller, asyncio.Task]:
    """Have one caller who does not read and one who reads all share a stream."""
    slow = await stack.enter_async_context(slow_caller(gateway.address[1], SOCKET_BYTES))
    await arrive(gateway, slow, ask_once("slow", stream=True))
    (quick,) = await gather(stack, gateway, 1, stream=True)
    return slow, asyncio.ensure_future(_length(quick))


async def _length(caller: Caller) -> int:
    """Read a whole stream; give its length."""
    await caller.head()
    return len(await rest_of(caller))


async def _is_quiet(provider: Provider) -> bool:
    """Wait until the provider has got rid of nothing for a while, and of something before."""
    while True:
        before = provider.bytes_written
        await asyncio.sleep(QUIET_S)
        if before and provider.bytes_written == before:
            return True


LENGTH = EVENTS * len(EVENT) + len(FINISH + DONE)


@pytest.mark.usefixtures("small_sockets")
@on_uvloop
async def test_all_go_at_the_pace_of_the_slowest():
    """Who does not read holds the backend back; when it reads, both get all of it."""
    may_go = asyncio.Event()
    steps = may_go, begin(), *(chunk(EVENT),) * EVENTS, *LAST
    async with (
        AsyncExitStack() as stack,
        Provider(*steps) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        slow, quick = await _two_speeds(stack, gateway)
        may_go.set()
        assert await _is_quiet(provider)
        assert not quick.done()
        assert provider.bytes_written < LENGTH // 2

        assert (LENGTH, LENGTH) == (await _length(slow), await quick)
        assert 1 == len(provider.asked)


@pytest.mark.usefixtures("small_sockets")
@on_uvloop
@pytest.mark.parametrize("how", ["leaves", "is dropped"])
async def test_a_slow_reader_who_goes_sets_the_others_free(how):
    """Once it has left, or has left its answer unread for too long, the rest flows."""
    may_go = asyncio.Event()
    steps = may_go, begin(), *(chunk(EVENT),) * EVENTS, *LAST
    inbound = Inbound(unread_s=30.0 if how == "leaves" else 0.2)
    async with (
        AsyncExitStack() as stack,
        Provider(*steps) as provider,
        start_gateway(provider, model=SHARED, inbound=inbound) as gateway,
    ):
        slow, quick = await _two_speeds(stack, gateway)
        may_go.set()
        if how == "leaves":
            assert await _is_quiet(provider)
            slow.abort()

        assert LENGTH == await quick
        assert {"b0": "done"} == ended(gateway)
