"""What goes wrong behind a caller of the Messages API, and which exception its client raises.

The client is the official one; the backends are scripts that misbehave as told.
"""

import asyncio

import anthropic
import pytest

from baseload.config.fleet import Target
from tests.gateway.harness import DONE, on_uvloop, start_gateway, token
from tests.gateway.messages_kit import ASK, client_of, said, texts
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    RESET,
    Provider,
    ask_each_once,
    backends,
    begin,
    chunk,
    nowhere,
    refusal,
    stream,
    whole,
)

STREAMED = pytest.mark.parametrize("is_stream", [True, False])
STATUSES = [
    (refusal(400), anthropic.BadRequestError, "invalid_request_error"),
    (refusal(422), anthropic.UnprocessableEntityError, "invalid_request_error"),
    (refusal(413), anthropic.RequestTooLargeError, "request_too_large"),
    (refusal(404), anthropic.NotFoundError, "not_found_error"),
    (refusal(429), anthropic.RateLimitError, "rate_limit_error"),
    (refusal(401), anthropic.InternalServerError, "api_error"),
    (refusal(503), anthropic.ServiceUnavailableError, "overloaded_error"),
    (refusal(529), anthropic.RateLimitError, "rate_limit_error"),
    (refusal(500), anthropic.InternalServerError, "api_error"),
    (begin() + END, anthropic.InternalServerError, "api_error"),
]


async def asked(client, *, is_stream, **fields):
    """Ask, with a stream or without one."""
    return await (said(client, **fields) if is_stream else client.messages.create(**ASK, **fields))


@on_uvloop
@STREAMED
@pytest.mark.parametrize(("step", "error", "kind"), STATUSES)
async def test_each_status_is_the_client_s_exception(step, error, kind, is_stream, monkeypatch):
    """Whatever a lone backend answers, the client raises the class of the status that we chose."""
    ask_each_once(monkeypatch)
    async with (
        Provider(step) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(error) as found:
            await asked(client, is_stream=is_stream)

        assert (kind, True) == (found.value.type, bool(found.value.request_id))


@on_uvloop
@STREAMED
async def test_an_answer_without_a_token(is_stream):
    """Asked for again, and believed the second time: a message without content."""
    async with (
        Provider(begin() + chunk(FINISH + DONE) + END) as provider,
        start_gateway(provider, model={"assemble": True}) as gateway,
        client_of(gateway) as client,
    ):
        message = await asked(client, is_stream=is_stream)

        assert ([], "end_turn", 2) == (message.content, message.stop_reason, len(provider.asked))


@on_uvloop
async def test_no_key():
    """Whoever has none is refused in Anthropic's words."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        gateway.tenants.find = lambda authorization: None
        async with client_of(gateway) as client:
            with pytest.raises(anthropic.AuthenticationError) as found:
                await client.messages.create(**ASK)

        assert "invalid_api_key" == found.value.error_code


@on_uvloop
@STREAMED
async def test_a_failure_before_the_first_token_is_not_seen(is_stream):
    """Another backend answers, as for a chat."""
    async with (
        nowhere() as gone,
        Provider(begin(), 0.02, RESET) as second,
        Provider() as third,
        start_gateway(gone, second, third) as gateway,
        client_of(gateway) as client,
    ):
        assert ["hello"] == texts(await asked(client, is_stream=is_stream))


@on_uvloop
@pytest.mark.parametrize(
    "steps",
    [
        (CLOSE,),
        (RESET,),
        (END,),
        (chunk(b'data: {"error":{"message":"x","type":"server_error"}}\n\n') + END,),
        (chunk(b"data: {\n\n") + END,),
        (chunk(DONE) + END,),
    ],
)
async def test_a_stream_that_breaks_ends_in_an_error(steps):
    """After the first token there is an `error` event, and the client raises."""
    async with (
        Provider(begin() + chunk(token("half")), 0.02, *steps) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        text = ""
        with pytest.raises(anthropic.APIStatusError) as found:
            async with client.messages.stream(**ASK) as events:
                async for piece in events.text_stream:
                    text += piece

        assert ("half", "api_error") == (text, found.value.type)


@on_uvloop
async def test_a_stream_that_stalls():
    """Silence is ended by the clock, in the same way."""
    async with (
        Provider(begin() + chunk(token("half")), 5.0) as provider,
        start_gateway(provider, model={"stall_s": 0.2}) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.APIStatusError, match="silent for"):
            await said(client)


@on_uvloop
async def test_a_stream_that_breaks_is_gone_on_with():
    """Another backend with the same weights goes on, and the client sees one unbroken message."""
    first = begin() + chunk(token("The quick brown fox ")) + chunk(token("jumps over "))
    rest = begin() + chunk(token("the lazy dog.") + FINISH + DONE) + END
    tiers = tuple({name: Target(backend=name, model="m", weights="w")} for name in ("b0", "b1"))
    async with (
        Provider(first, 0.02, RESET) as broken,
        Provider(rest) as second,
        start_gateway(
            broken, second, model={"tiers": tiers, "resume": "same_weights"},
            backends=_able(broken, second),
        ) as gateway,
        client_of(gateway) as client,
    ):  # fmt: skip
        message = await said(client)

        assert ["The quick brown fox jumps over the lazy dog."] == texts(message)
        assert ("end_turn", 1) == (message.stop_reason, gateway.telemetry.resumes)
        begun = second.asked[0].json()["messages"][-1]
        assert ("assistant", "The quick brown fox jumps over ") == (begun["role"], begun["content"])


def _able(*providers):
    return backends(*providers, prefill="assistant")


@on_uvloop
async def test_a_waiting_caller_hears_pings():
    """Until the first token comes the stream says that it lives, in Anthropic's words."""
    may_answer = asyncio.Event()
    async with (
        Provider(may_answer, stream("hi")) as provider,
        start_gateway(provider, model={"keepalive_s": 0.1}) as gateway,
        client_of(gateway) as client,
    ):
        async with client.messages.with_streaming_response.create(**ASK, stream=True) as answer:
            lines = answer.iter_lines()
            first = [await anext(lines) for _ in range(2)]
            may_answer.set()
            rest = [line async for line in lines]

        assert ["event: ping", 'data: {"type": "ping"}'] == first
        assert "event: message_stop" in rest


@on_uvloop
async def test_an_error_after_pings():
    """A caller who was told to wait is told of a failure inside the stream."""
    error = {"message": "too long", "type": "invalid_request_error"}
    async with (
        Provider(0.4, whole({"error": error}, 400)) as provider,
        start_gateway(provider, model={"keepalive_s": 0.1}) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.APIStatusError, match="too long") as found:
            await said(client)

        assert "invalid_request_error" == found.value.type


@on_uvloop
async def test_a_whole_answer_where_a_stream_was_wanted():
    """The client would read it as an empty stream, so it is an error."""
    async with (
        Provider(whole()) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.InternalServerError, match="without a stream"):
            await said(client)


@on_uvloop
async def test_an_answer_that_is_none():
    """A whole answer that is no chat completion is an error, not a crash."""
    async with (
        Provider(whole({"choices": []})) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.InternalServerError, match="not the form"):
            await client.messages.create(**ASK)
