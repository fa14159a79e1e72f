"""The gateway stops: nobody new is taken, those who are being answered are given their time."""

import asyncio
import json
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from baseload.config import fleet
from tests.gateway.harness import (
    COMPLETION,
    DONE,
    Backend,
    call_up,
    chat,
    hello,
    on_both_loops,
    on_uvloop,
    request,
    start_gateway,
    token,
    until,
)

MODELS = request(method="GET", path="/v1/models")


class Held:
    """A backend's script that says one token of a stream and then waits.

    It ends its answer upon `release`, or, if it `lasts`, waits for the gateway to leave.
    """

    def __init__(self, *, lasts=False):
        self.lasts = lasts
        self.begun, self.release, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, asked, wire):
        is_stream = asked.json().get("stream", False)
        if is_stream:
            await wire.begin()
            await wire.chunk(token("hel"))
        self.begun.set()
        if self.lasts:
            await wire.hung_up()
            self.left.set()
            return
        await self.release.wait()
        if is_stream:
            await wire.chunk(token("lo") + token("", "stop") + DONE)
            await wire.chunk(b"")
        else:
            await wire.json(COMPLETION)


@asynccontextmanager
async def held_call(script, *, is_stream=False, **overrides):
    """Start a gateway with one call in flight; give the gateway and the caller."""
    async with (
        Backend(script) as backend,
        start_gateway(backend, **overrides) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=is_stream))
        await script.begun.wait()
        yield gateway, caller


async def half_asked(caller):
    """Send all but a request's body, and wait until the gateway has seen it."""
    await caller.send(request(head="Expect: 100-continue\r\nContent-Length: 13\r\n"))
    assert (await caller.answer()).status == 100
    return b'{"model":"m"}'


async def draining(gateway):
    """Begin to drain, and wait until the port is closed."""
    task = asyncio.ensure_future(gateway.drain())
    while True:
        await asyncio.sleep(0)
        try:
            async with call_up(gateway.address[1]):
                pass
        except ConnectionError:
            return task


@on_both_loops
async def test_an_answer_under_way_is_finished():
    """A call in flight gets its answer during the drain, and then its connection closes."""
    script = Held()
    async with held_call(script) as (gateway, caller):
        drain = await draining(gateway)

        assert not drain.done()
        script.release.set()
        answer = await caller.answer()
        assert (COMPLETION, "close") == (answer.json(), answer.headers["connection"])
        assert await caller.rest() == b""
        assert await drain == 0


@on_both_loops
async def test_a_stream_under_way_is_finished():
    """A stream that has begun gets its whole text during the drain, then its connection closes."""
    script = Held()
    async with held_call(script, is_stream=True) as (gateway, caller):
        answer = await caller.head()
        drain = await draining(gateway)

        assert not drain.done()
        script.release.set()
        while chunk := await caller.chunk():
            answer.body += chunk
        assert answer.text() == "hello"
        assert await caller.rest() == b""
        assert await drain == 0


@on_both_loops
async def test_a_hurry_that_comes_before_the_drain_holds():
    """Told twice to stop in one breath, it does not wait: the second word may be heard first."""
    script = Held(lasts=True)
    async with held_call(script, is_stream=True, drain_s=60.0) as (gateway, caller):
        gateway.hurry()

        assert await gateway.drain() == 1
        assert b"gateway_stopping" in await caller.rest()


@on_both_loops
async def test_who_asks_nothing_is_closed_at_once():
    """Connections that are idle, fresh or kept, are closed as the drain begins; none is taken."""
    script = Held()
    async with held_call(script, is_stream=True) as (gateway, _):
        port = gateway.address[1]
        async with call_up(port) as fresh, call_up(port) as kept:
            await kept.send(MODELS)
            assert (await kept.answer()).status == 200
            drain = await draining(gateway)

            assert [b"", b""] == [await fresh.rest(), await kept.rest()]
            with pytest.raises(ConnectionError):
                async with call_up(port):
                    pass
            assert len(gateway.driver) == 1
        script.release.set()
        await drain


@on_both_loops
async def test_a_stream_that_takes_too_long_is_told_so():
    """A stream that outlasts `drain_s` ends with a typed error event, and its backend is left."""
    script = Held(lasts=True)
    async with held_call(script, is_stream=True, drain_s=0.1) as (gateway, caller):
        start = monotonic()
        drain = asyncio.ensure_future(gateway.drain())
        answer = await caller.answer()

        assert monotonic() - start >= 0.1
        assert json.loads(answer.events()[-1])["error"]["code"] == "gateway_stopping"
        assert await caller.rest() == b""
        await script.left.wait()
        assert await drain == 1


@on_both_loops
async def test_calls_that_take_too_long_are_told_so():
    """Calls without an answer after `drain_s`, at a backend and in the line, get a 503."""
    script = Held(lasts=True)
    async with Backend(script) as backend:
        one = fleet.Backend(name="b0", url=backend.url, concurrency=1, probe_s=0.0)
        async with (
            start_gateway(backend, drain_s=0.1, backends={"b0": one}) as gateway,
            call_up(gateway.address[1]) as first,
            call_up(gateway.address[1]) as second,
        ):
            await first.send(chat())
            await second.send(chat())
            await until(lambda: len(gateway.gate.line) == 1)
            drain = asyncio.ensure_future(gateway.drain())

            for caller in (first, second):
                answer = await caller.answer()

                assert (503, "close") == (answer.status, answer.headers["connection"])
                assert answer.json()["error"]["code"] == "gateway_stopping"
                assert await caller.rest() == b""
            assert await drain == 2
            assert len(backend.asked) == 1


@on_both_loops
async def test_a_request_that_comes_too_late_is_refused():
    """A call whose last byte comes during the drain is a 503; one behind another is not read."""
    script = Held()
    async with held_call(script) as (gateway, caller), call_up(gateway.address[1]) as late:
        body = await half_asked(late)
        drain = await draining(gateway)
        await late.send(body)
        answer = await late.answer()

        assert (503, "close") == (answer.status, answer.headers["connection"])
        assert answer.json()["error"]["code"] == "gateway_stopping"
        assert await late.rest() == b""
        await caller.send(chat())
        script.release.set()
        assert COMPLETION == (await caller.answer()).json()
        assert await caller.rest() == b""
        assert await drain == 0


@on_both_loops
async def test_a_request_that_never_ends_is_told_so():
    """Half a request is waited for as long as a drain may take, and then it is refused."""
    async with (
        Backend() as backend,
        start_gateway(backend, drain_s=0.3) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await half_asked(caller)
        start = monotonic()

        assert await gateway.drain() == 0
        assert 0.3 < monotonic() - start < 5
        answer = await caller.answer()
        assert (503, "The gateway is stopping.") == (
            answer.status,
            answer.json()["error"]["message"],
        )


@on_both_loops
async def test_an_answer_that_is_not_read_does_not_hold_the_drain():
    """A caller that does not read a large answer is let go; a second drain changes nothing."""

    async def large(asked, wire):
        await wire.json(COMPLETION | {"filler": "x" * 30_000_000})

    async with (
        Backend(large) as backend,
        start_gateway(backend, drain_s=0.2) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        caller.writer.transport.pause_reading()
        await caller.send(chat())
        await until(lambda: bool(backend.asked))
        start = monotonic()
        await gateway.drain()

        assert monotonic() - start < 5
        assert not gateway.clients
        assert await gateway.drain() == 0


@on_uvloop
async def test_nothing_to_wait_for():
    """Without calls and callers a drain is over at once, and the port can be had again."""
    async with Backend(hello) as backend, start_gateway(backend, drain_s=20.0) as gateway:
        start = monotonic()

        assert await gateway.drain() == 0
        assert monotonic() - start < 10
        async with start_gateway(backend, listen=f"127.0.0.1:{gateway.address[1]}") as again:
            assert gateway.address == again.address
