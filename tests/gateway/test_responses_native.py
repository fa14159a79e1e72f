"""Backends that speak the Responses API themselves: nothing is translated, and everything holds.

The client is the official one; such a backend is a double that answers as the API's reference says,
and knows no chats.
"""

import json
from typing import Any

import openai
import pytest

from baseload.config.fleet import Target
from tests.apis.test_responses_wire import CREATED, RESPONSE, USAGE, delta, ended, event
from tests.gateway.harness import on_uvloop, request, start_gateway
from tests.gateway.provider import (
    CLOSE,
    END,
    Asked,
    Provider,
    Script,
    ask,
    backends,
    begin,
    chunk,
    refusal,
    whole,
)
from tests.gateway.test_responses_sdk import ANY, HELLO, client_of, events_of

PATH = "/own/responses"
PART = {"type": "output_text", "text": "hello", "annotations": []}
MESSAGE = {"id": "i", "type": "message", "role": "assistant", "status": "completed", "content": [PART]}  # fmt: skip
WHOLE = RESPONSE | {"status": "completed", "output": [MESSAGE], "usage": USAGE}
STREAM = [
    CREATED,
    event("response.output_item.added", sequence_number=1, output_index=0, item=MESSAGE | {"content": []}),
    event("response.content_part.added", sequence_number=2, item_id="i", output_index=0, content_index=0, part=PART | {"text": ""}),
    delta("hel", 3),
    delta("lo", 4),
    event("response.output_item.done", sequence_number=5, output_index=0, item=MESSAGE),
    ended(output=[MESSAGE], usage=USAGE),
]  # fmt: skip
STREAMED = pytest.mark.parametrize("is_stream", [False, True])


def natively(asked: Asked) -> Script:
    """Answer in the API's own words."""
    if asked.path != PATH:
        return [refusal(404)]
    if not asked.json().get("stream"):
        return [whole(WHOLE)]
    return [begin(), *(chunk(each) for each in STREAM), END]


class Notes:
    """A ledger that keeps its lines in a list. A double: nothing is written down."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def enter(self, entry: Any) -> None:
        self.entries.append(entry)


def mixed(*providers: Any, native: int = 1, **model: Any) -> Any:
    """Start a gateway whose first backends speak the API themselves."""
    own = backends(*providers, responses_path=PATH)
    plain = backends(*providers)
    spoken = {name: (own if number < native else plain)[name] for number, name in enumerate(own)}
    return start_gateway(*providers, model=ANY | model, backends=spoken)


async def text_of(client: Any, is_stream: bool) -> str:
    """Give what is answered."""
    if is_stream:
        return str((await events_of(client))[-1].response.output_text)
    return str((await client.responses.create(model="m", input="hi")).output_text)


@on_uvloop
async def test_a_request_passes_byte_for_byte():
    """The body is the caller's own, the path the backend's, and so is the answer."""
    body = b'{ "model":"m",  "input":"hi","new":1, "background":false}'
    async with Provider(play=natively) as provider, mixed(provider) as gateway:
        answer = await ask(gateway, request(body, "/v1/responses"))

        assert (PATH, body) == (provider.asked[0].path, provider.asked[0].body)
        assert json.dumps(WHOLE).encode() == answer.body


@on_uvloop
async def test_a_stream_passes_byte_for_byte():
    """Events come as they were sent, and nothing is added to them."""
    body = {"model": "m", "input": "hi", "stream": True}
    async with Provider(play=natively) as provider, mixed(provider) as gateway:
        answer = await ask(gateway, request(body, "/v1/responses"))

        assert b"".join(STREAM) == answer.body


@on_uvloop
@STREAMED
async def test_the_client_and_the_books(is_stream):
    """The client has its answer, and the ledger a line with what the Response tells."""
    async with Provider(play=natively) as provider, mixed(provider) as gateway:
        gateway.books.ledger = notes = Notes()
        async with client_of(gateway) as client:
            assert "hello" == await text_of(client, is_stream)

        (entry,) = notes.entries
        assert ("responses", 9, 5) == (entry.api, entry.prompt_tokens, entry.completion_tokens)


@on_uvloop
@STREAMED
async def test_failover_from_those_who_speak_it_to_those_who_do_not(is_stream):
    """One call, two languages: each backend is asked in its own."""
    async with (
        Provider(refusal(503)) as first,
        Provider(*HELLO) as second,
        mixed(first, second) as gateway,
        client_of(gateway) as client,
    ):
        assert "hello" == await text_of(client, is_stream)
        assert [PATH, "/v1/chat/completions"] == [first.asked[0].path, second.asked[0].path]


@on_uvloop
@STREAMED
async def test_failover_from_those_who_do_not_speak_it_to_those_who_do(is_stream):
    """And the other way round, with the model's name of that tier."""
    tiers = ({"b0": Target(backend="b0", model="m")}, {"b1": Target(backend="b1", model="own")})
    async with (
        Provider(play=natively) as speaks,
        Provider(refusal(503)) as chats,
        start_gateway(
            chats, speaks, model=ANY | {"tiers": tiers},
            backends=backends(chats) | {"b1": backends(chats, speaks, responses_path=PATH)["b1"]},
        ) as gateway,
        client_of(gateway) as client,
    ):  # fmt: skip
        assert "hello" == await text_of(client, is_stream)
        assert "own" == speaks.asked[0].json()["model"]


@on_uvloop
@pytest.mark.parametrize("first", [ended("failed", error={"code": "server_error", "message": "x"}), event("error", message="x", code="server_error"), ended(output=[])])  # fmt: skip
async def test_a_response_that_fails_before_its_first_token(first):
    """It failed, or said nothing: another backend answers."""
    script = [begin(), chunk(CREATED), chunk(first), END]
    async with (
        Provider(*script) as broken,
        Provider(*HELLO) as second,
        mixed(broken, second) as gateway,
        client_of(gateway) as client,
    ):
        assert "hello" == await text_of(client, True)


@on_uvloop
async def test_a_stream_that_breaks_fails_and_raises():
    """What a backend began in its own words ends in them, with its own id."""
    script = [begin(), *(chunk(each) for each in STREAM[:4]), 0.02, CLOSE]
    async with Provider(*script) as provider, mixed(provider) as gateway:
        events: list[Any] = []
        async with client_of(gateway) as client:
            with pytest.raises(openai.APIError, match="broke off in the middle"):
                async for each in await client.responses.create(model="m", input="hi", stream=True):
                    events.append(each)  # noqa: PERF401 - kept on error

        assert ("response.failed", "resp_1", 4) == (events[-1].type, events[-1].response.id, events[-1].sequence_number)  # fmt: skip


TOOLS: Any = [{"type": "web_search"}]


@on_uvloop
async def test_what_no_chat_can_say_goes_to_those_who_speak_it():
    """Tools of a provider's own pass where every backend of the model speaks the API."""
    async with (
        Provider(play=natively) as first,
        Provider(play=natively) as second,
        mixed(first, second, native=2) as gateway,
        client_of(gateway) as client,
    ):
        response = await client.responses.create(model="m", input="hi", tools=TOOLS)

        assert "hello" == response.output_text
        assert TOOLS == first.asked[0].json()["tools"]


@on_uvloop
async def test_what_no_chat_can_say_is_refused_where_one_backend_needs_a_chat():
    """A call that could not fail over is not begun; what needs a memory is refused everywhere."""
    async with (
        Provider(play=natively) as first,
        Provider(play=natively) as second,
        mixed(first, second) as some,
        mixed(first, second, native=2) as every,
        client_of(some) as to_some,
        client_of(every) as to_every,
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            await to_some.responses.create(model="m", input="hi", tools=TOOLS)
        with pytest.raises(openai.BadRequestError) as again:
            await to_every.responses.create(model="m", input="hi", previous_response_id="resp_1")

        assert "tools[0].type" == raised.value.param
        assert "previous_response_id" == again.value.param
        assert [] == first.asked == second.asked
