"""What was said of a broken answer, and the request that asks for the rest."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from baseload.apis import resume
from baseload.apis.resume import (
    ASSISTANT,
    BETA_CHAT,
    CHAT,
    COMPLETIONS,
    CONTINUE,
    PREFIX,
    PROMPT,
    RESTART,
    Said,
    can_continue,
    continuation,
    ways_of,
)
from tests import FUZZ

MESSAGES = [{"role": "user", "content": "Hi"}]


def chat(**fields):
    """Give a chat request's body."""
    return json.dumps({"model": "m", "messages": MESSAGES, "stream": True, **fields}).encode()


def completion(**fields):
    """Give a completion request's body."""
    return json.dumps({"model": "m", "prompt": "Once", "stream": True, **fields}).encode()


def event(delta=None, finish=None, **more):
    """Give one event of a chat's stream."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more}
    chunk = {
        "id": "c-1",
        "created": 7,
        "model": "m-1",
        "system_fingerprint": "fp",
        "choices": [choice],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def said_of(*deltas):
    """Give what was said by these deltas."""
    said = Said()
    said.feed(b"".join(event(delta) for delta in deltas))
    return said


THOUGHT = {"content": None, "reasoning_content": "Hm. "}
SPOKEN = said_of({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"})
THINKING = said_of({"role": "assistant"}, THOUGHT, THOUGHT)
BOTH = said_of({"role": "assistant"}, THOUGHT, {"content": "Hello"})

# -- what was said -------------------------------------------------------------------------------


def test_said():
    """Text, reasoning, who speaks and how many chunks are read; comments and usage are passed."""
    said = Said()
    said.feed(b": keep-alive\n\n" + event({"role": "assistant", "content": ""}))
    said.feed(
        event({"reasoning_content": "Hm"}) + event({"content": "Hé"}) + event({"content": "l"})
    )
    said.feed(b'data: {"choices":[],"usage":{"prompt_tokens":1}}\r\n\r\n')

    assert ("Hél", "Hm", 3, 1) == (said.content, said.reasoning, said.chunks, said.reasoning_chunks)
    assert ("c-1", 7, "m-1", "fp") == (said.id, said.created, said.model, said.system_fingerprint)
    assert said.has_role
    assert said.is_continuable


def test_said_of_a_completion():
    """A completion's text is content, and has no role."""
    said = Said()
    said.feed(b'data: {"id":"x","choices":[{"index":0,"text":" upon","finish_reason":null}]}\n\n')

    assert (" upon", False, True) == (said.content, said.has_role, said.is_continuable)


@pytest.mark.parametrize(
    "bad",
    [
        event({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}),
        event({"function_call": {"name": "f"}}),
        event({"refusal": "No"}),
        event({"audio": {"data": "x"}}),
        event({"content": "x"}, logprobs={"content": []}),
        event({"content": "x"}, index=1),
        event({"content": ["x"]}),
        event({"content": "x"}, finish="stop"),
        event({"reasoning_content": "again"}),
        b'data: {"choices":[{"index":0},{"index":1}]}\n\n',
        b'data: {"choices":[5]}\n\n',
        b'data: {"choices":{"a":1}}\n\n',
        b'data: {"error":{"message":"x"}}\n\n',
        b"data: [1]\n\n",
        b"data: {\n\n",
        b'data: {"a":"\\ud83d"}\n\n',
    ],
)
def test_what_cannot_be_continued(bad):
    """Anything but one unfinished plain text ends the hope of continuing, for good."""
    said = said_of({"content": "Hello"})
    said.feed(bad)
    said.feed(event({"content": " you"}))

    assert not said.is_continuable


def test_said_is_bounded(monkeypatch):
    """A text above the bound is not continued."""
    monkeypatch.setattr(resume, "TEXT_CHARS_MAX", 5)

    assert said_of({"content": "12345"}).is_continuable
    assert not said_of({"content": "12345"}, {"content": "6"}).is_continuable
    assert not said_of({"reasoning": "123"}, {"content": "456"}).is_continuable


# -- what was said, read at once -----------------------------------------------------------------

COMPACT = (",", ":")
"""How servers write; only such events are read at once."""
SPACED = (", ", ": ")
FACE = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m-1"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
SHAPES = {
    "openai": lambda text: ({"content": text}, {"logprobs": None}),
    "vllm": lambda text: ({"content": text}, {"logprobs": None, "token_ids": None}),
    "vllm_thinks": lambda text: ({"reasoning_content": text}, {"logprobs": None}),
    "deepseek": lambda text: ({"content": text, "reasoning_content": None}, {"logprobs": None}),
    "deepseek_thinks": lambda text: ({"content": None, "reasoning_content": text}, {}),
    "tool": lambda text: ({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}, {}),
    "nulls": lambda text: ({"content": text, "tool_calls": None, "refusal": None}, {}),
    "refusal": lambda text: ({"content": text, "refusal": text}, {}),
    "role": lambda text: ({"role": "assistant", "content": ""}, {}),
    "nothing": lambda text: ({}, {}),
    "finish": lambda text: ({"content": text}, {"finish_reason": "stop"}),
    "second": lambda text: ({"content": text}, {"index": 1}),
}
PLAIN_SHAPES = st.sampled_from(["openai", "vllm", "deepseek", "nulls"])
MARKS = ("", '"', "\\", '\\"', "\n\n", "data: ", ": x\n\n", "\r\n", "é", "😀", "\0", "\\u0041")
MARKS += ('"content":"', '"content":"x"', '"index":0', '"error":', '"delta":{')
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(MARKS))
PLAIN_EVENTS = st.tuples(PLAIN_SHAPES, TEXTS)
OTHER_EVENTS = st.tuples(st.sampled_from([*SHAPES, "usage", "comment", "end"]), TEXTS)


def written(shape, text, separators, is_ascii):
    """Give one event as a server of that shape writes it."""
    if shape == "comment":
        return b": keep-alive\n\n"
    if shape == "end":
        return b"data: [DONE]\n\n"
    chunk = FACE | {"choices": [], "usage": USAGE}
    if shape != "usage":
        delta, more = SHAPES[shape](text)
        choice = {"index": 0, "delta": delta, "finish_reason": None} | more
        chunk = FACE | {"choices": [choice]}
    data = json.dumps(chunk, ensure_ascii=is_ascii, separators=separators)
    return f"data: {data}\n\n".encode()


def known(said):
    """Give all that is known of what was said."""
    texts = said.content, said.reasoning
    return texts, said.chunks, said.reasoning_chunks, said.is_continuable, said.id, said.has_role


@FUZZ
@given(
    st.lists(st.one_of(PLAIN_EVENTS, PLAIN_EVENTS, OTHER_EVENTS), max_size=12),
    st.lists(st.integers(1, 12), max_size=12),
    st.booleans(),
)
@example([("openai", '"content":"'), ("openai", ""), ("usage", "")], [3], False)
@example([("openai", "a"), ("comment", ""), ("openai", "data: ")], [3], False)
@example([("openai", ""), ("vllm_thinks", "Hm"), ("openai", "x")], [1, 1], False)
@example([("openai", "a"), ("openai", '"},{"content":"b"'), ("tool", "x")], [1, 2], True)
def test_events_read_at_once_say_what_they_say_one_by_one(events, batches, is_ascii):
    """However they are shaped and batched, whatever their text looks like, nothing is different."""
    at_once, one_by_one = Said(), Said()
    rest = [("role", ""), *events]
    for event in rest:
        one_by_one.feed(written(*event, SPACED, is_ascii))
    for size in [1, *batches, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        at_once.feed(b"".join(written(*event, COMPACT, is_ascii) for event in batch))

    assert known(one_by_one) == known(at_once)


def test_plain_events_are_read_at_once(monkeypatch):
    """Text in a server's usual form costs no look at each event, and is the same all the same."""
    said = said_of({"role": "assistant", "content": ""})
    monkeypatch.setattr(resume, "chunks", None)
    for shape in ("openai", "vllm", "deepseek", "nulls"):
        texts = [f'{shape} "\\', "é😀\n\n", '"content":"']
        said.feed(b"".join(written(shape, text, COMPACT, False) for text in texts))

    assert (12, True) == (said.chunks, said.is_continuable)
    assert 4 == said.content.count('"\\é😀\n\n"content":"')


# -- what can be continued -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [], "n": 1, "logprobs": False, "response_format": {"type": "text"}},
        {"tools": None, "n": None, "guided_json": None, "modalities": ["text"]},
        {"temperature": 1, "user": "u", "stop": ["x"], "max_tokens": 5},
    ],
)
def test_plain_requests_can_be_continued(fields):
    """Plain text asked for once can be continued, whatever harmless fields stand by."""
    assert can_continue(CHAT, chat(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function"}]},
        {"functions": [{"name": "f"}]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"logprobs": 0},
        {"top_logprobs": 2},
        {"n": 2},
        {"n": True},
        {"n": "1"},
        {"n": 1.0},
        {"best_of": 2},
        {"echo": True},
        {"suffix": "."},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "x"}},
        {"guided_json": {}},
        {"structured_outputs": {"json": {}}},
        {"grammar": "root ::= x"},
        {"messages": 5},
        {"messages": [5]},
    ],
)
def test_what_is_more_than_plain_text_is_not_continued(fields):
    """Tools, schemas, several answers and log probabilities forbid to continue."""
    assert not can_continue(CHAT, chat(**fields))


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (COMPLETIONS, completion(), True),
        (COMPLETIONS, completion(prompt=["Once", "Twice"]), False),
        (COMPLETIONS, completion(prompt=[1, 2]), False),
        (CHAT, completion(), False),
        (b"/embeddings", completion(), False),
        (CHAT, b"[]", False),
        (CHAT, b"{", False),
        (CHAT, b'{"messages":[],"model":"\xff"}', False),
    ],
)
def test_paths_that_can_be_continued(path, body, expected):
    """Only chats, and completions of one string, can be continued."""
    assert expected is can_continue(path, body)


# -- the request for the rest --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("deepseek", (PREFIX, RESTART)),
        ("vllm", (CONTINUE, RESTART)),
        ("sglang", (CONTINUE, RESTART)),
        ("llama.cpp", (ASSISTANT, RESTART)),
        ("prefix", (PREFIX, RESTART)),
        ("continue_final_message", (CONTINUE, RESTART)),
        ("assistant", (ASSISTANT, RESTART)),
        ("off", (RESTART,)),
        ("", (PROMPT, RESTART)),
    ],
)
def test_ways(kind, expected):
    """Each kind of server, and each word of the fleet file, has its ways in order."""
    assert expected == ways_of(kind)


@pytest.mark.parametrize(
    ("way", "said", "path", "message", "more"),
    [
        (PREFIX, SPOKEN, BETA_CHAT, {"content": "Hello", "prefix": True}, {}),
        (PREFIX, BOTH, BETA_CHAT, {"content": "Hello", "prefix": True, "reasoning_content": "Hm. "}, {}),
        (PREFIX, THINKING, BETA_CHAT, {"content": "", "prefix": True, "reasoning_content": "Hm. Hm. "}, {}),
        (CONTINUE, SPOKEN, CHAT, {"content": "Hello"}, {"continue_final_message": True, "add_generation_prompt": False}),
        (CONTINUE, BOTH, CHAT, {"content": "Hello"}, {"continue_final_message": True, "add_generation_prompt": False}),
        (ASSISTANT, SPOKEN, CHAT, {"content": "Hello"}, {}),
        (ASSISTANT, BOTH, CHAT, {"content": "Hello"}, {}),
    ],
)  # fmt: skip
def test_continuation_of_a_chat(way, said, path, message, more):
    """The text so far goes along as a last message of the assistant, in each server's way."""
    found = continuation(CHAT, chat(), said, way)

    expected = json.loads(chat())
    expected["messages"].append({"role": "assistant", **message})
    assert (path, way) == (found.path, found.way)
    assert {**expected, **more} == json.loads(found.body)


@pytest.mark.parametrize("way", [PREFIX, CONTINUE, ASSISTANT, PROMPT])
def test_continuation_of_a_completion(way):
    """A completion goes on from a longer prompt, whatever the server's way with chats is."""
    found = continuation(COMPLETIONS, completion(max_tokens=9), SPOKEN, way)

    assert (COMPLETIONS, PROMPT) == (found.path, found.way)
    assert json.loads(completion(prompt="OnceHello", max_tokens=7)) == json.loads(found.body)


@pytest.mark.parametrize(
    ("said", "way", "fields"),
    [
        (SPOKEN, RESTART, {}),
        (SPOKEN, PROMPT, {}),
        (THINKING, CONTINUE, {}),
        (THINKING, ASSISTANT, {}),
        (Said(), PREFIX, {}),
        (SPOKEN, PREFIX, {"messages": []}),
        (SPOKEN, CONTINUE, {"messages": [*MESSAGES, {"role": "assistant", "content": "My"}]}),
    ],
)
def test_restart(said, way, fields):
    """What a way cannot carry is asked for again, with the caller's very bytes."""
    body = chat(max_tokens=5, **fields)

    assert (CHAT, body, RESTART) == continuation(CHAT, body, said, way)


def test_a_completion_that_thought_begins_again():
    """A prompt cannot hold a thought."""
    assert RESTART is continuation(COMPLETIONS, completion(), BOTH, PROMPT).way


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 10}, {"max_tokens": 8}),
        ({"max_tokens": 2, "max_completion_tokens": 5}, {"max_tokens": 1, "max_completion_tokens": 3}),
        ({"min_tokens": 1, "max_tokens": 9}, {"min_tokens": 0, "max_tokens": 7}),
        ({"max_tokens": None}, {"max_tokens": None}),
        ({"max_tokens": "9"}, {"max_tokens": "9"}),
    ],
)  # fmt: skip
def test_the_length_asked_for_shrinks(fields, expected):
    """What was said counts against the length asked for, which never falls below one."""
    found = json.loads(continuation(CHAT, chat(**fields), SPOKEN, CONTINUE).body)

    assert expected == {key: found[key] for key in expected}


def test_the_callers_fields_stay():
    """Every field and message that need not change stays byte for byte."""
    message = b'{ "role":"user", "content" : "\\u0048\xc3\xa9" }'
    body = (
        b'{"model":"m", "x": 1.50 ,"messages":[ %b ],"stream":true,"stream_options":{ }}' % message
    )
    found = continuation(CHAT, body, SPOKEN, ASSISTANT).body

    assert [True] * 3 == [part in found for part in (message, b'"x":1.50', b'"stream_options":{ }')]


@pytest.mark.parametrize("way", [PREFIX, RESTART])
def test_a_stream_is_asked_for(way):
    """Who asked for no stream is continued in one, with usage."""
    found = json.loads(continuation(CHAT, chat(stream=False), SPOKEN, way).body)

    assert (True, {"include_usage": True}) == (found["stream"], found["stream_options"])


def test_no_continuation():
    """There is none of an answer that was more than text, nor for a request that wants more."""
    said = said_of({"content": "x"}, {"refusal": "No"})

    assert continuation(CHAT, chat(), said, PREFIX) is None
    assert continuation(CHAT, chat(n=2), SPOKEN, PREFIX) is None
    assert continuation(CHAT, b"{", SPOKEN, PREFIX) is None
