"""Who may go where, and who must wait: the one owner of every permit.

Picture a porter's desk. A call that arrives is given a permit for one backend at once, or a place
in the line, or a refusal. A permit belongs to the call until its attempt ends or the call leaves;
no one else ever gives it back, so a cancelled call cannot leak one. Whenever something happens the
desk first lets time do its work (waiting calls expire, open breakers start to probe) and last hands
free permits to whoever waits: an extra look at the clock therefore changes nothing.

What the desk tells by itself (a waiting call was admitted, or expired) is left in `notices` for
the driver to fetch; when it will next have something to tell is `deadline()`.
"""

from collections import deque
from collections.abc import Mapping
from math import ceil, inf
from typing import NamedTuple

from baseload.config.fleet import Model, Queue, Target
from baseload.core.breaker import OPEN
from baseload.core.facts import (
    ABSENT,
    ADMITTED,
    EXPIRED,
    FIRST_TOKEN,
    GONE,
    OVERDUE,
    QUEUED,
    SHED,
    UNAVAILABLE,
    Call,
    Fact,
    Told,
)
from baseload.core.limits import FixedLimit
from baseload.core.queueing import Line
from baseload.core.routing import Place, Tier
from baseload.core.seat import Seat

ATTEMPTS_MAX = 4
"""Backends that one call may try: more only adds load where everything is failing already."""
RETRY_AFTER_S_MIN = 1.0
RETRY_AFTER_S_MAX = 60.0
DOWN_RETRY_S = 2.0
"""What to tell callers while a backend is down: about how long an engine takes to start."""
DRAIN_WEIGHT = 0.1
"""Share of the newest gap in the moving average between permits coming back."""


class Plan(NamedTuple):
    """A model with the places where it may be answered, tier by tier."""

    model: Model
    tiers: tuple[Tier, ...]


class Stay:
    """One call from its arrival to its leaving: where it has been, and the permit it holds."""

    # Defaults stand on the class: one object is made for every call, and most need no more.
    attempts = 0
    taken_at = 0.0
    """When the permit was given."""
    tried: frozenset[str] = frozenset()
    place: Place | None = None
    """Where the call holds a permit."""

    def __init__(self, call: Call, plan: Plan, order: int) -> None:
        self.call = call
        self.plan = plan
        self.order = order


class Gate:
    """The porter's desk of the whole fleet. Every method that takes `now` is an event."""

    def __init__(
        self, models: Mapping[str, Model], concurrency: Mapping[str, int], queue: Queue
    ) -> None:
        self.seats = {name: Seat(name, FixedLimit(most)) for name, most in concurrency.items()}
        self.line = Line(queue.size)
        self.notices: deque[tuple[Call, Fact]] = deque()
        self.now = -inf
        self._plans = {
            name: Plan(
                model,
                tuple(
                    Tier(tuple((target, self.seats[target.backend]) for target in tier.values()))
                    for tier in model.tiers
                ),
            )
            for name, model in models.items()
        }
        self._wait_s = queue.wait_s
        self._stays: dict[int, Stay] = {}
        self._arrivals = 0
        self.due = inf
        """When the gate changes by itself, or infinity; `deadline()` in the form of the law."""
        self._released = 0.0
        """When a permit last came back that somebody waited for."""
        self._drain_gap_s = 0.0

    # -- events ------------------------------------------------------------------------------

    def offer(self, call: Call, now: float) -> Fact:
        """Take in a new call: `ADMITTED`, `QUEUED`, or refused as `SHED` or `UNAVAILABLE`."""
        self._settle(now)
        assert call.id not in self._stays
        self._arrivals += 1
        stay = self._stays[call.id] = Stay(call, self._plans[call.model], self._arrivals)
        return ADMITTED if self._take(stay) else self._wait(stay, UNAVAILABLE)

    def again(self, call: Call, told: Told) -> Fact:
        """After a retryable failure: another backend, a place in the line, or that failure."""
        self._settle(told.now)
        stay = self._stays[call.id]
        if told.now >= call.deadline:
            return OVERDUE
        if stay.attempts >= ATTEMPTS_MAX:
            return told.fact
        return ADMITTED if self._take(stay) else self._wait(stay, told.fact)

    def heard(self, call: Call, told: Told) -> None:
        """Learn from an attempt; unless it has only begun, its permit comes back."""
        self._settle(told.now)
        stay = self._stays[call.id]
        assert stay.place is not None
        seat, fact = stay.place[1], told.fact
        seat.breaker.learn(call.id, fact.lesson, stay.taken_at, told.now)
        if seat.breaker.deadline < self.due:  # noqa: PLR1730 - a call to min() costs more
            self.due = seat.breaker.deadline
        if fact is not FIRST_TOKEN:
            seat.limit.learn(fact.lesson, seat.in_flight, told.now)
            if fact.is_retryable:
                stay.tried |= {seat.name}
                seat.busy_until = told.now + told.retry_after_s
            self._release(stay)
        if self.line.waiting:
            self._grant()

    def leave(self, call: Call, now: float) -> None:
        """Forget the call, whatever it was doing; legal from every state, and more than once."""
        if now != self.now:
            self._settle(now)
        stay = self._stays.pop(call.id, None)
        if stay is None:
            return
        if stay.place is not None:
            stay.place[1].breaker.learn(call.id, GONE.lesson, stay.taken_at, now)
            self._release(stay)
        if self.line.waiting:
            self.line.leave(call.id)
            self._grant()

    def announce(self, backend: str, is_up: bool, now: float) -> None:
        """Hear that a backend's process came up or went down; a new process starts unblamed."""
        self._settle(now)
        seat = self.seats[backend]
        if is_up and not seat.is_up:
            seat.breaker.reset()
        seat.is_up = is_up
        self._grant()

    def tick(self, now: float) -> None:
        """Let time pass; between two deadlines this changes nothing."""
        self._settle(now)

    # -- queries -----------------------------------------------------------------------------

    def route(self, call: Call) -> tuple[Target, Model]:
        """Give the target for which the call holds a permit, and the fleet's model behind it."""
        stay = self._stays[call.id]
        assert stay.place is not None
        return stay.place[0], stay.plan.model

    def deadline(self) -> float | None:
        """Give the time at which the gate changes by itself, or None."""
        return None if self.due == inf else self.due

    def retry_after_s(self, call: Call, fact: Fact) -> float:
        """Say when it is worth coming back, in whole seconds; 0 where the fact gives no reason.

        A full line empties at the pace at which permits have come back lately; a backend that
        cannot be asked is worth asking when its breaker starts to probe, or when it said itself.
        """
        if fact is SHED or fact is EXPIRED:
            wait_s = len(self.line) * self._drain_gap_s
        elif fact is UNAVAILABLE or (fact.is_retryable and fact is not ABSENT):
            tiers = self._plans[call.model].tiers
            wait_s = min(self._mends_in_s(seat) for tier in tiers for _, seat in tier.places)
        else:
            return 0.0
        return float(ceil(min(max(wait_s, RETRY_AFTER_S_MIN), RETRY_AFTER_S_MAX)))

    # -- within ------------------------------------------------------------------------------

    def _mends_in_s(self, seat: Seat) -> float:
        if not seat.is_up:
            return DOWN_RETRY_S
        probe_s = seat.breaker.deadline - self.now if seat.breaker.phase is OPEN else 0.0
        return max(probe_s, seat.busy_until - self.now)

    def _wait(self, stay: Stay, otherwise: Fact) -> Fact:
        """Find a place in the line; `otherwise` if no backend could be waited for."""
        usable = any(
            seat.is_usable() and seat.name not in stay.tried
            for tier in stay.plan.tiers
            for _, seat in tier.places
        )
        if not usable:
            return otherwise
        if self.line.is_full():
            return SHED
        expires = min(self.now + self._wait_s, stay.call.deadline)
        if not self.line.waiting:
            self._released = self.now  # The pace of a line is measured from when it formed.
        self.line.join(stay.call.id, (stay.call.model, stay.tried), stay.order, expires)
        self.due = min(self.due, expires)
        return QUEUED

    def _take(self, stay: Stay) -> bool:
        """Give the call a permit of the first tier that has one."""
        for tier in stay.plan.tiers:
            if (place := tier.pick(stay.tried)) is not None:
                stay.place = place
                stay.attempts += 1
                stay.taken_at = self.now
                place[1].take(stay.call.id)
                return True
        return False

    def _release(self, stay: Stay) -> None:
        assert stay.place is not None
        stay.place[1].release()
        stay.place = None
        if self.line.waiting:
            gap_s, self._released = self.now - self._released, self.now
            self._drain_gap_s += DRAIN_WEIGHT * (gap_s - self._drain_gap_s)

    def _grant(self) -> None:
        """Hand permits to waiting calls until none of the lanes' heads can have one."""
        granted = True
        while granted and self.line.waiting:
            granted = False
            for call_id in self.line.heads():
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
            for seat in self.seats.values():
                seat.breaker.settle(now)
            self._grant()
            breakers = min((seat.breaker.deadline for seat in self.seats.values()), default=inf)
            self.due = min(self.line.deadline(), breakers)
