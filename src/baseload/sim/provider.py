"""A provider of answers as its callers see it: fast, full, slow, faulty or dark, on simulated time.

It stands in for what is behind one backend, and speaks to a flow as the gateway's hands would: it
honours the clocks that an ask carries, and tells the same facts. Think of a kitchen with so many
stoves: a call takes one, has its first token after a while, and writes on at the kitchen's pace,
which falls the more stoves are lit. Calls beyond that are refused, kept waiting with signs of life
(as DeepSeek does), or taken all the same, which makes everything slow. What goes wrong can be
switched on and off while it runs.

Not here: networks, prompts, what happens inside an engine, and what callers want (`workload`).
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from math import exp, inf
from random import Random
from typing import Literal

import msgspec

from baseload.core.facts import (
    BROKEN,
    BUSY,
    CUT,
    DONE,
    EMPTY,
    FAILED,
    FIRST_TOKEN,
    LATE,
    LOST,
    OVERDUE,
    OVERLOADED,
    PARKED,
    SLOW,
    UNREACHABLE,
    Fact,
    Relay,
    Send,
    Sight,
    Told,
)
from baseload.sim.batch import Batch
from baseload.sim.driver import Tell
from baseload.sim.kernel import Kernel

PARKED_S = 0.25
"""Signs of life without a token for so long, and a call counts as queued at the provider."""
Dark = Literal["", "refuses", "resets", "hangs"]


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider is like when it is well; shares of load are those of its slots."""

    slots: int = 32
    """Calls that it works on at once."""
    excess: Literal["refuse", "queue", "slow"] = "refuse"
    """What becomes of calls beyond them."""
    retry_after_s: float = 0.0
    """What it says with a refusal; 0: nothing."""
    queue_s: float = 600.0
    """How long it keeps a call waiting before it hangs up."""
    trip_s: float = 0.02
    """There and back."""
    first_token_s: float = 0.4
    """Median time to a first token, when idle."""
    spread: float = 0.35
    """Standard deviation of that time's logarithm."""
    strain: float = 1.0
    """What full load adds to that time, as a share of it."""
    prompt_tokens_s: float = 10_000.0
    """Speed of reading prompts."""
    tokens_s: float = 40.0
    """Speed of writing, for a call that is alone."""
    crowding: float = 0.5
    """What full load adds to the time for each token, as a share of it."""
    lingers_s: float = 0.0
    """For how long a call that nobody wants any more still takes its slot."""


class Troubles(msgspec.Struct):
    """What goes wrong, each as a share of the calls that come from now on."""

    errors: float = 0.0
    unavailable: float = 0.0
    empty: float = 0.0
    cuts: float = 0.0
    """Answers that end in their middle."""
    stalls: float = 0.0
    """Answers that fall silent in their middle."""


class Answer:
    """One call's answer, whoever gives it: how long it is, and how much of it the caller has."""

    __slots__ = ("is_continuable", "said", "whole")

    def __init__(self, whole: int, is_continuable: bool) -> None:
        self.whole = whole
        self.said = 0
        self.is_continuable = is_continuable


class Books:
    """What a provider did: attempts that came, how they ended, tokens that it wrote."""

    def __init__(self) -> None:
        self.attempts = 0
        self.ends: Counter[Fact] = Counter()
        self.hung_up = 0
        """Attempts that nobody wanted any more."""
        self.tokens = 0.0
        self.tokens_done = 0.0
        """Those of attempts that came to a proper end."""
        self.journal: list[tuple[float, int]] | None = None
        """Make it a list, and each attempt's time and call's id are written there."""


class _Attempt:
    """One attempt that is out, from its `Send` to the end of its `Relay`."""

    __slots__ = ("answer", "ask", "began_at", "fate", "has_slot", "is_over", "is_parked", "said",
                 "silent_from", "tell", "writer", "written_from")  # fmt: skip

    def __init__(self, ask: Send, tell: Tell, answer: Answer, now: float) -> None:
        self.ask: Send | Relay = ask
        self.tell = tell
        self.answer = answer
        self.began_at = now
        self.fate: Fact | None = None
        """How it ends, if not well."""
        self.has_slot = self.is_parked = self.is_over = False
        self.said = answer.said if ask.is_resumed else 0
        """Tokens that the caller had before."""
        self.writer = 0
        """Its number in the batch, while it writes."""
        self.written_from = inf
        """Where the batch stood at the first token; infinite before it."""
        self.silent_from = inf
        """Where it stood when this attempt fell silent."""


class Provider:
    """The far side of one backend. `troubles` may be changed while it runs."""

    def __init__(self, name: str, kernel: Kernel, rng: Random, habits: Habits) -> None:
        self.name, self.habits, self.troubles = name, habits, Troubles()
        self.dark: Dark = ""
        self.slots = habits.slots
        self.taken = 0
        """Slots that are taken."""
        self.books = Books()
        self._kernel = kernel
        self._rng = rng
        self._slowness = 1.0
        self._batch = Batch(kernel, habits.tokens_s)
        self._attempts: dict[int, _Attempt] = {}
        self._queue: OrderedDict[int, _Attempt] = OrderedDict()

    # -- what the world asks -----------------------------------------------------------------

    def begin(self, ask: Send | Relay, tell: Tell, answer: Answer) -> None:
        """Take an attempt, or go on with the one whose first token was told just now."""
        if isinstance(ask, Relay):
            attempt = self._attempts[ask.call.id]
            attempt.ask, attempt.tell = ask, tell
            return
        now = self._kernel.now
        self.books.attempts += 1
        if self.books.journal is not None:
            self.books.journal.append((now, ask.call.id))
        attempt = self._attempts[ask.call.id] = _Attempt(ask, tell, answer, now)
        self._set_clocks(attempt, ask)
        fate = attempt.fate = self._draw()
        if self.dark:
            self._lose(attempt)
        elif fate is FAILED or fate is OVERLOADED:
            self._end_in(attempt, self.habits.trip_s, fate)
        elif self.taken < self.slots or self.habits.excess == "slow":
            self._enter(attempt)
        elif self.habits.excess == "queue":
            self._queue[ask.call.id] = attempt
            self._in(attempt, self.habits.trip_s + PARKED_S, self._sign)
            self._in(attempt, self.habits.queue_s, self._turn_away)
        else:
            self._end_in(attempt, self.habits.trip_s, BUSY)

    def cancel(self, ask: Send | Relay) -> None:
        """Hear a caller hang up."""
        attempt = self._attempts.get(ask.call.id)
        if attempt is not None and attempt.ask is ask:
            self.books.hung_up += 1
            self._drop(attempt, self.habits.lingers_s)

    def look(self) -> Sight | None:
        """Show what an engine tells of itself, or None if it does not answer."""
        if self.dark:
            return None
        return Sight(
            self._kernel.now,
            waiting=len(self._queue),
            running=self.taken,
            slots=self.slots,
            ping_s=self.habits.trip_s,
        )

    # -- how things go wrong, and right again ------------------------------------------------

    def darken(self, how: Dark) -> None:
        """Answer nobody: calls that are here and calls that come are lost, or met by silence."""
        self.dark = how
        for attempt in list(self._attempts.values()):
            self._lose(attempt)

    def lighten(self) -> None:
        """Take calls again; what was lost stays lost."""
        self.dark = ""

    def slow_down(self, times: float) -> None:
        """Let everything take so many times as long as usual; 1 is as usual."""
        self._slowness = times
        self._retune()

    def resize(self, slots: int) -> None:
        """Have so many slots from now on; calls that are here go on to their end."""
        self.slots = slots
        self._admit()
        self._retune()

    # -- the life of an attempt --------------------------------------------------------------

    def _set_clocks(self, attempt: _Attempt, ask: Send) -> None:
        """Watch the caller's clocks as its hands would."""
        byte_s = min(ask.headers_s, ask.first_byte_s)
        if byte_s < ask.first_token_s:
            self._in(attempt, byte_s, self._hear_nothing)
        if ask.late_s < ask.first_token_s:
            self._in(attempt, ask.late_s, self._be_late)
        self._in(attempt, ask.first_token_s, self._be_slow)
        deadline_s = max(ask.call.deadline - self._kernel.now, 0.0)
        self._in(attempt, deadline_s, lambda attempt: self._finish(attempt, OVERDUE))

    def _hear_nothing(self, attempt: _Attempt) -> None:
        if attempt.written_from == inf and attempt.ask.call.id not in self._queue:
            self._finish(attempt, SLOW)

    def _be_late(self, attempt: _Attempt) -> None:
        if attempt.written_from == inf:
            self._tell(attempt, LATE)

    def _be_slow(self, attempt: _Attempt) -> None:
        if attempt.written_from == inf:
            self._finish(attempt, SLOW)

    def _sign(self, attempt: _Attempt) -> None:
        if attempt.ask.call.id in self._queue:
            attempt.is_parked = True
            self._tell(attempt, PARKED)

    def _turn_away(self, attempt: _Attempt) -> None:
        if attempt.ask.call.id in self._queue:
            self._finish(attempt, OVERLOADED)

    def _draw(self) -> Fact | None:
        """Draw what goes wrong with a call; None: nothing."""
        troubles, mark = self.troubles, self._rng.random()
        for share, fate in (
            (troubles.errors, FAILED),
            (troubles.unavailable, OVERLOADED),
            (troubles.empty, EMPTY),
            (troubles.cuts, CUT),
            (troubles.stalls, BROKEN),
        ):
            if mark < share:
                return fate
            mark -= share
        return None

    def _enter(self, attempt: _Attempt) -> None:
        """Take a slot; the first token comes after a while."""
        habits = self.habits
        self.taken += 1
        attempt.has_slot = True
        self._retune()
        load = 1.0 + habits.strain * self.taken / self.slots
        think_s = habits.first_token_s * exp(self._rng.gauss(0.0, habits.spread)) * load
        read_s = attempt.ask.call.prompt_tokens / habits.prompt_tokens_s
        self._in(attempt, habits.trip_s + (think_s + read_s) * self._slowness, self._write)

    def _write(self, attempt: _Attempt) -> None:
        """Tell of the first token, and write on until the answer's end, or until it breaks."""
        if attempt.silent_from < inf:
            return
        if attempt.fate is EMPTY:
            self._finish(attempt, EMPTY)
            return
        attempt.written_from = self._batch.place()
        attempt.answer.said = attempt.said
        left: float = attempt.answer.whole - attempt.said
        if attempt.fate is not None:
            left *= self._rng.random()
        attempt.writer = self._batch.join(left, lambda: self._stop(attempt))
        if not attempt.ask.call.is_whole:
            self._tell(attempt, FIRST_TOKEN)

    def _stop(self, attempt: _Attempt) -> None:
        """Come to where the answer ends, breaks off, or falls silent."""
        if attempt.fate is None:
            self._finish(attempt, DONE)
        elif attempt.fate is CUT:
            self._break_off(attempt)
        else:
            self._fall_silent(attempt)

    def _lose(self, attempt: _Attempt) -> None:
        """Have a call meet the dark: a refused connection, a reset, or silence."""
        self._queue.pop(attempt.ask.call.id, None)
        if self.dark == "hangs":
            self._fall_silent(attempt)
        elif attempt.written_from < inf:
            self._in(attempt, 0.0, self._break_off)
        elif self.dark == "refuses" and attempt.began_at == self._kernel.now:
            self._end_in(attempt, self.habits.trip_s, UNREACHABLE)
        else:
            self._end_in(attempt, self.habits.trip_s, LOST)

    def _fall_silent(self, attempt: _Attempt) -> None:
        """Say nothing more. Before a token, other clocks watch for that."""
        attempt.silent_from = min(attempt.silent_from, self._batch.place())
        self._batch.leave(attempt.writer)
        if isinstance(attempt.ask, Relay):
            self._in(attempt, attempt.ask.stall_s, self._break_off)

    def _break_off(self, attempt: _Attempt) -> None:
        broken = CUT if attempt.answer.is_continuable else BROKEN
        self._finish(attempt, LOST if attempt.ask.call.is_whole else broken)

    def _in(self, attempt: _Attempt, after_s: float, do: Callable[[_Attempt], None]) -> None:
        """Have something happen to an attempt, unless it is over by then."""
        when = self._kernel.now + after_s
        self._kernel.at(when, lambda: None if attempt.is_over else do(attempt))

    def _end_in(self, attempt: _Attempt, after_s: float, fact: Fact) -> None:
        self._in(attempt, after_s, lambda attempt: self._finish(attempt, fact))

    # -- its end -----------------------------------------------------------------------------

    def _finish(self, attempt: _Attempt, fact: Fact) -> None:
        """End an attempt, and tell how."""
        self.books.ends[fact] += 1
        is_left = fact is SLOW or fact is OVERDUE  # It was the caller who hung up.
        written = self._drop(attempt, self.habits.lingers_s if is_left else 0.0)
        if fact is DONE:
            attempt.answer.said = attempt.answer.whole
            self.books.tokens_done += written
        self._tell(attempt, fact)

    def _drop(self, attempt: _Attempt, lingers_s: float) -> float:
        """Forget an attempt, whatever it was doing; give how many tokens it wrote."""
        attempt.is_over = True
        call_id, answer = attempt.ask.call.id, attempt.answer
        del self._attempts[call_id]
        self._queue.pop(call_id, None)
        written = 0.0
        if attempt.written_from < inf:
            self._batch.leave(attempt.writer)
            place = min(self._batch.place(), attempt.silent_from)
            written = min(place - attempt.written_from, answer.whole - attempt.said)
            self.books.tokens += written
            answer.said = attempt.said + int(written)
        if attempt.has_slot:
            if lingers_s:
                self._kernel.at(self._kernel.now + lingers_s, self._free)
            else:
                self._free()
        return written

    def _tell(self, attempt: _Attempt, fact: Fact) -> None:
        now, call = self._kernel.now, attempt.ask.call
        wish_s = self.habits.retry_after_s if fact is BUSY or fact is OVERLOADED else 0.0
        tokens = call.prompt_tokens + attempt.answer.whole if fact is DONE else 0
        queued_s = now - attempt.began_at if attempt.is_parked and fact is FIRST_TOKEN else 0.0
        attempt.tell(Told(fact, now, wish_s, self.name, queued_s, tokens))

    # -- slots and speed ---------------------------------------------------------------------

    def _free(self) -> None:
        self.taken -= 1
        self._admit()
        self._retune()

    def _admit(self) -> None:
        """Give free slots to those in the queue, first come first."""
        while self._queue and self.taken < self.slots:
            self._enter(self._queue.popitem(last=False)[1])

    def _retune(self) -> None:
        """Set the pace anew after slots were taken or freed."""
        crowd = 1.0 + self.habits.crowding * self.taken / self.slots
        self._batch.retune(self.habits.tokens_s / (crowd * self._slowness))
