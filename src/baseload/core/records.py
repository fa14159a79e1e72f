"""Which lines stand on a tape?

Events are what the gate and the flows were fed, decisions what came of it. The tags of the kinds
and the order of their fields are part of the tape's form.

Not here: blocks of bytes (`tape`).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from baseload.core.facts import Call, Fact, Sight, Told
from baseload.core.setup import Setup
from baseload.errors import BaseloadError

TIME_S_MAX = 1e10
"""Beyond it, a second is too little for deadlines to be told apart well; no clock gets there."""

Time = Annotated[float, Meta(ge=0, le=TIME_S_MAX)]


class TapeError(BaseloadError):
    """A file that is no tape, or no sound one."""


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One line of a tape."""


class Began(Record, frozen=True, gc=False, array_like=True, tag=1):
    """A call came. All but `now` are the call's own fields."""

    now: Time
    id: int
    model: str
    deadline: float
    is_stream: bool
    key: str
    priority: int
    prompt_tokens: int
    answer_tokens: int
    prefix: int
    is_whole: bool
    is_limited: bool = False

    def call(self) -> Call:
        """Give the call that came."""
        return Call(*msgspec.structs.astuple(self)[1:])


class Heard(Record, frozen=True, gc=False, array_like=True, tag=2):
    """A flow was told a fact, here by its label."""

    call_id: int
    fact: str
    now: Time
    retry_after_s: float
    backend: str
    queued_s: float
    tokens: int

    def told(self) -> Told:
        """Give what the flow was told; raises TapeError for a fact that is not known here."""
        if (fact := _FACTS.get(self.fact)) is None:
            raise TapeError(f"no such fact is known here: {self.fact}")
        return Told(fact, self.now, self.retry_after_s, self.backend, self.queued_s, self.tokens)


class Announced(Record, frozen=True, gc=False, array_like=True, tag=3):
    """A backend's process came up or went down."""

    now: Time
    backend: str
    is_up: bool


class Saw(Record, frozen=True, gc=False, array_like=True, tag=4):
    """A look at a backend showed something. All but `now` and `backend` are the sight's fields."""

    now: Time
    backend: str
    at: float
    kv_usage: float | None
    waiting: int | None
    running: int | None
    slots: int | None
    ping_s: float | None
    kv_tokens: int | None = None
    made_tokens: int | None = None
    tokens_per_s: float | None = None
    preemptions: int | None = None

    def sight(self) -> Sight:
        """Give what was seen."""
        return Sight(*msgspec.structs.astuple(self)[2:])


class Ticked(Record, frozen=True, gc=False, array_like=True, tag=5):
    """The gate's timer rang."""

    now: Time


class Ordered(Record, frozen=True, gc=False, array_like=True, tag=6):
    """An operator closed a backend to new calls, or opened it."""

    now: Time
    backend: str
    is_open: bool


class Reconfigured(Record, frozen=True, gc=False, array_like=True, tag=7):
    """The fleet became another one."""

    now: Time
    setup: Setup


class Reserved(Record, frozen=True, gc=False, array_like=True, tag=10):
    """The flow asked for a part of its key's limits."""

    call_id: int


class Waited(Record, frozen=True, gc=False, array_like=True, tag=11):
    """The flow asked to keep the caller."""

    call_id: int


class Sent(Record, frozen=True, gc=False, array_like=True, tag=12):
    """The flow asked for an attempt, with these clocks."""

    call_id: int
    backend: str
    model: str
    headers_s: float
    first_byte_s: float
    first_token_s: float
    late_s: float
    is_resumed: bool


class Hedged(Sent, frozen=True, gc=False, array_like=True, tag=13):
    """The flow asked for a second attempt beside the first."""


class Watched(Record, frozen=True, gc=False, array_like=True, tag=14):
    """The flow asked to go on with the attempts that are out."""

    call_id: int


class Relayed(Record, frozen=True, gc=False, array_like=True, tag=15):
    """The flow asked to pass the answer on."""

    call_id: int
    backend: str
    model: str
    stall_s: float


class Replied(Record, frozen=True, gc=False, array_like=True, tag=16):
    """The flow ended."""

    call_id: int
    fact: str
    retry_after_s: float


class Ended(Record, frozen=True, gc=False, array_like=True, tag=20):
    """The recording ended, and why; `CLOSED` if nothing is missing."""

    why: str


Event = Began | Heard | Announced | Saw | Ticked | Ordered | Reconfigured
Decision = Reserved | Waited | Sent | Hedged | Watched | Relayed | Replied
Line = Event | Decision | Ended

_FACTS = {fact.label: fact for fact in Fact}
