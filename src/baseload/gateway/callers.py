"""Who calls, how urgently, and how a prompt begins: what a call is told apart by.

Calls carry no key but a short hash of it, salted anew in every process, which is equal for equal
keys and says nothing else. Only `Keys` remembers the headers themselves, and gives them to nobody.
"""

import os
import zlib
from hashlib import blake2s

from baseload.apis.openai import BadRequestError
from baseload.core.facts import BATCH, DEFAULT, INTERACTIVE

KEYS_MAX = 1024
"""Hashes that are remembered, so that a call costs a look-up."""
HEADER_BYTES_MAX = 512
"""A longer header is remembered by its hash alone: a thousand of them would be much."""
KEY_BYTES = 8
PREFIX_BYTES = 1024
"""How much of a prompt's beginning tells which backend may have it in its cache."""

_PRIORITIES = {
    b"": DEFAULT,
    b"interactive": INTERACTIVE,
    b"default": DEFAULT,
    b"batch": BATCH,
}
_MESSAGES = b'"messages"'


class Keys:
    """Names for callers' keys."""

    def __init__(self) -> None:
        self._salt = os.urandom(8)
        self._names: dict[bytes, str] = {b"": ""}

    def name(self, authorization: bytes) -> str:
        """Give the name of whoever sent this header; empty if nobody said who they are."""
        found = self._names.get(authorization)
        if found is None:
            if len(self._names) >= KEYS_MAX:
                self._names = {b"": ""}
            if len(authorization) > HEADER_BYTES_MAX:
                authorization = blake2s(authorization).digest()
            token = authorization.rpartition(b" ")[2]
            found = blake2s(token, digest_size=KEY_BYTES, salt=self._salt).hexdigest()
            self._names[authorization] = found
        return found


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
