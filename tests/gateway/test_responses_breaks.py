"""Responses whose backend misbehaves, as the official OpenAI client sees them.

Before the first token another backend answers; after it another one goes on; and where nobody can,
the client is told. The model is a script that knows nothing but chats.
"""

from typing import Any

import openai
import pytest

from tests.gateway.harness import (
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    until,
)
from tests.gateway.provider import CLOSE, Provider, begin, chunk, nowhere, refusal, whole
from tests.gateway.test_responses_sdk import ANY, HELLO, client_of, delta, events_of, streamed

# -- failover and resuming -----------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("script", [[refusal(429)], [refusal(503)], [CLOSE], [begin(), CLOSE], streamed(delta("stop"))])  # fmt: skip
async def test_failover_before_the_first_token(script):
    """A backend that is busy, gone, cut off or silent is never seen by the caller."""
    async with (
        Provider(*script) as first,
        Provider(*HELLO) as second,
        start_gateway(first, second, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        response = await client.responses.create(model="m", input="hi")
        events = await events_of(client)

        assert "hello" == response.output_text == events[-1].response.output_text
        assert "response.completed" == events[-1].type


@on_uvloop
async def test_failover_from_a_backend_that_stalls_before_its_first_token():
    """Silence before the first token is a reason to go elsewhere, too."""
    model = ANY | {"first_token_s": 0.1}
    async with (
        Provider(begin(), 30.0) as first,
        Provider(*HELLO) as second,
        start_gateway(first, second, model=model) as gateway,
        client_of(gateway) as client,
    ):
        assert "response.completed" == (await events_of(client))[-1].type


@on_uvloop
async def test_an_answer_that_broke_off_goes_on():
    """One row of events, one id, one text: nobody can tell that two backends wrote it."""
    broken = [begin(), chunk(delta(content="hel")), 0.02, CLOSE]
    again = streamed(delta(content="lo"), delta("stop"))
    async with (
        Provider(*broken) as first,
        Provider(*again) as second,
        start_gateway(first, second, model=ANY) as gateway,
        client_of(gateway) as client,
    ):
        gateway.probes.kinds["b1"] = "vllm"
        events = await events_of(client)

        assert list(range(len(events))) == [event.sequence_number for event in events]
        assert ("completed", "hello") == (
            events[-1].response.status,
            events[-1].response.output_text,
        )
        assert "hel" == second.asked[0].json()["messages"][-1]["content"]
        assert 1 == gateway.telemetry.resumes


@on_uvloop
async def test_keep_alives_are_comments():
    """A caller who waits is sent comments, which no client takes for an event."""
    model = {"keepalive_s": 0.05, "first_token_s": 5.0}
    steps = [begin(), 0.4, *HELLO[1:]]
    async with Provider(*steps) as provider, start_gateway(provider, model=model) as gateway:
        async with client_of(gateway) as client:
            events = await events_of(client)
        (answer,) = await raw(gateway.address[1], ask(stream=True))

        assert "response.completed" == events[-1].type
        assert answer.body.startswith(b": keep-alive\n\n")


# -- errors --------------------------------------------------------------------------------------


def ask(**fields: Any) -> bytes:
    """Give the bytes of a request for a Response."""
    return request({"model": "m", "input": "hi"} | fields, "/v1/responses")


BROKEN = [begin(), chunk(delta(content="hel")), 0.01, CLOSE]


@on_both_loops
async def test_a_stream_that_breaks_fails_and_raises():
    """`response.failed` has the text so far; then the client raises, as it does for a chat."""
    async with (
        Provider(*BROKEN) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        events: list[Any] = []
        with pytest.raises(openai.APIError) as raised:
            async for event in await client.responses.create(model="m", input="hi", stream=True):
                events.append(event)  # noqa: PERF401 - kept on error

        assert "response.failed" == events[-1].type
        response = events[-1].response
        assert ("failed", "hel", "server_error") == (response.status, response.output_text, response.error.code)  # fmt: skip
        assert "stream_broken" == raised.value.code
        assert "broke off in the middle" in raised.value.message


@on_uvloop
async def test_the_stream_helper_raises_where_a_stream_breaks():
    """The helper gives no final Response for a broken stream."""
    async with (
        Provider(*BROKEN) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        async with client.responses.stream(model="m", input="hi") as helper:
            with pytest.raises(openai.APIError, match="broke off in the middle"):
                await helper.get_final_response()


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("script", "kind", "status"),
    [
        ([refusal(429)], openai.RateLimitError, 429),
        ([refusal(400)], openai.BadRequestError, 400),
        ([refusal(500)], openai.InternalServerError, 502),
        ([refusal(401)], openai.InternalServerError, 502),
    ],
)
async def test_refusals_raise_as_for_a_chat(script, kind, status, is_stream):
    """Before the first event a failure is a status, and the client's own class for it."""
    async with (
        Provider(*script) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(kind) as raised:
            await client.responses.create(model="m", input="hi", stream=is_stream)

        assert status == raised.value.status_code


@on_uvloop
async def test_an_answer_without_a_stream_is_no_stream():
    """A client that looks for events would find none, and take that for an empty answer."""
    async with (
        Provider(whole()) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(openai.InternalServerError) as raised:
            await client.responses.create(model="m", input="hi", stream=True)

        assert (502, "backend_failed") == (raised.value.status_code, raised.value.code)


@on_uvloop
async def test_no_backend_and_no_model():
    """Nobody to ask, or nobody of that name: the client's own classes, too."""
    async with nowhere() as gone, start_gateway(gone) as gateway, client_of(gateway) as client:
        with pytest.raises(openai.InternalServerError) as unreachable:
            await client.responses.create(model="m", input="hi")
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.responses.create(model="x", input="hi")

        assert ("backend_unreachable", "model_not_found") == (
            unreachable.value.code,
            unknown.value.code,
        )


@on_uvloop
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "code_interpreter", "container": "x"}]}, "tools[0].type"),
    ],
)
async def test_what_is_not_here_is_refused_by_name(fields, param):
    """The client raises its error for 400, which names the field; no backend is asked."""
    async with (
        Provider() as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            await client.responses.create(model="m", input="hi", **fields)

        assert (param, "unsupported_parameter") == (raised.value.param, raised.value.code)
        assert [] == provider.asked


@on_uvloop
async def test_nothing_is_kept():
    """No Response can be fetched later, and the answer says that it was not stored."""
    async with Provider(*HELLO) as provider, start_gateway(provider, model=ANY) as gateway:
        (answer,) = await raw(gateway.address[1], ask(store=True))
        async with client_of(gateway) as client:
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve("resp_a1")

        assert answer.json()["store"] is False


@on_uvloop
async def test_a_client_that_stops_reading_frees_the_backend():
    """Closing the client's stream ends the call at the backend."""
    async with (
        Provider(begin(), chunk(delta(content="x")), 30.0) as provider,
        start_gateway(provider) as gateway,
        client_of(gateway) as client,
    ):
        stream = await client.responses.create(model="m", input="hi", stream=True)
        async for _ in stream:
            break
        await stream.close()
        await until(lambda: len(provider.departures) == 1)

        assert 0 == gateway.gate.seats["b0"].in_flight
