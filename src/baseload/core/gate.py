"""Who may go where, and who must wait: the one owner of every permit.

Picture a porter's desk. A call that arrives is given a permit for one backend at once, or a place
in the line, or a refusal. A permit belongs to the call until its attempt ends or the call leaves;
no one else ever gives it back, so a cancelled call cannot leak one. Whenever something happens the
desk first lets time do its work (waiting calls expire, open breakers start to probe) and last hands
free permits to whoever waits: an extra look at the clock therefore changes nothing.

What the desk tells by itself (a waiting call was admitted, or expired) is left in `notices` for
the driver to fetch; when it will next have something to tell is `deadline()`.
"""

from collections.abc import Mapping
from math import ceil, inf
from typing import NamedTuple

from baseload.config.fleet import Model, Queue, Target
from baseload.core.breaker import Phase
from baseload.core.facts import Call, Fact, Told
from baseload.core.limits import FixedLimit
from baseload.core.queueing import Line
from baseload.core.routing import Tier
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

    __slots__ = ("attempts", "call", "order", "plan", "seat", "target", "tried")

    def __init__(self, call: Call, plan: Plan, order: int) -> None:
        self.call = call
        self.plan = plan
        self.order = order
        self.attempts = 0
        self.tried: frozenset[str] = _NOWHERE
        self.seat: Seat | None = None
        self.target: Target | None = None


_NOWHERE: frozenset[str] = frozenset()


class Gate:
    """The porter's desk of the whole fleet. Every method that takes `now` is an event."""

    def __init__(
        self, models: Mapping[str, Model], concurrency: Mapping[str, int], queue: Queue
    ) -> None:
        self.seats = {name: Seat(name, FixedLimit(most)) for name, most in concurrency.items()}
        self.line = Line(queue.size)
        self.notices: list[tuple[Call, Fact]] = []
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
        self._next = inf
        self._released = -inf
        self._drain_gap_s = 0.0

    # -- events ------------------------------------------------------------------------------

    def offer(self, call: Call, now: float) -> Fact:
        """Take in a new call: `ADMITTED`, `QUEUED`, or refused as `SHED` or `UNAVAILABLE`."""
        self._settle(now)
        assert call.id not in self._stays
        self._arrivals += 1
        stay = self._stays[call.id] = Stay(call, self._plans[call.model], self._arrivals)
        return self._place(stay, Fact.UNAVAILABLE)

    def again(self, call: Call, told: Told) -> Fact:
        """After a retryable failure: another backend, a place in the line, or that failure."""
        self._settle(told.now)
        stay = self._stays[call.id]
        if told.now >= call.deadline:
            return Fact.OVERDUE
        if stay.attempts >= ATTEMPTS_MAX:
            return told.fact
        return self._place(stay, told.fact)

    def heard(self, call: Call, told: Told) -> None:
        """Learn from an attempt; unless it has only begun, its permit comes back."""
        self._settle(told.now)
        stay = self._stays[call.id]
        seat, fact = stay.seat, told.fact
        assert seat is not None
        seat.breaker.learn(call.id, fact.lesson, told.now)
        self._next = min(self._next, seat.breaker.deadline)
        if fact is not Fact.FIRST_TOKEN:
            seat.limit.learn(fact.lesson, seat.in_flight, told.now)
            self._release(stay)
        if self.line:
            self._grant()

    def leave(self, call: Call, now: float) -> None:
        """Forget the call, whatever it was doing; legal from every state, and more than once."""
        self._settle(now)
        stay = self._stays.pop(call.id, None)
        if stay is None:
            return
        if (seat := stay.seat) is not None:
            seat.breaker.learn(call.id, Fact.GONE.lesson, now)
            self._release(stay)
        elif self.line:
            self.line.leave(call.id)
        if self.line:
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

    def route(self, call: Call) -> Target:
        """Give the target for which the call holds a permit."""
        target = self._stays[call.id].target
        assert target is not None
        return target

    def model_of(self, call: Call) -> Model:
        """Give the fleet's model that the call asks for."""
        return self._plans[call.model].model

    def deadline(self) -> float | None:
        """Give the time at which the gate changes by itself, or None."""
        return None if self._next == inf else self._next

    def retry_after_s(self, call: Call, fact: Fact) -> float:
        """Say when it is worth coming back, in whole seconds; 0 where the fact gives no reason.

        A full line empties at the pace at which permits have come back lately; a backend that
        cannot be asked is worth asking when its breaker starts to probe.
        """
        if fact is Fact.DONE:
            return 0.0
        if fact is Fact.SHED or fact is Fact.EXPIRED:
            wait_s = len(self.line) * self._drain_gap_s
        elif fact is Fact.UNAVAILABLE or fact.is_retryable:
            tiers = self._plans[call.model].tiers
            wait_s = min(self._mends_in_s(seat) for tier in tiers for _, seat in tier.places)
        else:
            return 0.0
        return float(ceil(min(max(wait_s, RETRY_AFTER_S_MIN), RETRY_AFTER_S_MAX)))

    # -- within ------------------------------------------------------------------------------

    def _mends_in_s(self, seat: Seat) -> float:
        if not seat.is_up:
            return DOWN_RETRY_S
        return seat.breaker.deadline - self.now if seat.breaker.phase is Phase.OPEN else 0.0

    def _place(self, stay: Stay, otherwise: Fact) -> Fact:
        """Find a permit or a place in the line; `otherwise` if no backend can be asked at all."""
        if self._take(stay):
            return Fact.ADMITTED
        usable = any(
            seat.is_usable() and seat.name not in stay.tried
            for tier in stay.plan.tiers
            for _, seat in tier.places
        )
        if not usable:
            return otherwise
        if self.line.is_full():
            return Fact.SHED
        expires = min(self.now + self._wait_s, stay.call.deadline)
        self.line.join(stay.call.id, (stay.call.model, stay.tried), stay.order, expires)
        self._next = min(self._next, expires)
        return Fact.QUEUED

    def _take(self, stay: Stay) -> bool:
        """Give the call a permit of the first tier that has one."""
        for tier in stay.plan.tiers:
            if (place := tier.pick(stay.tried)) is not None:
                stay.target, stay.seat = place
                stay.tried |= {place[1].name}
                stay.attempts += 1
                place[1].take(stay.call.id)
                return True
        return False

    def _release(self, stay: Stay) -> None:
        assert stay.seat is not None
        stay.seat.release()
        stay.seat = stay.target = None
        if self._released > -inf:
            gap_s = self.now - self._released
            self._drain_gap_s += DRAIN_WEIGHT * (gap_s - self._drain_gap_s)
        self._released = self.now

    def _grant(self) -> None:
        """Hand permits to waiting calls until none of the lanes' heads can have one."""
        granted = True
        while granted and self.line:
            granted = False
            for call_id in self.line.heads():
                stay = self._stays[call_id]
                if self._take(stay):
                    self.line.leave(call_id)
                    self.notices.append((stay.call, Fact.ADMITTED))
                    granted = True
                    break

    def _settle(self, now: float) -> None:
        """Let time do its work, up to now; afterwards nothing is due."""
        assert now >= self.now, "time ran backwards"
        self.now = now
        while now >= self._next:
            for call_id in self.line.expire(now):
                self.notices.append((self._stays[call_id].call, Fact.EXPIRED))
            for seat in self.seats.values():
                seat.breaker.settle(now)
            self._grant()
            breakers = min((seat.breaker.deadline for seat in self.seats.values()), default=inf)
            self._next = min(self.line.deadline(), breakers)
