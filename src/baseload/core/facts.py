"""The words that `core` and the world exchange, and the one table of what each of them means.

A flow *asks* (wait, send, watch, hedge, relay) and is *told* a fact. Facts are few, and what
follows from each stands beside it, so the table reads as a sentence: whose fault was it, what does
the backend's breaker learn, what does its limit learn, and may the call be tried again, where?

Not here: how a fact is recognised on the wire (`gateway` and `apis` do that), and what a caller is
shown for it (`gateway.refusals`).
"""

from enum import Enum, IntEnum
from math import inf

import msgspec

from baseload.config.fleet import Target


class Lesson(Enum):
    """What an attempt teaches, to a breaker or to a limit.

    The three outcomes are those of a permit: it succeeded, it was dropped, or it proves nothing.
    `ALIVE` is said before the end: a first token has come.
    """

    SUCCESS = "success"
    DROPPED = "dropped"
    IGNORE = "ignore"
    ALIVE = "alive"


class Fault(Enum):
    """Whose doing a fact is."""

    NOBODY = "nobody"
    CALLER = "caller"
    BACKEND = "backend"
    ACCOUNT = "account"  # ours at the backend: its key, its balance, its limits
    GATEWAY = "gateway"


class Retry(Enum):
    """Where a call may be tried again after a fact."""

    NO = "no"
    AT_ONCE = "at once"  # at the same backend, in another way: nothing was wrong with it
    ELSEWHERE = "elsewhere"  # never again at this backend
    ANYWHERE = "anywhere"  # elsewhere, or after a pause here


# Bare names: up to Python 3.11 a look-up such as `Lesson.SUCCESS` runs two Python functions, and
# the hot path would make some forty of them for every call.
SUCCESS, DROPPED, IGNORE, ALIVE = Lesson
NOBODY, CALLER, BACKEND, ACCOUNT, GATEWAY = Fault
NO, AT_ONCE, ELSEWHERE, ANYWHERE = Retry


class Fact(Enum):
    """Something that happened to one call.

    `breaker` and `limit` are what the backend's breaker and its account's limit learn. A model
    call has no side effect but its cost, so an attempt that died before its first token is always
    safe to repeat; after it, only a continuation of the very same text is (`CUT`).
    """

    label: str
    fault: Fault
    breaker: Lesson
    limit: Lesson
    retry: Retry
    is_retryable: bool

    def __init__(
        self, label: str, fault: Fault, breaker: Lesson, limit: Lesson, retry: Retry
    ) -> None:
        self._value_ = self.label = label
        self.fault, self.breaker, self.limit, self.retry = fault, breaker, limit, retry
        self.is_retryable = retry is not NO

    # What the limits of its key say of a call.
    GRANTED = "granted", NOBODY, IGNORE, IGNORE, NO
    LIMITED = "limited", CALLER, IGNORE, IGNORE, NO  # one of them is reached

    # What the gate says of a call.
    ADMITTED = "admitted", NOBODY, IGNORE, IGNORE, NO
    QUEUED = "queued", NOBODY, IGNORE, IGNORE, NO
    SHED = "shed", NOBODY, IGNORE, IGNORE, NO  # the queue was full
    EXPIRED = "expired", NOBODY, IGNORE, IGNORE, NO  # waited too long, or could not have made it
    UNAVAILABLE = "unavailable", NOBODY, IGNORE, IGNORE, NO  # every backend is down or open
    PREEMPTED = "preempted", NOBODY, IGNORE, IGNORE, AT_ONCE  # a more urgent call took the permit

    # What the world says of an attempt that goes on.
    PARKED = "parked", NOBODY, IGNORE, IGNORE, NO  # queued at the provider: signs, but no token
    LATE = "late", NOBODY, IGNORE, IGNORE, NO  # time for a second attempt beside it
    FIRST_TOKEN = "first_token", NOBODY, ALIVE, ALIVE, NO

    # What the world says of an attempt that is over.
    DONE = "done", NOBODY, SUCCESS, SUCCESS, NO
    REJECTED = "rejected", CALLER, IGNORE, IGNORE, NO  # the caller's own 4xx: all would say so
    UNREACHABLE = "unreachable", BACKEND, DROPPED, IGNORE, ANYWHERE  # nothing was sent, or not on
    BUSY = "busy", ACCOUNT, IGNORE, DROPPED, ANYWHERE  # 429: alive, but no more at once
    OVERLOADED = "overloaded", BACKEND, DROPPED, DROPPED, ANYWHERE  # 503, or as a finish reason
    DENIED = "denied", ACCOUNT, DROPPED, IGNORE, ELSEWHERE  # 401, 402, spent quota: a dead key
    FORBIDDEN = "forbidden", ACCOUNT, DROPPED, IGNORE, ELSEWHERE  # 403: this key may not do this
    ABSENT = "absent", NOBODY, IGNORE, IGNORE, ELSEWHERE  # 404: another backend may have it
    FAILED = "failed", BACKEND, DROPPED, IGNORE, ANYWHERE  # 5xx, or an answer that is none
    EMPTY = "empty", BACKEND, DROPPED, IGNORE, ANYWHERE  # a whole answer without a token
    STARVED = "starved", GATEWAY, IGNORE, IGNORE, ANYWHERE  # we have no file or port left
    LOST = "lost", BACKEND, DROPPED, IGNORE, ANYWHERE  # the connection ended before a token
    SLOW = "slow", BACKEND, DROPPED, DROPPED, ELSEWHERE  # a clock ran out before a token
    UNPREFILLED = "unprefilled", NOBODY, IGNORE, IGNORE, AT_ONCE  # it refuses to be given a start
    UNJOINED = "unjoined", NOBODY, IGNORE, IGNORE, ELSEWHERE  # it said something else before
    CUT = "cut", BACKEND, DROPPED, IGNORE, ANYWHERE  # ended or fell silent; can be continued
    BROKEN = "broken", BACKEND, DROPPED, IGNORE, NO  # ended or fell silent; cannot be
    WITHDRAWN = "withdrawn", NOBODY, IGNORE, IGNORE, ELSEWHERE  # an operator closed the backend
    OVERDUE = "overdue", NOBODY, IGNORE, IGNORE, NO  # the call's own deadline
    GONE = "gone", CALLER, IGNORE, IGNORE, NO  # the caller left


(
    GRANTED, LIMITED, ADMITTED, QUEUED, SHED, EXPIRED, UNAVAILABLE, PREEMPTED, PARKED, LATE,
    FIRST_TOKEN, DONE, REJECTED, UNREACHABLE, BUSY, OVERLOADED, DENIED, FORBIDDEN, ABSENT, FAILED,
    EMPTY, STARVED, LOST, SLOW, UNPREFILLED, UNJOINED, CUT, BROKEN, WITHDRAWN, OVERDUE, GONE,
) = Fact  # fmt: skip


class Priority(IntEnum):
    """Who is served first; the words are those of the fleet file's keys."""

    INTERACTIVE = 0
    DEFAULT = 1
    BATCH = 2


INTERACTIVE, DEFAULT, BATCH = Priority


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request for a model, reduced to what decisions need.

    `model` is the fleet's name for it, `deadline` a point on the driver's clock in seconds. `key`
    tells tenants apart and means nothing else. `prompt_tokens` and `answer_tokens` are estimates
    from the request: what fairness, size classes and outstanding work are counted in. `prefix` is
    equal for calls that begin alike, 0 if it was not looked at. An embedding has no first token:
    its answer is whole or not there (`is_whole`). With `is_limited`, limits must be asked first.
    """

    id: int
    model: str
    deadline: float
    is_stream: bool = True
    key: str = ""
    priority: int = DEFAULT
    prompt_tokens: int = 1
    answer_tokens: int = 1
    prefix: int = 0
    is_whole: bool = False
    is_limited: bool = False

    @property
    def tokens(self) -> int:
        """What the call is expected to cost in all."""
        return self.prompt_tokens + self.answer_tokens


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the world tells a flow: a fact and when.

    `retry_after_s` is how long the backend asked to be left alone, `backend` which of two attempts
    is spoken of (empty: the only one), `queued_s` how long the backend showed signs of life before
    its first token, `tokens` what the call took in all, prompt included, where that is known.
    """

    fact: Fact
    now: float
    retry_after_s: float = 0.0
    backend: str = ""
    queued_s: float = 0.0
    tokens: int = 0


class Sight(msgspec.Struct, frozen=True, gc=False):
    """What a look at a backend showed; None is what it does not tell.

    `at` is when it was taken, on the driver's clock. `kv_usage` is the used part of its KV cache
    from 0 to 1, `waiting` and `running` its own calls, `slots` how many it runs at once, `ping_s`
    how long it took to say that it lives. `kv_tokens` is what its cache holds in all,
    `made_tokens` how many it has written since it was started, `tokens_per_s` its speed of writing
    where it tells that instead, `preemptions` how often it has thrown a call out of its cache.
    """

    at: float
    kv_usage: float | None = None
    waiting: int | None = None
    running: int | None = None
    slots: int | None = None
    ping_s: float | None = None
    kv_tokens: int | None = None
    made_tokens: int | None = None
    tokens_per_s: float | None = None
    preemptions: int | None = None


class Reserve(msgspec.Struct, frozen=True, gc=False):
    """Set aside what the call may take of its key's limits; tell `GRANTED` or `LIMITED`.

    What was set aside is settled when the call ends, by whoever performs this.
    """

    call: Call


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Keep the caller until the gate gives notice: `ADMITTED`, `EXPIRED` or `SHED`."""

    call: Call


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send the call to a backend; tell of its first token, its whole answer or its failure.

    The clocks run from now, in seconds: until the answer's head, its first byte of any kind, its
    first token, and until `LATE` is told (infinite: never). With `is_resumed`, the text so far is
    given along, and the answer must continue it.
    """

    call: Call
    target: Target
    headers_s: float
    first_byte_s: float
    first_token_s: float
    late_s: float = inf
    is_resumed: bool = False


class Hedge(msgspec.Struct, frozen=True, gc=False):
    """Make a second attempt beside the first; the first token of either decides."""

    call: Call
    send: Send


class Watch(msgspec.Struct, frozen=True, gc=False):
    """Go on with the attempts that are out."""

    call: Call


class Relay(msgspec.Struct, frozen=True, gc=False):
    """Pass the answer that had its first token on to the caller; tell how it ended."""

    call: Call
    target: Target
    stall_s: float


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The story's end: the last fact, and after how many seconds it is worth trying again."""

    call: Call
    fact: Fact
    retry_after_s: float = 0.0


Ask = Reserve | Wait | Send | Hedge | Watch | Relay


_FACT_OF_STATUS = {
    401: DENIED,
    402: DENIED,  # DeepSeek: the balance is used up
    403: FORBIDDEN,
    404: ABSENT,
    405: ABSENT,
    408: FAILED,
    429: BUSY,
    501: ABSENT,
    502: UNREACHABLE,  # a proxy's word: there is nobody behind it
    503: OVERLOADED,
    529: BUSY,  # Anthropic and Dynamo: every worker is busy
}


def fact_of_status(status: int) -> Fact:
    """Say what an HTTP status of a backend means; a success must still prove to be an answer."""
    if 200 <= status < 300:
        return DONE
    if fact := _FACT_OF_STATUS.get(status):
        return fact
    return REJECTED if 400 <= status < 500 else FAILED
