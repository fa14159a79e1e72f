"""How are permits handed out, callers kept waiting, and sent away?

This is the porter's own work behind the desk; what people come with is told to `gate.Gate`, which
is made of this. Nothing here is called from elsewhere, and nothing here lets time pass but
`_settle`, which every event begins with.
"""

from collections import deque
from math import inf

from baseload.core import patience
from baseload.core.budget import Budget
from baseload.core.dice import Dice
from baseload.core.facts import (
    ADMITTED,
    EXPIRED,
    INTERACTIVE,
    PREEMPTED,
    QUEUED,
    SHED,
    UNAVAILABLE,
    Ask,
    Call,
    Fact,
    Hedge,
    Told,
    Watch,
)
from baseload.core.permits import Permits
from baseload.core.queueing import Line
from baseload.core.resting import Rest, pause_s
from baseload.core.seat import Seat
from baseload.core.setup import Setup
from baseload.core.stay import Stay

RETRY_SHARE = 0.2
RETRIES_MIN = 3
"""Calls that may retry the backend they came from, at once: a share of all live calls, or a few.
Going to another backend is not counted: it adds no load to the one that fails."""
PASSES_MAX = 16
"""How often a call that waits for room is passed by smaller ones before room is kept for it."""
PASSED_MAX = 32
"""Calls that wait for room of which this is counted at once; the others come after them."""
NOBODY_KEPT: frozenset[str] = frozenset()
TRY_S = 1.0
"""Who waits for a backend at zero is still there when one call is sent to see whether it is up."""


class Desk:
    """What the gate has and does by itself."""

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
        self._passed: list[tuple[Stay, frozenset[str]]] = []
        """Who waits for nothing but room, and where, as far as was seen since the last round."""
        self.due = inf
        """When the gate changes by itself, or infinity; `deadline()` in the form of the law."""

    def _take(self, stay: Stay) -> bool:
        kept = self._kept_from(stay.call) if self._passed else NOBODY_KEPT
        if not self.permits.take(stay, self.now, kept):
            return False
        assert stay.first is not None
        for passed, seats in self._passed:
            passed.passes += stay.first.seat.name in seats
        self.due = min(self.due, stay.first.seat.due)
        if self.line.waiting and not stay.is_charged:
            # While nobody waits there is enough for all, and nobody owes anybody anything.
            stay.is_charged = True
            self.line.charge(stay.call)
        return True

    def _is_behind(self, stay: Stay) -> bool:
        """Say whether calls of its size wait for room, which it may not have before them."""
        if not (self.line.waiting and stay.plan.is_metered):
            return False
        return self.line.has_lane(stay.lane(), stay.call.priority)

    def _kept_from(self, call: Call) -> frozenset[str]:
        """Give the backends that are kept for others, no less urgent, who were passed too often."""
        waiting = self.line.waiting
        return NOBODY_KEPT.union(
            *(
                seats
                for stay, seats in self._passed
                if stay.passes >= PASSES_MAX
                and stay.call.priority <= call.priority
                and stay.call.id in waiting
            )
        )

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
        seats = [seat for seat in self.permits.candidates(stay, stay.tried) if seat.mends_soon()]
        if not seats:
            return otherwise
        if call.priority == INTERACTIVE and self._preempt(stay):
            # By notice, after the victim's own: first one call hangs up, then the other is sent.
            self.notices.append((call, ADMITTED))
            return QUEUED
        expires = self._expiry(stay, seats)
        if expires <= self.now:
            return UNAVAILABLE  # It has waited for one that sleeps, and may do so only once.
        if self.now + self.drain.wait_s(line.ahead(call)) > expires:
            return EXPIRED  # It could not make it: better to hear that now.
        if line.is_full():
            victim = line.victim(call)
            if victim is None and (victim := self._sleepers_caller(call, seats)) is None:
                return SHED
            line.leave(victim)
            self.notices.append((self._stays[victim].call, SHED))
        if not line.waiting:
            self.drain.begin(self.now)
        line.join(call, stay.lane(), self.now, expires)
        if stay.plan.is_metered:
            self._note_passed(stay)
        self.due = min(self.due, expires)
        return QUEUED

    def _expiry(self, stay: Stay, seats: list[Seat]) -> float:
        """Say until when a call waits: longer for whoever sleeps, and that once in its life."""
        call, now = stay.call, self.now
        cold_start_s = max((seat.cold_start_s for seat in seats if seat.is_asleep()), default=0.0)
        if not cold_start_s:
            return min(now + self._wait_s, call.deadline)
        held_s = max(self._wait_s, cold_start_s + TRY_S)
        stay.held_until = min(stay.held_until, now + held_s)
        return min(stay.held_until, call.deadline)

    def _sleepers_caller(self, call: Call, seats: list[Seat]) -> int | None:
        """Say who gives up a place to a call that somebody is there for; None: nobody.

        It is the newest of those who wait for sleepers only, which may be for minutes, and never
        one that is more urgent: a model at zero does not fill the line for all others.
        """
        if all(seat.is_asleep() for seat in seats):
            return None
        if not any(seat.is_asleep() for seat in self.seats.values()):
            return None
        for call_id in reversed(self.line.waiting):
            stay = self._stays[call_id]
            if stay.held_until < inf and stay.call.priority >= call.priority:
                others = self.permits.candidates(stay, stay.tried)
                if all(seat.is_asleep() for seat in others):
                    return call_id
        return None

    def _expire(self, call_id: int) -> None:
        """Tell a call that its time in the line is over, and whether anybody was there at all."""
        stay = self._stays[call_id]
        seats = self.permits.candidates(stay, stay.tried)
        is_held = stay.held_until < inf and not any(seat.is_usable() for seat in seats)
        self.notices.append((stay.call, UNAVAILABLE if is_held else EXPIRED))

    def _preempt(self, stay: Stay) -> bool:
        """Take the permit of the newest batch call that has no token yet."""
        for seat in self.permits.candidates(stay, stay.tried | self._kept_from(stay.call)):
            if not seat.preemptible or not seat.would_take_one():
                continue
            call_id, permit = next(reversed(seat.preemptible.items()))
            if seat.filling is not None and not seat.filling.has_room(stay.call, permit.filled):
                continue
            victim = self._stays[call_id]
            self.permits.release_all(victim, PREEMPTED, self.now)
            self.notices.append((victim.call, PREEMPTED))
            return self._take(stay)
        return False

    def _try_later(self, stay: Stay, told: Told) -> Fact:
        """Rest before asking again whoever failed, or else wait for one that sleeps."""
        if self._pause(stay, told) is QUEUED:
            return QUEUED
        seats = self.permits.candidates(stay, stay.barred)
        if asleep := {seat.name for seat in seats if seat.is_asleep()}:
            stay.tried -= asleep  # One may have failed this call just before it fell asleep.
            return self._wait(stay, told.fact)
        return told.fact

    def _pause(self, stay: Stay, told: Told) -> Fact:
        """Rest before asking a backend again that has just failed, if that may help."""
        call, fact = stay.call, told.fact
        seats = self.permits.candidates(stay, stay.barred)
        if not any(seat.mends_soon() and not seat.is_asleep() for seat in seats):
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

    def _dismiss(self, backend: str = "") -> None:
        """Send away who waits where nobody is left to wait for, at all or since one was closed."""
        for call_id in list(self.line.waiting):
            stay = self._stays[call_id]
            seats = list(self.permits.candidates(stay, stay.tried))
            if backend and not any(seat.name == backend for seat in seats):
                continue
            if not any(seat.mends_soon() for seat in seats):
                self.line.leave(call_id)
                self.notices.append((stay.call, UNAVAILABLE))

    def _grant(self) -> None:
        """Hand permits to waiting calls until none of the lanes' heads can have one."""
        granted = True
        while granted and self.line.waiting:
            granted = False
            self._passed = []
            for call_id in self.line.heads(self.now):
                stay = self._stays[call_id]
                if self._take(stay):
                    self.line.leave(call_id)
                    self.notices.append((stay.call, ADMITTED))
                    granted = True
                    break
                if stay.plan.is_metered:
                    self._note_passed(stay)
        if not self.line.waiting:
            self._passed = []

    def _note_passed(self, stay: Stay) -> None:
        """Note where a waiting call lacks nothing but room: there others may pass it, a few."""
        if len(self._passed) < PASSED_MAX and (seats := self.permits.lacking_room(stay)):
            self._passed.append((stay, seats))

    def _settle(self, now: float) -> None:
        """Let time do its work, up to now; afterwards nothing is due."""
        assert now >= self.now, "time ran backwards"
        self.now = now
        while now >= self.due:
            for call_id in self.line.expire(now):
                self._expire(call_id)
            self.permits.settle(now)
            self._grant()
            for call_id in self.rest.wake(now):
                self._wake(self._stays[call_id])
            self.due = min(self.line.deadline(), self.rest.deadline(), self.permits.deadline())
