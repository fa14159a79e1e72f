"""How many tokens has a prompt: what servers are asked, and what is estimated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.counting import (
    APPLY_TEMPLATE,
    TOKENIZE,
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    Question,
    estimate,
    first_question,
    next_step,
)


def prompt(*contents, **more):
    """Give the prompt of a chat."""
    return {"messages": [{"role": "user", "content": one} for one in contents]} | more


def test_vllm_counts_in_one_step():
    """It is given the whole conversation under the model's name there, and says how many."""
    question = first_question("vllm", prompt("hi") | {"model": "m"}, "there")

    assert TOKENIZE == question.path
    assert {"model": "there", **prompt("hi")} == json.loads(question.body)
    assert 7 == next_step(TOKENIZE, b'{"count":7,"max_model_len":9,"tokens":[]}')


def test_llama_cpp_counts_in_two_steps():
    """It writes the conversation out, then cuts it; its markers count as what they are."""
    assert APPLY_TEMPLATE == first_question("llama.cpp", prompt("hi"), "m").path
    path, body = next_step(APPLY_TEMPLATE, b'{"prompt":"<|user|>hi"}')

    assert (TOKENIZE, "<|user|>hi", True) == (
        path, json.loads(body)["content"], json.loads(body)["parse_special"],
    )  # fmt: skip
    assert 3 == next_step(TOKENIZE, b'{"tokens":[1,2,3]}')


@pytest.mark.parametrize("kind", ["", "sglang", "deepseek"])
def test_others_cannot_count(kind):
    """Nobody else is asked."""
    assert first_question(kind, prompt("hi"), "m") is None


@given(st.sampled_from([TOKENIZE, APPLY_TEMPLATE]), st.binary() | st.sampled_from([b"{}", b"[1]"]))
def test_any_answer(path, body):
    """Whatever a server answers, it leads on, counts, or says nothing."""
    assert next_step(path, body) is None or isinstance(next_step(path, body), int | Question)


def test_an_estimate():
    """Letters and signs weigh what DeepSeek says, pictures a lump, messages a little each."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}

    assert 30 + TOKENS_PER_MESSAGE == estimate(prompt("a" * 100))
    assert 60 + TOKENS_PER_MESSAGE == estimate(prompt("字" * 100))
    assert TOKENS_PER_IMAGE + TOKENS_PER_MESSAGE == estimate(prompt([picture]))
    assert estimate(prompt("a")) < estimate(prompt("a", tools=[{"type": "function"}]))
    assert 1 <= estimate(prompt(""))
