"""Requests worded for the server that they go to.

What each server reads is taken from its own documentation; none of them is asked here.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.deepseek import fit
from baseload.apis.resume import ASSISTANT, CONTINUE, PREFIX, PROMPT, RESTART, ways_of
from tests import FUZZ

CHAT, BETA_CHAT = b"/chat/completions", b"/beta/chat/completions"
ENGINES = ["vllm", "sglang", "llama.cpp"]
KINDS = ["deepseek", "openai", *ENGINES]
USER = {"role": "user", "content": "q"}
ON, OFF = {"type": "enabled"}, {"type": "disabled"}


def body_of(*messages, **fields):
    """Give a chat's request."""
    return json.dumps({"model": "m", "messages": [USER, *messages], **fields}).encode()


def fitted(kind, *messages, path=CHAT, is_beta=False, **fields):
    """Give the path, and what of the request was changed; None for what was left out."""
    body = body_of(*messages, **fields)
    path, found = fit(path, body, kind, ways_of(kind)[0], is_beta=is_beta)
    before, after = json.loads(body), json.loads(found)
    keys = before.keys() | after.keys()
    return path, {key: after.get(key) for key in keys if before.get(key) != after.get(key)}


def changed(kind, *messages, **fields):
    """Give what of the request was changed."""
    return fitted(kind, *messages, **fields)[1]


def switched(is_on):
    """Give a template's two switches."""
    return {"thinking": is_on, "enable_thinking": is_on}


# -- what need not change ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "", "off", "prefix", "assistant"])
def test_plain_requests_go_out_as_they_came(kind):
    """A request without any of these habits is not even copied."""
    body = body_of(temperature=0.5, tools=[{"type": "function"}], stream=True)

    path, found = fit(CHAT, body, kind, ways_of(kind)[0])
    assert (CHAT, True) == (path, found is body)


def test_a_server_of_unknown_kind_gets_everything_as_it_came():
    """Nothing is guessed for a server that is not known."""
    said = {"role": "assistant", "content": "a", "reasoning_content": "r", "prefix": True}
    body = body_of(said, thinking=ON, user_id="u", reasoning_effort="max")

    assert (CHAT, body) == fit(CHAT, body, "", PROMPT, is_beta=True)
    assert (CHAT, body) == fit(CHAT, body, "off", RESTART)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":[5]}', b'{"messages":{}}', b"\xff", b'{"messages":' + b"[" * 5000])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_request_goes_out_as_it_came(kind, body):
    """The backend may say what is wrong with it."""
    assert (CHAT, body) == fit(CHAT, body, kind, ways_of(kind)[0])


def test_everything_else_stays_byte_for_byte():
    """Numbers and strings that are not touched keep the caller's own spelling."""
    body = b'{"model":"m", "user_id":"u","temperature":1.0e-1,"messages":[{"role":"user","content":"\\u00e9"}]}'  # fmt: skip

    _, found = fit(CHAT, body, "vllm", CONTINUE)
    assert b'1.0e-1,"messages":[{"role":"user","content":"\\u00e9"}]' in found


# -- thinking ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(("thinking", "is_on"), [(ON, True), (OFF, False)])
def test_deepseeks_switch_at_an_engine(kind, thinking, is_on):
    """The switch becomes one of the engine's chat template, under both of its names."""
    expected = {"thinking": None, "chat_template_kwargs": switched(is_on)}

    assert expected == changed(kind, thinking=thinking)


def test_the_callers_own_template_switches_win():
    """What the caller says to the template itself stays."""
    given = {"thinking": False, "more": 1}
    found = changed("vllm", thinking=ON, chat_template_kwargs=given)

    assert {"thinking": False, "enable_thinking": True, "more": 1} == found["chat_template_kwargs"]


@pytest.mark.parametrize("kind", ENGINES)
def test_no_effort_at_an_engine(kind):
    """An effort of `none` switches thinking off."""
    expected = {"reasoning_effort": None, "chat_template_kwargs": switched(False)}

    assert expected == changed(kind, reasoning_effort="none")


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("effort", "expected"),
    [
        ("high", {}),
        ("minimal", {"reasoning_effort": "low"}),
        ("max", {"reasoning_effort": None, "in": "max"}),
        ("xhigh", {"reasoning_effort": None, "in": "xhigh"}),
    ],
)
def test_efforts_at_an_engine(kind, effort, expected):
    """An effort switches thinking on; a word that older releases refuse goes to the template."""
    found = changed(kind, reasoning_effort=effort)
    template = found.pop("chat_template_kwargs")
    inner = template.pop("reasoning_effort", None)

    assert switched(True) == template
    assert expected == found | ({"in": inner} if inner else {})


def test_efforts_at_llama_cpp():
    """It reads efforts itself."""
    assert {} == changed("llama.cpp", reasoning_effort="max")


def test_the_switch_says_more_than_the_effort():
    """Where both are given, the switch decides."""
    found = changed("vllm", thinking=OFF, reasoning_effort="high")

    assert switched(False) == found["chat_template_kwargs"]


def test_template_switches_at_deepseek():
    """What was meant for an engine's template becomes DeepSeek's switch."""
    expected = {"thinking": OFF, "chat_template_kwargs": None}

    assert expected == changed("deepseek", chat_template_kwargs={"enable_thinking": False})
    assert expected == changed("deepseek", chat_template_kwargs={"thinking": False, "enable_thinking": True})  # fmt: skip
    assert {"thinking": OFF, "reasoning_effort": None} == changed(
        "deepseek", reasoning_effort="none"
    )
    assert {} == changed("deepseek", thinking=ON, reasoning_effort="max")


def test_thinking_at_openai():
    """OpenAI knows efforts and no switch."""
    assert {"thinking": None} == changed("openai", thinking=ON)
    assert {"thinking": None, "reasoning_effort": "none"} == changed("openai", thinking=OFF)


def test_llama_cpp_does_not_think_in_an_answer_that_has_begun():
    """It refuses to think after a beginning of the answer, so it is not told to."""
    begun = {"role": "assistant", "content": "Well"}

    assert {"thinking": None} == changed("llama.cpp", begun, thinking=ON)
    found = changed("llama.cpp", begun, thinking=OFF)
    assert switched(False) == found["chat_template_kwargs"]


# -- thoughts handed back ------------------------------------------------------------------------

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
THOUGHT = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]}
RESPELLED = {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "c", "content": "42"}


@pytest.mark.parametrize("kind", ["deepseek", "sglang", "llama.cpp"])
def test_thoughts_are_handed_back(kind):
    """DeepSeek's spelling goes out untouched; the newer one becomes DeepSeek's."""
    assert {} == changed(kind, THOUGHT, TOLD)
    assert {"messages": [USER, THOUGHT, TOLD]} == changed(kind, RESPELLED, TOLD)


def test_thoughts_are_handed_back_to_vllm():
    """It reads the newer spelling, older releases the other: it is given both."""
    both = THOUGHT | {"reasoning": "hm"}

    assert {"messages": [USER, both, TOLD]} == changed("vllm", THOUGHT, TOLD)
    assert {} == changed("vllm", RESPELLED, TOLD)


def test_openai_is_given_no_thoughts():
    """OpenAI's chats know none."""
    plain = {"role": "assistant", "content": None, "tool_calls": [CALL]}

    assert {"messages": [USER, plain, TOLD]} == changed("openai", THOUGHT, TOLD)


# -- who asks, and how much ----------------------------------------------------------------------


def test_user_id():
    """DeepSeek is given its `user_id`; others know it as `user`, unless that is said, too."""
    assert {} == changed("deepseek", user_id="u")
    for kind in ["openai", *ENGINES]:
        assert {"user_id": None, "user": "u"} == changed(kind, user_id="u")
        assert {"user_id": None} == changed(kind, user_id="u", user="v")


def test_the_answers_bound_at_deepseek():
    """DeepSeek knows the bound by its older name only."""
    assert {"max_completion_tokens": None, "max_tokens": 5} == changed("deepseek", max_completion_tokens=5)  # fmt: skip
    assert {} == changed("deepseek", max_completion_tokens=5, max_tokens=4)
    assert {} == changed("vllm", max_completion_tokens=5)


# -- answers begun by the caller, and gaps -------------------------------------------------------

BEGUN = {"role": "assistant", "content": "Well", "prefix": True, "reasoning_content": "hm"}


def test_a_prefix_at_deepseek():
    """It goes to the beta address, untouched."""
    assert (BETA_CHAT, {}) == fitted("deepseek", BEGUN)
    assert (BETA_CHAT, {}) == fitted("deepseek", BEGUN, path=BETA_CHAT)
    assert (BETA_CHAT, {}) == fitted("prefix", BEGUN)


def test_a_prefix_elsewhere():
    """Engines are asked to go on as they are where a broken answer is gone on with."""
    begun = {"role": "assistant", "content": "Well"}
    flags = {"continue_final_message": True, "add_generation_prompt": False}

    for kind in ("vllm", "sglang", "continue_final_message"):
        assert (CHAT, {"messages": [USER, begun], **flags}) == fitted(kind, BEGUN)
    for kind in ("llama.cpp", "assistant"):
        assert (CHAT, {"messages": [USER, begun]}) == fitted(kind, BEGUN)


def test_only_the_last_message_is_a_prefix():
    """The mark of an earlier message, or of somebody else's, means nothing."""
    assert (CHAT, {}) == fitted("sglang", BEGUN, USER)
    assert (CHAT, {}) == fitted("sglang", USER | {"prefix": True})
    assert (CHAT, {}) == fitted("sglang", BEGUN | {"prefix": False})


def test_the_beta_address():
    """A caller of the beta address has DeepSeek's; others are asked where they always are."""
    assert BETA_CHAT == fitted("deepseek", is_beta=True)[0]
    assert [CHAT] * 4 == [fitted(kind, is_beta=True)[0] for kind in KINDS[1:]]


def test_gaps():
    """DeepSeek has completions at its beta address only; nothing in the body changes."""
    body = b'{"model":"m","prompt":"a","suffix":"c"}'

    assert (b"/beta/completions", body) == fit(b"/completions", body, "deepseek", PREFIX)
    assert (b"/completions", body) == fit(b"/completions", body, "vllm", CONTINUE, is_beta=True)
    assert (b"/embeddings", body) == fit(b"/embeddings", body, "deepseek", PREFIX)


# -- properties ----------------------------------------------------------------------------------

VALUES = st.none() | st.booleans() | st.sampled_from(["none", "max", "x"]) | st.fixed_dictionaries({"type": st.sampled_from(["enabled", "disabled", "x"])}) | st.dictionaries(st.sampled_from(["thinking", "enable_thinking"]), st.booleans() | st.none())  # fmt: skip
SPOKEN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"])}, optional={"prefix": VALUES, "reasoning": VALUES, "reasoning_content": VALUES, "content": st.text(max_size=2)})  # fmt: skip
FIELDS = st.dictionaries(st.sampled_from(["thinking", "reasoning_effort", "user_id", "user", "chat_template_kwargs", "max_tokens", "max_completion_tokens", "stream", "other"]), VALUES)  # fmt: skip


@FUZZ
@given(st.lists(SPOKEN, max_size=3), FIELDS, st.sampled_from(KINDS), st.booleans())
def test_fitting_ends_well_and_once(messages, fields, kind, is_beta):
    """Any request can be worded for any server, and wording it again changes nothing."""
    body = json.dumps({"model": "m", "messages": messages, **fields}).encode()
    way = ways_of(kind)[0]

    path, once = fit(CHAT, body, kind, way, is_beta=is_beta)
    again, twice = fit(path, once, kind, way, is_beta=is_beta)
    assert (path, json.loads(once)) == (again, json.loads(twice))
    assert len(messages) == len(json.loads(once)["messages"])
    assert way in (PREFIX, CONTINUE, ASSISTANT, PROMPT)
