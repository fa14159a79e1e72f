"""Callers who wait for a stream hear that we live: when, how, and what then becomes of errors."""

import asyncio
import json

from tests.gateway.harness import DONE, call_up, chat, on_uvloop, start_gateway, token
from tests.gateway.provider import (
    END,
    FINISH,
    RESET,
    Provider,
    ask,
    backends,
    begin,
    chunk,
    in_turn,
    refusal,
    stream,
    whole,
)

SIGN = b": keep-alive\n\n"
QUICK = {"keepalive_s": 0.1}


@on_uvloop
async def test_a_queued_caller_hears_comments():
    """Waiting for a permit is waiting, too; when the answer comes its head is not sent again."""
    may_answer = asyncio.Event()
    async with Provider(may_answer, stream("hi")) as provider:
        places = backends(provider, concurrency=1)
        async with start_gateway(provider, model=QUICK, backends=places) as gateway:
            async with (
                call_up(gateway.address[1]) as holder,
                call_up(gateway.address[1]) as waiter,
            ):
                await holder.send(chat(stream=True))
                await waiter.send(chat(stream=True))
                head = await waiter.head()
                signs = [await waiter.chunk() for _ in range(2)]
                may_answer.set()
                rest = b""
                while piece := await waiter.chunk():
                    rest += piece

        assert [SIGN, SIGN] == signs
        assert token("hi") + FINISH + DONE == rest.replace(SIGN, b"")
        assert (200, "text/event-stream") == (head.status, head.headers["content-type"])
        assert head.headers["x-request-id"]
        assert "x-baseload-backend" not in head.headers


@on_uvloop
async def test_whoever_wants_no_stream_has_a_real_status():
    """A JSON answer cannot begin with comments."""
    async with (
        Provider(0.3, refusal(400, "too long")) as provider,
        start_gateway(provider, model=QUICK) as gateway,
    ):
        answer = await ask(gateway)

        assert (400, "too long") == (answer.status, answer.json()["error"]["message"])


@on_uvloop
async def test_a_caller_of_http_1_0_hears_them_bare():
    """Without chunks a comment is just a comment, and the end is the connection's."""
    async with (
        Provider(0.3, stream("hi")) as provider,
        start_gateway(provider, model=QUICK) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await caller.answer()

        assert SIGN in answer.body
        assert token("hi") + FINISH + DONE == answer.body.replace(SIGN, b"")
        assert ("close", False) == (answer.headers["connection"], answer.is_chunked)


@on_uvloop
async def test_a_refusal_after_a_comment_is_an_event():
    """The backend's own words stand in it, and the request's id."""
    async with (
        Provider(0.3, refusal(400, "too long")) as provider,
        start_gateway(provider, model=QUICK) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        error = json.loads(answer.events()[-1])["error"]
        assert (200, "too long") == (answer.status, error["message"])
        assert answer.headers["x-request-id"] == error["request_id"]


@on_uvloop
async def test_a_gap_in_the_middle_is_bridged():
    """While the answer is being continued elsewhere, and the next backend takes its time."""
    first = Provider(begin(), chunk(token("hello there, friend")), 0.02, RESET)
    second = Provider(0.35, stream("hello there, friend", "!"))
    options = QUICK | {"resume": "any"}
    async with first, second, start_gateway(first, second, model=options) as gateway:
        answer = await ask(gateway, chat(stream=True))

        assert "hello there, friend!" == answer.text()
        assert 2 <= answer.body.count(SIGN) <= 4


@on_uvloop
async def test_a_whole_answer_cannot_end_a_stream_that_has_begun():
    """A backend that answers without a stream is passed over once the caller has been given one."""
    async with (
        Provider(0.2, whole()) as first,
        Provider(stream("hi")) as second,
        start_gateway(first, second, model=QUICK) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert "hi" == answer.text()
        assert "it answered without a stream" == gateway.failures["b0"].reason


@on_uvloop
async def test_whoever_is_answered_in_time_hears_none():
    """Also not later on the same connection, and not while tokens come."""
    slow = [step for _ in range(8) for step in (chunk(token("x")), 0.05)]
    play = in_turn([stream("hi")], [begin(), *slow, chunk(FINISH) + END])
    async with Provider(play=play) as provider:
        async with start_gateway(provider, model={"keepalive_s": 0.3}) as gateway:
            async with call_up(gateway.address[1]) as caller:
                bodies = []
                for _ in range(2):
                    await caller.send(chat(stream=True))
                    bodies.append((await caller.answer()).body)
                    await asyncio.sleep(0.4)

        assert [False, False] == [SIGN in body for body in bodies]
