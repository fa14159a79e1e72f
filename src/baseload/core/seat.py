"""A backend as the gate sees it: its account's permits, and everything that is known of it.

Several backends may belong to one *account* at a provider, whose limit on calls at once binds them
together; so permits are the account's, and breaker, detector and share are the backend's own. The
gate alone changes any of it.
"""

from math import ceil, inf

from baseload.config.fleet import Overload, Target
from baseload.core.bending import Bend, pressure
from baseload.core.breaker import ASLEEP, CLOSED, OPEN, OPEN_S_MAX, Breaker
from baseload.core.facts import (
    DENIED,
    DROPPED,
    IGNORE,
    INTERACTIVE,
    OVERLOADED,
    SLOW,
    SUCCESS,
    UNREACHABLE,
    Call,
    Fact,
    Sight,
    Told,
)
from baseload.core.filling import Filled, Filling
from baseload.core.limits import AdaptiveLimit
from baseload.core.overload import RED, Detector
from baseload.core.pace import Pace

RESERVED_SHARE = 0.1
"""Part of an account's limit that others than interactive calls leave free."""
RESERVED_S = 30.0
"""For how long after an interactive call it is left free: nothing is kept for nobody."""
STRAIN_MIN = 1.5
"""Below it, first tokens come about as fast as usual and the limit is not asked to yield."""
AWAKE_S = 5.0
"""A backend that had a first token so lately has not been scaled to zero: it has failed."""


class Account:
    """Permits for calls at once, shared by a provider account's backends."""

    __slots__ = ("held_by_others", "in_flight", "limit", "reserved_until")

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.in_flight = 0
        self.held_by_others = 0
        """Permits of calls that are not interactive."""
        self.reserved_until = -inf
        """Until when a part is kept free for interactive calls; minus infinity: none is."""

    def can_take(self, priority: int) -> bool:
        """Say whether there is a permit for a call of this class."""
        limit = self.limit.limit
        if self.in_flight >= limit:
            return False
        if priority == INTERACTIVE or self.reserved_until == -inf:
            return True
        return self.held_by_others < max(1, limit - ceil(limit * RESERVED_SHARE))


class Permit:
    """One attempt's leave to be at a backend, held by one call."""

    # Defaults stand on the class, as those of a stay do.
    is_parked = False
    is_begun = False
    """It has had a first token; noted only where the backend may be at zero replicas."""
    is_try = False
    """It was given out while the backend slept, to see."""
    filled: Filled | None = None
    """What it takes of an engine whose filling is watched."""

    def __init__(self, target: Target, seat: "Seat", taken_at: float) -> None:
        self.target = target
        self.seat = seat
        self.taken_at = taken_at


class Seat:
    """One backend. `portion` is how much of its share it gets now, from 0 to 1."""

    __slots__ = ("account", "begun", "bend", "breaker", "cold_start_s", "detector", "due",
                 "filling", "in_flight", "is_calm", "is_gone", "is_open", "is_red", "is_up",
                 "limit", "mends_at", "name", "overload", "pace", "parked", "portion",
                 "preemptible", "token_at", "tokens")  # fmt: skip

    def __init__(
        self, name: str, account: Account, overload: Overload, cold_start_s: float = 0.0
    ) -> None:
        self.name = name
        self.account = account
        self.limit = account.limit
        self.overload = overload
        self.cold_start_s = cold_start_s
        """How long it may take to come up from zero replicas; 0: it never is at zero."""
        self.breaker = Breaker()
        self.pace = Pace()
        self.detector = Detector(overload, self.pace)
        self.bend = Bend()
        self.filling: Filling | None = None
        """What it is given at once, where that is learnt."""
        self.in_flight = 0
        self.tokens = 0
        """What the calls in flight are expected to cost."""
        self.token_at = -inf
        """When a call last had its first token here."""
        self.begun = 0
        """Calls that have their first token; counted only where it may be at zero replicas."""
        self.parked = 0
        """Calls that the provider keeps waiting in a queue of its own."""
        self.preemptible: dict[int, Permit] = {}
        """Batch calls without a first token, whose permits an interactive call may take."""
        self.mends_at = -inf
        """When the backend said that asking it is worth while again."""
        self.is_up = True
        """Its process lives, as far as we are told."""
        self.is_open = True
        """No operator has closed it: it may be given calls."""
        self.is_gone = False
        """The fleet has it no longer; calls that hold its permits are still there."""
        self.is_red = False
        self.portion = 1.0
        self.due = inf
        self.is_calm = False
        """Nothing is wrong, and nothing was that is still remembered."""

    def is_usable(self) -> bool:
        """Say whether the backend may be asked at all, permits aside."""
        return self.is_up and self.is_open and self.breaker.can_take

    def mends_soon(self) -> bool:
        """Say whether it is worth waiting for: it fell only lately, or is being probed."""
        breaker = self.breaker
        is_asked = self.is_up and self.is_open
        return is_asked and (breaker.can_take or breaker.open_s < OPEN_S_MAX)

    def is_asleep(self) -> bool:
        """Say whether nobody was there, and nobody has been seen since."""
        return self.is_up and self.is_open and self.breaker.phase is ASLEEP

    def is_served(self) -> bool:
        """Say whether calls may come for it: it is asked, or waited for while it sleeps."""
        return self.is_usable() or self.is_asleep()

    def met_nobody(self, permit: Permit, fact: Fact) -> bool:
        """Say whether an attempt failed because the backend is at zero replicas.

        A connection that is refused says so, or a proxy in front that has nobody behind it. Not so
        where a sign of life came, somebody is being answered, or had a token just before: then it
        is full, or something has broken.
        """
        return (
            self.cold_start_s > 0
            and (fact is UNREACHABLE or fact is OVERLOADED)
            and not (permit.is_parked or self.begun)
            and permit.taken_at - self.token_at > AWAKE_S
        )

    def can_take(self, call: Call) -> bool:
        """Say whether a call may be sent here now."""
        filling = self.filling
        return self.has_permit(call.priority) and (filling is None or filling.has_room(call))

    def has_permit(self, priority: int) -> bool:
        """Say whether there is a permit for a call of this class, whatever room it takes."""
        breaker, account = self.breaker, self.account
        if not (breaker.can_take and self.is_up and self.is_open):
            return False
        if account.reserved_until > -inf:
            if not account.can_take(priority):
                return False
        elif account.in_flight >= account.limit.limit:
            return False
        portion = breaker.portion
        return portion == 1.0 or self.in_flight < ceil(self.limit.limit * portion)

    def would_take_one(self) -> bool:
        """Say whether a permit that comes back could be given out again: not above the limit."""
        most, account = self.limit.limit, self.account
        room = ceil(most * self.breaker.portion)
        return self.is_usable() and account.in_flight <= most and self.in_flight <= room

    def take(self, call: Call, target: Target, now: float) -> Permit:
        """Give out a permit; the gate has seen that `can_take`."""
        account = self.account
        self.in_flight += 1
        account.in_flight += 1
        if call.priority != INTERACTIVE:
            account.held_by_others += 1
        self.tokens += call.prompt_tokens + call.answer_tokens
        permit = Permit(target, self, now)
        if self.filling is not None:
            permit.filled = self.filling.take(call, now)
        if self.breaker.phase is not CLOSED:
            permit.is_try = self.breaker.phase is ASLEEP
            self.breaker.take(call.id, now)
            self._shape()
        return permit

    def release(self, call: Call, permit: Permit) -> None:
        """Take a permit back."""
        account = self.account
        self.in_flight -= 1
        account.in_flight -= 1
        assert account.in_flight >= 0
        if call.priority != INTERACTIVE:
            account.held_by_others -= 1
        self.tokens -= call.prompt_tokens + call.answer_tokens
        if permit.is_begun:
            self.begun -= 1
        if permit.is_parked:
            self.parked -= 1
        if self.preemptible:
            self.preemptible.pop(call.id, None)

    # -- evidence ----------------------------------------------------------------------------

    def parked_one(self, permit: Permit, now: float) -> None:
        """Hear that the provider keeps an attempt waiting."""
        if not permit.is_parked:
            permit.is_parked = True
            self.parked += 1
            self.detector.parked(now)
            self._weigh(now)

    def began(self, call: Call, permit: Permit, told: Told) -> None:
        """Hear of a first token."""
        now = self.token_at = told.now
        if self.cold_start_s:
            permit.is_begun = True
            self.begun += 1
        if permit.filled is not None:
            permit.filled.filling.began(permit.filled, now - permit.taken_at, now)
        if permit.is_parked:
            permit.is_parked = False
            self.parked -= 1
        if self.preemptible:
            self.preemptible.pop(call.id, None)
        self.detector.first_token(call.prompt_tokens, now - permit.taken_at, told.queued_s, now)
        fact = told.fact
        if self.breaker.phase is not CLOSED:
            if self.breaker.phase is ASLEEP:
                self._wake(now)
            else:
                self.breaker.learn(call.id, fact.breaker, permit.taken_at, now)
        # A call in the provider's own queue is no sign that the provider can carry it.
        carried = self.account.in_flight - self.parked
        self.limit.learn(fact.limit, carried, permit.taken_at, now)
        pace = self.pace
        # A token that was late because of a queue which is gone is no reason to yield more.
        is_news = self.parked or not told.queued_s
        # Who tells what it works on and what waits may only be at work on many at once.
        is_known = self.detector.tells() or (self.filling is not None and self.filling.knee)
        if (
            self.detector.level
            and not is_known
            and is_news
            and (strain := min(pace.strain(), pace.newest)) > STRAIN_MIN
        ):
            self.limit.strained(strain, now, carried if self.parked else 0)
        self._weigh(now)

    def ended(self, call: Call, permit: Permit, fact: Fact, now: float) -> None:
        """Hear how an attempt ended; its permit is back already."""
        if permit.filled is not None:
            permit.filled.filling.left(permit.filled, now)
        lesson = fact.breaker
        if lesson is DROPPED and self.met_nobody(permit, fact):
            self._fall_asleep(permit, now)
            return
        if lesson is not IGNORE:
            self.detector.ended(lesson is DROPPED, now)
        if lesson is SUCCESS and self.is_calm:
            limit = self.limit
            if limit.limit == limit.most and self.in_flight * 5 <= limit.limit * 4:
                return  # All is well and was well: it teaches nothing more.
        if fact is SLOW and permit.is_parked and self.token_at > permit.taken_at:
            lesson = IGNORE  # It gave others tokens meanwhile: it is full, and not broken.
        self.breaker.learn(call.id, lesson, permit.taken_at, now)
        if fact is DENIED:
            self.breaker.kill(now)
        carried = self.account.in_flight
        if self.parked and fact.limit is not DROPPED:
            carried -= self.parked
        self.limit.learn(fact.limit, carried, permit.taken_at, now)
        self._weigh(now)
        self._note_calm()

    def saw(self, sight: Sight, now: float) -> None:
        """Take in what a look at the backend showed; whoever slept is awake, then."""
        if self.breaker.phase is ASLEEP:
            self._wake(now)
        self.detector.saw(sight, self.in_flight, now)
        if self.filling is not None:
            self.filling.saw(sight, now)
        self._weigh(now)

    def judge_by(self, overload: Overload) -> None:
        """Take other thresholds from now on; what was judged already stands until its time."""
        self.overload = overload
        self.detector.thresholds = overload

    def start_afresh(self, now: float) -> None:
        """Become a new process, which nobody blames for what the last one did."""
        self.breaker.reset(now)
        self.detector.reset()
        if self.filling is not None:
            self.filling.start_afresh()
        self.bend = Bend()
        self._shape()

    def settle(self, now: float) -> None:
        """Become what time alone makes of it."""
        self.breaker.settle(now)
        self.detector.settle(now)
        self.bend.settle(now)
        self._shape()

    def _fall_asleep(self, permit: Permit, now: float) -> None:
        """Be waited for from now on, unless what was met is over: it woke, or was found broken."""
        breaker = self.breaker
        if permit.taken_at >= breaker.heeds_from and breaker.phase is not OPEN:
            breaker.sleep(now, self.cold_start_s)
            self._shape()

    def _wake(self, now: float) -> None:
        """Become a new process, which all who wait for it must not fall upon at once."""
        self.start_afresh(now)
        self.breaker.recover(now)
        self._shape()

    def _weigh(self, now: float) -> None:
        """Weigh the backend anew after evidence."""
        detector, most = self.detector, self.limit.limit
        is_full = self.in_flight * 5 > most * 4
        if not is_full and self.due == inf == detector.deadline == self.breaker.deadline:
            return  # All is well and was well: by far the most common case.
        if is_full or detector.level or self.portion < 1.0:
            load = max(detector.saturation(self.in_flight, most), self.account.in_flight / most)
            red_s = self.overload.queued_s
            self.bend.press(pressure(detector.level, detector.queued_s, red_s, load), now)
        self._shape()

    def _shape(self) -> None:
        self.is_red = self.detector.level is RED
        self.portion = self.bend.portion * self.breaker.portion
        self.due = min(self.breaker.deadline, self.detector.deadline, self.bend.deadline)
        self._note_calm()

    def _note_calm(self) -> None:
        breaker = self.breaker
        self.is_calm = (
            self.due == inf
            and breaker.phase is CLOSED
            and not breaker.failures
            and not breaker.rate
        )
