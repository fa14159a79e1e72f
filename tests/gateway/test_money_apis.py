"""Limits, their refusals and the ledger's lines are the same for every API, native or translated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest

from baseload.config.tenancy import Price
from baseload.gateway.gateway import Gateway
from baseload.store.counters import LocalCounters
from baseload.store.entry import Entry
from tests.gateway import messages_kit as kit
from tests.gateway import test_responses_native as responses
from tests.gateway.harness import DONE, chat, fleet_of, on_uvloop, raw, request, token
from tests.gateway.limited import OneTenant, key
from tests.gateway.provider import END, Asked, Provider, Script, backends, begin, chunk, whole
from tests.gateway.test_books import PROMPT, USAGE_COST, Lines, tokens, usage_event

PRICES = (
    Price(
        backend="b0", model="m", since="2020-01-01", input_usd_mtok=1e6, cached_usd_mtok=1e5,
        output_usd_mtok=2e6,
    ),
)  # fmt: skip
REPORTED = {
    "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}  # fmt: skip
CHAT = {"role": "assistant", "content": "hello"}
ANSWER = {"choices": [{"index": 0, "message": CHAT, "finish_reason": "stop"}], "usage": REPORTED}
IN_CACHE = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}
TOOLS = [{"type": "web_search"}]
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat/completions": ("/v1/chat/completions", {"max_tokens": 500, "messages": kit.HI}),
    "completions": ("/v1/completions", {"max_tokens": 500, "prompt": "hi"}),
    "messages": ("/v1/messages", {"max_tokens": 500, "messages": kit.HI}),
    "responses": ("/v1/responses", {"max_output_tokens": 500, "input": "hi"}),
}


def play(asked: Asked) -> Script:
    """Answer in each API's words; all of them count the same."""
    is_stream = asked.json().get("stream")
    if asked.path == kit.NATIVE_PATH:
        if not is_stream:
            return [whole(kit.native_message(**IN_CACHE, output_tokens=7))]
        start = kit.native_event(
            "message_start", message=kit.native_message([], None, **IN_CACHE, output_tokens=1)
        )
        finish = kit.native_event(
            "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}
        )
        events = start, kit.native_token("a"), finish, kit.native_event("message_stop")
        return [kit.streamed(*events)]
    if asked.path == responses.PATH:
        return responses.natively(asked)
    if not is_stream:
        return [whole(ANSWER)]
    events = token("hello"), token("", "stop"), usage_event(REPORTED), DONE
    return [begin(), *(chunk(event) for event in events), END]


@asynccontextmanager
async def limited(
    provider: Provider, ledger: Lines | None = None, native: bool = False, **limits: Any
) -> AsyncIterator[Gateway]:
    """Start a gateway whose one caller is limited; at the end nothing may be held."""
    spoken = {"anthropic_path": kit.NATIVE_PATH, "responses_path": responses.PATH}
    places = backends(provider, **(spoken if native else {}))
    counters = LocalCounters()
    fleet = fleet_of(provider, backends=places, prices=PRICES, model={"assemble": True})
    gateway = Gateway(fleet, None, counters, ledger)
    gateway.tenants = OneTenant(key(**limits))  # type: ignore[assignment]
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.drain()
    card = counters.quota.find("key:team-a")

    assert card is None or (0, 0.0) == (card.in_flight, card.held_usd)


@on_uvloop
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("api", ASKS)
async def test_each_api_reserves_what_it_asks_for(api: str, native: bool):
    """Whatever a maximum is called, it is what is set aside, with the prompt."""
    path, body = ASKS[api]
    async with Provider(play=play) as provider, limited(provider, native=native, tpm=1) as gateway:
        (refused,) = await raw(gateway.address[1], request({"model": "m"} | body, path))

    message = refused.json()["error"]["message"]
    asked = int(message.partition("requested ")[2].partition(".")[0])
    assert 429 == refused.status
    assert 500 < asked < 550, message


@on_uvloop
async def test_what_no_chat_can_say_is_reserved_as_it_is_asked_for():
    """A Response that goes out in its own words alone has its maximum in them."""
    body = {"model": "m", "max_output_tokens": 500, "input": "hi", "tools": TOOLS}
    async with Provider(play=play) as provider, limited(provider, native=True, tpm=1) as gateway:
        (refused,) = await raw(gateway.address[1], request(body, "/v1/responses"))

    assert 429 == refused.status
    assert "requested 5" in refused.json()["error"]["message"]


@on_uvloop
@pytest.mark.parametrize("native", [False, True])
async def test_clients_of_every_api_know_a_limit(native: bool):
    """429 in the API's own shape, with headers and a time to come back; clients raise their error."""
    async with Provider(play=play) as provider, limited(provider, native=native, rpm=1) as gateway:
        await raw(gateway.address[1], request({"model": "m"} | ASKS["messages"][1], "/v1/messages"))
        async with kit.client_of(gateway) as client:
            with pytest.raises(anthropic.RateLimitError) as claude:
                await client.messages.create(**kit.ASK)
            with pytest.raises(anthropic.RateLimitError):
                await client.messages.create(**kit.ASK, stream=True)
        async with responses.client_of(gateway) as client:
            with pytest.raises(openai.RateLimitError) as gpt:
                await client.responses.create(model="m", input="hi")
            with pytest.raises(openai.RateLimitError):
                await client.responses.create(model="m", input="hi", stream=True)

    body: Any = claude.value.body
    assert ("error", "rate_limit_error") == (body["type"], body["error"]["type"])
    assert "requests per minute" in body["error"]["message"]
    assert "rate_limit_exceeded" == gpt.value.code
    for error in (claude.value, gpt.value):
        head = error.response.headers
        assert 50 < int(head["retry-after"]) <= 61
        assert int(head["retry-after-ms"]) <= 1000 * int(head["retry-after"])
        assert ("1", "0") == (
            head["x-ratelimit-limit-requests"], head["x-ratelimit-remaining-requests"],
        )  # fmt: skip
    assert claude.value.response.headers["request-id"]


@on_uvloop
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ASKS)
async def test_each_api_has_its_line(api: str, stream: bool, native: bool):
    """The same tokens, of them those in the cache, cost the same and are settled once."""
    lines, (path, body) = Lines(), ASKS[api]
    async with Provider(play=play) as provider:
        async with limited(provider, lines, native, tpm=5000) as gateway:
            data = request({"model": "m", "stream": stream} | body, path)
            (answer,) = await raw(gateway.address[1], data)
            card = gateway.books.counters.quota.find("key:team-a")

    (line,) = lines
    is_own = native and api == "responses"
    counts = _counts(line)
    assert (200, api, "m", "m", "b0", "done", "team-a", stream) == (
        answer.status, line.api, line.model, line.served, line.backend, line.outcome, line.key,
        line.is_stream,
    )  # fmt: skip
    assert ((9, 4, 5, 2) if is_own else (10, 4, 7)) == counts[: 4 if is_own else 3]
    assert not line.is_estimated
    assert line.cost_usd == pytest.approx(5 + 0.4 + 10 if is_own else USAGE_COST)
    assert counts[0] + counts[2] == card.tokens
    assert line.cost_usd == pytest.approx(spent_by(gateway))
    assert (1, 0, False) == (line.attempts, line.resumes, line.is_hedged)
    assert "5000" == answer.headers["x-ratelimit-limit-tokens"]
    is_whole = native and not stream and api in ("messages", "responses")
    assert is_whole is (line.first_token_s is None)


@on_uvloop
@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, 10),
        ({"total_tokens": 17}, 10),
        ({"completion_tokens": 7}, 7),
        ({}, 10),
    ],
)
async def test_a_usage_without_a_prompt_is_none(usage, counted):
    """Some servers fill in zeros, or leave fields out: no prompt has no tokens, so it is estimated."""
    lines = Lines()
    message = {"role": "assistant", "content": "x" * 40}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    async with Provider(whole(body)) as provider:
        async with limited(provider, lines, tpm=5000) as gateway:
            await raw(gateway.address[1], chat())

    (line,) = lines
    assert (PROMPT, 0, counted, 0, True) == tokens(line)
    assert PROMPT + 2 * counted == line.cost_usd


def spent_by(gateway: Gateway) -> float:
    """Give what a gateway notes as spent by a key that has no budget."""
    counters = gateway.books.counters
    assert counters is not None
    return counters.quota.past.own("key:team-a", 0)[0]


def _counts(line: Entry) -> tuple[int, int, int, int]:
    return (
        line.prompt_tokens, line.cached_tokens, line.completion_tokens, line.reasoning_tokens,
    )  # fmt: skip
