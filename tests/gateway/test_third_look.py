"""Odd words of backends: codes that are no numbers, refusals that quote us, headers like our own."""

import asyncio
import json

import pytest

from baseload.gateway.attempt import Attempt
from baseload.gateway.connection import RETRY_AFTER_S_MAX
from tests.gateway.harness import (
    COMPLETION,
    Asked,
    Backend,
    Wire,
    chat,
    hello,
    on_both_loops,
    on_uvloop,
    raw,
    run,
    start_gateway,
)

ASSEMBLED = {"assemble": True}


def _status(status: int, body: bytes = b"", lines: bytes = b"") -> bytes:
    """Give a whole answer's bytes."""
    length = b"content-length: %d\r\n\r\n" % len(body)
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%b%b%b" % (
        status, lines, length, body,
    )  # fmt: skip


@pytest.mark.parametrize("code", ["²", "9" * 5000])
def test_an_error_code_that_is_no_status_is_a_failure_like_any_other(code: str):
    """A stream that holds only such an error fails over at once, whatever its code looks like."""

    @on_both_loops
    async def play() -> None:
        async def odd(asked: Asked, wire: Wire) -> None:
            await wire.begin()
            event = f"data: {json.dumps({'error': {'code': code}})}\n\n".encode()
            await wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))

        async with Backend(odd) as first, Backend() as second:
            async with start_gateway(first, second) as gateway:
                (answer,) = await raw(gateway.address[1], chat(stream=True))

                assert (200, "hello") == (answer.status, answer.text())
                assert gateway.failures["b0"].fact == "failed"

    play()


@on_uvloop
async def test_what_another_gateway_says_of_its_attempts_is_not_passed_on():
    """Behind this gateway may stand one of its own kind; its headers do not stand beside ours."""

    async def broken(asked: Asked, wire: Wire) -> None:
        await wire.send(_status(500))

    async def chained(asked: Asked, wire: Wire) -> None:
        lines = b"x-baseload-attempts: 3\r\nx-baseload-resumed: far\r\nx-other: 1\r\n"
        await wire.send(_status(200, json.dumps(COMPLETION).encode(), lines))

    async with Backend(broken) as first, Backend(chained) as second:
        async with start_gateway(first, second) as gateway:
            (answer,) = await raw(gateway.address[1], chat())

    assert ("2", "1") == (answer.headers["x-baseload-attempts"], answer.headers["x-other"])
    assert "x-baseload-resumed" not in answer.headers


@on_uvloop
async def test_a_callers_own_mistake_does_not_end_streaming_for_others():
    """Some servers quote the request in a refusal, our `stream` included; it proves nothing."""

    async def quoting(asked: Asked, wire: Wire) -> None:
        if asked.json().get("temperature") == 9:
            await wire.send(_status(422, b'{"detail": [{"input": %b}]}' % asked.body))
        else:
            await hello(asked, wire)

    async with Backend(quoting) as backend, start_gateway(backend, model=ASSEMBLED) as gateway:
        (wrong,) = await raw(gateway.address[1], chat(temperature=9))
        (right,) = await raw(gateway.address[1], chat())

    assert (422, 200) == (wrong.status, right.status)
    assert backend.asked[-1].json()["stream"] is True


@on_uvloop
async def test_a_backend_that_only_answers_whole_is_remembered():
    """Once it has refused a stream and answered the same request without, it is asked like that."""

    async def whole_only(asked: Asked, wire: Wire) -> None:
        if asked.json().get("stream"):
            await wire.send(_status(400, b'{"error": {"message": "no streaming here"}}'))
        else:
            await wire.json(COMPLETION)

    async with Backend(whole_only) as backend, start_gateway(backend, model=ASSEMBLED) as gateway:
        for _ in range(2):
            (answer,) = await raw(gateway.address[1], chat())

            assert answer.status == 200

    assert [True, False, False] == [asked.json()["stream"] for asked in backend.asked]


@on_uvloop
async def test_an_endless_wish_to_be_left_alone_is_bounded():
    """A `Retry-After` of more digits than a number holds is taken for the longest sound one."""

    async def leave_me(asked: Asked, wire: Wire) -> None:
        await wire.send(_status(429, b"", b"retry-after: %b\r\n" % (b"9" * 400)))

    async with Backend(leave_me) as backend, start_gateway(backend) as gateway:
        (answer,) = await raw(gateway.address[1], chat())
        wish_s = gateway.gate.seats["b0"].mends_at - gateway.gate.now

    assert answer.status == 429
    assert wish_s < RETRY_AFTER_S_MAX + 1e-6  # A sum of floats, less one of them.


def test_a_defect_of_ours_does_not_leave_a_call_waiting(monkeypatch: pytest.MonkeyPatch):
    """If reading a whole answer fails in our own code, the next backend is asked at once."""
    failing = ["b0"]
    read = Attempt._hold_until_whole

    def read_or_fail(self: Attempt, *args) -> None:
        if self.send.target.backend in failing:
            raise RuntimeError("a defect")
        read(self, *args)

    monkeypatch.setattr(Attempt, "_hold_until_whole", read_or_fail)

    async def play() -> tuple[int, str]:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with Backend() as first, Backend() as second, start_gateway(first, second) as gateway:
            (answer,) = await raw(gateway.address[1], chat())
            return answer.status, answer.headers["x-baseload-backend"]

    assert (200, "b1") == run(play())
