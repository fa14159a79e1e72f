"""A caller that has used what it may is told which limit, whose, and when to come back."""

import asyncio
import json
from hashlib import sha256

import openai
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from baseload.config.tenancy import Key, Limits, Price
from baseload.core.quota import Scope, Verdict
from baseload.gateway import quotas
from baseload.gateway.gateway import Gateway
from baseload.store.counters import LocalCounters
from tests.gateway.harness import (
    Asked,
    Backend,
    Wire,
    call_up,
    chat,
    fleet_of,
    hello,
    on_uvloop,
    raw,
    request,
    token,
    until,
)
from tests.gateway.limited import key, start_limited

PRICES = (Price(backend="b0", model="m", since="2020-01-01", input_usd_mtok=1, output_usd_mtok=2),)


@on_uvloop
async def test_the_request_beyond_the_limit_is_refused_in_openais_words():
    """429 with the limit, whose it is, what is used and when to try again, as text and headers."""
    async with Backend() as backend, start_limited(backend, key(rpm=2)) as gateway:
        first, second, third = await raw(gateway.address[1], chat() * 3, 3)
        error = third.json()["error"]

        assert [200, 200, 429] == [first.status, second.status, third.status]
        assert ("requests", "rate_limit_exceeded") == (error["type"], error["code"])
        assert error["message"].startswith(
            "Rate limit reached for requests per minute (RPM) of key team-a: "
            "limit 2, used 2, requested 1. Please try again in "
        )
        after_ms = int(third.headers["retry-after-ms"])
        assert 59_000 < after_ms <= 60_250
        assert -(-after_ms // 1000) == int(third.headers["retry-after"])
        assert 2 == len(backend.asked)


@on_uvloop
async def test_every_answer_says_where_the_limits_stand():
    """Whole answers and streams have the six headers; a backend's own are not passed on."""

    async def with_limits_of_its_own(asked: Asked, wire: Wire) -> None:
        body = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"x"}}]}'
        lines = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nX-RateLimit-Limit-Requests: 9"
        )
        await wire.send(lines + b"\r\nx-own: 1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    for script, is_stream in ((hello, True), (hello, False), (with_limits_of_its_own, False)):
        scope = key(rpm=600, tpm=10_000)
        async with Backend(script) as backend, start_limited(backend, scope) as gateway:
            (answer,) = await raw(gateway.address[1], chat(stream=is_stream, max_tokens=100))

            assert 200 == answer.status
            assert ("600", "599", "1m0s") == tuple(
                answer.headers[f"x-ratelimit-{what}-requests"].replace("1m1s", "1m0s")
                for what in ("limit", "remaining", "reset")
            )
            assert "10000" == answer.headers["x-ratelimit-limit-tokens"]
            assert 9800 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 9900
            assert ("x-own" in answer.headers) is (script is with_limits_of_its_own)


@on_uvloop
async def test_an_assembled_answer_has_the_headers_too():
    """An answer put together from a stream says the same, and so does a comment's early head."""
    scope = key(tpm=1000)
    async with (
        Backend() as backend,
        start_limited(backend, scope, model={"assemble": True}) as gateway,
    ):
        (answer,) = await raw(gateway.address[1], chat(max_tokens=10))

        assert "1000" == answer.headers["x-ratelimit-limit-tokens"]
        assert "x-ratelimit-limit-requests" not in answer.headers


@on_uvloop
async def test_a_limit_on_tokens_is_settled_with_what_was_used():
    """Reserved as prompt and requested maximum; when the answer ended, only its usage counts."""
    async with Backend() as backend, start_limited(backend, key(tpm=2000)) as gateway:
        (big,) = await raw(gateway.address[1], chat(max_tokens=1500))
        (again,) = await raw(gateway.address[1], chat(max_tokens=1500))
        card = gateway.books.counters.quota.find("key:team-a")

        assert [200, 200] == [big.status, again.status]
        assert 2 * 8 == card.tokens


@on_uvloop
async def test_several_answers_are_several_times_the_tokens():
    """`n` multiplies what an answer may take."""
    async with Backend() as backend, start_limited(backend, key(tpm=1000)) as gateway:
        (refused,) = await raw(gateway.address[1], chat(max_tokens=400, n=3))

        assert 429 == refused.status
        assert "tokens" == refused.json()["error"]["type"]


@on_uvloop
@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ({"prompt": "hi"}, 1),
        ({"prompt": ["hi", "you", "there"]}, 3),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]], "n": 2}, 4),
        ({"prompt": "hi", "n": 2, "best_of": 5}, 5),
        ({"prompt": [], "n": "x"}, 1),
    ],
)
async def test_each_prompt_of_a_list_has_answers_of_its_own(asked, answers):
    """A completion of several prompts may take the requested maximum for each of them."""
    async with Backend() as backend, start_limited(backend, key(tpm=1)) as gateway:
        body = {"model": "m", "max_tokens": 100} | asked
        (refused,) = await raw(gateway.address[1], request(body, "/v1/completions"))
        prompt = 1 + len(json.dumps(body)) // 4

        assert f"requested {prompt + answers * 100}. " in refused.json()["error"]["message"]


@on_uvloop
async def test_a_request_beyond_the_whole_limit_is_told_so():
    """It can never pass: no time to come back is named, and clients are told not to retry."""
    async with Backend() as backend, start_limited(backend, key(tpm=100)) as gateway:
        (refused,) = await raw(gateway.address[1], chat(max_tokens=101))

        assert "x-should-retry" in refused.headers
        assert "retry-after" not in refused.headers
        assert refused.json()["error"]["message"].startswith(
            "Request too large for tokens per minute (TPM) of key team-a: limit 100, requested 1"
        )


@on_uvloop
async def test_money_is_reserved_at_the_dearest_rate_and_settled_at_the_cost():
    """A budget refuses with `insufficient_quota` before it is overdrawn."""
    scope = key(usd_day=0.003)
    async with Backend() as backend, start_limited(backend, scope, prices=PRICES) as gateway:
        (paid,) = await raw(gateway.address[1], chat(max_tokens=1000))
        (refused,) = await raw(gateway.address[1], chat(max_tokens=1485))
        card = gateway.books.counters.quota.find("key:team-a")
        error = refused.json()["error"]

        assert [200, 429] == [paid.status, refused.status]
        assert pytest.approx((3 * 1 + 5 * 2) / 1e6) == card.spent_day_usd
        assert ("insufficient_quota", "insufficient_quota") == (error["type"], error["code"])
        assert error["message"].startswith(
            "Budget reached for US dollars a day (UTC) of key team-a"
        )
        assert "false" == refused.headers["x-should-retry"]


@on_uvloop
async def test_a_model_without_a_price_costs_nothing():
    """Nobody knows what it costs, so a budget lets it pass as long as there is one."""
    scope = key(usd_day=0.001)
    async with Backend() as backend, start_limited(backend, scope) as gateway:
        (answer,) = await raw(gateway.address[1], chat(max_tokens=100_000))

        assert 200 == answer.status


@on_uvloop
async def test_callers_that_vanish_give_everything_back():
    """Whether before the first token or in the middle: their place and their tokens come free."""

    async def slow(asked: Asked, wire: Wire) -> None:
        await wire.begin()
        if asked.json().get("user") == "middle":
            await wire.chunk(token())
        await wire.hung_up()

    scope = key(concurrency=2, tpm=1000)
    async with Backend(slow) as backend, start_limited(backend, scope) as gateway:
        for user in ("before", "middle"):
            async with call_up(gateway.address[1]) as one, call_up(gateway.address[1]) as two:
                for caller in (one, two):
                    await caller.send(chat(stream=True, max_tokens=300, user=user))
                await until(lambda: len(gateway.driver) == 2)
                if user == "middle":
                    await asyncio.gather(one.head(), two.head())
                (third,) = await raw(gateway.address[1], chat())

                assert "requests at once (concurrency)" in third.json()["error"]["message"]
            await until(lambda: len(gateway.driver) == 0)
        card = gateway.books.counters.quota.find("key:team-a")

        assert 0 == card.in_flight
        assert 0 < card.tokens < 100


@on_uvloop
async def test_refusals_are_counted_by_the_kind_of_limit():
    """The metric has one label of five values, whoever was refused; the ledger has no row."""
    async with Backend() as backend, start_limited(backend, key(rpm=1)) as gateway:
        rows = []
        gateway.books.ledger = type("Rows", (), {"enter": lambda self, entry: rows.append(entry)})()
        await raw(gateway.address[1], chat() * 3, 3)
        registry = CollectorRegistry()
        registry.register(gateway.telemetry)

        assert b'baseload_limited_calls_total{limit="rpm"} 2.0' in generate_latest(registry)
        assert 1 == len(rows)


@on_uvloop
async def test_names_with_braces_are_words_like_others():
    """A key's name may hold what a format would take for a field."""
    scope = Scope("key:{x}", Limits(rpm=1), "key {x}")
    async with Backend() as backend, start_limited(backend, scope) as gateway:
        _, refused = await raw(gateway.address[1], chat() * 2, 2)

        assert "of key {x}:" in refused.json()["error"]["message"]


@on_uvloop
async def test_openais_client_understands():
    """The SDK raises its error for rate limits, finds the code, and shows the headers."""
    async with Backend() as backend, start_limited(backend, key(rpm=1, tpm=9999)) as gateway:
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{gateway.address[1]}/v1", api_key="k", max_retries=0
        )
        messages = [{"role": "user", "content": "hi"}]
        answer = await client.chat.completions.with_raw_response.create(
            model="m", messages=messages
        )
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="m", messages=messages)
        await client.close()

        assert "0" == answer.headers["x-ratelimit-remaining-requests"]
        assert "rate_limit_exceeded" == refused.value.code


@on_uvloop
async def test_embeddings_reserve_their_prompt_alone():
    """An embedding has no answer in tokens."""

    async def embed(asked: Asked, wire: Wire) -> None:
        await wire.json({"object": "list", "data": [], "usage": {"prompt_tokens": 4}})

    async with Backend(embed) as backend, start_limited(backend, key(tpm=100)) as gateway:
        body = json.dumps({"model": "m", "input": "x" * 40}).encode()
        (answer,) = await raw(gateway.address[1], request(body, "/v1/embeddings"))

        assert 200 == answer.status


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0s"), (0.12, "120ms"), (0.0001, "1ms"), (1.0, "1s"), (1.2, "1.2s"), (59.9994, "1m0s"),
        (360.0, "6m0s"), (61.5, "1m1.5s"), (43_200.0, "12h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_does(seconds: float, shown: str):
    """The form that OpenAI's reset headers have."""
    assert shown == quotas.duration(seconds)


def test_without_limits_on_requests_or_tokens_there_are_no_headers():
    """A limit on calls at once or on money alone has no such header."""
    assert b"" == quotas.lines(Verdict(True))


@on_uvloop
async def test_a_key_of_the_fleet_file_has_its_limits_and_a_model_has_its_own():
    """A key is limited wherever it calls from; a model for all of its callers together."""
    secrets = {"a": b"sk-a", "b": b"sk-b"}
    keys = tuple(
        Key(name=name, sha256=sha256(secret).hexdigest(), rpm=2) for name, secret in secrets.items()
    )
    limits = Limits(rpm=3)
    async with Backend() as backend:
        counters = LocalCounters()
        gateway = Gateway(fleet_of(backend, keys=keys, model={"limits": limits}), counters=counters)
        await gateway.start()
        answers = []
        for name in "aaabb":
            head = f"authorization: Bearer {secrets[name].decode()}\r\n"
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            answers += await raw(gateway.address[1], request(body, head=head))
        await gateway.drain()

    assert [200, 200, 429, 200, 429] == [answer.status for answer in answers]
    assert "of key a:" in answers[2].json()["error"]["message"]
    assert "of model m:" in answers[4].json()["error"]["message"]
    assert "0" == answers[3].headers["x-ratelimit-remaining-requests"]
