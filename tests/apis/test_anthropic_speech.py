"""A chat's stream, retold in the events of the Messages API."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.anthropic.speech import TOOLS_MAX
from tests.apis.anthropic_kit import END, USAGE, event, parsed, read_message, speech, tool

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
