"""Operators close backends while callers are being answered, and nobody notices."""

import asyncio

import msgspec
import pytest

from baseload.config.fleet import Target
from baseload.errors import BaseloadError
from baseload.gateway import status
from tests.gateway.harness import (
    COMPLETION,
    DONE,
    Backend,
    call_up,
    chat,
    hello,
    on_both_loops,
    on_uvloop,
    raw,
    start_gateway,
    token,
    until,
)


def tiers(*weights: str | None) -> dict:
    """Give a model whose tiers are `b0`, `b1` and so on, with such weights, that may be resumed."""
    one = [
        {f"b{at}": Target(backend=f"b{at}", model="m", weights=weight)}
        for at, weight in enumerate(weights)
    ]
    return {"tiers": tuple(one), "resume": "same_weights"}


class Held:
    """A backend's script that says the first half of a stream, if one is wanted, and then waits."""

    def __init__(self) -> None:
        self.begun, self.release, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, asked, wire):
        if asked.json().get("stream"):
            await wire.begin()
            await wire.chunk(token("hel"))
        self.begun.set()
        gone = asyncio.ensure_future(wire.hung_up())
        release = asyncio.ensure_future(self.release.wait())
        await asyncio.wait({gone, release}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left.set()
            release.cancel()
            return
        gone.cancel()
        await asyncio.wait({gone})
        if asked.json().get("stream"):
            await wire.chunk(token("lo") + token("", "stop") + DONE)
            await wire.chunk(b"")
        else:
            await wire.json(COMPLETION)


def _state(gateway, name: str) -> tuple[str, str]:
    one = next(one for one in status.take(gateway).backends if one.name == name)
    return one.state, one.order


@on_both_loops
async def test_a_drained_backend_ends_what_it_began():
    """New calls go elsewhere, the open answer is finished there, and status says how far it is."""
    script = Held()
    async with (
        Backend(script) as first,
        Backend() as second,
        start_gateway(first, second) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat())
        await script.begun.wait()
        words = gateway.operate("b0", "drain")
        during = _state(gateway, "b0")
        (other,) = await raw(gateway.address[1], chat())
        script.release.set()
        answer = await caller.answer()
        after = _state(gateway, "b0")
        gateway.operate("b0", "enable")

        assert "draining by an operator, 1 open answer to finish" == words
        assert ("draining", words) == during
        assert ("b1", "b0") == tuple(a.headers["x-baseload-backend"] for a in (other, answer))
        assert ("drained", "draining by an operator, nothing is left") == after
        assert ("up", "") == _state(gateway, "b0")


@on_both_loops
async def test_disabling_moves_who_has_no_token_yet():
    """An attempt without a token is made anew elsewhere; the backend that was left is not blamed."""
    script = Held()
    async with (
        Backend(script) as first,
        Backend() as second,
        start_gateway(first, second) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat())
        await script.begun.wait()
        gateway.operate("b0", "disable")
        answer = await caller.answer()
        await script.left.wait()

        assert (200, "b1", "2") == (
            answer.status, answer.headers["x-baseload-backend"],
            answer.headers["x-baseload-attempts"],
        )  # fmt: skip
        assert {} == gateway.failures
        assert 0 == gateway.gate.seats["b0"].breaker.failures
        assert ("disabled", "disabled by an operator, nothing is left") == _state(gateway, "b0")


@on_both_loops
async def test_disabling_goes_on_with_a_stream_where_the_weights_are_the_same():
    """The caller sees one whole text: the other backend says it anew, and the parts are joined."""
    script = Held()
    async with (
        Backend(script) as first,
        Backend() as second,
        start_gateway(first, second, model=tiers("w", "w")) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=True))
        answer = await caller.head()
        answer.body += await caller.chunk()
        gateway.operate("b0", "disable")
        while more := await caller.chunk():
            answer.body += more

        assert "hello" == answer.text()
        assert answer.body.endswith(DONE)
        assert 1 == len(second.asked)
        assert 1 == gateway.telemetry.resumes


@on_both_loops
@pytest.mark.parametrize("weights", [("w", "v"), (None, None)])
async def test_a_stream_that_cannot_go_on_elsewhere_is_left_alone(weights):
    """Nobody's answer is broken by an order: it ends where it began."""
    script = Held()
    async with (
        Backend(script) as first,
        Backend() as second,
        start_gateway(first, second, model=tiers(*weights)) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=True))
        answer = await caller.head()
        answer.body += await caller.chunk()
        words = gateway.operate("b0", "disable")
        script.release.set()
        while more := await caller.chunk():
            answer.body += more

        assert "disabled by an operator, 1 open answer to finish" == words
        assert "hello" == answer.text()
        assert [] == second.asked


@on_uvloop
async def test_who_waits_is_told_or_granted():
    """The last backend closes: who waits gets 503 at once; it opens: who comes is served."""
    script = Held()
    backends = {"concurrency": 1}
    async with Backend(script) as first, start_gateway(first) as gateway:
        gateway.reload(_with(gateway.fleet, **backends))
        port = gateway.address[1]
        async with call_up(port) as out, call_up(port) as waiting:
            await out.send(chat())
            await script.begun.wait()
            await waiting.send(chat())
            await until(lambda: len(gateway.gate.line) == 1)
            gateway.operate("b0", "drain")
            refused = await waiting.answer()
            script.release.set()
            finished = await out.answer()
            first.script = hello
            gateway.operate("b0", "enable")
            (served,) = await raw(port, chat())

        assert (503, "no_backend") == (refused.status, refused.json()["error"]["code"])
        assert int(refused.headers["retry-after"]) >= 1
        assert (200, 200) == (finished.status, served.status)


def _with(fleet, **fields):
    changed = {
        name: msgspec.structs.replace(backend, **fields) for name, backend in fleet.backends.items()
    }
    return msgspec.structs.replace(fleet, backends=changed)


@on_uvloop
async def test_what_cannot_be_ordered_says_so():
    """An unknown backend or order is an error that names what there is."""
    async with Backend() as first, start_gateway(first) as gateway:
        with pytest.raises(BaseloadError, match="no backend `x`; there are: b0"):
            gateway.operate("x", "drain")
        with pytest.raises(BaseloadError, match="no order `stop`; there are: enable"):
            gateway.operate("b0", "stop")

        assert {} == gateway.orders
