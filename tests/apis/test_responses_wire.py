"""A Response's own events, as the relay and a caller's client see them.

Events are written by hand in the shapes that OpenAI's reference and vLLM show.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.openai import END, ERROR, FINISH, GARBAGE, NOTHING, TOKEN
from baseload.apis.responses.wire import NativeResponsesSpeech, ResponsesWire
from tests import FUZZ
from tests.apis.test_responses_speech import read

WIRE = ResponsesWire()
USAGE = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14, "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 7, "status": "in_progress", "model": "m", "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip
BROKEN = b'data: {"error":{"message":"it broke","type":"backend_error","code":"stream_broken","param":null}}\n\n'  # fmt: skip


def event(kind, **fields):
    """Give one event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def delta(text, number=2):
    """Give a piece of text."""
    return event("response.output_text.delta", delta=text, item_id="i", output_index=0, content_index=0, logprobs=[], sequence_number=number)  # fmt: skip


def ended(kind="completed", **fields):
    """Give the last event."""
    return event(
        f"response.{kind}", sequence_number=9, response=RESPONSE | {"status": kind} | fields
    )


CREATED = event("response.created", sequence_number=0, response=RESPONSE)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b": keep-alive\n\n", NOTHING),
        (CREATED, NOTHING),
        (event("response.output_item.added", item={"type": "message"}), NOTHING),
        (event("response.output_item.added", item={"type": "reasoning"}), NOTHING),
        (event("response.output_item.added", item={"type": "function_call"}), TOKEN),
        (event("response.output_item.added", item={"type": "web_search_call"}), TOKEN),
        (delta("x"), TOKEN),
        (delta(""), NOTHING),
        (event("response.reasoning_text.delta", delta="x"), TOKEN),
        (event("response.reasoning_summary_text.delta", delta="x"), TOKEN),
        (event("response.function_call_arguments.delta", delta="{"), TOKEN),
        (event("response.output_text.done", text="x"), NOTHING),
        (ended(), FINISH),
        (ended("incomplete"), FINISH),
        (ended("failed"), ERROR),
        (event("error", message="x"), ERROR),
        (b"data: [DONE]\n\n", END),
        (b"data: {\n\n", GARBAGE),
        (event(5), NOTHING),
    ],
)
def test_what_events_are(data, kind):
    """Pieces of anything that the model says are tokens, frames are only signs of life."""
    assert kind is WIRE.read_event(data)[0]


def test_usage_is_counted_as_a_chats():
    """The last event tells what the answer took, and so does an answer that is no stream."""
    usage = WIRE.read_event(ended(usage=USAGE))[1]
    assert (9, 5, 4, 2) == (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)  # fmt: skip
    body = json.dumps(RESPONSE | {"status": "completed", "usage": USAGE}).encode()
    assert (True, usage) == WIRE.read_answer(body)
    assert WIRE.read_event(ended(usage={"input_tokens": "x"})) == (FINISH, None)


@pytest.mark.parametrize(
    ("body", "is_answer"),
    [
        (json.dumps(RESPONSE | {"status": "incomplete"}).encode(), True),
        (
            json.dumps(RESPONSE | {"status": "failed", "error": {"code": "server_error"}}).encode(),
            False,
        ),
        (b'{"error":{"message":"x"}}', False),
        (b"{}", False),
        (b"[]", False),
    ],
)
def test_answers_that_are_none(body, is_answer):
    """A Response that failed is none."""
    assert is_answer is WIRE.read_answer(body)[0]


def test_reasons_of_an_end():
    """Completed with nothing said is an empty answer; a bound is not."""
    assert ("stop", False) == WIRE.read_finish(ended())
    assert ("stop", True) == WIRE.read_finish(ended(output=[{"type": "message"}]))
    assert ("length", False) == WIRE.read_finish(ended("incomplete"))
    assert ("", False) == WIRE.read_finish(b"data: {\n\n")


@pytest.mark.parametrize(
    ("code", "status"),
    [("rate_limit_exceeded", 429), ("server_error", 500), ("insufficient_quota", 402), ("invalid_prompt", 400)],
)  # fmt: skip
def test_the_status_of_an_error(code, status):
    """An error in either form has the status that it would have had in place of the stream."""
    error = {"code": code, "message": "m"}

    assert status == WIRE.status_of_event(ended("failed", error=error))
    assert status == WIRE.status_of_event(event("error", **error))
    assert status == WIRE.status_of_event(event("error", error=error))


def test_plain_text_is_counted_without_being_read():
    """Pieces of text are counted, whatever they hold; with anything else they are read."""
    plain = delta('"delta":""') + delta("event: x\n\n")

    assert 2 == WIRE.count_plain(plain)
    for other in (ended(), delta(""), b": keep-alive\n\n", CREATED):
        assert -1 == WIRE.count_plain(plain + other)
    assert -1 == WIRE.count_plain(b"")


# -- given on ------------------------------------------------------------------------------------


def test_events_are_given_on_as_they_came():
    """Nothing is added and nothing changed, comments included."""
    speech = NativeResponsesSpeech()
    parts = [b": keep-alive\n\n", CREATED, delta("x")]

    assert b"".join(parts) == b"".join(speech.feed(part) for part in parts)
    assert ended() == speech.end(ended())
    assert b"{}" == speech.answer(b"{}")


def test_a_stream_that_breaks_fails():
    """The gateway's error becomes the Response's end, with its id and the next numbers."""
    speech = NativeResponsesSpeech()
    begun = speech.feed(CREATED) + speech.feed(delta("x", 1) + delta("y", 2))
    events = read(begun + speech.end(BROKEN))

    assert ["response.failed", "error"] == [each["type"] for each in events[-2:]]
    assert ("resp_1", "failed") == (events[-2]["response"]["id"], events[-2]["response"]["status"])
    assert ("stream_broken", 4) == (events[-1]["code"], events[-1]["sequence_number"])


def test_a_stream_that_never_began_fails_as_a_whole():
    """Without a Response to end, one is begun for it."""
    speech = NativeResponsesSpeech()
    begun = speech.feed(b": keep-alive\n\n")

    kinds = [each["type"] for each in read(begun + speech.end(BROKEN))]
    assert ["response.created", "response.in_progress", "response.failed", "error"] == kinds


@pytest.mark.parametrize("wrong", [ended("failed"), event("error", message="x")])
def test_a_backends_own_error_is_the_only_one(wrong):
    """Where the backend has said why it ends, the gateway does not say it again."""
    speech = NativeResponsesSpeech()
    speech.feed(CREATED)

    assert (wrong, b"") == (speech.feed(wrong), speech.end(BROKEN))


@FUZZ
@given(st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2) | st.sampled_from(["response.completed", "response.failed", "response.output_item.added", "x.delta"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "delta", "item", "response", "usage", "output", "error", "input_tokens", "id", "sequence_number"]), inner, max_size=5),
    max_leaves=12,
))  # fmt: skip
def test_odd_events_end_well(value):
    """Whatever an event holds, it is read as something, and the stream can be ended."""
    data = b"data: " + json.dumps(value).encode() + b"\n\n"
    speech = NativeResponsesSpeech()

    kind, _ = WIRE.read_event(data)
    assert kind in {NOTHING, TOKEN, FINISH, ERROR, GARBAGE}
    assert isinstance(WIRE.read_finish(data)[0], str)
    assert 400 <= WIRE.status_of_event(data) < 600
    assert isinstance(WIRE.read_answer(json.dumps(value).encode())[0], bool)
    assert data == speech.feed(data)
    assert b"event: error\n" in speech.end(BROKEN)
