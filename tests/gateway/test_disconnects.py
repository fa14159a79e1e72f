"""A caller that leaves is noticed at once, wherever its call stands, and everything comes back.

What is measured is the time from the caller's close to the backend's seeing the connection closed:
until then a GPU somewhere works for nobody.
"""

import asyncio
from collections.abc import Callable
from statistics import median
from time import monotonic

import pytest

from baseload.gateway.gateway import Gateway
from tests.gateway.harness import (
    Caller,
    call_up,
    chat,
    on_both_loops,
    on_uvloop,
    start_gateway,
    token,
    until,
)
from tests.gateway.provider import (
    END,
    FINISH,
    Provider,
    Step,
    ask,
    backends,
    begin,
    black_hole,
    chunk,
    ended,
    whole,
)

ROUNDS = 5
NOTICED_S_MAX = 0.5
"""Five times what is promised: a shared machine may look away for a while."""


async def _nothing(caller: Caller) -> None:
    """Leave without having read anything."""


async def _first_token(caller: Caller) -> None:
    await caller.head()
    assert await caller.chunk() == token("x")


PLACES: dict[str, tuple[bool, tuple[Step, ...], Callable]] = {
    "before_the_head": (True, (30.0,), _nothing),
    "before_the_first_token": (True, (begin(), 30.0), _nothing),
    "in_the_middle_of_a_stream": (True, (begin(), chunk(token("x")), 30.0), _first_token),
    "while_tokens_flow": (True, (begin(), *(chunk(token("x")), 0.005) * 2000), _first_token),
    "before_the_answer": (False, (30.0,), _nothing),
    "in_the_middle_of_an_answer": (False, (whole()[:-50], 30.0), _nothing),
}


async def _leave(gateway: Gateway, provider: Provider, is_stream: bool, arrive: Callable) -> float:
    """Call, come as far as `arrive` says, and leave; give how late the backend saw it, in s."""
    async with call_up(gateway.address[1]) as caller:
        before = len(provider.asked), len(provider.departures)
        await caller.send(chat(stream=is_stream))
        await until(lambda: len(provider.asked) > before[0])
        await arrive(caller)
        left_at = monotonic()
        caller.abort()
        await until(lambda: len(provider.departures) > before[1])
        return provider.departures[-1] - left_at


@on_both_loops
@pytest.mark.parametrize("place", PLACES)
async def test_the_backend_learns_at_once_that_the_caller_left(place):
    """The connection to the backend is closed, the permit is back, and nobody is blamed."""
    is_stream, steps, arrive = PLACES[place]
    async with Provider(*steps) as provider, start_gateway(provider) as gateway:
        took_s = [await _leave(gateway, provider, is_stream, arrive) for _ in range(ROUNDS)]

        assert median(took_s) < NOTICED_S_MAX
        assert gateway.gate.seats["b0"].in_flight == 0
        assert ended(gateway) == {"b0": "gone"}
        assert gateway.failures == {}


@on_uvloop
async def test_a_caller_that_closes_its_half_is_taken_for_gone():
    """Half a close is how most programs and proxies leave; the call is given up."""
    async with (
        Provider(begin(), chunk(token("x")), 30.0) as provider,
        start_gateway(provider) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=True))
        await _first_token(caller)
        caller.writer.write_eof()
        await until(lambda: len(provider.departures) == 1)

        assert gateway.gate.seats["b0"].in_flight == 0


@on_both_loops
async def test_a_caller_that_leaves_during_the_dial_frees_the_permit():
    """A connection that is still being made is given up too, long before `connect_s`."""
    async with black_hole() as hole:
        places = backends(hole, connect_s=20.0)
        async with start_gateway(hole, backends=places) as gateway:
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat())
                await until(lambda: gateway.gate.seats["b0"].in_flight == 1)
                left_at = monotonic()
                caller.abort()
                await until(lambda: gateway.gate.seats["b0"].in_flight == 0)

            assert monotonic() - left_at < NOTICED_S_MAX
            assert ended(gateway) == {"b0": "gone"}
            drained_at = monotonic()
        assert monotonic() - drained_at < NOTICED_S_MAX


@on_both_loops
async def test_a_caller_that_leaves_the_queue_never_reaches_a_backend():
    """Its place is free at once, and the permit it waited for goes to who stays."""
    may_answer = asyncio.Event()
    async with Provider(may_answer, whole()) as provider:
        places = backends(provider, concurrency=1)
        async with start_gateway(provider, backends=places) as gateway:
            stays = asyncio.ensure_future(ask(gateway))
            await until(lambda: len(provider.asked) == 1)
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat())
                await until(lambda: len(gateway.gate.line) == 1)
                left_at = monotonic()
                caller.abort()
                await until(lambda: len(gateway.gate.line) == 0)
                assert monotonic() - left_at < NOTICED_S_MAX
            may_answer.set()

            assert (await stays).status == 200
            assert len(provider.asked) == 1
            assert len(gateway.driver) == 0


@on_uvloop
async def test_a_permit_of_who_left_serves_the_next_in_line():
    """With one permit, a caller that leaves makes way for the one that waits."""
    steps = begin(), chunk(token("x")), 30.0
    good = begin() + chunk(token("hello")) + chunk(FINISH) + END
    async with Provider(play=lambda asked: [good] if asked.number else steps) as provider:
        places = backends(provider, concurrency=1)
        async with start_gateway(provider, backends=places) as gateway:
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat(stream=True))
                await _first_token(caller)
                waits = asyncio.ensure_future(ask(gateway, chat(stream=True)))
                await until(lambda: len(gateway.gate.line) == 1)
                caller.abort()

            assert (await waits).text() == "hello"


@on_uvloop
async def test_a_caller_that_leaves_between_two_attempts_stops_them():
    """Once the caller is gone, no further backend is asked."""
    async with (
        Provider(30.0) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        async with call_up(gateway.address[1]) as caller:
            await caller.send(chat())
            await until(lambda: len(first.asked) == 1)
        await until(lambda: len(first.departures) == 1)
        await until(lambda: len(gateway.driver) == 0)

        assert second.asked == []
