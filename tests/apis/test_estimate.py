"""What a text may come to in tokens, where nobody counted."""

import json

import pytest

from baseload.apis.estimate import answer_tokens, tokens_of


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_four_bytes_are_a_token(size, tokens):
    """What is there at all has one."""
    assert tokens == tokens_of(size)


def test_all_that_a_model_said_counts():
    """Answers, thoughts, calls of tools, refusals, in every choice; names and ids around do not."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choices = [
        {"index": 0, "message": {"role": "assistant", "content": "a" * 40, "reasoning": "b" * 40}},
        {"index": 1, "message": {"reasoning_content": "ö" * 20, "refusal": "c" * 40}},
        {"index": 2, "message": {"content": None, "tool_calls": [call]}},
        {"index": 3, "text": "d" * 40},
    ]
    size = 5 * 40 + len(json.dumps([call], separators=(",", ":")))

    assert tokens_of(size) == answer_tokens(json.dumps({"choices": choices}).encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"data":[{"embedding":[1]}]}', b'{"choices":null}', b'{"choices":[7]}',
     b'{"choices":[{"message":null,"text":null}]}', b"[" * 100_000],
)  # fmt: skip
def test_what_says_nothing_has_no_tokens(body):
    """Embeddings, emptiness and nonsense alike."""
    assert 0 == answer_tokens(body)
