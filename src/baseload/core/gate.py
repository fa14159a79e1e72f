"""Who may go where, and who must wait: the one owner of every permit.

Picture a porter's desk. A call that arrives is given a permit for one backend at once, or a place
in the line, or a refusal. A permit belongs to the call until its attempt ends or the call leaves;
no one else ever gives it back, so a cancelled call cannot leak one. Whenever something happens the
desk first lets time do its work (waiting calls expire, pauses end, open breakers start to probe)
and last hands free permits to whoever waits: an extra look at the clock therefore changes nothing.

What the desk tells by itself (a waiting call was admitted, expired or pushed out; a permit was
taken away) is left in `notices` for the driver to fetch; when it will next have something to tell
is `deadline()`.

Not here: how the desk gives out, keeps waiting and sends away (`desk`), what is known of one
backend (`seat`) and of one call (`stay`), which backend (`permits`, `routing`), who is next
(`queueing`), and how long things may take (`patience`).
"""

from math import inf

from baseload.config.fleet import Model
from baseload.core import patience
from baseload.core.desk import Desk
from baseload.core.facts import (
    ABSENT,
    ADMITTED,
    AT_ONCE,
    BATCH,
    DONE,
    ELSEWHERE,
    EXPIRED,
    FIRST_TOKEN,
    GONE,
    INTERACTIVE,
    LATE,
    OVERDUE,
    PARKED,
    PREEMPTED,
    SHED,
    UNAVAILABLE,
    WITHDRAWN,
    Ask,
    Call,
    Fact,
    Relay,
    Send,
    Sight,
    Told,
    Watch,
)
from baseload.core.seat import Permit, Seat
from baseload.core.setup import Setup
from baseload.core.stay import Stay

ATTEMPTS_MAX = 4
"""Attempts that one call may make for a first token: more only adds load where all is failing."""
RESUMES_MAX = 8
"""Times that one answer may be continued."""
DOWN_RETRY_S = 2.0
"""What to tell callers while a backend is down: about how long an engine takes to start."""


class Gate(Desk):
    """The porter's desk of the whole fleet. Every method that takes `now` is an event."""

    # -- events of calls ---------------------------------------------------------------------

    def offer(self, call: Call, now: float) -> Fact:
        """Take in a new call: `ADMITTED`, `QUEUED`, or refused."""
        if now >= self.due or now < self.now:
            self._settle(now)
        self.now = now
        assert call.id not in self._stays
        plan = self._plans.get(call.model)  # It may have gone while limits were asked.
        if plan is None:
            plan = self.permits.plan_of(Model(name=call.model, tiers=()))
        stay = self._stays[call.id] = Stay(call, plan)
        if call.priority == INTERACTIVE:
            self.due = min(self.due, self.permits.reserve(stay, now))
        if not self._is_behind(stay) and self._take(stay):
            return ADMITTED
        return self._wait(stay, UNAVAILABLE)

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
            self._take_lesson(stay, permit, told)
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
        if fact is WITHDRAWN:
            stay.attempts -= 1  # Nothing has failed.
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
        return self._try_later(stay, told)

    def leave(self, call: Call, now: float) -> None:
        """Forget the call, whatever it was doing; legal from every state, and more than once."""
        if now != self.now:
            self._settle(now)
        stay = self._stays.pop(call.id, None)
        if stay is None:
            return
        has_freed = (permit := stay.first) is not None
        if permit is not None:
            self.permits.release_all(stay, GONE, now)
            if self.line.waiting:
                self._note_pace(permit.seat)
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

    def order(self, backend: str, is_open: bool, now: float) -> None:
        """Hear that an operator closed a backend to new calls, or opened it again.

        Calls that are there stay. Those that wait for nobody else now hear so at once.
        """
        self._settle(now)
        self.seats[backend].is_open = is_open
        self._grant()
        if not is_open:
            self._dismiss(backend)

    def reconfigure(self, setup: Setup, now: float) -> None:
        """Go on with another fleet; whoever is the same in it keeps all that was learnt.

        No permit is taken away. Every call goes by the new plan of its model from now on, and one
        that waits for what is no longer there hears so at once.
        """
        self._settle(now)
        left = self.permits.reconfigure(setup)
        self.seats, self._plans = self.permits.seats, self.permits.plans
        self._wait_s = setup.queue.wait_s
        for call_id, stay in self._stays.items():
            stay.follow(self.permits.plan_of(stay.plan.model), left)
            if call_id in self.line.waiting:
                self.line.move(call_id, stay.lane())
        self._dismiss()
        self.line.resize(setup.queue.size, setup.models)
        self._grant()
        self.due = min(self.line.deadline(), self.rest.deadline(), self.permits.deadline())

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
        if permit.seat.is_gone:  # Who bears its name now, if anybody, is another.
            stay.follow(stay.plan, frozenset({permit.seat.name}))
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
        return self._stays[call.id].plan.model.resume != "off"

    def can_move(self, call: Call, backend: str) -> bool:
        """Say whether an attempt at a backend could be given up: another would be made at once."""
        stay = self._stays[call.id]
        return stay.resumes < RESUMES_MAX and self.permits.can_move(stay, backend)

    def awaits(self, backend: str) -> bool:
        """Say whether a backend is asleep, and is being given its time to come up."""
        seat = self.seats.get(backend)
        return seat is not None and seat.is_asleep() and not seat.breaker.can_take

    def learns(self, backend: str) -> bool:
        """Say whether a backend has calls, and it is learnt how many it should have."""
        seat = self.seats.get(backend)
        return seat is not None and seat.filling is not None and seat.filling.calls > 0

    def wants_prefix(self, model: str) -> bool:
        """Say whether calls for this model are routed by how their prompts begin."""
        return self._plans[model].wants_prefix

    def retry_after_s(self, call: Call, fact: Fact) -> float:
        """Say when it is worth coming back, in whole seconds; 0 where the fact gives no reason.

        A full line empties at the pace at which permits have come back lately, unless all sleep; a
        backend that cannot be asked is worth asking when its breaker starts to probe, or when it
        said itself.
        """
        is_of_line = fact is SHED or fact is EXPIRED
        if not (is_of_line or fact is UNAVAILABLE or (fact.is_retryable and fact is not ABSENT)):
            return 0.0
        seats = list(self.permits.candidates(self._stays[call.id], frozenset()))
        if is_of_line and not all(seat.is_asleep() for seat in seats):
            wait_s = self.drain.wait_s(len(self.line))
        else:
            mends_in_s = (patience.mends_in_s(seat, self.now, DOWN_RETRY_S) for seat in seats)
            wait_s = min(mends_in_s, default=DOWN_RETRY_S)
        return patience.advice_s(wait_s, self._rng)

    # -- within ------------------------------------------------------------------------------

    def _take_lesson(self, stay: Stay, permit: Permit, told: Told) -> None:
        """Note what the end of an attempt means for its call and for those who wait."""
        seat, fact = permit.seat, told.fact
        if told.retry_after_s:
            seat.mends_at = max(seat.mends_at, told.now + told.retry_after_s)
        if told.tokens:
            stay.tokens = told.tokens
            if fact is DONE and permit.filled is not None:
                permit.filled.filling.answered(stay.call, told.tokens)
        if fact.is_retryable:
            if seat.met_nobody(permit, fact):
                if permit.is_try:
                    stay.attempts -= 1  # It was sent to see; of these there are few, by the clock.
                return  # To be waited for, and no sign of how fast the line moves.
            if fact.retry is not AT_ONCE and not seat.is_gone:
                stay.tried |= {seat.name}
                if fact.retry is ELSEWHERE:
                    stay.barred |= {seat.name}
        if self.line.waiting:
            self._note_pace(seat)

    def _note_pace(self, seat: Seat) -> None:
        """Note that a permit came back that somebody waited for; sleep says nothing of the pace."""
        if seat.is_asleep():
            self.drain.begin(self.now)
        else:
            self.drain.note(self.now, seat.breaker.heeds_from if seat.cold_start_s else -inf)
