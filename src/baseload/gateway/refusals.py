"""What a caller is shown for the fact on which a call ended: the one table of it.

Statuses and types are those that OpenAI's clients know how to handle: their own retries honour 408,
429 and 5xx together with `Retry-After`.
"""

from typing import NamedTuple

from baseload.core.facts import Fact

_BROKE_OFF = "The backend for {model} broke off in the middle of this answer{last}."


class Refusal(NamedTuple):
    """An HTTP status, OpenAI's `type` and `code`, and a sentence about the model `{model}`."""

    status: int
    kind: str
    code: str
    message: str


REFUSALS = {
    Fact.LIMITED: Refusal(
        429, "requests", "rate_limit_exceeded",
        "A limit for {model} is reached. Try again in {after} s.",
    ),
    Fact.SHED: Refusal(
        429, "overloaded_error", "queue_full",
        "All backends for {model} are busy and the queue is full. Try again in {after} s.",
    ),
    Fact.EXPIRED: Refusal(
        503, "overloaded_error", "queue_timeout",
        "All backends for {model} stayed busy for as long as a call may wait.",
    ),
    Fact.UNAVAILABLE: Refusal(
        503, "unavailable_error", "no_backend",
        "No backend for {model} can be asked right now. Try again in {after} s.",
    ),
    Fact.PREEMPTED: Refusal(
        503, "overloaded_error", "preempted",
        "A more urgent call took the place of this one for {model}. Try again in {after} s.",
    ),
    Fact.UNREACHABLE: Refusal(
        502, "unavailable_error", "backend_unreachable",
        "No backend for {model} could be reached{last}.",
    ),
    Fact.BUSY: Refusal(
        429, "overloaded_error", "backend_busy", "Every backend for {model} is busy{last}."
    ),
    Fact.OVERLOADED: Refusal(
        503, "overloaded_error", "backend_overloaded",
        "Every backend for {model} is overloaded{last}.",
    ),
    Fact.DENIED: Refusal(
        502, "backend_error", "backend_denied",
        "A backend for {model} refused the gateway's own credentials{last}.",
    ),
    Fact.FORBIDDEN: Refusal(
        502, "backend_error", "backend_forbidden",
        "A backend for {model} does not allow the gateway's key to do this{last}.",
    ),
    Fact.ABSENT: Refusal(
        404, "invalid_request_error", "not_offered",
        "No backend for {model} offers this{last}.",
    ),
    Fact.FAILED: Refusal(
        502, "backend_error", "backend_failed", "Every backend for {model} failed{last}."
    ),
    Fact.EMPTY: Refusal(
        502, "backend_error", "backend_silent",
        "The backend for {model} gave an answer without a single token{last}.",
    ),
    Fact.STARVED: Refusal(
        503, "unavailable_error", "gateway_starved",
        "The gateway has no open files or ports left to reach a backend for {model}{last}.",
    ),
    Fact.LOST: Refusal(
        502, "backend_error", "backend_lost",
        "The connection to the backend for {model} ended before an answer{last}.",
    ),
    Fact.SLOW: Refusal(
        504, "timeout_error", "first_token_timeout",
        "No backend for {model} began to answer in time{last}.",
    ),
    Fact.CUT: Refusal(502, "backend_error", "stream_broken", _BROKE_OFF),
    Fact.BROKEN: Refusal(502, "backend_error", "stream_broken", _BROKE_OFF),
    Fact.UNPREFILLED: Refusal(502, "backend_error", "stream_broken", _BROKE_OFF),
    Fact.UNJOINED: Refusal(
        502, "backend_error", "stream_broken",
        "An answer for {model} broke off, and what another backend said did not fit to it{last}.",
    ),
    Fact.WITHDRAWN: Refusal(
        503, "unavailable_error", "no_backend",
        "The backend for {model} was closed, and no other can be asked. Try again in {after} s.",
    ),
    Fact.OVERDUE: Refusal(
        504, "timeout_error", "deadline_exceeded",
        "The answer for {model} took longer than a call may take.",
    ),
    Fact.GONE: Refusal(
        503, "unavailable_error", "gateway_stopping",
        "The gateway is shutting down and could not wait for this answer.",
    ),
}  # fmt: skip
