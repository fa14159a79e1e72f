"""Who is served first when permits are few: priorities, keys and refusals, seen from both sockets.

The order in which the backend is asked is the order in which calls were admitted.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from baseload.config.fleet import Queue
from baseload.gateway.gateway import Gateway
from tests.gateway.harness import (
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
    END,
    FINISH,
    Provider,
    ask,
    backends,
    begin,
    chunk,
    ended,
    in_turn,
    stream,
    whole,
)


def _ask(name: str, priority: str = "", key: str = "", **fields: object) -> bytes:
    """Give a request whose body holds a name, so that the backend's turn can be told."""
    head = f"x-baseload-priority: {priority}\r\n" if priority else ""
    head += f"authorization: Bearer {key}\r\n" if key else ""
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": messages, "stream": False, "name": name}
    return request(body | fields, head=head)


async def _arrive(stack: AsyncExitStack, gateway: Gateway, data: bytes) -> Caller:
    """Ask on a new connection, and wait until the gateway has a call for it."""
    before = len(gateway.driver)
    caller = await stack.enter_async_context(call_up(gateway.address[1]))
    await caller.send(data)
    await until(lambda: len(gateway.driver) > before)
    return caller


async def _few(
    stack: AsyncExitStack, provider: Provider, concurrency: int = 1, **overrides: object
) -> Gateway:
    """Start a gateway with so many permits."""
    places = backends(provider, concurrency=concurrency)
    return await stack.enter_async_context(start_gateway(provider, backends=places, **overrides))


async def _answers(callers: list[Caller]) -> list[Answer]:
    return [await caller.answer() for caller in callers]


def _turns(provider: Provider) -> str:
    return " ".join(asked.json()["name"] for asked in provider.asked)


# -- in the line ---------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_urgent_overtake_in_the_line(is_stream):
    """Whatever the order in which they came: interactive calls first, batch calls last."""
    may_answer = asyncio.Event()
    answer = stream("x") if is_stream else whole()
    async with AsyncExitStack() as stack, Provider(may_answer, answer) as provider:
        gateway = await _few(stack, provider)
        callers = []
        for name in ("first", "batch-1", "default-1", "interactive-1", "batch-2", "interactive-2"):
            priority = name.partition("-")[0].replace("first", "")
            data = _ask(name, priority, stream=is_stream)
            callers.append(await _arrive(stack, gateway, data))
        assert (5, 1) == (len(gateway.gate.line), len(provider.asked))
        may_answer.set()
        statuses = [answer.status for answer in await _answers(callers)]

        assert [200] * 6 == statuses
        expected = "first interactive-1 interactive-2 default-1 batch-1 batch-2"
        assert expected == _turns(provider)
        assert 1 == provider.in_flight_max


@on_uvloop
async def test_a_call_that_says_nothing_is_a_default_one():
    """It stands with those that say so, behind interactive and before batch calls."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider)
        callers = [await _arrive(stack, gateway, _ask("first"))]
        for name, priority in (("b", "batch"), ("d", "default"), ("n", ""), ("i", " Interactive")):
            callers.append(await _arrive(stack, gateway, _ask(name, priority)))
        may_answer.set()
        await _answers(callers)

        assert "first i d n b" == _turns(provider)


@on_uvloop
@pytest.mark.parametrize("priority", ["urgent", "0", "interactive, batch"])
async def test_an_unknown_priority_is_refused(priority):
    """It is a 400 that names the header and the words it may hold; no backend is asked."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, _ask("x", priority))
        message = answer.json()["error"]["message"]

        assert 400 == answer.status
        assert "invalid_request_error" == answer.json()["error"]["type"]
        for word in ("x-baseload-priority", "interactive", "default", "batch"):
            assert word in message
        assert [] == provider.asked


# -- taking a permit away ------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("has_head", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_interactive_call_takes_the_place_of_a_batch_call(is_stream, has_head):
    """The backend sees the batch call hang up before its first token; it is answered later."""
    good = stream("hello") if is_stream else whole()
    # A whole answer's head says nothing of its tokens, so half a body is no token either.
    start = (begin() if is_stream else whole()[:-50]) if has_head else b""
    may_answer = asyncio.Event()
    play = in_turn([start, 30.0], [may_answer, good], [good])
    async with AsyncExitStack() as stack, Provider(play=play) as provider:
        gateway = await _few(stack, provider)
        batch = await _arrive(stack, gateway, _ask("batch", "batch", stream=is_stream))
        await until(lambda: len(provider.asked) == 1 and provider.bytes_written == len(start))
        urgent = await _arrive(stack, gateway, _ask("urgent", "interactive", stream=is_stream))
        await until(lambda: len(provider.asked) == 2)
        await until(lambda: len(provider.departures) == 1)
        assert (1, 1) == (len(gateway.gate.line), gateway.gate.seats["b0"].in_flight)
        may_answer.set()
        answers = await _answers([urgent, batch])

        assert [200, 200] == [answer.status for answer in answers]
        assert answers[0].body == answers[1].body
        assert "batch urgent batch" == _turns(provider)
        assert (1, {"b0": "done"}) == (len(provider.departures), _good(gateway))
        assert 0 == gateway.gate.seats["b0"].breaker.failures


def _good(gateway: Gateway) -> dict[str, object]:
    """Give how calls ended; a permit taken away is no failure of the backend's."""
    assert {} == gateway.failures
    return ended(gateway)


@on_uvloop
async def test_the_newest_batch_call_gives_way():
    """Of two, the one that came last has waited least."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider, concurrency=2)
        callers = [await _arrive(stack, gateway, _ask(name, "batch")) for name in ("old", "new")]
        callers.append(await _arrive(stack, gateway, _ask("urgent", "interactive")))
        await until(lambda: len(provider.asked) == 3)
        may_answer.set()
        statuses = [answer.status for answer in await _answers(callers)]

        assert [200] * 3 == statuses
        assert "old new urgent new" == _turns(provider)
        assert 1 == len(provider.departures)


@on_both_loops
async def test_a_batch_call_with_a_token_is_left_alone():
    """What its caller has begun to read goes on; the interactive call waits for its end."""
    may_end = asyncio.Event()
    slow = begin(), chunk(token("hel")), may_end, chunk(token("lo")), chunk(FINISH) + END
    async with (
        AsyncExitStack() as stack,
        Provider(play=in_turn(slow, [stream("now")])) as provider,
    ):
        gateway = await _few(stack, provider)
        batch = await _arrive(stack, gateway, _ask("batch", "batch", stream=True))
        await until(lambda: bool(gateway.gate.seats["b0"].token_at > 0))
        urgent = await _arrive(stack, gateway, _ask("urgent", "interactive", stream=True))
        assert (1, 1) == (len(gateway.gate.line), len(provider.asked))
        may_end.set()
        texts = [answer.text() for answer in await _answers([batch, urgent])]

        assert ["hello", "now"] == texts
        assert ("batch urgent", []) == (_turns(provider), provider.departures)


@on_uvloop
@pytest.mark.parametrize("priority", ["default", "batch"])
async def test_only_interactive_calls_take_places(priority):
    """Others wait behind a batch call that has no token yet."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider)
        callers = [await _arrive(stack, gateway, _ask("batch", "batch"))]
        callers.append(await _arrive(stack, gateway, _ask("next", priority)))
        assert 1 == len(gateway.gate.line)
        may_answer.set()
        await _answers(callers)

        assert ("batch next", []) == (_turns(provider), provider.departures)


@on_uvloop
async def test_a_default_call_keeps_its_place():
    """Interactive calls take the places of batch calls only."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider)
        callers = [await _arrive(stack, gateway, _ask("default"))]
        callers.append(await _arrive(stack, gateway, _ask("urgent", "interactive")))
        assert 1 == len(gateway.gate.line)
        may_answer.set()
        await _answers(callers)

        assert ("default urgent", []) == (_turns(provider), provider.departures)


# -- keys ----------------------------------------------------------------------------------------


@on_both_loops
async def test_two_keys_take_turns():
    """Who asks six times as often waits itself; the other key's calls are served in between."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider)
        names = ["first", *(f"many-{n}" for n in range(6)), "few-0", "few-1"]
        callers = [
            await _arrive(stack, gateway, _ask(name, key=name.partition("-")[0])) for name in names
        ]
        may_answer.set()
        statuses = [answer.status for answer in await _answers(callers)]
        turns = _turns(provider).split()

        assert [200] * 9 == statuses
        assert sorted(names) == sorted(turns)
        assert turns.index("few-1") <= 5
        for key in ("many", "few"):
            own = [turn for turn in turns if turn.startswith(key)]
            assert sorted(own) == own


@on_uvloop
async def test_a_full_line_refuses_whoever_has_most_in_it():
    """Another key's call finds a place: the newest of the greedy key's gives its own up."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider, queue=Queue(size=3))
        names = "first", "many-0", "many-1", "many-2"
        callers = [await _arrive(stack, gateway, _ask(name, key=name[:4])) for name in names]
        assert gateway.gate.line.is_full()
        few = await stack.enter_async_context(call_up(gateway.address[1]))
        await few.send(_ask("few", key="few"))
        refused = await callers.pop().answer()
        again = await ask(gateway, _ask("many-3", key="many"))
        may_answer.set()
        answered = await _answers([*callers, few])

        assert [(429, "queue_full")] * 2 == [
            (answer.status, answer.json()["error"]["code"]) for answer in (refused, again)
        ]
        assert int(refused.headers["retry-after"]) >= 1
        assert int(again.headers["retry-after"]) >= 1
        assert [200] * 4 == [answer.status for answer in answered]
        assert {"first", "many-0", "many-1", "few"} == set(_turns(provider).split())


# -- refusals ------------------------------------------------------------------------------------


@on_uvloop
async def test_a_full_line_refuses_the_least_urgent():
    """An interactive call takes a batch call's place in a full line; a batch call takes nobody's."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        gateway = await _few(stack, provider, queue=Queue(size=2))
        callers = [await _arrive(stack, gateway, _ask("first"))]
        callers += [await _arrive(stack, gateway, _ask(f"b{n}", "batch")) for n in range(2)]
        refused = await ask(gateway, _ask("b2", "batch"))
        urgent = await stack.enter_async_context(call_up(gateway.address[1]))
        await urgent.send(_ask("urgent", "interactive"))
        pushed_out = await callers.pop().answer()
        may_answer.set()
        answered = await _answers([*callers, urgent])

        assert [(429, "queue_full")] * 2 == [
            (answer.status, answer.json()["error"]["code"]) for answer in (refused, pushed_out)
        ]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in (refused, pushed_out))
        assert [200] * 3 == [answer.status for answer in answered]
        assert "first urgent b0" == _turns(provider)
        counted = dict(gateway.telemetry.all_series())
        outcomes = sum((series.outcomes for series in counted.values()), Counter())
        assert {"done": 3, "postponed": 2} == outcomes, "batch work that comes back is no failure"
