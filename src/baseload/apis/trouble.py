"""Which HTTP status an error deserves, whatever it was sent with.

Under load providers say the same thing in many ways: as a status, as an error object inside a
stream that began with 200, as a code, or only in a sentence. And one status can mean two things: a
429 may be a limit that passes in seconds, or a balance that is used up. Here all of it becomes the
one number that says what it is, so the rest of the house decides by statuses alone.

Words are looked for in `code` and `type` first, because those are made for programs; a sentence
decides only where they say nothing. Nothing of an error is kept or repeated.

Sources: platform.openai.com/docs/guides/error-codes, api-docs.deepseek.com/quick_start/error_codes,
and the error objects of vLLM, SGLang and llama.cpp's server.
"""

from typing import Any

import msgspec

from baseload.apis.sse import data_of
from baseload.apis.unreadable import UNREADABLE

_SPENT = ("insufficient_quota", "billing", "balance")
_BY_NAME = (
    (_SPENT, 402),
    (("rate_limit", "ratelimit", "too_many_requests"), 429),
    (("overload", "busy", "capacity", "unavailable"), 503),
    (("invalid_request", "context_length", "content_filter", "content_policy", "badrequest"), 400),
    (("bad_request", "invalid_prompt", "exceed_context_size"), 400),
)
_BY_SENTENCE = (
    (("insufficient balance",), 402),
    (("rate limit", "too many requests"), 429),
    (("overloaded", "busy", "at capacity"), 503),
    (("context length", "context size", "content filter"), 400),
)
_decode = msgspec.json.Decoder().decode


def status_of_body(body: bytes, status: int) -> int:
    """Give the status that an error body deserves: a 429 for a spent balance is a 402."""
    if status != 429:
        return status
    names, _ = _words(_error_in(body))
    return 402 if any(word in names for word in _SPENT) else status


def status_of_event(event: bytes) -> int:
    """Give the status that an error inside a stream would have had in place of the stream."""
    error = _error_in(data_of(event) or b"")
    for value in (error.get("code"), error.get("status"), error.get("http_status")):
        number = value
        if isinstance(value, str) and len(value) == 3 and value.isdecimal():
            number = int(value)
        if isinstance(number, int) and 400 <= number < 600:
            return status_of_body(data_of(event) or b"", number)
    names, sentence = _words(error)
    for table, said in ((_BY_NAME, names), (_BY_SENTENCE, sentence)):
        for words, status in table:
            if any(word in said for word in words):
                return status
    return 500


def error_object(event: bytes) -> bytes:
    """Give an error inside a stream as the body that it would have been without one."""
    return msgspec.json.encode({"error": _error_in(data_of(event) or b"")})


def _error_in(data: bytes) -> dict[str, Any]:
    """Find the error object; one that is only a sentence becomes one."""
    try:
        found = _decode(data)
    except UNREADABLE:
        return {}
    if not isinstance(found, dict):
        return {}
    inner = found.get("response")  # A Response that failed.
    error = (inner if isinstance(inner, dict) else found).get("error", found)
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else found


def _words(error: dict[str, Any]) -> tuple[str, str]:
    """Give what an error says to programs, and what to people, in lower case."""
    names = f"{error.get('code')} {error.get('type')}".lower()
    return names, str(error.get("message")).lower()
