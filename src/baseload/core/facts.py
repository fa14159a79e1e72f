"""The words that `core` and the world exchange, and the one table of what each of them means.

A flow *asks* (wait, send, relay) and is *told* a fact. Facts are few, and what follows from each
stands beside it: may another backend be asked, and what does the backend's breaker learn. Read
the table as: whose fault was it?

Not here: how a fact is recognised on the wire (`gateway` and `apis` do that), and what a caller is
shown for it (`gateway.refusals`).
"""

from enum import Enum

import msgspec

from baseload.config.fleet import Target


class Lesson(Enum):
    """What an attempt teaches about the backend that made it.

    The three outcomes are those of a permit: it succeeded, it was dropped, or it proves nothing.
    `ALIVE` is said before the end, and only a probe listens to it.
    """

    SUCCESS = "success"
    DROPPED = "dropped"
    IGNORE = "ignore"
    ALIVE = "alive"


# Bare names: up to Python 3.11 a look-up such as `Lesson.SUCCESS` runs two Python functions, and
# the hot path would make some forty of them for every call.
SUCCESS, DROPPED, IGNORE, ALIVE = Lesson


class Fact(Enum):
    """Something that happened to one call.

    `lesson` is what the backend's breaker learns; `is_retryable` says that nothing reached the
    caller and that another backend may be asked. A model call has no side effect but its cost,
    so an attempt that died before its first token is always safe to repeat elsewhere.
    """

    label: str
    lesson: Lesson
    is_retryable: bool

    def __init__(self, label: str, lesson: Lesson, is_retryable: bool) -> None:
        self._value_ = self.label = label
        self.lesson = lesson
        self.is_retryable = is_retryable

    # What the gate says of a call.
    ADMITTED = "admitted", IGNORE, False
    QUEUED = "queued", IGNORE, False
    SHED = "shed", IGNORE, False  # the queue was full
    EXPIRED = "expired", IGNORE, False  # waited as long as it may, or past its deadline
    UNAVAILABLE = "unavailable", IGNORE, False  # every backend is down or open

    # What the world says of an attempt.
    FIRST_TOKEN = "first_token", ALIVE, False
    DONE = "done", SUCCESS, False
    REJECTED = "rejected", IGNORE, False  # the caller's own 4xx: nobody else would differ
    UNREACHABLE = "unreachable", DROPPED, True  # no connection, so nothing was sent
    BUSY = "busy", DROPPED, True  # 429: the backend's limit, not the caller's
    DENIED = "denied", DROPPED, True  # 401, 402, 403: our key there, not the caller's
    ABSENT = "absent", IGNORE, True  # 404: this backend lacks it, another may have it
    FAILED = "failed", DROPPED, True  # 5xx, or an answer that is none
    STARVED = "starved", IGNORE, True  # the gateway itself has no file or port left
    LOST = "lost", DROPPED, True  # the connection ended before an answer
    SLOW = "slow", DROPPED, True  # the first-token clock ran out
    BROKEN = "broken", DROPPED, False  # ended or stalled after the first token
    OVERDUE = "overdue", IGNORE, False  # the call's own deadline; long answers are no fault
    GONE = "gone", IGNORE, False  # the caller left


(
    ADMITTED, QUEUED, SHED, EXPIRED, UNAVAILABLE,
    FIRST_TOKEN, DONE, REJECTED, UNREACHABLE, BUSY, DENIED, ABSENT, FAILED, STARVED, LOST, SLOW,
    BROKEN, OVERDUE, GONE,
) = Fact  # fmt: skip


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request for a model, reduced to what decisions need.

    `model` is the fleet's name for it, `deadline` a point on the driver's clock in seconds. Of an
    answer that is not streamed nothing is heard until it is whole, so it has no first token.
    """

    id: int
    model: str
    deadline: float
    is_stream: bool = True


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the world tells a flow: a fact, when, and how long a backend asked to be left alone."""

    fact: Fact
    now: float
    retry_after_s: float = 0.0


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Keep the caller until the gate gives notice: `ADMITTED` or `EXPIRED`."""

    call: Call


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send the call to a backend; tell of its first token, its whole answer or its failure."""

    call: Call
    target: Target
    first_token_s: float


class Relay(msgspec.Struct, frozen=True, gc=False):
    """Pass the committed answer on to the caller; tell how it ended."""

    call: Call
    target: Target
    stall_s: float


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The story's end: the last fact, and after how many seconds it is worth trying again."""

    call: Call
    fact: Fact
    retry_after_s: float = 0.0


Ask = Wait | Send | Relay


_FACT_OF_STATUS = {
    401: DENIED,
    402: DENIED,  # DeepSeek: the balance is used up
    403: DENIED,
    404: ABSENT,
    405: ABSENT,
    408: FAILED,
    429: BUSY,
    501: ABSENT,
    529: BUSY,  # Anthropic and Dynamo: every worker is busy
}


def fact_of_status(status: int) -> Fact:
    """Say what an HTTP status of a backend means; a success must still prove to be an answer."""
    if 200 <= status < 300:
        return DONE
    if fact := _FACT_OF_STATUS.get(status):
        return fact
    return REJECTED if 400 <= status < 500 else FAILED
