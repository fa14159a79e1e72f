"""Whatever a chat's stream holds and however it is cut, a Response says the same."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.assemble import Assembly
from tests import FUZZ
from tests.apis.test_responses_speech import (
    COUNTED,
    DONE,
    answered,
    called,
    delta,
    read,
    speech,
    text_of,
    told,
)

TEXT = st.text('ab\n"\\é☃', min_size=1, max_size=3)
PIECES = st.lists(
    TEXT.map(lambda text: delta(reasoning_content=text))
    | TEXT.map(lambda text: delta(content=text))
    | TEXT.map(lambda text: delta(refusal=text))
    | st.tuples(st.integers(0, 2), TEXT).map(lambda pair: called(*pair, "f"))
    | st.tuples(st.integers(0, 2), TEXT).map(lambda pair: called(*pair))
    | st.just(b": keep-alive\n\n"),
    max_size=12,
)
FINISH = st.sampled_from(["stop", "tool_calls", "length", "content_filter"])


def gist(response):
    """Give what a Response says: thoughts, words, refusals, calls."""
    items = response["output"]
    parts = [part for item in items for part in item.get("content", ())]
    texts = {kind: "".join(part.get("text") or part.get("refusal") or "" for part in parts if part["type"] == kind) for kind in ("reasoning_text", "output_text", "refusal")}  # fmt: skip
    calls = sorted((item["arguments"]) for item in items if item["type"] == "function_call")
    return texts, calls, response["status"], response["usage"]


@FUZZ
@given(PIECES, FINISH, st.data())
def test_however_a_stream_is_cut(pieces, finish, data):
    """Cuts change nothing, and the end says what an answer without a stream would have said."""
    stream = [*pieces, delta(finish=finish), COUNTED, DONE]
    events = told(b"".join(stream))
    spoken, cut = speech(), data.draw(st.lists(st.integers(0, len(stream)), max_size=4).map(sorted))
    ends = [0, *cut, len(stream)]
    groups = [b"".join(stream[a:b]) for a, b in pairwise(ends)]
    assembly = Assembly()
    assembly.feed(b"".join(stream))

    again = b"".join(spoken.feed(group) for group in groups[:-1]) + spoken.end(groups[-1])
    assert events == read(again)
    assert gist(events[-1]["response"]) == gist(answered(assembly.answer()))
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == text_of(events[-1]["response"])


@FUZZ
@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "delta", "index", "content", "tool_calls", "function", "id", "name", "arguments", "logprobs", "usage", "error", "finish_reason", "reasoning_content", "refusal", "message"]), inner, max_size=4),
    max_leaves=20,
).filter(lambda value: isinstance(value, dict)), max_size=3), st.booleans())  # fmt: skip
def test_odd_chunks_end_well(chunks, is_wrapped):
    """Whatever chunks hold, the events are sound and the last one ends them."""
    if is_wrapped:
        chunks = [{"choices": [{"index": 0, "delta": each, "message": each, **each}]} for each in chunks]  # fmt: skip
    stream = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks)
    ends = {"response.completed", "response.incomplete", "error"}

    assert told(stream + DONE)[-1]["type"] in ends
    for each in chunks:
        answered(json.dumps(each).encode())


def test_nesting_is_no_matter():
    """A chunk that is nested too deeply fails; one that is nested deeply passes."""
    for depth in (300, 900, 2000):
        deep = b'{"x":' * depth + b"1" + b"}" * depth
        stream = b'data: {"choices":[{"delta":{"content":"x","z":%b}}]}\n\n' % deep
        assert "error" == told(stream)[-1]["type"]
