"""A chat's answer, whole or as a stream, in the words of the Messages API."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.anthropic.dialect import NativeSpeech
from baseload.apis.anthropic.speech import TOOLS_MAX
from baseload.apis.dialect import SpeechError
from tests.apis.anthropic_kit import END, USAGE, chat_of, event, parsed, read_message, speech, tool

WEATHER = [
    event({"role": "assistant", "content": ""}),
    event({"reasoning_content": "let me "}),
    event({"reasoning_content": "see"}),
    event({"content": "I "}),
    event({"content": "look."}),
    tool(0, "a", "weather", ""),
    tool(0, arguments='{"city":'),
    tool(0, arguments='"Bern"}'),
    tool(1, "b", "weather", '{"city":"Rome"}'),
    event({}, "tool_calls"),
    event(usage=USAGE),
    END,
]
WEATHER_CONTENT = [
    {"type": "thinking", "thinking": "let me see", "signature": ""},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Bern"}},
    {"type": "tool_use", "id": "b", "name": "weather", "input": {"city": "Rome"}},
]


def told(*events, **fields):
    """Give a stream as it is retold."""
    one = speech(stream=True, **fields)
    return one.feed(b"".join(events)) + one.end(b"")


def whole(message, finish="stop", usage=USAGE, **more):
    """Give a chat completion as a message."""
    choice = {"index": 0, "message": message, "finish_reason": finish} | more
    body = {"id": "chatcmpl-7", "model": "served", "choices": [choice], "usage": usage}
    return json.loads(speech(stop_sequences=["##"]).answer(json.dumps(body).encode()))


# -- whole answers -------------------------------------------------------------------------------


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


# -- streams -------------------------------------------------------------------------------------


def test_a_stream_with_all_kinds_of_blocks():
    """Thoughts, text and two tools come block by block, and usage at the end."""
    message = read_message(told(*WEATHER))

    assert WEATHER_CONTENT == message["content"]
    assert ("msg_7", "served", "tool_use") == tuple(
        message[key] for key in ("id", "model", "stop_reason")
    )
    assert (6, 4, 5) == tuple(
        message["usage"][key]
        for key in ("input_tokens", "cache_read_input_tokens", "output_tokens")
    )


def test_arguments_pass_in_pieces():
    """A tool's arguments are given on as they come, not gathered."""
    deltas = [data["delta"] for _, data in parsed(told(*WEATHER)) if "delta" in data]

    assert ['{"city":', '"Bern"}', '{"city":"Rome"}'] == [
        delta["partial_json"] for delta in deltas if "partial_json" in delta
    ]


@given(st.lists(st.integers(0, len(WEATHER)), max_size=6))
def test_any_cut_between_events(cuts):
    """However events are handed over, together or one by one, the same bytes come out."""
    one, out = speech(stream=True), b""
    edges = [0, *sorted(cuts), len(WEATHER)]
    for start, end in pairwise(edges):
        out += one.feed(b"".join(WEATHER[start:end]))

    assert told(*WEATHER) == out + one.end(b"")


PARTS = st.lists(
    st.tuples(st.sampled_from(["reasoning_content", "content", "tool"]), st.text(max_size=12)),
    max_size=6,
)


@given(PARTS, st.data())
def test_any_cut_within_an_answer(parts, data):
    """However a server cuts its text and arguments into chunks, the message is the same."""
    chunks, expected = [], []
    for number, (kind, text) in enumerate(parts):
        given_text = json.dumps({"x": text}) if kind == "tool" else text
        edges = sorted(data.draw(st.lists(st.integers(0, len(given_text)), max_size=3)))
        edges = [0, *edges, len(given_text)]
        pieces = [given_text[a:b] for a, b in pairwise(edges)]
        if kind == "tool":
            chunks += [tool(number, f"id{number}", "t")]
            chunks += [tool(number, arguments=piece) for piece in pieces]
            one = {"type": "tool_use", "id": f"id{number}", "name": "t", "input": {"x": text}}
            expected.append(one)
            continue
        chunks += [event({kind: piece}) for piece in pieces]
        key = "text" if kind == "content" else "thinking"
        if text and expected and expected[-1]["type"] == key:
            expected[-1][key] += text
        elif text:
            signed = {"signature": ""} if key == "thinking" else {}
            expected.append({"type": key, key: text} | signed)
    chunks += [event({"content": ""}), event({}, "stop"), END]

    assert expected == read_message(told(*chunks))["content"]


def test_tools_told_in_turns():
    """Pieces of two tools in turns: the second waits until the first is whole."""
    message = read_message(
        told(
            tool(0, "a", "t", '{"x":'), tool(1, "b", "u", '{"y"'), tool(0, arguments="1}"),
            tool(1, arguments=":2}"), event({}, "tool_calls"), END,
        )
    )  # fmt: skip

    assert [({"x": 1}, "a"), ({"y": 2}, "b")] == [(b["input"], b["id"]) for b in message["content"]]


def test_tools_without_numbers():
    """Without a number a new id is a new call."""

    def piece(arguments, **call):
        function = {"name": "t", "arguments": arguments}
        return event({"tool_calls": [call | {"function": function}]})

    message = read_message(
        told(piece('{"x":', id="a"), piece("1}"), piece("{}", id="b"), event({}, "stop"), END)
    )

    assert [{"x": 1}, {}] == [block["input"] for block in message["content"]]


def test_a_tool_without_arguments():
    """Whatever comes after a tool that is given nothing is told all the same."""
    message = read_message(told(tool(0, "a", "t"), tool(1, "b", "t", "{}"), event({}, "stop"), END))

    assert [{}, {}] == [block["input"] for block in message["content"]]


def test_comments_become_pings():
    """A sign of life is one in Anthropic's words, also before the message has begun."""
    names = [name for name, _ in parsed(told(b": keep-alive\n\n", *WEATHER))]

    assert ["ping", "message_start"] == names[:2]


def test_usage_that_comes_late_or_never():
    """Late, it is in the end; never, chunks stand for tokens and the prompt is estimated."""
    said = [event({"content": "a"}), event({"content": "b"}), event({}, "length")]
    late = read_message(told(*said, event(usage=USAGE), END))
    never = read_message(told(*said))

    assert ("max_tokens", 5) == (late["stop_reason"], late["usage"]["output_tokens"])
    assert ("max_tokens", 2) == (never["stop_reason"], never["usage"]["output_tokens"])
    assert never["usage"]["input_tokens"] > 0


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_stream_that_breaks_off():
    """Without a finish reason an answer ends in an error, never in silence."""
    for last in ([], [END]):
        found = read_message(told(event({"content": "a"}), *last))

        assert ("error", "api_error") == (found["type"], found["error"]["type"])


def test_errors_inside_a_stream():
    """An error has Anthropic's name; nothing comes after it."""
    busy = b'data: {"error":{"message":"full","type":"server_overloaded","code":null}}\n\n'
    ours = b'data: {"error":{"message":"no","type":"backend_error","code":"stream_broken","request_id":"r"}}\n\n'
    found = read_message(told(event({"content": "a"}), busy, ours))

    assert ("overloaded_error", "full") == (found["error"]["type"], found["error"]["message"])
    assert {
        "type": "error",
        "error": {"type": "api_error", "message": "no", "details": {"error_code": "stream_broken"}},
        "request_id": "r",
    } == read_message(told(ours))


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[1]}\n\n',
        b'data: {"choices":[{"index":1}]}\n\n',
        b'data: {"choices":[{"delta":{"content":1}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":1}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":[],"id":{},"function":{}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":1}}]}}]}\n\n',
        tool(0, "a", arguments="{}") + event({}, "stop") + END,
        tool(0, "a", "t", "{}") + event({"content": "x"}) + tool(0, arguments="{}"),
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_misshapen_chunks(bad):
    """They end the answer in an error; nothing crashes, and what came before stands."""
    found = read_message(told(event({"content": "a"}), bad, event({"content": "b"}), END))

    assert "error" == found["type"]


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes(lines):
    """Whatever a server sends, the retelling is well-formed and has an end."""
    stream = b"".join(
        b"data: " + line.replace(b"\n", b"").replace(b"\r", b"") + b"\n\n" for line in lines
    )

    assert read_message(told(event({"content": "a"}), stream))["type"] in ("error", "message")


WORDS = st.none() | st.text(max_size=3) | st.integers(0, 3) | st.sampled_from(["{}", '{"x":', "1}"])
FUNCTION = st.dictionaries(st.sampled_from(["name", "arguments"]), WORDS)
TOOL_CALL = st.fixed_dictionaries({"index": WORDS, "id": WORDS, "function": FUNCTION | WORDS})
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": WORDS,
        "reasoning": WORDS,
        "refusal": WORDS,
        "tool_calls": st.lists(TOOL_CALL, max_size=3) | WORDS,
    },
)
CHOICE = st.fixed_dictionaries({"delta": DELTA | WORDS}, optional={"finish_reason": WORDS})
CHUNK = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE, max_size=1) | WORDS},
    optional={"usage": WORDS | st.dictionaries(st.sampled_from([*USAGE]), WORDS), "error": WORDS},
)


@given(st.lists(CHUNK, max_size=8))
def test_any_chunks(found):
    """Whatever stands in chunks, the retelling keeps Anthropic's grammar."""
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in found)
    stream = told(event({"content": "a"}), stream, event({}, "stop"), END)

    assert read_message(stream, reads_input=False)["type"] in ("error", "message")


def test_too_many_tools():
    """Each call is remembered, so there is a bound."""
    calls = [tool(number, f"a{number}", "t", "{}") for number in range(TOOLS_MAX + 1)]

    assert "error" == read_message(told(*calls, event({}, "stop"), END))["type"]


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
    speech_of_native = NativeSpeech()

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
    native = NativeSpeech()

    assert (error, b"") == (native.feed(error), native.end(ours))
