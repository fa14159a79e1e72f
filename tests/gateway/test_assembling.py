"""Callers who want no stream are answered from one: what both sides see of it."""

import json

import pytest

from baseload.config.fleet import Target
from tests.gateway.harness import DONE, chat, on_uvloop, request, start_gateway, token
from tests.gateway.provider import (
    END,
    FINISH,
    RESET,
    Asked,
    Provider,
    Script,
    ask,
    ask_each_once,
    begin,
    chunk,
    ended,
    refusal,
    stream,
    whole,
)

ASSEMBLED = {"assemble": True}
USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}}\n\n'
)
CALLING = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[%b]},"finish_reason":null}]}\n\n'
)
REFUSED = refusal(400, "stream_options is not supported")


@on_uvloop
async def test_a_whole_answer_is_put_together_from_a_stream():
    """The backend is asked for a stream with usage; the caller has one JSON object."""
    answered = [chunk(token("hel")), chunk(token("lo")), chunk(FINISH + USAGE + DONE), END]
    async with (
        Provider(begin("x-ratelimit-remaining: 7\r\n"), *answered) as provider,
        start_gateway(provider, model=ASSEMBLED) as gateway,
    ):
        answer = await ask(gateway)

        (choice,) = answer.json()["choices"]
        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        assert ("hello", "stop") == (choice["message"]["content"], choice["finish_reason"])
        assert {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13} == answer.json()[
            "usage"
        ]
        assert ("7", "b0") == (
            answer.headers["x-ratelimit-remaining"], answer.headers["x-baseload-backend"],
        )  # fmt: skip
        assert not answer.is_chunked
        sent = provider.asked[0].json()
        assert (True, {"include_usage": True}) == (sent["stream"], sent["stream_options"])
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
async def test_everything_else_of_the_request_stays_as_it_came():
    """Only the stream is added and the model renamed; numbers and order are the caller's."""
    body = b'{"messages":[],"temperature":1.50,"seed":12345678901234567890123,"model":"m"}'
    tiers = ({"b0": Target(backend="b0", model="other")},)
    async with (
        Provider(stream("x")) as provider,
        start_gateway(provider, model={"tiers": tiers} | ASSEMBLED) as gateway,
    ):
        await ask(gateway, request(body))

        sent = provider.asked[0].body
        streamed = b'"stream":true,"stream_options":{"include_usage":true},'
        assert sent == b"{" + streamed + body[1:].replace(b'"m"', b'"other"')


@on_uvloop
@pytest.mark.parametrize("assemble", [True, False])
async def test_embeddings_and_plain_models_are_asked_as_callers_ask(assemble):
    """What has no tokens is never streamed; nor is anything where the fleet file says so."""
    async with Provider() as provider:
        async with start_gateway(provider, model={"assemble": assemble}) as gateway:
            await ask(gateway, request({"model": "m", "input": "x"}, path="/v1/embeddings"))
            await ask(gateway, request({"model": "m", "prompt": "x"}, path="/v1/completions"))

        assert [False, assemble] == ["stream" in asked.json() for asked in provider.asked]


@on_uvloop
async def test_tool_calls_are_merged():
    """Arguments that came in pieces are one string, and there is no content."""
    pieces = [
        b'{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":"{\\"a\\""}}',
        b'{"index":0,"function":{"arguments":":1}"}}',
    ]
    finish = token("", "tool_calls").replace(b'"content":""', b"")
    said = [chunk(CALLING % piece) for piece in pieces] + [chunk(finish + DONE), END]
    async with (
        Provider(begin(), *said) as provider,
        start_gateway(provider, model=ASSEMBLED) as gateway,
    ):
        (choice,) = (await ask(gateway)).json()["choices"]

        (call,) = choice["message"]["tool_calls"]
        assert ("f", '{"a":1}') == (call["function"]["name"], call["function"]["arguments"])
        assert choice["message"]["content"] is None


@on_uvloop
async def test_a_backend_that_answers_whole_anyway_is_taken():
    """It may take its time, too: without a stream there is no first token to wait for."""
    head, body = whole().split(b"\r\n\r\n")
    async with (
        Provider(head + b"\r\n\r\n", 0.3, body) as provider,
        start_gateway(provider, model=ASSEMBLED | {"first_token_s": 0.1}) as gateway,
    ):
        answer = await ask(gateway)

        assert (200, "hello") == (answer.status, answer.json()["choices"][0]["message"]["content"])


@on_uvloop
async def test_a_backend_that_cannot_stream_is_asked_again_at_once():
    """The caller sees nothing of it, and the next call does not try again."""

    def picky(asked: Asked) -> Script:
        return [REFUSED] if "stream_options" in asked.json() else [whole()]

    async with (
        Provider(play=picky) as provider,
        start_gateway(provider, model=ASSEMBLED) as gateway,
    ):
        body = request({"model": "m", "messages": []})
        statuses = [(await ask(gateway, body)).status for _ in range(2)]

        assert [200, 200] == statuses
        asked = ["stream" in asked.json() for asked in provider.asked]
        assert [True, False, False] == asked
        assert 0 == gateway.gate.seats["b0"].breaker.failures


@on_uvloop
async def test_an_answer_that_nobody_saw_is_begun_anew():
    """A stream that breaks after tokens is nothing lost: another backend says all of it."""
    async with (
        Provider(begin(), chunk(token("hel")), 0.02, RESET) as first,
        Provider(stream("good", "bye")) as second,
        start_gateway(first, second, model=ASSEMBLED) as gateway,
    ):
        answer = await ask(gateway)

        assert "goodbye" == answer.json()["choices"][0]["message"]["content"]
        assert ("b1", "2") == (
            answer.headers["x-baseload-backend"], answer.headers["x-baseload-attempts"],
        )  # fmt: skip
        assert "x-baseload-resumed" not in answer.headers


@on_uvloop
async def test_an_answer_that_breaks_for_good_is_a_real_status(monkeypatch):
    """Nothing has gone to the caller, so the error is one that every client understands."""
    ask_each_once(monkeypatch)
    error = b'data: {"error":{"message":"no"}}\n\n'
    async with (
        Provider(begin(), chunk(token("x")), 0.05, chunk(error)) as provider,
        start_gateway(provider, model=ASSEMBLED) as gateway,
    ):
        answer = await ask(gateway)

        assert (502, "stream_broken") == (answer.status, answer.json()["error"]["code"])


@on_uvloop
async def test_a_stall_is_seen_though_the_caller_streams_nothing():
    """Silence between tokens counts, and another backend answers long before the deadline."""
    async with (
        Provider(begin(), chunk(token("x")), 20.0) as first,
        Provider(stream("y")) as second,
        start_gateway(first, second, model=ASSEMBLED | {"stall_s": 0.1}) as gateway,
    ):
        answer = await ask(gateway)

        assert "y" == answer.json()["choices"][0]["message"]["content"]
        assert "silent for 0.1 s" == gateway.failures["b0"].reason


@on_uvloop
async def test_two_answers_to_one_question():
    """With `n` there are two choices, each with its own end."""
    other = json.loads(token("b")[6:])
    other["choices"][0]["index"] = 1
    second = b"data: " + json.dumps(other).encode() + b"\n\n"
    other["choices"][0] |= {"finish_reason": "length", "delta": {}}
    last = b"data: " + json.dumps(other).encode() + b"\n\n"
    async with (
        Provider(
            begin(), chunk(token("a") + second), chunk(FINISH + last + DONE) + END
        ) as provider,
        start_gateway(provider, model=ASSEMBLED) as gateway,
    ):
        choices = (await ask(gateway, chat(n=2))).json()["choices"]

        assert [("a", "stop"), ("b", "length")] == [
            (choice["message"]["content"], choice["finish_reason"]) for choice in choices
        ]
