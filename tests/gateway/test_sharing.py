"""Callers who ask the very same thing at once: who shares an answer, and what the others notice.

What is counted is what the backend saw: shared calls are requests that never reached it.
"""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from baseload.config.fleet import Model, Target
from baseload.gateway import sharing
from tests.gateway.crowds import (
    LAST,
    SHARED,
    answers_of,
    arrive,
    ask_once,
    gather,
    held_back,
    rest_of,
)
from tests.gateway.harness import (
    DONE,
    PLAIN,
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
    FINISH,
    Provider,
    ask_each_once,
    begin,
    chunk,
    ended,
    refusal,
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
        held_back(may_go) as provider,
        start_gateway(provider, model=model) as gateway,
    ):
        callers = await gather(stack, gateway, 10, stream=is_stream)
        may_go.set()
        answers = await answers_of(callers)
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
        held_back(may_go) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await gather(stack, gateway, 3)
        may_go.set()
        await answers_of(callers)
        may_go.clear()
        for caller in callers:
            await arrive(gateway, caller, ask_once())
        may_go.set()
        answers = await answers_of(callers)

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
        callers = await gather(stack, gateway, 3, stream=True)
        may_go.set()
        for caller in callers:
            await caller.head()
            assert token("hel") == await caller.chunk()
        may_break.set()
        rests = [await rest_of(caller) for caller in callers]

        assert [1] * 3 == [rest.count(b'"content":"lo"') for rest in rests]
        assert {DONE} == {rest[-len(DONE) :] for rest in rests}
        assert (1, 1) == (len(first.asked), len(second.asked))


# -- who does not share --------------------------------------------------------------------------

OTHERS = {
    "key": ask_once(head="authorization: Bearer other\r\n"),
    "body": ask_once(temperature=1),
    "spelling": request(b'{"model":"m","messages":[],"stream":false }'),
    "stream": ask_once(stream=True),
    "priority": ask_once(head="x-baseload-priority: batch\r\n"),
    "model": ask_once(model="other"),
    "path": ask_once(path="/v1/completions"),
}


@on_uvloop
@pytest.mark.parametrize("what", OTHERS)
async def test_calls_that_differ_do_not_share(what):
    """Another key, body, priority, model or path is another question, however little differs."""
    may_go = asyncio.Event()
    tiers = ({"b0": Target(backend="b0", model="m")},)
    models = {name: Model(name=name, tiers=tiers, **(PLAIN | SHARED)) for name in ("m", "other")}
    async with held_back(may_go) as provider, start_gateway(provider, models=models) as gateway:
        async with call_up(gateway.address[1]) as one, call_up(gateway.address[1]) as other:
            await one.send(ask_once())
            await other.send(OTHERS[what])
            await until(lambda: len(provider.asked) == 2)
            may_go.set()

            assert [200, 200] == [answer.status for answer in await answers_of([one, other])]
            assert 0 == gateway.telemetry.shared


@on_uvloop
async def test_sharing_is_off_unless_asked_for():
    """Without `share_identical` each call is a request of its own."""
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        held_back(may_go) as provider,
        start_gateway(provider) as gateway,
    ):
        callers = await gather(stack, gateway, 3)
        may_go.set()
        answers = await answers_of(callers)

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
        callers = await gather(stack, gateway, 2, stream=True)
        may_go.set()
        heads = [await caller.head() for caller in callers]
        assert [token("hello")] * 2 == [await caller.chunk() for caller in callers]
        may_go.clear()
        late = await gather(stack, gateway, 2, stream=True)
        may_go.set()
        may_end.set()
        rests = [await rest_of(caller) for caller in callers]

        assert [200, 200] == [head.status for head in heads]
        assert [FINISH + DONE] * 2 == rests
        assert ["hello"] * 2 == [answer.text() for answer in await answers_of(late)]
        assert (2, 2) == (len(provider.asked), gateway.telemetry.shared)


@on_uvloop
async def test_a_crowd_is_bounded(monkeypatch):
    """One more than may share begins another crowd, which the next may join."""
    monkeypatch.setattr(sharing, "CROWD_MAX", 3)
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        held_back(may_go) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await gather(stack, gateway, 7)
        await until(lambda: len(provider.asked) == 3)
        may_go.set()
        answers = await answers_of(callers)

        assert [f"r{n}" for n in range(7)] == [a.headers["x-request-id"] for a in answers]
        assert (3, 4) == (len(provider.asked), gateway.telemetry.shared)
        assert not gateway.crowds._open


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
        callers = await gather(stack, gateway, 3)
        may_go.set()
        answers = await answers_of(callers)

        assert [(400, "too long")] * 3 == [
            (answer.status, answer.json()["error"]["message"]) for answer in answers
        ]
        assert ["r0", "r1", "r2"] == [answer.headers["x-request-id"] for answer in answers]
        assert 1 == len(provider.asked)


@on_uvloop
async def test_a_refusal_is_told_to_all(monkeypatch):
    """So is the gateway's own word that no backend could answer."""
    ask_each_once(monkeypatch)
    may_go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        Provider(may_go, refusal(500)) as provider,
        start_gateway(provider, model=SHARED) as gateway,
    ):
        callers = await gather(stack, gateway, 3)
        may_go.set()
        answers = await answers_of(callers)

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
        callers = await gather(stack, gateway, 3, stream=True)
        may_go.set()
        answers = await answers_of(callers)
        ends = [json.loads(answer.events()[-1])["error"]["code"] for answer in answers]

        assert (["hel"] * 3, ["stream_broken"] * 3) == (
            [json.loads(a.events()[0])["choices"][0]["delta"]["content"] for a in answers],
            ends,
        )
        assert 1 == len(provider.asked)
