"""What an engine is given at once, through real sockets: prompts metered, limits told by metrics.

The engine is a double that answers by script. It proves what the gateway sends and when, and
nothing of how an engine fares with it.
"""

import asyncio
from contextlib import AsyncExitStack

import pytest

from baseload.config.fleet import Backend, Fleet
from baseload.config.serving import Batch
from baseload.gateway import probes
from baseload.gateway.preparing import URL_CONCURRENCY_MAX, setup_of
from tests.gateway.harness import call_up, chat, on_uvloop, start_gateway, until
from tests.gateway.provider import Provider, Script, backends, refusal, stream, whole

LONG = "word " * 4000
"""About 5,000 tokens by its bytes."""
SHORT = "hi"
URL = "http://127.0.0.1:9/v1"


def prompt(text: str, **fields) -> bytes:
    """Give a request with that prompt."""
    return chat(stream=True, messages=[{"role": "user", "content": text}], max_tokens=8, **fields)


@on_uvloop
async def test_long_prompts_are_read_one_by_one_and_short_ones_pass():
    """While a prompt is read, long ones wait and short ones go; then one long one after the other.

    A prompt counts as being read until its first token comes.
    """
    may_answer = asyncio.Event()
    sent: list[str] = []
    read: list[int] = []

    def play(asked) -> Script:
        if asked.method == "GET":
            return [refusal(404)]
        sent.append("long" if len(asked.body) > 10_000 else "short")
        read.append(gateway.gate.seats["b0"].filling.reading)
        return [may_answer, 0.02, stream("x")]

    batch = Batch(max=16, prefill_tokens=2000)
    async with AsyncExitStack() as stack, Provider(play=play) as provider:
        gateway = await stack.enter_async_context(
            start_gateway(provider, backends=backends(provider, batch=batch))
        )
        callers = []
        for text in (SHORT, LONG, SHORT, LONG, SHORT):
            caller = await stack.enter_async_context(call_up(gateway.address[1]))
            before = len(gateway.driver)
            await caller.send(prompt(text))
            await until(lambda before=before: len(gateway.driver) > before)
            callers.append(caller)
        await until(lambda: len(sent) == 3)
        waiting = len(gateway.gate.line)
        may_answer.set()
        statuses = [(await caller.answer()).status for caller in callers]

    assert ([200] * 5, 2) == (statuses, waiting)
    assert ["short"] * 3 + ["long"] * 2 == sent
    assert max(read[:3]) < 200
    assert 2000 < min(read[3:]) <= max(read) < 8000


@on_uvloop
async def test_metrics_of_an_engine_lead_to_a_limit():
    """An engine that tells its tokens is given eight calls to begin with, by what it tells."""
    page = b"vllm:num_requests_running 1\nvllm:generation_tokens_total 5\n"
    page += b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\n'

    def play(_asked) -> Script:
        return [_page(page)]

    async with Provider(play=play) as provider:
        fleet = backends(provider, batch=Batch(max=64), probe_s=0.05)
        async with start_gateway(provider, backends=fleet) as gateway:
            seat = gateway.gate.seats["b0"]
            before = seat.limit.limit
            await until(lambda: seat.filling is not None and seat.filling.kv_told is not None)

            assert (64, 8, 1600) == (before, seat.limit.limit, seat.filling.kv_tokens)


@on_uvloop
async def test_an_engine_that_is_being_learnt_is_looked_at_more_often(monkeypatch):
    """While it has a call it is seen long before `probe_s` is over, with all it has written."""
    monkeypatch.setattr(probes, "LEARNING_LOOK_S", 0.01)
    monkeypatch.setattr(probes, "ASLEEP_LOOK_S", 0.01)
    may_answer = asyncio.Event()
    slots = [{"is_processing": True, "n_ctx": 64, "next_token": [{"n_decoded": 4}]}]
    page = b"llamacpp:requests_processing 1\nllamacpp:tokens_predicted_total 40\n"

    def play(asked) -> Script:
        if asked.method == "GET":
            return [whole(slots) if asked.path == "/slots" else _page(page)]
        return [may_answer, stream("x")]

    async with AsyncExitStack() as stack, Provider(play=play) as provider:
        fleet = backends(provider, batch=Batch(), probe_s=600.0)
        gateway = await stack.enter_async_context(start_gateway(provider, backends=fleet))
        seen: list[int | None] = []
        observe = gateway.probes.observe
        gateway.probes.observe = lambda name, sight: (
            seen.append(sight.made_tokens),
            observe(name, sight),
        )
        await until(lambda: "b0" in gateway.probes.sights)
        caller = await stack.enter_async_context(call_up(gateway.address[1]))
        await caller.send(prompt(SHORT))
        await until(lambda: seen.count(44) >= 3)
        may_answer.set()

        assert 200 == (await caller.answer()).status
        assert 64 == gateway.gate.seats["b0"].filling.kv_tokens


@on_uvloop
async def test_who_tells_nothing_is_not_looked_at_more_often(monkeypatch):
    """Where there are no metrics there is nothing to learn, and a provider's API is left alone."""
    monkeypatch.setattr(probes, "LEARNING_LOOK_S", 0.01)
    monkeypatch.setattr(probes, "ASLEEP_LOOK_S", 0.01)
    may_answer = asyncio.Event()
    asked_for: list[str] = []

    def play(asked) -> Script:
        if asked.method == "GET":
            asked_for.append(asked.path)
            return [refusal(404)]
        return [may_answer, stream("x")]

    async with AsyncExitStack() as stack, Provider(play=play) as provider:
        fleet = backends(provider, batch=Batch(), probe_s=600.0)
        gateway = await stack.enter_async_context(start_gateway(provider, backends=fleet))
        await until(lambda: "b0" in gateway.probes.sights)
        caller = await stack.enter_async_context(call_up(gateway.address[1]))
        await caller.send(prompt(SHORT))
        await until(lambda: gateway.gate.learns("b0"))
        before = len(asked_for)
        await asyncio.sleep(0.3)
        may_answer.set()

        assert 200 == (await caller.answer()).status
        assert before == len(asked_for)


def test_workers_share_what_the_file_allows():
    """Each has its part of a batch, rounded so that one of anything is the least."""
    batch = Batch(min=3, max=129, prefill_tokens=1001, kv_tokens=999)
    backend = Backend(name="b", url=URL, batch=batch)
    setup = setup_of(Fleet(backends={"b": backend}, models={}), {}, 1, workers=2)

    assert Batch(min=2, max=65, prefill_tokens=501, kv_tokens=499) == setup.batches["b"]
    assert (65, 2) == (setup.concurrency["b"], setup.workers)


def _page(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (Backend(name="b", url=URL), (256, URL_CONCURRENCY_MAX, None)),
        (Backend(name="b", url=URL, concurrency=40), (40, None, None)),
        (Backend(name="b", url=URL, batch=Batch()), (128, None, Batch())),
        (Backend(name="b", url=URL, batch=Batch(), concurrency=40), (40, None, Batch())),
        (Backend(name="b", engine="llama.cpp", model="m"), (4, None, Batch())),
        (Backend(name="b", engine="external", url=URL), (256, URL_CONCURRENCY_MAX, None)),
    ],
    ids=["plain", "plain-bounded", "batch", "batch-bounded", "engine", "external"],
)
def test_who_learns_and_within_which_bounds(backend: Backend, expected):
    """Engines of our own and whoever has `batch`; plain backends are as they were."""
    known = {"b": 4} if backend.engine == "llama.cpp" else {}
    setup = setup_of(Fleet(backends={"b": backend}, models={}), known, 1)

    assert expected == (
        setup.concurrency["b"], setup.ceilings.get("b"), setup.batches.get("b"),
    )  # fmt: skip
