"""Answers put together from their chunks are what the server would have said unstreamed.

The streams are written by hand in the shapes that each server's documentation shows.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion

from baseload.apis import assemble
from baseload.apis.assemble import Assembly, AssemblyError, to_stream
from baseload.apis.resume import CONTINUE, Said
from baseload.apis.seam import Seam, note
from tests import FUZZ

DONE = b"data: [DONE]\n\n"
ASKED = {"stream": True, "stream_options": {"include_usage": True}}

# -- the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m"}', b'{"stream":true,"stream_options":{"include_usage":true},"model":"m"}'),
        (b' {\n "m":1 }', b' {"stream":true,"stream_options":{"include_usage":true},\n "m":1 }'),
        (b" { } ", b' {"stream":true,"stream_options":{"include_usage":true} } '),
        (b"[]", b"[]"),
        (b'{"stream"', b'{"stream"'),
        (b"", b""),
    ],
)
def test_to_stream(body, expected):
    """The two fields are put in front, and what is no request goes out as it came."""
    assert expected == to_stream(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","stream":false}',
        b'{"stream":null,"model":"m","stream":false}',
        b'{"\\u0073tream":false,"model":"m"}',
        b'{"stre\\u0061m":false,"model":"m"}',
        b'{"model":"m","stream_options":{"include_usage":false}}',
        b'{"model":"m"}',
    ],
)
def test_to_stream_leaves_no_second_wish(body):
    """However the caller wrote it, there is one `stream` in the end, and it is true."""
    pairs = json.loads(to_stream(body), object_pairs_hook=list)

    assert sorted([("model", "m"), ("stream", True), ("stream_options", [("include_usage", True)])]) == sorted(pairs)  # fmt: skip


def test_to_stream_keeps_other_values():
    """A value that only speaks of streams, and numbers as they were written, stay."""
    body = b'{"x": 1.50, "messages":[{"stream":false, "content":"\\"stream\\":"}],"stream":false}'
    found = to_stream(body)

    assert b'[{"stream":false, "content":"\\"stream\\":"}]' in found
    assert b'"x":1.50' in found


@FUZZ
@given(
    fields=st.dictionaries(
        st.sampled_from(["model", "stream", "stream_options", "x", "s"]) | st.text(max_size=4),
        st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
    ),
    indent=st.none() | st.integers(0, 2),
)
def test_to_stream_changes_nothing_else(fields, indent):
    """Whatever the fields and their layout, all but the two read as before."""
    body = json.dumps(fields, indent=indent).encode()

    assert {**fields, **ASKED} == json.loads(to_stream(body))


# -- the answer ----------------------------------------------------------------------------------


def events(*chunks):
    """Give chunks as a stream's events."""
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + DONE


def streamed(head, deltas, finish, usage, **more):
    """Give the chunks of one choice: a delta each, then the finish, then the usage alone."""
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]  # fmt: skip
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish, **more})
    chunks = [{**head, "choices": [choice]} for choice in choices]
    return events(*chunks, {**head, "choices": [], "usage": usage})


def assembled(stream):
    """Give what is put together of a stream."""
    assembly = Assembly()
    assembly.feed(stream)
    return json.loads(assembly.answer())


def whole(head, message, finish, usage, **more):
    """Give the answer as the server says it unstreamed."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "logprobs": None}
    return {
        **head,
        "object": "chat.completion",
        "choices": [{**choice, "finish_reason": finish, **more}],
        "usage": usage,
    }


def without_logprobs(answer):
    """Give an answer of a server that does not name what was not asked for."""
    del answer["choices"][0]["logprobs"]
    return answer


HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TOOL_DELTAS = [
    {"role": "assistant", "content": None},
    {"tool_calls": [{"index": 0, "id": "t0", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
    {"tool_calls": [{"index": 0, "id": "t0", "function": {"name": "f", "arguments": ":1}"}}]},
    {"tool_calls": [{"index": 1, "id": "t1", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
]  # fmt: skip
TOOL_CALLS = [
    {"id": "t0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
    {"id": "t1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]

SHAPES = {
    "vllm": (
        streamed(
            HEAD,
            [{"role": "assistant", "content": ""}, {"content": "Hé"}, {"content": "llo"}],
            "stop",
            USAGE,
            stop_reason=None,
        ),
        whole(HEAD, {"content": "Héllo"}, "stop", USAGE, stop_reason=None),
    ),
    "vllm with reasoning": (
        streamed(
            HEAD,
            [{"role": "assistant", "content": ""}, {"reasoning": "H"}, {"reasoning": "m"}, {"content": "Yes"}],
            "length",
            USAGE,
        ),
        whole(HEAD, {"content": "Yes", "reasoning": "Hm"}, "length", USAGE),
    ),
    "deepseek": (
        streamed(
            {**HEAD, "system_fingerprint": "fp", "usage": None},
            [
                {"role": "assistant", "content": None, "reasoning_content": ""},
                {"content": None, "reasoning_content": "Hm"},
                {"content": "Yes", "reasoning_content": None},
            ],
            "stop",
            {**USAGE, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 5},
        ),
        whole(
            {**HEAD, "system_fingerprint": "fp"},
            {"content": "Yes", "reasoning_content": "Hm"},
            "stop",
            {**USAGE, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 5},
        ),
    ),
    "llama.cpp": (
        events(
            {"choices": [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}], **HEAD},
            {"choices": [{"finish_reason": None, "index": 0, "delta": {"content": "Hi"}}], **HEAD},
            {"choices": [{"finish_reason": "stop", "index": 0, "delta": {}}], **HEAD, "created": 8},
            {"choices": [], **HEAD, "created": 9, "usage": USAGE, "timings": {"predicted_n": 2, "predicted_ms": 1.25}},
        ),
        {**without_logprobs(whole(HEAD, {"content": "Hi"}, "stop", USAGE)), "timings": {"predicted_n": 2, "predicted_ms": 1.25}},
    ),
    "tool calls": (
        streamed(HEAD, TOOL_DELTAS, "tool_calls", USAGE),
        whole(HEAD, {"content": None, "tool_calls": TOOL_CALLS}, "tool_calls", USAGE),
    ),
    "function call": (
        streamed(HEAD, [{"role": "assistant", "content": None}, {"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}], "function_call", USAGE),
        whole(HEAD, {"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call", USAGE),
    ),
    "refusal": (
        streamed(HEAD, [{"role": "assistant", "content": "", "refusal": None}, {"refusal": "I "}, {"refusal": "won't"}], "stop", USAGE),
        whole(HEAD, {"content": None, "refusal": "I won't"}, "stop", USAGE),
    ),
    "unknown fields": (
        streamed(HEAD, [{"role": "assistant", "content": "a", "mood": "so"}, {"mood": "-so", "level": 1}, {"level": 2, "marks": [1]}, {"marks": [2]}], "stop", USAGE, weight=3),
        whole(HEAD, {"content": "a", "mood": "so-so", "level": 2, "marks": [1, 2]}, "stop", USAGE, weight=3),
    ),
    "nothing said": (
        streamed(HEAD, [{"role": "assistant", "content": ""}], "stop", USAGE),
        whole(HEAD, {"content": ""}, "stop", USAGE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_an_assembled_chat(shape):
    """What was streamed is put together as the server would have said it at once."""
    stream, expected = SHAPES[shape]
    found = assembled(b": keep-alive\n\n" + stream)

    assert expected == found
    assert ChatCompletion.model_validate(found, strict=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_other_line_ends(shape):
    """Events that end with CRLF, and several at once or one by one, give the same answer."""
    stream, expected = SHAPES[shape]
    found = assembled(stream.replace(b"\n", b"\r\n"))
    one_by_one = Assembly()
    for event in stream.split(b"\n\n")[:-1]:
        one_by_one.feed(event + b"\n\n")

    assert expected == found
    assert assembled(stream) == json.loads(one_by_one.answer())


def test_several_choices_with_log_probabilities():
    """Choices are told apart by their number, and their log probabilities strung together."""
    spoken = [(1, "b"), (0, "a"), (1, "d"), (0, "c")]
    chunks = [
        {**HEAD, "choices": [{"index": index, "delta": {"role": "assistant", "content": text}, "logprobs": {"content": [{"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []}], "refusal": None}, "finish_reason": None}]}
        for index, text in spoken
    ]  # fmt: skip
    ends = [
        {**HEAD, "choices": [{"index": i, "delta": {}, "finish_reason": "stop"}]} for i in (1, 0)
    ]
    found = assembled(events(*chunks, *ends))
    choices = found["choices"]

    assert [(0, "ac"), (1, "bd")] == [(c["index"], c["message"]["content"]) for c in choices]
    assert ["a", "c"] == [item["token"] for item in choices[0]["logprobs"]["content"]]
    assert ChatCompletion.model_validate(found, strict=True)


def test_an_assembled_completion():
    """A completion is put together as one, its log probabilities, too."""
    head = {"id": "x", "object": "text_completion", "created": 7, "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "text": text, "logprobs": {"tokens": [text], "text_offset": [at]}, "finish_reason": end}]}
        for text, at, end in ((" upon", 0, None), ("", 5, None), (" a", 5, "length"))
    ]  # fmt: skip
    found = assembled(events(*chunks, {**head, "choices": [], "usage": USAGE}))

    logprobs = {"tokens": [" upon", "", " a"], "text_offset": [0, 5, 5]}
    choice = {"index": 0, "text": " upon a", "logprobs": logprobs, "finish_reason": "length"}
    assert {**head, "choices": [choice], "usage": USAGE} == found
    assert Completion.model_validate(found, strict=True)


def test_a_resumed_answer_is_assembled():
    """What a seam gives back is put together as one answer, with one usage."""
    stream, expected = SHAPES["vllm"]
    first = b"".join(event + b"\n\n" for event in stream.split(b"\n\n")[:2])
    said, assembly = Said(), Assembly()
    said.feed(first)
    assembly.feed(first)
    rest = streamed({**HEAD, "id": "other", "model": "n"}, [{"role": "assistant", "content": ""}, {"content": "llo"}], "stop", {**USAGE, "prompt_tokens": 6, "completion_tokens": 1}, stop_reason=None)  # fmt: skip
    assembly.feed(Seam(said, CONTINUE).feed(rest) + note("edge", 2))

    assert expected == json.loads(assembly.answer())


@pytest.mark.parametrize(
    "grow",
    [
        lambda n: streamed(HEAD, [{"content": "x" * 50}], None, None),
        lambda n: streamed(HEAD, [{"content": "x" * 50, "role": None}], None, None),
        lambda n: streamed(HEAD, [{"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}], None, None),
        lambda n: streamed(HEAD, [{f"key {n}": None}], None, None),
        lambda n: streamed(HEAD, [], None, None, token_ids=[n]),
        lambda n: events({f"key {n}": None}),
        lambda n: events({"choices": [{"index": n}]}),
    ],
)  # fmt: skip
def test_an_answer_is_bounded(monkeypatch, grow):
    """An answer that outgrows the bound is given up, whatever it grows by."""
    monkeypatch.setattr(assemble, "ANSWER_BYTES_MAX", 1500)
    assembly = Assembly()

    with pytest.raises(AssemblyError, match="larger than 1500 bytes"):
        for number in range(100):
            assembly.feed(grow(number))


def test_only_what_grows_counts(monkeypatch):
    """A chunk's wrapping, keep-alives and usage in each chunk do not count against the bound."""
    monkeypatch.setattr(assemble, "ANSWER_BYTES_MAX", 1500)
    assembly = Assembly()
    plain = {"index": 0, "delta": {"role": None, "content": "x"}, "finish_reason": None}
    for _ in range(500):
        assembly.feed(events({**HEAD, "choices": [plain], "usage": USAGE}))

    assert "x" * 500 == json.loads(assembly.answer())["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "bad",
    [b"data: {\n\n", b"data: []\n\n", b'data: {"choices":5}\n\n', b'data: {"choices":[5]}\n\n', b'data: {"choices":[{"index":[]}]}\n\n'],
)  # fmt: skip
def test_what_is_no_chunk(bad):
    """Garbage cannot be put together."""
    with pytest.raises(AssemblyError):
        Assembly().feed(bad)


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 2000])
def test_deep_nesting(depth):
    """However deep a chunk is nested, it is merged or refused with the one error."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    try:
        found = assembled(b'data: {"choices":[{"index":0,"delta":{"z":%b}}]}\n\n' % deep)
    except AssemblyError:
        assert depth > 300
        return

    assert json.loads(deep) == found["choices"][0]["message"]["z"]


@FUZZ
@given(st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "delta", "index", "content", "tool_calls", "function", "id", "name", "text", "logprobs", "usage", "role"]), inner, max_size=4),
    max_leaves=20,
).filter(lambda value: isinstance(value, dict)), st.booleans())  # fmt: skip
def test_odd_chunks_end_well(chunk, is_wrapped):
    """Whatever a chunk holds, it is merged or refused with the one error."""
    if is_wrapped:
        chunk = {"choices": [{"index": 0, "delta": chunk, **chunk}]}
    assembly = Assembly()
    try:
        assembly.feed(events(chunk, chunk))
    except AssemblyError:
        return

    assert isinstance(json.loads(assembly.answer()), dict)
