"""What happens to calls when every permit is out: they wait in order, and for a bounded time."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from baseload.config.fleet import Model, Queue, Target
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
    Provider,
    ask,
    backends,
    begin,
    chunk,
    ended,
    in_turn,
    refusal,
    stream,
    whole,
)


async def _callers(stack: AsyncExitStack, gateway, count: int, **fields) -> list[Caller]:
    """Have so many callers ask one after the other, each seen by the gate before the next."""
    callers = []
    for number in range(count):
        caller = await stack.enter_async_context(call_up(gateway.address[1]))
        before = len(gateway.driver)
        await caller.send(chat(number=number, **fields))
        await until(lambda before=before: len(gateway.driver) > before)
        callers.append(caller)
    return callers


@on_both_loops
@pytest.mark.parametrize("is_stream", [False, True])
async def test_waiting_calls_are_answered_in_the_order_they_came(is_stream):
    """Five callers and one permit: nobody is refused, and nobody overtakes."""
    may_answer = asyncio.Event()
    answer = stream("x") if is_stream else whole()
    async with AsyncExitStack() as stack, Provider(may_answer, 0.005, answer) as provider:
        gateway = await stack.enter_async_context(
            start_gateway(provider, backends=backends(provider, concurrency=1))
        )
        callers = await _callers(stack, gateway, 5, stream=is_stream)
        assert (len(gateway.gate.line), len(provider.asked)) == (4, 1)
        may_answer.set()
        statuses = [(await caller.answer()).status for caller in callers]

        assert statuses == [200] * 5
        assert [asked.json()["number"] for asked in provider.asked] == [0, 1, 2, 3, 4]
        assert provider.in_flight_max == 1


@on_uvloop
async def test_a_full_tier_spills_into_the_next():
    """A call that finds the first tier full is answered by the second instead of waiting."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as first:
        second = await stack.enter_async_context(Provider(may_answer, whole()))
        places = backends(first, second, concurrency=1)
        gateway = await stack.enter_async_context(start_gateway(first, second, backends=places))
        callers = await _callers(stack, gateway, 2)
        await until(lambda: first.asked and second.asked)
        may_answer.set()
        answers = [await caller.answer() for caller in callers]

        assert [answer.headers["x-baseload-backend"] for answer in answers] == ["b0", "b1"]


@on_uvloop
async def test_a_full_queue_refuses_at_once():
    """One more than may wait is told 429 `queue_full`, and when to come back."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        places = backends(provider, concurrency=1)
        gateway = await stack.enter_async_context(
            start_gateway(provider, backends=places, queue=Queue(size=2))
        )
        callers = await _callers(stack, gateway, 3)
        refused = await ask(gateway)
        may_answer.set()
        statuses = [(await caller.answer()).status for caller in callers]

        assert refused.status == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        assert "x-baseload-backend" not in refused.headers
        assert statuses == [200] * 3
        assert len(provider.asked) == 3


@on_uvloop
@pytest.mark.parametrize("limit", ["wait_s", "total_s"])
async def test_a_wait_that_is_too_long_ends(limit):
    """After `queue.wait_s`, or at the call's own deadline, the caller is told 503, in time."""
    loop = asyncio.get_running_loop()
    may_answer = asyncio.Event()
    tiers = ({"b0": Target(backend="b0", model="m")},)
    overrides = {
        "queue": Queue(wait_s=0.1 if limit == "wait_s" else 30.0),
        "models": {
            "m": Model(name="m", tiers=tiers),
            "hasty": Model(name="hasty", tiers=tiers, total_s=0.1 if limit == "total_s" else 30.0),
        },
    }
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        places = backends(provider, concurrency=1)
        gateway = await stack.enter_async_context(
            start_gateway(provider, backends=places, **overrides)
        )
        (first,) = await _callers(stack, gateway, 1)
        began = loop.time()
        waited = await ask(gateway, chat("hasty"))
        took_s = loop.time() - began
        may_answer.set()
        answered = await first.answer()

        assert (waited.status, waited.json()["error"]["code"]) == (503, "queue_timeout")
        assert int(waited.headers["retry-after"]) >= 1
        assert 0.09 < took_s < 10  # The other limit is 30 s.
        assert answered.status == 200
        assert len(provider.asked) == 1


@on_uvloop
async def test_a_failed_call_waits_for_the_tier_that_is_full():
    """When the first tier fails a call and the second is full, the call waits for the second."""
    may_first, may_second = asyncio.Event(), asyncio.Event()
    first = Provider(play=in_turn([may_first, whole()], [refusal(500)]))
    async with AsyncExitStack() as stack, first, Provider(may_second, whole()) as second:
        places = backends(first, second, concurrency=1)
        gateway = await stack.enter_async_context(start_gateway(first, second, backends=places))
        callers = await _callers(stack, gateway, 3)
        may_first.set()
        await until(lambda: len(first.asked) == 2 and len(gateway.gate.line) == 1)
        may_second.set()
        answers = [await caller.answer() for caller in callers]

        assert [answer.headers["x-baseload-backend"] for answer in answers] == ["b0", "b1", "b1"]
        assert ended(gateway) == {"b0": ["done", "failed"], "b1": "done"}


@on_uvloop
async def test_a_caller_that_leaves_the_queue_is_not_sent():
    """Who leaves while waiting frees the place, and the others keep their order."""
    may_answer = asyncio.Event()
    async with AsyncExitStack() as stack, Provider(may_answer, whole()) as provider:
        places = backends(provider, concurrency=1)
        gateway = await stack.enter_async_context(start_gateway(provider, backends=places))
        callers = await _callers(stack, gateway, 5)
        callers.pop(2).abort()
        await until(lambda: len(gateway.gate.line) == 3)
        may_answer.set()
        for caller in callers:
            assert (await caller.answer()).status == 200

        assert [asked.json()["number"] for asked in provider.asked] == [0, 1, 3, 4]


@on_uvloop
async def test_a_call_past_its_deadline_ends_with_an_error():
    """An answer that takes longer than `total_s` is cut with a typed error; nobody is blamed."""
    slow = [step for _ in range(50) for step in (chunk(token("x")), 0.02)]
    async with (
        Provider(begin(), *slow) as provider,
        start_gateway(provider, model={"total_s": 0.2}) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert answer.status == 200
        assert '"code":"deadline_exceeded"' in answer.events()[-1]
        assert ended(gateway) == {"b0": "overdue"}
        assert gateway.gate.seats["b0"].breaker.failures == 0
