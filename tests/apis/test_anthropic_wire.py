"""Anthropic's own events, as the relay hears them: tokens, ends, errors, signs, and what was counted."""

import json

import pytest

from baseload.apis.anthropic.wire import AnthropicWire
from baseload.apis.openai import END, ERROR, FINISH, GARBAGE, NOTHING, TOKEN
from baseload.core.facts import BUSY, FAILED, REJECTED
from baseload.gateway.transcript import Transcript
from tests.gateway.messages_kit import native_event, native_stream


def kind_of(name, **fields):
    """Give what an event is."""
    return AnthropicWire().read_event(native_event(name, **fields))[0]


def delta_of(**delta):
    return kind_of("content_block_delta", index=0, delta=delta)


def start_of(**block):
    return kind_of("content_block_start", index=0, content_block=block)


def test_tokens():
    """Text, thoughts, arguments and the use of a tool are tokens."""
    assert {TOKEN} == {
        delta_of(type="text_delta", text="x"),
        delta_of(type="thinking_delta", thinking="x"),
        delta_of(type="input_json_delta", partial_json="{"),
        delta_of(type="of_tomorrow_delta", data="x"),
        start_of(type="tool_use", id="a", name="t", input={}),
        start_of(type="redacted_thinking", data="x"),
        start_of(type="text", text="x"),
    }


def test_signs_of_life():
    """Pings, beginnings, ends of blocks, signatures and what is empty are no tokens."""
    assert {NOTHING} == {
        kind_of("ping"),
        kind_of("message_start", message={"usage": {"input_tokens": 1}}),
        kind_of("message_start"),
        kind_of("content_block_stop", index=0),
        kind_of("message_delta", delta={"stop_reason": None}),
        kind_of("of_tomorrow"),
        start_of(type="text", text=""),
        start_of(type="thinking", thinking="", signature=""),
        delta_of(type="text_delta", text=""),
        delta_of(type="input_json_delta", partial_json=""),
        delta_of(type="signature_delta", signature="x"),
        AnthropicWire().read_event(b": ping\n\n")[0],
    }


def test_ends_errors_and_garbage():
    """A stop reason is the finish, `message_stop` the terminator."""
    assert FINISH is kind_of("message_delta", delta={"stop_reason": "end_turn"})
    assert END is kind_of("message_stop")
    assert ERROR is kind_of("error", error={"type": "api_error"})
    assert GARBAGE is AnthropicWire().read_event(b"data: {\n\n")[0]


@pytest.mark.parametrize("value", [1, [], {}, "x", None, [1], {"type": 1}])
def test_misshapen_events(value):
    """Fields of any form are passed over."""
    for name in ("message_start", "message_delta", "content_block_delta", "content_block_start"):
        fields = dict.fromkeys(("message", "delta", "content_block", "usage"), value)
        AnthropicWire().read_event(native_event(name, **fields))
    AnthropicWire().read_event(b"data: " + json.dumps({"type": value}).encode() + b"\n\n")


def test_usage_is_said_in_two_parts():
    """The prompt is counted at the beginning, the answer at the end; the cache is part of it."""
    wire = AnthropicWire()
    start = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5}
    begun = wire.read_event(native_event("message_start", message={"usage": start}))
    ended = wire.read_event(
        native_event("message_delta", delta={"stop_reason": "x"}, usage={"output_tokens": 7})
    )

    assert (NOTHING, None) == begun
    assert (12, 4, 7) == (
        ended[1].prompt_tokens, ended[1].cached_tokens, ended[1].completion_tokens,
    )  # fmt: skip


def test_whole_answers():
    """A message is an answer, an error is none, and neither is what has no content."""
    message = {"type": "message", "content": [], "usage": {"input_tokens": 1, "output_tokens": 2}}
    is_answer, usage = AnthropicWire().read_answer(json.dumps(message).encode())

    assert (True, 1, 2) == (is_answer, usage.prompt_tokens, usage.completion_tokens)
    for other in ({"type": "error", "error": {}}, {}, {"type": "message"}, []):
        assert not AnthropicWire().read_answer(json.dumps(other).encode())[0]


# -- in a transcript -----------------------------------------------------------------------------


def heard(stream, size=None):
    """Give the transcript of a stream that comes in pieces, and what it gave out."""
    script = Transcript(has_choices=False, seam=None, wire=AnthropicWire())
    size = size or len(stream)
    out = b"".join(script.take(stream[at : at + size]) for at in range(0, len(stream), size))
    return script, out + script.end()


@pytest.mark.parametrize("size", [None, 1, 7, 100])
def test_a_stream_in_any_pieces(size):
    """However its bytes are cut, the same is heard of it, and all of it is given on."""
    stream = native_stream("hel", "lo")
    script, out = heard(stream, size)

    assert stream == out
    assert (3, True, True, False) == (
        script.events, script.is_finished, script.has_end, script.is_empty,
    )  # fmt: skip
    assert (5, 3) == (script.usage.prompt_tokens, script.usage.completion_tokens)


def test_a_stream_without_a_token():
    """It ended in good order and said nothing: that is known, too."""
    assert heard(native_stream())[0].is_empty


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        ("overloaded_error", BUSY),
        ("rate_limit_error", BUSY),
        ("api_error", FAILED),
        ("invalid_request_error", REJECTED),
        ("of_tomorrow", FAILED),
    ],
)
def test_errors_inside_a_stream(kind, fact):
    """An error means what its HTTP status would have meant; an overload is Anthropic's 529."""
    error = native_event("error", error={"type": kind, "message": "x"})

    assert fact is heard(error)[0].wrong[0]


def test_an_end_without_a_reason():
    """`message_stop` alone proves nothing."""
    stream = native_stream("x").replace(b'"end_turn"', b"null")

    assert FAILED is heard(stream)[0].wrong[0]
