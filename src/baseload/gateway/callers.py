"""How urgent is a call, and how does its prompt begin: what it is told apart by."""

import zlib

from baseload.apis.openai import BadRequestError
from baseload.core.facts import BATCH, DEFAULT, INTERACTIVE

PREFIX_BYTES = 1024
"""How much of a prompt's beginning tells which backend may have it in its cache."""

_PRIORITIES = {
    b"": DEFAULT,
    b"interactive": INTERACTIVE,
    b"default": DEFAULT,
    b"batch": BATCH,
}
_MESSAGES = b'"messages"'


def priority_of(value: bytes) -> int:
    """Read the header `x-baseload-priority`; raises `BadRequestError` with a sentence."""
    found = _PRIORITIES.get(value)
    if found is None:
        found = _PRIORITIES.get(value.strip().lower())
    if found is None:
        raise BadRequestError(
            "The header `x-baseload-priority` is none of `interactive`, `default` and `batch`."
        )
    return found


def prefix_of(body: bytes) -> int:
    """Give a number that is equal for prompts which begin alike; 0 if there is no prompt."""
    start = body.find(_MESSAGES)
    if start < 0:
        return 0
    start += len(_MESSAGES)
    return zlib.crc32(body[start : start + PREFIX_BYTES])
