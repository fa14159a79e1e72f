"""Callers who ask the very same thing at once: who shares an answer, and what the others notice.

What is counted is what the backend saw: shared calls are requests that never reached it.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from statistics import median
from time import monotonic

import pytest

from baseload.config.fleet import Inbound, Target
from baseload.gateway import sharing
from baseload.gateway.connection import Connection
from baseload.gateway.gateway import Gateway
from baseload.gateway.server import Client
from tests.gateway.harness import (
    DONE,
    Answer,
    Caller,
    call_up,
    on_both_loops,
    on_uvloop,
    request,
    start_gateway,
    token,
    until,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    Provider,
    _Line,
    begin,
    chunk,
    ended,
    in_turn,
    refusal,
    stream,
    whole,
)

SHARED = {"share_identical": True}
PATH = "/v1/chat/completions"
ROUNDS = 5
NOTICED_S_MAX = 0.5
"""Five times what is promised: a shared machine may look away for a while."""
EVENT = token("x" * 16_000)
EVENTS = 200
"""Three megabytes: several times what all buffers on the way take, if sockets are kept small."""
SOCKET_BYTES = 64 << 10
QUIET_S = 0.1
LAST = chunk(FINISH), chunk(DONE) + END


def _ask(name: str = "", path: str = PATH, head: str = "", **fields: object) -> bytes:
    """Give a request; with a name it has that id, and else it is the same bytes each time."""
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": messages, "stream": False} | fields
    return request(body, path, head=head + (f"x-request-id: {name}\r\n" if name else ""))


async def _arrive(gateway: Gateway, caller: Caller, data: bytes) -> None:
    """Ask, and wait until the gateway has seen it: as a call, or as one who joins a call."""

    def seen() -> int:
        return len(gateway.driver) + gateway.telemetry.shared

    before = seen()
    await caller.send(data)
    await until(lambda: seen() > before)


async def _gather(
    stack: AsyncExitStack, gateway: Gateway, count: int, **fields: object
) -> list[Caller]:
    """Have so many callers `r0`, `r1` and so on ask the same, one after the other."""
    callers = []
    for number in range(count):
        caller = await stack.enter_async_context(call_up(gateway.address[1]))
        await _arrive(gateway, caller, _ask(f"r{number}", **fields))
        callers.append(caller)
    return callers


async def _answers(callers: list[Caller]) -> list[Answer]:
    return [await caller.answer() for caller in callers]


def _held(may_go: asyncio.Event) -> Provider:
    """Give a provider that answers as asked, once it may."""
    return Provider(
        play=lambda asked: [may_go, stream("hel", "lo") if asked.json()["stream"] else whole()]
    )


# -- one answer for all --------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("is_assembled", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_identical_calls_in_flight_are_one_request(is_stream, is_assembled):
    """Ten callers get the same answer for one request, each under the id of its own."""
    may_go, model = asyncio.Event(), SHARED | {"assemble": is_assembled}
    async with (
        AsyncExitStack() as stack,
        _held(may_go) as provider,
        start_gateway(provider, model=model) as gateway,
    ):
        callers = await _gather(stack, gateway, 10, stream=is_stream)
        may_go.set()
        answers = await _answers(callers)
        first = answers[0].text() if is_stream else answers[0].json()["choices"][0]["message"]

        assert [200] * 10 == [answer.status for answer in answers]
        assert {answers[0].body} == {answer.body for answer in answers}
        assert first == ("hello" if is_stream else {"role": "assistant", "content": "hello"})
        assert [f"r{n}" for n in range(10)] == [a.headers["x-request-id"] for a in answers]
        assert {"b0"} == {answer.headers["x-baseload-backend"] for answer in answers}
        assert (1, 9) == (len(provider.asked), gateway.telemetry.shared)
        assert {"b0": "done"} == ended(gateway)
        assert not gateway.crowds._open


@on_uvloop
async def test_a_shared_answer_is_no_cache():
    """On the same connections, what is asked again after the answer is asked anew."""
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        _held(may_go) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await _gather(stack, gateway, 3)
        may_go.set()
        await _answers(callers)
        may_go.clear()
        for caller in callers:
            await _arrive(gateway, caller, _ask())
        may_go.set()
        answers = await _answers(callers)

        assert [200] * 3 == [answer.status for answer in answers]
        assert (2, 4) == (len(provider.asked), gateway.telemetry.shared)


@on_uvloop
async def test_an_answer_that_breaks_is_gone_on_with_for_all():
    """When the backend breaks off, all callers get the rest from another, as one answer."""
    rest = begin() + chunk(token("hel")) + chunk(token("lo")) + b"".join(LAST)
    may_go, may_break = asyncio.Event(), asyncio.Event()
    first = Provider(may_go, begin(), chunk(token("hel")), may_break, CLOSE)
    async with AsyncExitStack() as stack, first, Provider(rest) as second:
        tiers = tuple({name: Target(backend=name, model="m", weights="w")} for name in ("b0", "b1"))
        model = SHARED | {"tiers": tiers, "resume": "same_weights"}
        gateway = await stack.enter_async_context(start_gateway(first, second, model=model))
        callers = await _gather(stack, gateway, 3, stream=True)
        may_go.set()
        for caller in callers:
            await caller.head()
            assert token("hel") == await caller.chunk()
        may_break.set()
        rests = [b"".join([piece async for piece in _chunks(caller)]) for caller in callers]

        assert [1] * 3 == [rest.count(b'"content":"lo"') for rest in rests]
        assert {DONE} == {rest[-len(DONE) :] for rest in rests}
        assert (1, 1) == (len(first.asked), len(second.asked))


async def _chunks(caller: Caller) -> AsyncIterator[bytes]:
    while piece := await caller.chunk():
        yield piece


# -- who does not share --------------------------------------------------------------------------

OTHERS = {
    "key": _ask(head="authorization: Bearer other\r\n"),
    "body": _ask(temperature=1),
    "spelling": request(b'{"model":"m","messages":[],"stream":false }'),
    "stream": _ask(stream=True),
    "priority": _ask(head="x-baseload-priority: batch\r\n"),
    "model": _ask(model="other"),
    "path": _ask(path="/v1/completions"),
}


@on_uvloop
@pytest.mark.parametrize("what", OTHERS)
async def test_calls_that_differ_do_not_share(what):
    """Another key, body, priority, model or path is another question, however little differs."""
    may_go = asyncio.Event()
    async with _held(may_go) as provider, start_gateway(provider, model=SHARED) as gateway:
        models = gateway.fleet.models
        models["other"] = models["m"]
        gateway.gate._plans["other"] = gateway.gate._plans["m"]
        async with call_up(gateway.address[1]) as one, call_up(gateway.address[1]) as other:
            await one.send(_ask())
            await other.send(OTHERS[what])
            await until(lambda: len(provider.asked) == 2)
            may_go.set()

            assert [200, 200] == [answer.status for answer in await _answers([one, other])]
            assert 0 == gateway.telemetry.shared


@on_uvloop
async def test_sharing_is_off_unless_asked_for():
    """Without `share_identical` each call is a request of its own."""
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        _held(may_go) as provider,
        start_gateway(provider) as gateway,
    ):
        callers = await _gather(stack, gateway, 3)
        may_go.set()
        answers = await _answers(callers)

        assert [200] * 3 == [answer.status for answer in answers]
        assert (3, 0) == (len(provider.asked), gateway.telemetry.shared)


@on_uvloop
async def test_who_comes_after_the_beginning_asks_anew():
    """A stream that has begun takes in nobody; those who are late share among themselves."""
    may_go, may_end = asyncio.Event(), asyncio.Event()
    steps = may_go, begin(), chunk(token("hello")), may_end, *LAST
    async with (
        AsyncExitStack() as stack,
        Provider(*steps) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await _gather(stack, gateway, 2, stream=True)
        may_go.set()
        heads = [await caller.head() for caller in callers]
        assert [token("hello")] * 2 == [await caller.chunk() for caller in callers]
        may_go.clear()
        late = await _gather(stack, gateway, 2, stream=True)
        may_go.set()
        may_end.set()
        rests = [b"".join([piece async for piece in _chunks(caller)]) for caller in callers]

        assert [200, 200] == [head.status for head in heads]
        assert [FINISH + DONE] * 2 == rests
        assert ["hello"] * 2 == [answer.text() for answer in await _answers(late)]
        assert (2, 2) == (len(provider.asked), gateway.telemetry.shared)


@on_uvloop
async def test_a_crowd_is_bounded(monkeypatch):
    """One more than may share begins another crowd, which the next may join."""
    monkeypatch.setattr(sharing, "CROWD_MAX", 3)
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        _held(may_go) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await _gather(stack, gateway, 7)
        await until(lambda: len(provider.asked) == 3)
        may_go.set()
        answers = await _answers(callers)

        assert [f"r{n}" for n in range(7)] == [a.headers["x-request-id"] for a in answers]
        assert (3, 4) == (len(provider.asked), gateway.telemetry.shared)
        assert not gateway.crowds._open


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
        callers = await _gather(stack, gateway, 3, stream=True)
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
        rests = [b"".join([piece async for piece in _chunks(caller)]) for caller in callers]

        assert [(b"" if has_begun else token("hello")) + FINISH + DONE] * 2 == rests
        assert (1, []) == (len(provider.asked), provider.departures)
        assert {"b0": "done"} == ended(gateway)


async def _all_leave(
    gateway: Gateway, provider: Provider, may_begin: asyncio.Event | None
) -> float:
    """Have a crowd leave one by one; give how late the backend saw it after the last, in s."""
    departures = len(provider.departures)
    async with AsyncExitStack() as stack:
        callers = await _gather(stack, gateway, 3, stream=True)
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
        _held(may_go) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        for caller in await _gather(stack, gateway, 2):
            caller.abort()
        await until(lambda: len(gateway.driver) == 0)
        (late,) = await _gather(stack, gateway, 1)
        may_go.set()

        assert 200 == (await late.answer()).status


# -- who reads slowly ----------------------------------------------------------------------------


@pytest.fixture
def small_sockets(monkeypatch):
    """Keep the kernel from growing any socket: it may by more than these answers."""

    def made_small(made: Callable) -> Callable:
        def connection_made(self: asyncio.Protocol, transport: asyncio.Transport) -> None:
            pipe = transport.get_extra_info("socket")
            for which in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                pipe.setsockopt(socket.SOL_SOCKET, which, SOCKET_BYTES)
            made(self, transport)

        return connection_made

    for side in (Connection, Client, _Line):
        monkeypatch.setattr(side, "connection_made", made_small(side.connection_made))


async def _slow(stack: AsyncExitStack, gateway: Gateway) -> Caller:
    """Call up with a socket that holds little."""
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    pipe.setblocking(False)
    await asyncio.get_running_loop().sock_connect(pipe, ("127.0.0.1", gateway.address[1]))
    reader, writer = await asyncio.open_connection(sock=pipe, limit=16 << 10)
    stack.callback(writer.transport.abort)
    return Caller(reader, writer)


async def _two_speeds(stack: AsyncExitStack, gateway: Gateway) -> tuple[Caller, asyncio.Task]:
    """Have one caller who does not read and one who reads all share a stream."""
    slow = await _slow(stack, gateway)
    await _arrive(gateway, slow, _ask("slow", stream=True))
    (quick,) = await _gather(stack, gateway, 1, stream=True)
    return slow, asyncio.ensure_future(_length(quick))


async def _length(caller: Caller) -> int:
    """Read a whole stream; give its length."""
    await caller.head()
    return sum([len(piece) async for piece in _chunks(caller)])


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


# -- what fails ----------------------------------------------------------------------------------


@on_both_loops
async def test_a_failure_is_told_to_all():
    """When no backend answers, each caller gets the error, under its own request's id."""
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        Provider(may_go, refusal(400, "too long")) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await _gather(stack, gateway, 3)
        may_go.set()
        answers = await _answers(callers)

        assert [(400, "too long")] * 3 == [
            (answer.status, answer.json()["error"]["message"]) for answer in answers
        ]
        assert ["r0", "r1", "r2"] == [answer.headers["x-request-id"] for answer in answers]
        assert 1 == len(provider.asked)


@on_uvloop
async def test_a_refusal_is_told_to_all():
    """So is the gateway's own word that no backend could answer."""
    may_go = asyncio.Event()
    play = in_turn([may_go, refusal(500)], [refusal(500)])
    async with (
        AsyncExitStack() as stack,
        Provider(play=play) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await _gather(stack, gateway, 3)
        may_go.set()
        answers = await _answers(callers)

        assert [(502, "backend_failed")] * 3 == [
            (answer.status, answer.json()["error"]["code"]) for answer in answers
        ]
        assert ["r0", "r1", "r2"] == [answer.headers["x-request-id"] for answer in answers]


@on_uvloop
async def test_a_stream_that_breaks_is_told_to_all():
    """Each has the same half of the answer, and then an error that cannot be overlooked."""
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        Provider(may_go, begin(), chunk(token("hel")), CLOSE) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await _gather(stack, gateway, 3, stream=True)
        may_go.set()
        answers = await _answers(callers)
        ends = [json.loads(answer.events()[-1])["error"]["code"] for answer in answers]

        assert (["hel"] * 3, ["stream_broken"] * 3) == (
            [json.loads(a.events()[0])["choices"][0]["delta"]["content"] for a in answers],
            ends,
        )
        assert 1 == len(provider.asked)
