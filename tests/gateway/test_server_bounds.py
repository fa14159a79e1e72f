"""What a caller's connection may cost: bytes held, time waited, connections open.

Each test ends by asking the gateway once more: whatever a caller did, the next one is served.
"""

import asyncio
import socket
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from baseload.config.fleet import Inbound
from baseload.gateway import gateway as gateway_module
from baseload.gateway import server
from tests.gateway.harness import (
    COMPLETION,
    DONE,
    Backend,
    Caller,
    call_up,
    chat,
    fleet_of,
    hello,
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    token,
)

MB = 1 << 20
MODELS = request(method="GET", path="/v1/models")
KERNEL_BYTES_MAX = 16 * MB
"""What the kernel may hold of one connection at its two ends, generously."""


@pytest.fixture
def quick_sweep(monkeypatch):
    """Let the clocks of connections be looked at fifty times in a second."""
    monkeypatch.setattr(server, "SWEEP_S", 0.02)
    monkeypatch.setattr(gateway_module, "SWEEP_S", 0.02)


@asynccontextmanager
async def serving(script=hello, **inbound):
    """Start a backend and its gateway with such bounds; give the port and the gateway."""
    bounds = Inbound(**inbound)
    async with Backend(script) as backend, start_gateway(backend, inbound=bounds) as gateway:
        yield gateway.address[1], gateway
        (answer,) = await raw(gateway.address[1], chat())

        assert COMPLETION == answer.json()


@asynccontextmanager
async def slow_caller(port):
    """Call up with a small window, so that little fits between the gateway and this caller."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


async def endless(asked, wire):
    """Stream for as long as somebody takes it; any other call is answered."""
    if not asked.json()["stream"]:
        await hello(asked, wire)
        return
    await wire.begin()
    while True:
        await wire.chunk(token("x" * 60_000))


# -- bytes ---------------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("is_patient", [False, True])
@pytest.mark.parametrize("framing", ["content-length: 52428800", "transfer-encoding: chunked"])
async def test_a_body_too_large_is_refused_readably(framing, is_patient):
    """Whether it reads while it sends fifty megabytes, or only then: a caller can read the 413."""
    async with serving(body_mb=1) as (port, _), call_up(port) as caller:
        caller.writer.write(request(head=f"{framing}\r\n"))
        chunk = b"x" * MB if "length" in framing else b"100000\r\n" + b"x" * MB + b"\r\n"
        for _ in range(50):
            caller.writer.write(chunk)
        if is_patient:
            await caller.writer.drain()
        answer = await caller.answer()

        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert "`inbound.body_mb`" in answer.json()["error"]["message"]
        assert await caller.reader.read() == b""  # a reset would raise


@on_uvloop
async def test_a_refusal_behind_a_call_is_readable_too():
    """A body too large that follows a slow call gets its 413 after the call's answer."""
    held = asyncio.Event()

    async def slow(asked, wire):
        await held.wait()
        await hello(asked, wire)

    async with serving(slow, body_mb=1) as (port, _), call_up(port) as caller:
        caller.writer.write(chat() + request(head="content-length: 20971520\r\n"))
        caller.writer.write(b"x" * 20 * MB)
        await asyncio.sleep(0)
        held.set()

        assert [200, 413] == [(await caller.answer()).status for _ in range(2)]
        assert await caller.reader.read() == b""


@on_uvloop
async def test_a_head_too_large_is_refused():
    """A head beyond the bound is a 431, whether in one header or in thousands."""
    async with serving(header_kb=4) as (port, _):
        for head in (f"X: {'y' * 5000}\r\n", "X: y\r\n" * 900):
            (answer,) = await raw(port, request(method="GET", path="/v1/models", head=head))

            assert answer.status == 431
            assert "`inbound.header_kb`" in answer.json()["error"]["message"]


@on_both_loops
async def test_an_unread_stream_is_bounded(monkeypatch):
    """A caller that never reads: its backend is paused, and after `unread_s` it is let go."""
    monkeypatch.setattr(gateway_module, "SWEEP_S", 0.02)
    wires = []
    gone = asyncio.Event()

    async def counted(asked, wire):
        wires.append(wire)
        try:
            await endless(asked, wire)
        finally:
            gone.set()

    async with serving(counted, unread_s=0.5) as (port, gateway), slow_caller(port) as caller:
        await caller.send(chat(stream=True))
        await gone.wait()

        assert 4 * 60_000 < wires[0].sent < KERNEL_BYTES_MAX
        assert not gateway.clients


@on_both_loops
async def test_a_slow_reader_gets_everything():
    """A caller that reads slowly, but does read, gets every byte, and the backend keeps its pace."""
    texts = [f"{number}".zfill(60_000) for number in range(150)]

    async def long(asked, wire):
        if not asked.json()["stream"]:
            await hello(asked, wire)
            return
        await wire.begin()
        for text in texts:
            await wire.chunk(token(text))
        await wire.chunk(token("", "stop") + DONE)
        await wire.chunk(b"")

    async with serving(long) as (port, _), slow_caller(port) as caller:
        await caller.send(chat(stream=True))
        answer = await caller.head()
        parts = []
        while chunk := await caller.chunk():
            parts.append(chunk)
            await asyncio.sleep(0)
        answer.body = b"".join(parts)

        assert "".join(texts) == answer.text()


@on_both_loops
async def test_unread_answers_to_pipelined_requests_are_bounded(quick_sweep):
    """A caller that only ever asks is not read any more, and after `unread_s` it is let go."""
    async with serving(unread_s=0.5) as (port, gateway), slow_caller(port) as caller:
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 4 * KERNEL_BYTES_MAX:
                await caller.send(MODELS * 1000)
                sent += len(MODELS) * 1000

        assert sent < KERNEL_BYTES_MAX
        assert not gateway.clients


@on_both_loops
async def test_pipelined_requests_outlast_a_full_buffer():
    """Answers that wait for a slow reader are all given, in order, and it may go on asking."""
    async with Backend() as backend:
        one = fleet_of(backend).models["m"]
        models = dict.fromkeys(("m", *(f"m{number:0100}" for number in range(200))), one)
        async with (
            start_gateway(backend, models=models) as gateway,
            slow_caller(gateway.address[1]) as caller,
        ):
            asking = asyncio.ensure_future(caller.send(MODELS * 1000 + chat()))
            sizes = {len((await caller.answer()).body) for _ in range(1000)}

            assert len(sizes) == 1
            assert sizes.pop() * 1000 > KERNEL_BYTES_MAX
            assert COMPLETION == (await caller.answer()).json()
            await asking


@on_uvloop
async def test_connections_are_bounded():
    """One connection too many is told so with a 503; when another ends there is room again."""
    async with serving(connections=2) as (port, gateway):
        async with call_up(port) as first, call_up(port) as second:
            for caller in (first, second):
                await caller.send(MODELS)
                assert (await caller.answer()).status == 200
            async with call_up(port) as third:
                answer = await third.answer()

                assert (503, "close") == (answer.status, answer.headers["connection"])
                assert answer.json()["error"]["type"] == "unavailable_error"
                assert await third.rest() == b""
            await first.send(MODELS)
            assert (await first.answer()).status == 200
        while gateway.clients:  # noqa: ASYNC110 - the gateway sees its callers leave
            await asyncio.sleep(0.005)


# -- time ----------------------------------------------------------------------------------------


async def drip(caller, data, gap_s=0.02):
    """Send byte after byte until the connection is closed or all is sent."""
    for byte in data:
        if caller.reader.at_eof():
            return
        await caller.send(bytes([byte]))
        await asyncio.sleep(gap_s)


async def refused(caller):
    """Give the status of the refusal, after which the connection must end."""
    answer = await caller.answer()

    assert answer.headers["connection"] == "close"
    assert await caller.rest() == b""
    return answer.status


async def timed(waiting):
    """Give what is waited for, and the seconds that it took."""
    start = monotonic()
    return await waiting, monotonic() - start


@on_uvloop
async def test_clocks_of_slow_requests():
    """A head that drips, a body that stops: each a 408 within its time and two looks at the clock.

    A connection on which nothing is asked is closed without a word.
    """
    bounds = {"header_s": 0.3, "body_s": 0.3, "idle_s": 0.3}
    async with (
        serving(**bounds) as (port, _),
        call_up(port) as slow,
        call_up(port) as silent,
        call_up(port) as idle,
    ):
        dripping = asyncio.ensure_future(drip(slow, request(head="X: y\r\n" * 100)))
        await silent.send(request(head="content-length: 5\r\n") + b"abc")
        (slow_is, slow_s), (silent_is, silent_s), (rest, rest_s) = await asyncio.gather(
            timed(refused(slow)), timed(refused(silent)), timed(idle.rest())
        )
        dripping.cancel()

        assert (408, 408, b"") == (slow_is, silent_is, rest)
        assert min(slow_s, silent_s) >= 0.3
        assert max(slow_s, silent_s, rest_s) < 0.3 + 2 * server.SWEEP_S + 1  # for a busy machine


@on_both_loops
async def test_a_kept_connection_that_idles_is_closed(quick_sweep):
    """After its answer a connection may idle for `idle_s`, and is then closed without a word."""
    async with serving(idle_s=0.2) as (port, _), call_up(port) as caller:
        await caller.send(chat())

        assert COMPLETION == (await caller.answer()).json()
        assert await caller.rest() == b""


@on_uvloop
async def test_a_slow_call_is_not_idle(quick_sweep):
    """While an answer is awaited none of the connection's clocks runs."""

    async def slow(asked, wire):
        await asyncio.sleep(0.3)
        await hello(asked, wire)

    bounds = {"header_s": 0.05, "body_s": 0.05, "idle_s": 0.05, "unread_s": 0.05}
    async with serving(slow, **bounds) as (port, _), call_up(port) as caller:
        await caller.send(chat())

        assert COMPLETION == (await caller.answer()).json()


@on_uvloop
async def test_a_slow_body_is_no_silent_one(quick_sweep):
    """A body may take longer than `body_s` as long as some of it keeps coming."""
    asked = chat()
    async with serving(body_s=0.5) as (port, _), call_up(port) as caller:
        at = asked.index(b"\r\n\r\n") + 4
        await caller.send(asked[:at])
        await drip(caller, asked[at:], 0.7 / (len(asked) - at))

        assert COMPLETION == (await caller.answer()).json()


@on_uvloop
async def test_a_refused_caller_that_stays_is_let_go(quick_sweep, monkeypatch):
    """After a refusal the gateway lingers only for a moment, however long the caller sends."""
    monkeypatch.setattr(server, "LINGER_S", 0.2)
    async with serving() as (port, gateway), call_up(port) as caller:
        await caller.send(b"\0\r\n\r\n")
        assert (await caller.answer()).status == 501
        with pytest.raises(ConnectionError):
            while True:
                await caller.send(b"more")
                await asyncio.sleep(0.01)

        assert not gateway.clients
