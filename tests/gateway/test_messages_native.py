"""Backends that speak Anthropic's API themselves: nothing is translated, and everything holds.

The client is the official one; such a backend is a double that answers as the API's documentation
says, see `messages_kit`.
"""

import json

import anthropic
import pytest

from baseload.core.facts import FAILED
from tests.gateway.harness import on_uvloop, request, until
from tests.gateway.messages_kit import (
    ASK,
    HI,
    NATIVE_PATH,
    NATIVE_START,
    client_of,
    native_error,
    native_event,
    native_message,
    native_stream,
    native_token,
    natively,
    said,
    start_mixed,
    streamed,
    texts,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    RESET,
    Provider,
    ask,
    ask_each_once,
    begin,
    chunk,
    ended,
    in_turn,
    nowhere,
    whole,
)

STREAMED = pytest.mark.parametrize("is_stream", [True, False])
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}


class Notes:
    """A ledger that keeps its lines in a list. A double: nothing is written down."""

    def __init__(self):
        self.entries = []

    def enter(self, entry):
        self.entries.append(entry)


async def asked(client, *, is_stream, **fields):
    """Ask, with a stream or without one."""
    if is_stream:
        return await said(client, **fields)
    return await client.messages.create(**(ASK | fields))


# -- passed on -----------------------------------------------------------------------------------


@on_uvloop
async def test_a_request_passes_byte_for_byte():
    """The body is the caller's own, the path the backend's, and the key stands in both places."""
    body = b'{ "max_tokens": 5,"model":"m",  "messages":[{"role":"user","content":"hi"}],"new":1}'
    async with Provider(play=natively) as provider, start_mixed(provider) as gateway:
        answer = await ask(gateway, request(body, "/v1/messages"))

        assert json.dumps(native_message()).encode() == answer.body
        (got,) = provider.asked
        assert (NATIVE_PATH, body) == (got.path, got.body)
        assert ("2023-06-01", "sk-backend", "Bearer sk-backend") == tuple(
            got.headers[name] for name in ("anthropic-version", "x-api-key", "authorization")
        )


@on_uvloop
async def test_a_stream_passes_byte_for_byte():
    """What the backend says is given on as it came, whatever is in it that we do not know."""
    strange = native_event("of_tomorrow", x=1)
    events = (NATIVE_START, strange, native_token("hi"), native_stream()[len(NATIVE_START) :])
    async with Provider(streamed(*events)) as provider, start_mixed(provider) as gateway:
        answer = await ask(gateway, request(ASK | {"stream": True}, "/v1/messages"))

        assert b"".join(events) == answer.body
        assert "text/event-stream" == answer.headers["content-type"]


@on_uvloop
@STREAMED
async def test_the_client_reads_it(is_stream):
    """Content, usage and names are the backend's; the books know what was counted."""
    async with (
        Provider(play=natively) as provider,
        start_mixed(provider, model={"assemble": True, "resume": "any"}) as gateway,
        client_of(gateway) as client,
    ):
        gateway.books.ledger = notes = Notes()
        message = await asked(client, is_stream=is_stream)
        await until(lambda: notes.entries)
        (entry,) = notes.entries

        assert (["native"], "msg_native", "native-model") == (
            texts(message), message.id, message.model,
        )  # fmt: skip
        assert ("messages", "done", 5, 3, False) == (
            entry.api, entry.outcome, entry.prompt_tokens,
            entry.completion_tokens, entry.is_estimated,
        )  # fmt: skip
        assert is_stream is bool(provider.asked[0].json().get("stream"))
        assert {"b0": "done"} == ended(gateway)


@on_uvloop
async def test_chats_go_to_the_same_backend_as_chats():
    """Whoever asks for a chat gets one, from the path for chats."""
    async with Provider(play=natively) as provider, start_mixed(provider) as gateway:
        answer = await ask(gateway)

        assert "hello" == answer.json()["choices"][0]["message"]["content"]
        assert ["/v1/chat/completions"] == [one.path for one in provider.asked]


@on_uvloop
async def test_what_has_no_words_in_a_chat_passes_where_all_speak_it():
    """A document goes through if every backend of the model speaks Anthropic's API, else not."""
    body = request(ASK | {"messages": [{"role": "user", "content": [DOCUMENT]}]}, "/v1/messages")
    async with Provider(play=natively) as one, Provider(play=natively) as two:
        async with start_mixed(one, two, natives=(0, 1)) as gateway:
            assert 200 == (await ask(gateway, body)).status
        async with start_mixed(one, two, natives=(0,)) as gateway:
            assert 400 == (await ask(gateway, body)).status
        async with start_mixed(one, two, natives=(0, 1), model={"share_identical": True}) as other:
            assert 400 == (await ask(other, body)).status


@on_uvloop
async def test_callers_who_share_an_answer_are_translated_for():
    """Each of them may speak another API, so a chat is asked for."""
    async with (
        Provider(play=natively) as provider,
        start_mixed(provider, model={"share_identical": True}) as gateway,
        client_of(gateway) as client,
    ):
        assert ["hello"] == texts(await said(client))
        assert ["/v1/chat/completions"] == [one.path for one in provider.asked]


@on_uvloop
async def test_a_large_answer_passes():
    """One that is too large to be held is given on as it came, too."""
    content = [{"type": "text", "text": "x" * (2 << 20)}]
    async with (
        Provider(whole(native_message(content))) as provider,
        start_mixed(provider) as gateway,
        client_of(gateway) as client,
    ):
        assert [content[0]["text"]] == texts(await client.messages.create(**ASK))


# -- what goes wrong -----------------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("step", [CLOSE, RESET, END])
async def test_a_native_stream_that_breaks_cannot_be_gone_on_with(step):
    """It ends in an `error` event, although another backend has the same weights."""
    async with (
        Provider(begin() + chunk(NATIVE_START + native_token("half")), 0.02, step) as first,
        Provider(play=natively) as second,
        start_mixed(first, second, natives=(0, 1), model={"resume": "any"}) as gateway,
        client_of(gateway) as client,
    ):
        gateway.books.ledger = notes = Notes()
        with pytest.raises(anthropic.APIStatusError) as found:
            await said(client)

        assert ("api_error", "stream_broken") == (found.value.type, found.value.error_code)
        assert [] == second.asked
        assert "broken" == gateway.failures["b0"].fact
        (entry,) = notes.entries
        assert ("broken", 1, True) == (entry.outcome, entry.completion_tokens, entry.is_estimated)


@on_uvloop
async def test_an_error_in_the_middle_is_given_once():
    """The backend's own words are passed on, and ours do not follow them."""
    error = native_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    async with (
        Provider(
            begin() + chunk(NATIVE_START + native_token("x")), 0.02, chunk(error) + END
        ) as one,
        start_mixed(one) as gateway,
    ):
        answer = await ask(gateway, request(ASK | {"stream": True}, "/v1/messages"))

        assert NATIVE_START + native_token("x") + error == answer.body


@on_uvloop
async def test_a_stall_and_a_missing_end():
    """Silence after a token breaks the answer; only the farewell missing does not."""
    last = native_stream().replace(native_event("message_stop"), b"")[len(NATIVE_START) :]
    start = begin() + chunk(NATIVE_START + native_token("all"))
    async with (
        Provider(play=in_turn([start, 5.0], [start + chunk(last), 5.0])) as provider,
        start_mixed(provider, model={"stall_s": 0.2}) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.APIStatusError, match="silent for"):
            await said(client)
        assert ["all"] == texts(await said(client))


@on_uvloop
@STREAMED
async def test_a_refusal_is_the_backend_s_own(is_stream):
    """A mistake of the caller's is told in the backend's words, and nobody is blamed."""
    step = native_error(400, "invalid_request_error", "request-id: theirs\r\n")
    async with (
        Provider(step) as provider,
        start_mixed(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.BadRequestError) as found:
            await asked(client, is_stream=is_stream)

        assert ("req_1", "theirs") == (found.value.body["request_id"], found.value.request_id)
        assert {} == gateway.failures


@on_uvloop
@pytest.mark.parametrize(
    "step",
    [
        whole({"type": "error", "error": {"type": "api_error", "message": "x"}}),
        whole(b"<html>"),
        streamed(native_stream("not", "asked", "for")),
    ],
)
async def test_whole_answers_that_are_none(step, monkeypatch):
    """An error with a status of 200, a page, or a stream that nobody wanted: a failure."""
    ask_each_once(monkeypatch)
    async with (
        Provider(step) as provider,
        start_mixed(provider, model={"assemble": True}) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.InternalServerError):
            await client.messages.create(**ASK)
        assert FAILED.label == gateway.failures["b0"].fact


@on_uvloop
async def test_a_whole_answer_where_a_stream_was_wanted():
    """The client would read it as an empty stream, so it is an error."""
    async with (
        Provider(whole(native_message())) as provider,
        start_mixed(provider) as gateway,
        client_of(gateway) as client,
    ):
        with pytest.raises(anthropic.InternalServerError, match="without a stream"):
            await said(client)


@on_uvloop
async def test_an_answer_without_a_token_is_asked_for_again():
    """It is believed the second time, as for a chat."""
    async with (
        Provider(streamed(native_stream())) as provider,
        start_mixed(provider) as gateway,
        client_of(gateway) as client,
    ):
        message = await said(client)

        assert ("end_turn", 2) == (message.stop_reason, len(provider.asked))


@on_uvloop
async def test_pings_of_ours_come_before_a_native_stream():
    """A caller who has to wait hears that we live, then the backend's own stream."""
    async with (
        nowhere() as gone,
        Provider(0.4, begin() + chunk(native_stream("hi")) + END) as second,
        start_mixed(gone, second, natives=(0, 1), model={"keepalive_s": 0.1}) as gateway,
        client_of(gateway) as client,
    ):
        assert ["hi"] == texts(await said(client))
        answer = await ask(gateway, request(ASK | {"stream": True, "messages": HI}, "/v1/messages"))

        assert answer.body.startswith(b'event: ping\ndata: {"type": "ping"}\n\n')
        assert answer.body.endswith(native_stream("hi"))
