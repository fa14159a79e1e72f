"""`count_tokens`: who is asked, how long, and what is said when nobody can count.

The servers that count are doubles; the real engine counts in `tests/engines/test_messages_real.py`.
"""

import anthropic
import pytest

from baseload.gateway import counting
from tests.gateway.harness import call_up, on_uvloop, request, start_gateway, until
from tests.gateway.messages_kit import HI, client_of
from tests.gateway.provider import RESET, Provider, ask, refusal, whole

PATH = "/v1/messages/count_tokens"
BODY = {"model": "m", "messages": HI}


def vllm(asked):
    """Count as vLLM does."""
    return [whole({"count": 7, "max_model_len": 99, "tokens": []})]


def llama(asked):
    """Count as llama.cpp does."""
    if asked.path == "/apply-template":
        return [whole({"prompt": "<user>hi"})]
    return [whole({"tokens": [1, 2, 3]})]


async def count(gateway, kind="", **fields):
    """Ask for a count, where the backend has shown itself to be of a kind."""
    gateway.probes.kinds |= {"b0": kind} if kind else {}
    return await ask(gateway, request(BODY | fields, PATH))


@on_uvloop
@pytest.mark.parametrize(
    ("kind", "play", "paths", "tokens"),
    [("vllm", vllm, ["/tokenize"], 7), ("llama.cpp", llama, ["/apply-template", "/tokenize"], 3)],
)
async def test_a_backend_that_can_count_is_asked(kind, play, paths, tokens):
    """Its count is the answer, and the head says whose it is."""
    async with Provider(play=play) as provider, start_gateway(provider) as gateway:
        answer = await count(gateway, kind)

        assert {"input_tokens": tokens} == answer.json()
        assert ("tokenizer", "b0") == (
            answer.headers["x-baseload-token-count"], answer.headers["x-baseload-backend"],
        )  # fmt: skip
        assert paths == [asked.path for asked in provider.asked]


@on_uvloop
@pytest.mark.parametrize(
    "steps", [(refusal(400),), (whole(b"no"),), (whole({}),), (RESET,), (5.0,), (b"HTTP?",)]
)
async def test_a_backend_that_does_not_count(steps, monkeypatch):
    """In every case the prompt is estimated, after a bounded time, and nobody is blamed."""
    monkeypatch.setattr(counting, "COUNT_S_MAX", 0.2)
    async with Provider(*steps) as provider, start_gateway(provider) as gateway:
        answer = await count(gateway, "vllm")

        assert (200, "estimate") == (answer.status, answer.headers["x-baseload-token-count"])
        assert answer.json()["input_tokens"] > 0
        assert {} == gateway.failures


@on_uvloop
async def test_nobody_can_count():
    """A provider's API is not asked at all."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        assert "estimate" == (await count(gateway)).headers["x-baseload-token-count"]
        assert [] == provider.asked


@on_uvloop
async def test_the_official_client_counts(monkeypatch):
    """The client's own call gives the number; below DeepSeek's base URL, too."""
    async with Provider(play=vllm) as provider, start_gateway(provider) as gateway:
        gateway.probes.kinds["b0"] = "vllm"
        for prefix in ("", "/anthropic"):
            async with client_of(gateway, prefix) as client:
                found = await client.messages.count_tokens(model="m", messages=HI, system="be")

            assert 7 == found.input_tokens
        assert "be" == provider.asked[0].json()["messages"][0]["content"]


@on_uvloop
async def test_it_is_no_call():
    """Nothing of it is in the books: no attempt, no permit, no call."""
    async with Provider(play=vllm) as provider, start_gateway(provider) as gateway:
        await count(gateway, "vllm")

        assert {} == dict(gateway.telemetry.attempts)
        assert 0 == len(gateway.driver)


@on_uvloop
async def test_what_is_refused():
    """A key is needed, the model must be known, and the request must be one."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with client_of(gateway) as client:
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.count_tokens(model="x", messages=HI)
            with pytest.raises(anthropic.BadRequestError):
                await client.messages.count_tokens(model="m", messages=[])
            gateway.tenants.find = lambda authorization: None
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.count_tokens(model="m", messages=HI)
        answer = await ask(gateway, request(None, PATH, method="GET"))

        assert (405, "POST") == (answer.status, answer.headers["allow"])


@on_uvloop
async def test_a_caller_that_leaves():
    """The question is dropped, and the connection to the backend with it."""
    async with Provider(30.0) as provider, start_gateway(provider) as gateway:
        gateway.probes.kinds["b0"] = "vllm"
        async with call_up(gateway.address[1]) as caller:
            await caller.send(request(BODY, PATH))
            await until(lambda: provider.asked)
        await until(lambda: provider.departures)

        assert 0 == len(gateway.reception.side._counter.counts)


@on_uvloop
async def test_too_many_at_once(monkeypatch):
    """Beyond a bound prompts are estimated at once."""
    monkeypatch.setattr(counting, "COUNTS_MAX", 0)
    async with Provider(play=vllm) as provider, start_gateway(provider) as gateway:
        assert "estimate" == (await count(gateway, "vllm")).headers["x-baseload-token-count"]
