"""For how many texts does a request for completions ask? For each of them it may take its maximum.

A prompt is a text or a row of tokens; several are a list of them, and each is gone on with `n`
times. With `best_of` more texts are made than are given, and all of them are paid for.

Not here: chats, which have one prompt (`openai.Request.choices`).
"""

from typing import Any

import msgspec

from baseload.apis.openai import CHOICES_MAX
from baseload.apis.unreadable import UNREADABLE


class _Request(msgspec.Struct, gc=False):
    prompt: Any = None
    n: Any = None
    best_of: Any = None


_decode = msgspec.json.Decoder(_Request).decode


def texts(body: bytes) -> int:
    """Give how many texts are asked for; what makes no sense is the backend's to refuse."""
    try:
        asked = _decode(body)
    except UNREADABLE:
        return 1
    each = max(_count(asked.n), _count(asked.best_of))
    prompts = asked.prompt if isinstance(asked.prompt, list) else []
    return each * len(prompts) if prompts and isinstance(prompts[0], str | list) else each


def _count(many: Any) -> int:
    return many if type(many) is int and 0 < many <= CHOICES_MAX else 1
