"""Who may go where, and who must wait: the one owner of every permit.

Picture a porter's desk. A call that arrives is given a permit for one backend at once, or a place
in the line, or a refusal. A permit belongs to the call until its attempt ends or the call leaves;
no one else ever gives it back, so a cancelled call cannot leak one. Whenever something happens the
desk first lets time do its work (waiting calls expire, pauses end, open breakers start to probe)
and last hands free permits to whoever waits: an extra look at the clock therefore changes nothing.

What the desk tells by itself (a waiting call was admitted, expired or pushed out; a permit was
taken away) is left in `notices` for the driver to fetch; when it will next have something to tell
is `deadline()`.

Not here: what is known of one backend (`seat`) and of one call (`stay`), which backend (`permits`,
`routing`), who is next (`queueing`), and how long things may take (`patience`).
"""

from collections import deque
from math import inf

from baseload.core import patience
from baseload.core.budget import Budget
from baseload.core.dice import Dice
from baseload.core.facts import (
    ABSENT,
    ADMITTED,
    AT_ONCE,
    BATCH,
    ELSEWHERE,
    EXPIRED,
    FIRST_TOKEN,
    GONE,
    INTERACTIVE,
    LATE,
    OVERDUE,
    PARKED,
    PREEMPTED,
    QUEUED,
    SHED,
    UNAVAILABLE,
    Ask,
    Call,
    Fact,
    Hedge,
    Relay,
    Send,
    Sight,
    Told,
    Watch,
)
from baseload.core.permits import Permits
from baseload.core.queueing import Line
from baseload.core.resting import Rest, pause_s
from baseload.core.seat import Seat
from baseload.core.setup import Setup
from baseload.core.stay import Stay

ATTEMPTS_MAX = 4
"""Attempts that one call may make for a first token: more only adds load where all is failing."""
RESUMES_MAX = 8
"""Times that one answer may be continued."""
RETRY_SHARE = 0.2
RETRIES_MIN = 3
"""Calls that may retry the backend they came from, at once: a share of all live calls, or a few.
Going to another backend is not counted: it adds no load to the one that fails."""
DOWN_RETRY_S = 2.0
"""What to tell callers while a backend is down: about how long an engine takes to start."""


class Gate:
    """The porter's desk of the whole fleet. Every method that takes `now` is an event."""

    def __init__(self, setup: Setup, rng: Dice) -> None:
        self._rng = rng
        self.permits = Permits(setup, rng)
        self.seats = self.permits.seats
        self.line = Line(setup.queue.size)
        self.rest = Rest()
        self.drain = patience.Drain()
        self.retries = Budget(RETRY_SHARE, RETRIES_MIN)
        self.notices: deque[tuple[Call, Fact]] = deque()
        self.now = -inf
        self._wait_s = setup.queue.wait_s
        self._plans = self.permits.plans
        self._stays: dict[int, Stay] = {}
        self.due = inf
        """When the gate changes by itself, or infinity; `deadline()` in the form of the law."""

    # -- events of calls ---------------------------------------------------------------------

    def offer(self, call: Call, now: float) -> Fact:
        """Take in a new call: `ADMITTED`, `QUEUED`, or refused."""
        if now >= self.due or now < self.now:
            self._settle(now)
        self.now = now
        assert call.id not in self._stays
        stay = self._stays[call.id] = Stay(call, self._plans[call.model])
        if call.priority == INTERACTIVE:
            self.due = min(self.due, self.permits.reserve(stay, now))
        return ADMITTED if self._take(stay) else self._wait(stay, UNAVAILABLE)

    def heard(self, call: Call, told: Told) -> Ask | None:
        """Learn from an attempt; give what to ask next while one is still out for a token."""
        now, fact = told.now, told.fact
        if now >= self.due or now < self.now:
            self._settle(now)
        self.now = now
        stay = self._stays[call.id]
        permit = stay.first if stay.second is None else stay.permit_of(told.backend)
        if permit is None:
            return None  # The gate itself took it away.
        seat = permit.seat
        if fact is LATE:
            return self._hedge(stay)
        if fact is PARKED:
            seat.parked_one(permit, now)
        elif fact is FIRST_TOKEN:
            if stay.second is not None:
                self.permits.keep_only(stay, permit, now)
            seat.began(call, permit, told)
        else:
            if stay.second is not None and not fact.is_retryable:
                self.permits.keep_only(stay, permit, now)
            self.permits.release(stay, permit)
            seat.ended(call, permit, fact, now)
            self._take_lesson(stay, seat, told)
        self.due = min(self.due, seat.due)
        if self.line.waiting:
            self._grant()
        return None if stay.first is None or fact is FIRST_TOKEN else Watch(call)

    def again(self, call: Call, told: Told) -> Fact:
        """After a retryable failure: another backend, a place in the line, a pause, or the end."""
        self._settle(told.now)
        stay, fact = self._stays[call.id], told.fact
        if told.now >= call.deadline:
            return OVERDUE
        if fact is PREEMPTED:
            stay.attempts -= 1
            return ADMITTED if self._take(stay) else self._wait(stay, UNAVAILABLE)
        if stay.attempts >= ATTEMPTS_MAX or stay.resumes >= RESUMES_MAX:
            return fact
        if stay.committed is not None and call.is_stream:
            stay.bar_strangers()
        if self._take(stay):
            return ADMITTED
        if any(seat.is_usable() for seat in self.permits.candidates(stay, stay.tried)):
            return self._wait(stay, fact)
        return self._pause(stay, told)

    def leave(self, call: Call, now: float) -> None:
        """Forget the call, whatever it was doing; legal from every state, and more than once."""
        if now != self.now:
            self._settle(now)
        stay = self._stays.pop(call.id, None)
        if stay is None:
            return
        has_freed = stay.first is not None
        if has_freed:
            self.permits.release_all(stay, GONE, now)
            if self.line.waiting:
                self.drain.note(now)
        if stay.is_charged and stay.tokens:
            self.line.correct(call, stay.tokens)
        if stay.is_budgeted:
            self.retries.release()
        if self.rest.until:
            self.rest.leave(call.id)
        if self.line.waiting and (self.line.leave(call.id) or has_freed):
            self._grant()

    # -- events of the world -----------------------------------------------------------------

    def announce(self, backend: str, is_up: bool, now: float) -> None:
        """Hear that a backend's process came up or went down; a new process starts unblamed."""
        self._settle(now)
        seat = self.seats[backend]
        if is_up and not seat.is_up:
            seat.start_afresh(now)
        seat.is_up = is_up
        self.due = min(self.due, seat.due)
        self._grant()

    def observe(self, backend: str, sight: Sight, now: float) -> None:
        """Hear what a look at a backend showed."""
        self._settle(now)
        seat = self.seats[backend]
        seat.saw(sight, now)
        self.due = min(self.due, seat.due)
        self._grant()

    def tick(self, now: float) -> None:
        """Let time pass; between two deadlines this changes nothing."""
        self._settle(now)

    # -- what a flow asks next ---------------------------------------------------------------

    def attempt(self, call: Call) -> Send:
        """Give the ask for the attempt for which the call holds a permit."""
        stay = self._stays[call.id]
        permit = stay.first
        assert permit is not None
        is_resumed = False
        if stay.committed is not None:
            is_resumed = stay.continues_at(permit.target)
            assert is_resumed or not call.is_stream, "a text that was begun cannot begin again"
        elif call.priority == BATCH:
            permit.seat.preemptible[call.id] = permit
        is_last = stay.plan.is_single or self.permits.is_last(stay, permit.seat)
        return patience.send(call, permit, stay.plan.model, self.now, is_last, is_resumed)

    def relay(self, call: Call) -> Relay:
        """Give the ask for the rest of an answer that had its first token."""
        stay = self._stays[call.id]
        permit = stay.first
        assert permit is not None
        if stay.committed is not None:
            stay.resumes += 1
        stay.committed = permit.target
        stay.attempts, stay.tried = 0, stay.barred
        if stay.is_budgeted:
            stay.is_budgeted = False
            self.retries.release()
        return Relay(call, permit.target, stay.plan.model.stall_s)

    # -- queries -----------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Give the time at which the gate changes by itself, or None."""
        return None if self.due == inf else self.due

    def may_resume(self, call: Call) -> bool:
        """Say whether an answer to this call may be continued if it breaks."""
        return self._plans[call.model].model.resume != "off"

    def wants_prefix(self, model: str) -> bool:
        """Say whether calls for this model are routed by how their prompts begin."""
        return self._plans[model].wants_prefix

    def retry_after_s(self, call: Call, fact: Fact) -> float:
        """Say when it is worth coming back, in whole seconds; 0 where the fact gives no reason.

        A full line empties at the pace at which permits have come back lately; a backend that
        cannot be asked is worth asking when its breaker starts to probe, or when it said itself.
        """
        if fact is SHED or fact is EXPIRED:
            wait_s = self.drain.wait_s(len(self.line))
        elif fact is UNAVAILABLE or (fact.is_retryable and fact is not ABSENT):
            seats = self.permits.candidates(self._stays[call.id], frozenset())
            wait_s = min(patience.mends_in_s(seat, self.now, DOWN_RETRY_S) for seat in seats)
        else:
            return 0.0
        return patience.advice_s(wait_s, self._rng)

    # -- within ------------------------------------------------------------------------------

    def _take(self, stay: Stay) -> bool:
        if not self.permits.take(stay, self.now):
            return False
        assert stay.first is not None
        self.due = min(self.due, stay.first.seat.due)
        if self.line.waiting and not stay.is_charged:
            # While nobody waits there is enough for all, and nobody owes anybody anything.
            stay.is_charged = True
            self.line.charge(stay.call)
        return True

    def _take_lesson(self, stay: Stay, seat: Seat, told: Told) -> None:
        """Note what the end of an attempt means for its call and for those who wait."""
        fact = told.fact
        if told.retry_after_s:
            seat.mends_at = max(seat.mends_at, told.now + told.retry_after_s)
        if told.tokens:
            stay.tokens = told.tokens
        if fact.is_retryable and fact.retry is not AT_ONCE:
            stay.tried |= {seat.name}
            if fact.retry is ELSEWHERE:
                stay.barred |= {seat.name}
        if self.line.waiting:
            self.drain.note(told.now)

    def _hedge(self, stay: Stay) -> Ask:
        """Add a second attempt beside one that is late, if load allows and another is free."""
        call, model = stay.call, stay.plan.model
        has_room = self.permits.hedges < max(1.0, model.hedge * len(self._stays))
        if stay.second is None and has_room:
            permit = self.permits.take_second(stay, self.now)
            if permit is not None:
                self.due = min(self.due, permit.seat.due)
                return Hedge(call, patience.send(call, permit, model, self.now, True, False))
        return Watch(call)

    def _wait(self, stay: Stay, otherwise: Fact) -> Fact:
        """Find a place in the line; `otherwise` if no backend could be waited for."""
        call, line = stay.call, self.line
        if not any(seat.mends_soon() for seat in self.permits.candidates(stay, stay.tried)):
            return otherwise
        if call.priority == INTERACTIVE and self._preempt(stay):
            # By notice, after the victim's own: first one call hangs up, then the other is sent.
            self.notices.append((call, ADMITTED))
            return QUEUED
        expires = min(self.now + self._wait_s, call.deadline)
        if self.now + self.drain.wait_s(line.ahead(call)) > expires:
            return EXPIRED  # It could not make it: better to hear that now.
        if line.is_full():
            if (victim := line.victim(call)) is None:
                return SHED
            line.leave(victim)
            self.notices.append((self._stays[victim].call, SHED))
        if not line.waiting:
            self.drain.begin(self.now)
        line.join(call, (call.model, stay.tried), self.now, expires)
        self.due = min(self.due, expires)
        return QUEUED

    def _preempt(self, stay: Stay) -> bool:
        """Take the permit of the newest batch call that has no token yet."""
        for seat in self.permits.candidates(stay, stay.tried):
            if not seat.preemptible or not seat.would_take_one():
                continue
            victim = self._stays[next(reversed(seat.preemptible))]
            self.permits.release_all(victim, PREEMPTED, self.now)
            self.notices.append((victim.call, PREEMPTED))
            return self._take(stay)
        return False

    def _pause(self, stay: Stay, told: Told) -> Fact:
        """Rest before asking a backend again that has just failed, if that may help."""
        call, fact = stay.call, told.fact
        if not any(seat.mends_soon() for seat in self.permits.candidates(stay, stay.barred)):
            return fact
        until = self.now + pause_s(stay.pauses, told.retry_after_s, self._rng)
        if until > min(self.now + self._wait_s, call.deadline):
            return fact
        if not stay.is_budgeted:
            if not self.retries.can_take(len(self._stays)):
                return fact
            self.retries.take()
            stay.is_budgeted = True
        stay.pauses += 1
        stay.tried = stay.barred
        self.rest.add(call.id, until)
        self.due = min(self.due, until)
        return QUEUED

    def _wake(self, stay: Stay) -> None:
        """End a call's pause: it goes on, or waits, or is told why not."""
        fact = ADMITTED if self._take(stay) else self._wait(stay, UNAVAILABLE)
        if fact is not QUEUED:
            self.notices.append((stay.call, fact))

    def _grant(self) -> None:
        """Hand permits to waiting calls until none of the lanes' heads can have one."""
        granted = True
        while granted and self.line.waiting:
            granted = False
            for call_id in self.line.heads(self.now):
                stay = self._stays[call_id]
                if self._take(stay):
                    self.line.leave(call_id)
                    self.notices.append((stay.call, ADMITTED))
                    granted = True
                    break

    def _settle(self, now: float) -> None:
        """Let time do its work, up to now; afterwards nothing is due."""
        assert now >= self.now, "time ran backwards"
        self.now = now
        while now >= self.due:
            for call_id in self.line.expire(now):
                self.notices.append((self._stays[call_id].call, EXPIRED))
            self.permits.settle(now)
            self._grant()
            for call_id in self.rest.wake(now):
                self._wake(self._stays[call_id])
            self.due = min(self.line.deadline(), self.rest.deadline(), self.permits.deadline())
