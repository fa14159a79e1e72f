"""A backend at zero replicas, on real sockets: callers are held, seen, and answered or refused."""

import asyncio
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from baseload.config.fleet import Backend, Queue
from baseload.gateway import probes
from baseload.gateway.status import take
from tests.gateway.harness import DONE, call_up, chat, on_uvloop, start_gateway, token, until
from tests.gateway.provider import FINISH, Provider, ask, refusal, stream, whole
from tests.gateway.test_probes import SLOTS, look_at, on, paths
from tests.web.doubles import served

SLEEPY = {"first_token_s": 0.2, "headers_s": 0.2, "keepalive_s": 0.1}
"""Clocks that a held call would have used up many times over."""


@pytest.fixture(autouse=True)
def _impatience(monkeypatch):
    monkeypatch.setattr(probes, "ASLEEP_LOOK_S", 0.05)
    monkeypatch.setattr(probes, "FIRST_LOOK_S_MAX", 0.0)


@asynccontextmanager
async def zero():
    """Give a place where nobody listens yet, and the socket on which somebody may."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield SimpleNamespace(url=f"http://127.0.0.1:{held.getsockname()[1]}/v1", held=held)


def places(*backends, cold_start_s=20.0):
    """Give the fleet's backends; all may be at zero replicas, and are looked at now and then."""
    return {
        f"b{number}": Backend(
            name=f"b{number}", url=one.url, probe_s=60.0, cold_start_s=cold_start_s
        )
        for number, one in enumerate(backends)
    }


@contextmanager
def scraped(gateway, folder):
    """Serve the gateway's metrics on a real port; give what reads those of model `m` there."""
    registry = CollectorRegistry()
    registry.register(gateway.telemetry)
    with served(folder, registry=registry) as port:

        async def read(name):
            text = (await asyncio.to_thread(port.client.get, "/metrics")).text
            return float(re.search(rf'^{name}{{model="m"}} (\S+)$', text, re.MULTILINE)[1])

        yield read


@on_uvloop
async def test_a_held_call_is_seen_and_answered_once_somebody_is_there(tmp_path):
    """It waits in the line and hears comments; its attempt's clocks begin when it is sent."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(zero())
        gateway = await stack.enter_async_context(
            start_gateway(place, model=SLEEPY, backends=places(place))
        )
        read = stack.enter_context(scraped(gateway, tmp_path))
        caller = await stack.enter_async_context(call_up(gateway.address[1]))
        before = await read("baseload_waiting_calls")
        await caller.send(chat(stream=True))
        await until(lambda: len(gateway.gate.line) == 1)
        during, status = await read("baseload_waiting_calls"), take(gateway)
        head, sign = await caller.head(), await caller.chunk()
        await asyncio.sleep(0.3)
        async with Provider(play=_lively, held=place.held) as provider:
            rest = b""
            while piece := await caller.chunk():
                rest += piece
            after = await read("baseload_waiting_calls")

    assert (0, 1, 0) == (before, during, after)
    assert ("asleep", "serving", True) == (
        status.backends[0].state, status.state, status.models[0].is_served,
    )  # fmt: skip
    assert (200, b": keep-alive\n\n") == (head.status, sign)
    assert token("hi") + FINISH + DONE == rest.replace(sign, b"")
    assert 1 == len([asked for asked in provider.asked if asked.method == "POST"])


def _lively(asked):
    return [stream("hi") if asked.method == "POST" else whole({"data": []})]


@on_uvloop
async def test_who_is_held_in_vain_is_told_when_to_come_back():
    """After `cold_start_s` there is a real status; whoever comes next is held again."""
    async with (
        zero() as place,
        start_gateway(
            place, backends=places(place, cold_start_s=0.3), queue=Queue(wait_s=0.1)
        ) as gateway,
    ):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        refused = await ask(gateway)
        held_s = loop.time() - begun
        async with call_up(gateway.address[1]) as following:
            await following.send(chat())
            await until(lambda: len(gateway.gate.line) == 1)
            state = take(gateway).backends[0].state

    assert (503, "no_backend") == (refused.status, refused.json()["error"]["code"])
    assert int(refused.headers["retry-after"]) >= 1
    assert 0.3 <= held_s < 5.0
    assert "asleep" == state


@on_uvloop
@pytest.mark.parametrize("status", [502, 503])
async def test_a_proxy_with_nobody_behind_it_is_nobody(status):
    """While it answers for those who are not there, the call is held; when they are, it is sent."""
    is_there = False

    def play(asked):
        if not is_there:
            return [refusal(status)]
        return [whole()]

    async with (
        Provider(play=play) as proxy,
        start_gateway(proxy, backends=places(proxy)) as gateway,
    ):
        asking = asyncio.create_task(ask(gateway))
        await until(lambda: len(gateway.gate.line) == 1)
        is_there = True
        answer = await asking

        assert (200, "2") == (answer.status, answer.headers["x-baseload-attempts"])
        assert 0 == gateway.gate.seats["b0"].breaker.failures


@on_uvloop
async def test_a_proxys_own_word_on_looks_wakes_nobody():
    """One that passes on calls only, and refuses looks itself: they say nothing of who is behind."""

    def play(asked):
        return [refusal(502 if asked.method == "POST" else 404)]

    async with (
        Provider(play=play) as proxy,
        start_gateway(proxy, backends=places(proxy)) as gateway,
    ):
        asking = asyncio.create_task(ask(gateway))
        await until(lambda: len([one for one in proxy.asked if one.method == "GET"]) > 4)
        attempts = len([one for one in proxy.asked if one.method == "POST"])
        waiting = len(gateway.gate.line)
        asking.cancel()

    assert (1, 1) == (attempts, waiting)


@on_uvloop
async def test_llama_cpp_that_loads_its_model_is_not_there_yet():
    """It lists its model by then, and says 503 to all that matters."""
    answers = {"metrics": [refusal(501)], "slots": [whole(SLOTS)], "models": [whole({})]}

    def play(asked):
        return on(**answers)(asked)

    async with Provider(play=play) as provider:
        async with look_at(provider) as seen:
            await seen.count(1)
            answers["slots"] = [refusal(503)]
            looks = seen.probes.failures["b0"] + 2
            await until(lambda: seen.probes.failures["b0"] >= looks)

        assert "/v1/models" not in paths(provider)


@on_uvloop
async def test_who_is_there_goes_first():
    """A call that the next tier can take does not wait for the first to come up."""
    async with zero() as place, Provider() as other:
        both = places(place) | {"b1": Backend(name="b1", url=other.url, probe_s=0.0)}
        async with start_gateway(place, other, backends=both) as gateway:
            answers = [await ask(gateway) for _ in range(2)]

    assert [(200, "b1")] * 2 == [
        (answer.status, answer.headers["x-baseload-backend"]) for answer in answers
    ]
    assert ["2", None] == [answer.headers.get("x-baseload-attempts") for answer in answers]
