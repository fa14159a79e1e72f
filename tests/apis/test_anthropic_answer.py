"""Whole answers in the words of the Messages API, there and back; and those that need no words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.anthropic.dialect import NativeMessagesSpeech
from baseload.apis.dialect import SpeechError
from tests.apis.anthropic_kit import USAGE, chat_of, parsed, speech


def whole(message, finish="stop", usage=USAGE, **more):
    """Give a chat completion as a message."""
    choice = {"index": 0, "message": message, "finish_reason": finish} | more
    body = {"id": "chatcmpl-7", "model": "served", "choices": [choice], "usage": usage}
    return json.loads(speech(stop_sequences=["##"]).answer(json.dumps(body).encode()))


def test_a_whole_answer():
    """Thoughts, text and tools are blocks in this order; the name is a message's."""
    calls = [{"id": "a", "function": {"name": "t", "arguments": '{"x":1}'}}]
    message = {"role": "assistant", "content": "c", "reasoning_content": "r", "tool_calls": calls}

    assert {
        "id": "msg_7",
        "type": "message",
        "role": "assistant",
        "model": "served",
        "content": [
            {"type": "thinking", "thinking": "r", "signature": ""},
            {"type": "text", "text": "c"},
            {"type": "tool_use", "id": "a", "name": "t", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 6,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 5,
        },
    } == whole(message, "tool_calls")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
        ("new", "end_turn"),
        (None, "end_turn"),
        ([1], "end_turn"),
    ],
)
def test_why_it_ended(finish, reason):
    """Each finish reason has its counterpart."""
    assert reason == whole({"content": "x"}, finish)["stop_reason"]


def test_which_stop_sequence_it_was():
    """VLLM says it; where nobody does, the end is one of a turn."""
    found = whole({"content": "x"}, stop_reason="##")
    other = whole({"content": "x"}, stop_reason="of my own")

    assert ("stop_sequence", "##") == (found["stop_reason"], found["stop_sequence"])
    assert ("end_turn", None) == (other["stop_reason"], other["stop_sequence"])


def test_a_tool_call_that_is_called_a_stop():
    """Some servers finish with `stop` where tools were called; a client must see that they were."""
    calls = [{"function": {"name": "t", "arguments": ""}}]
    found = whole({"content": None, "tool_calls": calls})

    assert "tool_use" == found["stop_reason"]
    assert [{"type": "tool_use", "id": "toolu_0", "name": "t", "input": {}}] == found["content"]


@pytest.mark.parametrize("given", ["{", "[1]", "x"])
def test_arguments_that_are_no_object(given):
    """They are shown as they are, under the key that Anthropic advises for it."""
    found = whole({"tool_calls": [{"id": "a", "function": {"name": "t", "arguments": given}}]})

    assert {"INVALID_JSON": given} == found["content"][0]["input"]


def test_a_refusal():
    """What the model says when it refuses is text, and the reason says that it refused."""
    found = whole({"content": None, "refusal": "no"})

    assert ("refusal", "no") == (found["stop_reason"], found["content"][0]["text"])


def test_usage_that_is_not_reported():
    """It must be there, so the prompt is estimated."""
    assert 0 < whole({"content": "x"}, usage=None)["usage"]["input_tokens"]
    assert 0 < whole({"content": "x"}, usage="much")["usage"]["input_tokens"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"choices":[]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":1}]}',
        b'{"choices":[{"message":{"content":1}}]}',
        b'{"choices":[{"message":{"tool_calls":[1]}}]}',
    ],
)
def test_what_is_no_completion(body):
    """It is an error with a sentence, not a crash."""
    with pytest.raises(SpeechError):
        speech().answer(body)


# -- there and back ------------------------------------------------------------------------------


@given(
    st.text(min_size=1), st.text(min_size=1), st.lists(st.dictionaries(st.text(), st.integers()))
)
def test_content_comes_back_as_it_went(thought, text, inputs):
    """What a model said, given back as history, is the message that the model had said."""
    message = {
        "role": "assistant",
        "content": text,
        "reasoning_content": thought,
        "tool_calls": [
            {
                "id": f"id{number}",
                "type": "function",
                "function": {
                    "name": "t",
                    "arguments": json.dumps(given_input, separators=(",", ":")),
                },
            }
            for number, given_input in enumerate(inputs)
        ],
    }
    content = whole(message)["content"]
    history = chat_of(
        messages=[{"role": "assistant", "content": content}, {"role": "user", "content": "go on"}]
    )["messages"][0]
    calls = history.pop("tool_calls", [])
    expected = [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]]

    assert expected == [json.loads(call["function"]["arguments"]) for call in calls]
    assert {key: message[key] for key in ("role", "content", "reasoning_content")} == history


# -- what is not translated ----------------------------------------------------------------------


def test_native_answers_pass_as_they_are():
    """Only comments and the gateway's own errors are put into Anthropic's words."""
    native = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ours = b'data: {"error":{"message":"no","type":"backend_error","code":"stream_broken"}}\n\n'
    speech_of_native = NativeMessagesSpeech()

    assert (b"{}", native, native) == (
        speech_of_native.answer(b"{}"),
        speech_of_native.feed(native),
        speech_of_native.end(native),
    )
    assert [("ping", {"type": "ping"})] == parsed(speech_of_native.feed(b": keep-alive\n\n"))
    assert "error" == parsed(speech_of_native.end(ours))[0][0]


def test_one_error_is_enough():
    """After a backend's own error the gateway's is not given, too."""
    error = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n'
    ours = b'data: {"error":{"message":"no","type":"backend_error","code":"stream_broken"}}\n\n'
    native = NativeMessagesSpeech()

    assert (error, b"") == (native.feed(error), native.end(ours))
