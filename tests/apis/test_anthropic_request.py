"""A request of the Messages API as a chat's: what is renamed, what is rewritten, what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.anthropic.blocks import UnmappedError
from baseload.apis.anthropic.dialect import MESSAGES
from baseload.apis.openai import BadRequestError
from tests.apis.anthropic_kit import ASK, chat_of

TOOL = {"name": "t", "description": "d", "input_schema": {"type": "object"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}


def messages_of(*messages, **fields):
    return chat_of(messages=list(messages), **fields)["messages"]


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def text(said):
    return {"type": "text", "text": said}


def result(call_id, content, **more):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content} | more


def use(call_id, given=None):
    return {"type": "tool_use", "id": call_id, "name": "t", "input": given or {}}


# -- the conversation ----------------------------------------------------------------------------


def test_plain_text():
    """Strings and blocks of text are the same, and the system's words come first."""
    expected = [{"role": "system", "content": "be\n\nbrief"}, {"role": "user", "content": "a\n\nb"}]

    assert expected == messages_of(user(text("a"), text("b")), system=[text("be"), text("brief")])
    assert expected == messages_of({"role": "user", "content": "a\n\nb"}, system="be\n\nbrief")


def test_pictures():
    """Pictures keep their place among the text, as data or by their address."""
    link = {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}}
    (message,) = messages_of(user(text("see"), PNG, text("and"), link))

    assert [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "text", "text": "and"},
        {"type": "image_url", "image_url": {"url": "https://h/x.png"}},
    ] == message["content"]


def test_a_turn_that_used_tools():
    """Thoughts, text and the tools that were used become one message of the assistant."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    found = messages_of(
        user(text("go")),
        assistant(thought, text("first"), use("a", {"x": 1}), use("b")),
        user(result("a", "1"), result("b", [text("2"), text("3")])),
    )

    assert {
        "role": "assistant",
        "content": "first",
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "t", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "t", "arguments": "{}"}},
        ],
    } == found[1]
    assert [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2\n\n3"},
    ] == found[2:]


def test_thoughts_of_all_turns_are_sent_back():
    """DeepSeek wants the reasoning of every turn that used tools, however long ago it was."""
    turn = assistant({"type": "thinking", "thinking": "hm", "signature": ""}, use("a"))
    found = messages_of(user(text("go")), turn, user(result("a", "1")), turn, user(result("a", "")))

    assert [None, "hm", None, "hm", None] == [one.get("reasoning_content") for one in found]


def test_results_come_before_what_the_user_says():
    """Behind the call that they answer stand the results, wherever the user put them."""
    found = messages_of(
        user(text("go")), assistant(use("a")), user(text("and now?"), result("a", "1"))
    )

    assert ["user", "assistant", "tool", "user"] == [one["role"] for one in found]
    assert found[1]["content"] is None


def test_results_that_are_errors_pictures_or_nothing():
    """A failure is said in words, a picture follows as the user's, nothing is an empty text."""
    found = messages_of(
        user(text("go")),
        assistant(use("a"), use("b"), use("c")),
        user(result("a", "no", is_error=True), result("b", [PNG]), result("c", None)),
    )

    assert ["Error: no", "", ""] == [one["content"] for one in found[2:5]]
    assert ["text", "image_url"] == [part["type"] for part in found[5]["content"]]
    assert "tool call b" in found[5]["content"][0]["text"]


# -- other fields --------------------------------------------------------------------------------


def test_tools_and_choices():
    """Tools become functions; each way to choose has its counterpart."""
    choices = {"auto": "auto", "any": "required", "none": "none"}
    for said, meant in choices.items():
        assert meant == chat_of(tools=[TOOL], tool_choice={"type": said})["tool_choice"]
    one = {"type": "tool", "name": "t", "disable_parallel_tool_use": True}
    chat = chat_of(tools=[TOOL | {"strict": True, "cache_control": {}}], tool_choice=one)

    function = {"name": "t", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert [{"type": "function", "function": function}] == chat["tools"]
    assert {"type": "function", "function": {"name": "t"}} == chat["tool_choice"]
    assert chat["parallel_tool_calls"] is False


def test_a_choice_of_nothing_is_left_out():
    """OpenAI's API refuses a choice without tools; to demand one of none is a mistake."""
    assert not {"tools", "tool_choice"} & set(chat_of(tools=[], tool_choice={"type": "auto"}))
    with pytest.raises(BadRequestError, match="needs `tools`"):
        chat_of(tool_choice={"type": "any"})


def test_bounds_and_samplers():
    """Fields that say the same keep their value, some under another name."""
    chat = chat_of(temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["x"], stream=True)

    assert (9, 0.5, 0.9, 40, ["x"]) == tuple(
        chat[key] for key in ("max_tokens", "temperature", "top_p", "top_k", "stop")
    )
    assert (True, {"include_usage": True}) == (chat["stream"], chat["stream_options"])


def test_who_asks():
    """The user is named as OpenAI and as DeepSeek call it; a name too long for DeepSeek once."""
    assert {"user": "u", "user_id": "u"}.items() <= chat_of(metadata={"user_id": "u"}).items()
    assert "user_id" not in chat_of(metadata={"user_id": "u" * 513})
    assert "user" not in chat_of(metadata={})


@pytest.mark.parametrize("kind", ["enabled", "disabled"])
def test_thinking(kind):
    """The switch is DeepSeek's own; a budget has no counterpart there."""
    chat = chat_of(thinking={"type": kind, "budget_tokens": 2048})

    assert {"type": kind} == chat["thinking"]


def test_thinking_left_to_the_model():
    """To let the model decide is to say nothing."""
    assert "thinking" not in chat_of(thinking={"type": "adaptive"})


def test_effort_and_form():
    """How hard to think, and a schema of the answer, have counterparts."""
    form = {"type": "json_schema", "schema": {"type": "object"}}
    chat = chat_of(output_config={"effort": "max", "format": form})

    assert "max" == chat["reasoning_effort"]
    assert {"type": "object"} == chat["response_format"]["json_schema"]["schema"]


def test_what_only_helps_is_left_out():
    """Marks for caches, tiers of service and fields that nobody knows do no harm."""
    block = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    chat = chat_of(
        messages=[user(block)], service_tier="auto", cache_control={"type": "ephemeral"}, x=1
    )

    assert {"model", "messages", "max_tokens"} == set(chat)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [user({"type": "document", "source": {}})]},
        {"messages": [user({"type": "search_result"})]},
        {"messages": [user({"type": "container_upload", "file_id": "f"})]},
        {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
        {"messages": [user(result("a", [{"type": "document"}]))]},
        {"messages": [assistant({"type": "redacted_thinking", "data": "x"}), user(text("a"))]},
        {"messages": [assistant({"type": "server_tool_use"}), user(text("a"))]},
        {"messages": [user(text("a")), {"role": "assistant", "content": "It is"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"container": "c"},
        {"mcp_servers": [{"type": "url"}]},
        {"inference_geo": "us"},
        {"output_config": {"format": {"type": "grammar"}}},
    ],
)
def test_what_a_chat_has_no_words_for(fields):
    """It is refused with a sentence that says where it stands, never left out."""
    with pytest.raises(UnmappedError, match=r"^[\w.]+: .+ cannot be given to a backend"):
        chat_of(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": None},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"messages": []},
        {"messages": "hi"},
        {"messages": ["hi"]},
        {"messages": [{"role": "robot", "content": "hi"}]},
        {"messages": [{"role": "user", "content": 1}]},
        {"messages": [user("hi")]},
        {"messages": [user({"type": "text"})]},
        {"messages": [user({"type": "image", "source": "x"})]},
        {"messages": [user(use("a"))]},
        {"messages": [assistant(result("a", "")), user(text("a"))]},
        {"messages": [assistant({"type": "tool_use", "id": "a", "name": "t"}), user(text("a"))]},
        {"system": 1},
        {"tools": {"t": 1}},
        {"tools": [{"name": "t"}]},
        {"tool_choice": "auto"},
        {"tool_choice": {"type": ["auto"]}},
        {"stop_sequences": "x"},
        {"stream": "yes"},
        {"thinking": "yes"},
        {"output_config": "max"},
    ],
)
def test_mistakes(fields):
    """A misshapen request is the caller's mistake, and is told so, with the field's name."""
    with pytest.raises(BadRequestError) as found:
        chat_of(**fields)

    assert not isinstance(found.value, UnmappedError)
    assert found.value.param in fields


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_request(body):
    """Bytes that are no JSON object are refused, not crashed on."""
    with pytest.raises(BadRequestError):
        MESSAGES.read(body)


def outcome(fields):
    """Give what a request becomes: a chat's messages, or a sentence. Neither may be empty."""
    try:
        body, _ = MESSAGES.read(json.dumps(ASK | fields).encode())
    except BadRequestError as error:
        return str(error)
    return json.loads(body)["messages"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "system", "messages", "tools", "tool_choice", "thinking", "metadata", "stream",
        "stop_sequences", "output_config", "model", "max_tokens",
    ]
)  # fmt: skip


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_values_are_read_or_refused(fields):
    """Whatever stands in the fields, it becomes a chat or a sentence."""
    assert outcome(fields)


BLOCK = st.sampled_from(["text", "image", "tool_use", "tool_result", "thinking", "document", None])
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {"type": BLOCK},
        optional=dict.fromkeys(
            ("text", "source", "id", "name", "input", "tool_use_id", "content", "thinking"), JSON
        ),
    ),
    max_size=3,
)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), BLOCKS), max_size=3))
def test_any_blocks_are_read_or_refused(turns):
    """So are blocks of every kind, whole or not."""
    messages = [{"role": role, "content": content} for role, content in turns]
    assert outcome({"messages": messages})
