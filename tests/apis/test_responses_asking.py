"""Requests of the Responses API, as the chats that backends are asked for.

Requests are written as the API's reference shows them. What no chat can say is refused by name.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.openai import BadRequestError
from baseload.apis.responses.speech import Responses
from tests import FUZZ


def chat(**fields):
    """Give the chat's request for a Response's."""
    body, _ = Responses().read(json.dumps({"model": "m", "input": "hi"} | fields).encode())
    return json.loads(body)


def messages(*items, **fields):
    """Give a chat's messages for the items of an input."""
    return chat(input=list(items), **fields)["messages"]


def refusal(**fields):
    """Give what is said of a request that cannot be answered here."""
    with pytest.raises(BadRequestError) as raised:
        chat(**fields)
    return raised.value.param, raised.value.code


# -- fields --------------------------------------------------------------------------------------


def test_a_plain_question():
    """A string is what a user says, and nothing is asked for that was not."""
    expected = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    assert expected == chat()
    assert expected == chat(
        store=True, metadata={"a": "b"}, temperature=None, truncation="disabled"
    )


def test_a_stream_reports_its_usage():
    """A stream is asked for with usage, because a Response always tells it."""
    asked = chat(stream=True, stream_options={"include_obfuscation": False})

    assert (True, {"include_usage": True}) == (asked["stream"], asked["stream_options"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 9}, {"max_tokens": 9}),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"user": "u", "safety_identifier": "s"}, {"user": "u"}),
        ({"safety_identifier": "s"}, {"user": "s"}),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, {"reasoning_effort": "high"}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
        ({"chat_template_kwargs": {"a": 1}, "seed": 7}, {"chat_template_kwargs": {"a": 1}, "seed": 7}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "function", "name": "f"}}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
    ],
)  # fmt: skip
def test_fields_by_a_chats_names(fields, expected):
    """What a chat can be asked is asked by its names; what it does not know is passed on."""
    asked = chat(**fields)
    del asked["model"], asked["messages"]

    assert expected == asked


def test_a_schema():
    """A form for the answer moves one level down."""
    schema = {"type": "object", "properties": {}}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}

    expected = {"name": "n", "schema": schema, "strict": True}
    asked = chat(text={"format": form})["response_format"]
    assert {"type": "json_schema", "json_schema": expected} == asked


FUNCTIONS = [
    {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": True}
    for name in "fg"
]


def test_functions():
    """Functions move one level down, and those that are not allowed are not shown."""
    asked = chat(tools=FUNCTIONS)["tools"]
    function = {"name": "f", "parameters": {"type": "object"}, "strict": True}

    assert [{"type": "function", "function": function}] == asked[:1]
    assert ["f", "g"] == [tool["function"]["name"] for tool in asked]
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "g"}],
    }
    asked = chat(tools=FUNCTIONS, tool_choice=choice)
    assert (["g"], "required") == ([tool["function"]["name"] for tool in asked["tools"]], asked["tool_choice"])  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"tools": [FUNCTIONS[0], {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0].file_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image"}]}]}, "input[0].output[0].type"),
    ],
)  # fmt: skip
def test_what_is_not_here(fields, param):
    """What needs a memory, or a provider's own machines, is refused by its name."""
    assert (param, "unsupported_parameter") == refusal(**fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        (
            {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
            "input[0].call_id",
        ),
        ({"instructions": 5}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"text": "x"}, "text"),
        ({"text": {"format": {"type": "x"}}}, "text.format"),
        ({"reasoning": "high"}, "reasoning"),
        ({"include": "x"}, "include"),
    ],
)
def test_what_has_the_wrong_form(fields, param):
    """A value of the wrong form is named, and where it stands."""
    assert (param, None) == refusal(**fields)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a":' * 5000])
def test_what_is_no_request(body):
    """Bytes that are no JSON object are refused."""
    with pytest.raises(BadRequestError):
        Responses().read(body)


# -- items ---------------------------------------------------------------------------------------

CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
CALLED = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOLD = {"role": "tool", "tool_call_id": "c1", "content": "42"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}  # fmt: skip


def said(text, **fields):
    """Give an assistant's message as a Response holds it."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "id": "msg_1", "content": [part]} | fields


def test_roles_and_instructions():
    """Instructions come first; a developer is a system to every server."""
    found = messages(
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        instructions="i",
    )  # fmt: skip

    expected = [("system", "i"), ("system", "d"), ("user", "a\nb"), ("assistant", "c")]
    assert expected == [(message["role"], message["content"]) for message in found]


def test_images():
    """An image is a part beside text."""
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    (found,) = messages({"role": "user", "content": [{"type": "input_text", "text": "a"}, image]})

    url = {"url": "data:image/png;base64,AA==", "detail": "low"}
    assert [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": url}] == found[
        "content"
    ]


def test_a_turn_is_one_message():
    """Thoughts, words and calls of one turn are one message, with the thoughts beside the calls."""
    found = messages({"role": "user", "content": "q"}, THOUGHT, said("let me see"), CALL, OUTPUT)

    turn = {"role": "assistant", "content": "let me see", "reasoning_content": "hm", "tool_calls": [CALLED]}  # fmt: skip
    assert [{"role": "user", "content": "q"}, turn, TOLD] == found


def test_calls_side_by_side():
    """Calls without words between them belong together, even with thoughts among them."""
    second = CALL | {"call_id": "c2"}
    found = messages(
        THOUGHT, CALL, THOUGHT, second, OUTPUT, OUTPUT | {"call_id": "c2"}, said("done")
    )

    assert ["assistant", "tool", "tool", "assistant"] == [each["role"] for each in found]
    assert ["c1", "c2"] == [call["id"] for call in found[0]["tool_calls"]]
    assert (None, "hm\nhm") == (found[0]["content"], found[0]["reasoning_content"])


def test_each_turn_keeps_its_own_thoughts():
    """A second round of thoughts and a call is a second message."""
    found = messages(THOUGHT, CALL, OUTPUT, THOUGHT, CALL, OUTPUT)

    assert ["assistant", "tool"] * 2 == [each["role"] for each in found]
    assert ["hm", "hm"] == [each["reasoning_content"] for each in found if "tool_calls" in each]


def test_two_answers_stay_two():
    """Two messages of the assistant are two, and thoughts that led to nothing are dropped."""
    found = messages(said("a"), said("b"), THOUGHT, {"role": "user", "content": "q"})

    assert ["a", "b", "q"] == [each["content"] for each in found]


def test_thoughts_in_summary_or_in_secret():
    """A summary stands for thoughts that are not there; encrypted ones say nothing."""
    summed = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}
    secret = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    found = messages(summed, said("a"), {"role": "user", "content": "q"}, secret, said("b"))

    assert "s" == found[0]["reasoning_content"]
    assert "reasoning_content" not in found[2]


def test_a_refusal_is_told_again():
    """What was refused before is told as a refusal."""
    (found,) = messages(said("", content=[{"type": "refusal", "refusal": "no"}]))

    assert {"role": "assistant", "content": "", "refusal": "no"} == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "role", "content", "text", "summary", "call_id", "name", "arguments", "output", "format", "effort", "image_url"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@FUZZ
@given(st.dictionaries(
    st.sampled_from(["input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "stream", "top_logprobs", "truncation", "max_output_tokens"]),
    JSON | st.lists(st.builds(lambda kind, rest: {**rest, "type": kind}, st.sampled_from(["message", "reasoning", "function_call", "function", "input_text"]), st.dictionaries(st.sampled_from(["role", "content", "summary", "name"]), JSON))),
))  # fmt: skip
def test_odd_requests_end_well(fields):
    """Whatever is asked, it becomes a chat or is refused with the one error."""
    try:
        body, _ = Responses().read(json.dumps({"model": "m"} | fields).encode())
    except BadRequestError:
        return

    assert isinstance(json.loads(body)["messages"], list)


@pytest.mark.parametrize("include", [0, False, "", {}, 1, "x"])
def test_an_include_that_is_no_list_is_refused(include):
    """Whatever it is instead, it is told in a sentence."""
    body = json.dumps({"model": "m", "input": "x", "include": include}).encode()

    with pytest.raises(BadRequestError):
        Responses().read(body)
