"""How many tokens may a text have, where nobody counted them?

Four bytes make a token: near enough for English and for Chinese to tell a small bill from a large
one, and never to be taken for what a tokenizer says. Whoever uses such a number marks it.
"""

from typing import Any

import msgspec

from baseload.apis.unreadable import UNREADABLE

BYTES_PER_TOKEN = 4


class _Message(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    text: Any = None


class _Answer(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def tokens_of(size: int) -> int:
    """Give what so many bytes of text may come to; a text that is there has one at least."""
    return -(-size // BYTES_PER_TOKEN)


def answer_tokens(body: bytes) -> int:
    """Give what a whole answer may have taken; 0 for one that says nothing, as an embedding."""
    try:
        choices = _decode(body).choices or []
    except UNREADABLE:
        return 0
    size = 0
    for choice in choices:
        size += _size(choice.text)
        if choice.message is not None:
            size += sum(_size(value) for value in msgspec.structs.astuple(choice.message))
    return tokens_of(size)


def _size(value: Any) -> int:
    """Give the bytes of a text, or of what is written as JSON."""
    if not value:
        return 0
    return len(value.encode()) if type(value) is str else len(msgspec.json.encode(value))
