"""Errors in Anthropic's shape, whoever made them.

The HTTP status is the one that was decided elsewhere; here it gets Anthropic's name. The sentence
stays as it is, and what the gateway or a backend calls the error stands in `details.error_code`,
which is where Anthropic's clients look for a stable name.

The shape: docs.anthropic.com/en/api/errors.
"""

from typing import Any

import msgspec

from baseload.apis.sse import data_of
from baseload.apis.trouble import status_of_event
from baseload.apis.unreadable import UNREADABLE

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What Anthropic's own names mean as a status: an overload is a 529, not a 503."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def error_body(status: int, body: bytes) -> bytes:
    """Give an error's body in Anthropic's shape; one that has it already stays as it came."""
    found = _object(body)
    if found.get("type") == "error" and isinstance(found.get("error"), dict):
        return body
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return _encode(_shaped(kind, found.get("error"), f"HTTP {status}"))


def error_event(event: bytes) -> bytes:
    """Give an error inside a chat's stream as Anthropic's event; what has its form, as it came."""
    found = _object(data_of(event) or b"")
    if found.get("type") == "error" and event.startswith(b"event:"):
        return event
    error = found.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    if kind not in _STATUSES or kind == "invalid_request_error":
        kind = _TYPES.get(status_of_event(event), "api_error")
    return _event(_shaped(kind, error, "The backend reported an error."))


def broken_event(message: str) -> bytes:
    """Give the event that ends an answer which cannot go on."""
    return _event(_shaped("api_error", {"message": message, "code": "stream_broken"}, ""))


def status_of(event: bytes) -> int:
    """Give the status that an error event of Anthropic's would have been without a stream."""
    error = _object(data_of(event) or b"").get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return _STATUSES.get(kind, 0) or status_of_event(event)  # type: ignore[arg-type]


def _shaped(kind: str, error: Any, otherwise: str) -> dict[str, Any]:
    fields = error if isinstance(error, dict) else {"message": error}
    said = fields.get("message")
    shaped: dict[str, Any] = {"type": kind, "message": said or otherwise}
    if isinstance(code := fields.get("code"), str):
        shaped["details"] = {"error_code": code}
    answer = {"type": "error", "error": shaped}
    if isinstance(request_id := fields.get("request_id"), str):
        answer["request_id"] = request_id
    return answer


def _event(answer: dict[str, Any]) -> bytes:
    return b"event: error\ndata: " + _encode(answer) + b"\n\n"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = _decode(body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}
