"""A caller that reads slowly slows its backend down; it costs the gateway no memory and no bytes."""

import asyncio
import json

import pytest

from baseload.config.fleet import Inbound
from baseload.gateway.connection import Connection
from baseload.gateway.server import Client
from tests.gateway.harness import (
    DONE,
    Caller,
    chat,
    on_both_loops,
    on_uvloop,
    start_gateway,
    token,
    until,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    Provider,
    ask,
    begin,
    chunk,
    drip,
    ended,
    rss_bytes,
    whole,
)
from tests.gateway.slow import keep_small, slow_caller

MB = 1 << 20
EVENT = token("x" * 16_000)
EVENTS = 1000
"""Sixteen megabytes: several times what all buffers on the way can take."""
HELD_BYTES_MAX = 8 * MB
"""About five are seen, four of them in the provider's own socket."""
RSS_BYTES_MAX = 6 * MB
SOCKET_BYTES = 128 << 10
QUIET_S = 0.1


@pytest.fixture(autouse=True)
def _small_sockets(monkeypatch):
    """Keep the kernel from growing the gateway's sockets: it may by more than these answers."""
    keep_small(monkeypatch, SOCKET_BYTES, Connection, Client)


async def _body(caller: Caller) -> bytes:
    """Read a whole chunked answer, without piecing it together over and over."""
    answer, chunks = await caller.head(), []
    assert (answer.status, answer.is_chunked) == (200, True)
    while piece := await caller.chunk():
        chunks.append(piece)
    return b"".join(chunks)


async def _quiet(provider: Provider) -> int:
    """Wait until the provider can write no more; give how many bytes it got rid of."""
    while True:
        before = provider.bytes_written
        await asyncio.sleep(QUIET_S)
        if before and provider.bytes_written == before:
            return before


@on_both_loops
async def test_a_stream_that_nobody_reads_stops_its_backend():
    """The backend is held back, which is no stall of its; when the caller reads, all arrives."""
    steps = begin(), *(chunk(EVENT),) * EVENTS, chunk(FINISH) + END
    async with (
        Provider(*steps) as provider,
        start_gateway(provider, model={"stall_s": 0.2}) as gateway,
    ):
        before = rss_bytes()
        async with slow_caller(gateway.address[1], SOCKET_BYTES) as caller:
            await caller.send(chat(stream=True))
            held = await _quiet(provider)
            assert held < HELD_BYTES_MAX
            assert rss_bytes() - before < RSS_BYTES_MAX
            await asyncio.sleep(0.3)
            assert provider.bytes_written == held
            body = await _body(caller)

        assert body == EVENT * EVENTS + FINISH + DONE
        assert ended(gateway) == {"b0": "done"}


@on_both_loops
async def test_a_large_answer_passes_through_without_being_held():
    """Twenty megabytes of JSON arrive complete, and at no time does the gateway hold them."""
    large = json.dumps({"object": "list", "data": "y" * 20 * MB}).encode()
    async with (
        Provider(*drip(whole(large), 64 << 10)) as provider,
        start_gateway(provider) as gateway,
    ):
        before = rss_bytes()
        async with slow_caller(gateway.address[1], SOCKET_BYTES) as caller:
            await caller.send(chat())
            held = await _quiet(provider)
            assert held < HELD_BYTES_MAX
            assert rss_bytes() - before < RSS_BYTES_MAX
            body = await _body(caller)

        assert body == large
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
async def test_a_large_answer_that_breaks_is_cut_and_not_ended():
    """What is no stream has no place for an error, so the connection is closed without an end."""
    steps = begin().replace(b"event-stream", b"plain"), chunk(b"y" * 3 * MB), CLOSE
    async with Provider(*steps) as provider, start_gateway(provider) as gateway:
        with pytest.raises(asyncio.IncompleteReadError):
            await ask(gateway)

        assert ended(gateway) == {"b0": "broken"}


@on_both_loops
async def test_who_leaves_an_answer_unread_and_asks_again_is_held_back_too():
    """While answers on a connection are unread, no further call of it is begun."""
    large = whole(json.dumps({"data": "y" * 900_000}).encode())
    flood = begin(), *(chunk(EVENT),) * EVENTS, chunk(FINISH) + END
    provider = Provider(play=lambda asked: flood if asked.json()["stream"] else [large])
    async with provider, start_gateway(provider) as gateway:
        before = rss_bytes()
        async with slow_caller(gateway.address[1], SOCKET_BYTES) as caller:
            for _ in range(8):
                await caller.send(chat())
            await caller.send(chat(stream=True))
            assert await _quiet(provider) < HELD_BYTES_MAX
            assert len(provider.asked) < 9
            assert rss_bytes() - before < RSS_BYTES_MAX
            for _ in range(8):
                assert (await caller.answer()).status == 200
            body = await _body(caller)

        assert body == EVENT * EVENTS + FINISH + DONE


@on_uvloop
async def test_who_never_reads_is_dropped():
    """After `unread_s` without a byte read the call is over, and the backend is let go."""
    steps = begin(), *(chunk(EVENT),) * EVENTS, chunk(FINISH) + END
    async with (
        Provider(*steps) as provider,
        start_gateway(provider, inbound=Inbound(unread_s=0.2)) as gateway,
        slow_caller(gateway.address[1], SOCKET_BYTES) as caller,
    ):
        await caller.send(chat(stream=True))
        await until(lambda: len(provider.departures) == 1)

        assert gateway.gate.seats["b0"].in_flight == 0
        assert ended(gateway) == {"b0": "gone"}
