"""In which order, and how long, do calls wait for a permit?

Think of a counter with three rows of chairs. The urgent rows are served first. Inside a row every
key has a meter that runs with the tokens that it was given, and whoever's meter shows least is
next: a tenant that sends ten times as much waits longer itself, and nobody else does. A meter that
stood still while its key was away is set to what the row's clock shows, so nobody saves up. (This
is start-time fair queueing; meter and clock are counted in tokens.)

Within a key, first come is first served, until the key's own calls have waited so long that many
will give up: then the newest goes first, since it still has time, and the oldest may expire. Each
key is judged by its own oldest call, so one tenant's backlog does not turn another's order round.

Rows have a clock for each model, because models may have backends that nobody else uses, and a
busy model would run away from a slow one. Between models of one row it goes by turns.

The line is bounded, and so is what it remembers. Calls that may use the same backends stand in the
same *lane*; only the best call of a lane is ever tried for a permit. Not here: who may have a
permit (`gate`), and how much each key may use in all.
"""

from collections import Counter, OrderedDict
from collections.abc import Container, Hashable, Iterator
from heapq import heappop, heappush
from math import inf

from baseload.core.facts import Call

STRESS_SHARE = 0.5
"""Newest first once a key's oldest call has used more than this part of the time it may wait."""
STRESS_S = 1.0
"""In a line that is more than half full, waiting this long is enough for that."""
LEEWAY_TOKENS = 16_384
"""How far from its clock an estimate that was wrong, or a backend that was closed, may put a meter.

More would be more exact for the key, and let it keep others waiting while it makes up for it.
"""
RATE_WEIGHT = 0.1
"""Weight of the newest call in what is known of a key's estimates."""
KEYS_MAX = 10_000
"""Keys without a waiting call that are remembered; forgetting costs a key nothing but its debt."""

_Calls = OrderedDict[int, "_Ticket"]


class _Clock:
    """The virtual time of one model in one class: the start of what was served furthest ahead."""

    __slots__ = ("meters", "now", "turn")

    def __init__(self) -> None:
        self.now = 0.0
        self.turn = 0
        self.meters: dict[str, _Meter] = {}


class _Meter:
    """One key's tokens on one clock."""

    __slots__ = ("clock", "key", "rate", "tag", "told", "took", "waiting")

    def __init__(self, clock: _Clock, key: str) -> None:
        self.clock = clock
        self.key = key
        self.tag = clock.now
        """Where the key's next call starts in virtual time."""
        self.told = self.took = 0.0
        """Moving averages of what calls were expected to cost, and of what they cost."""
        self.rate = 1.0
        """What a token that is expected costs in truth: one over the other.

        Without it, a key that asks for far more than it takes would live on what it is given back
        for calls from before anybody waited, and keep its permits to itself for minutes.
        """
        self.waiting = 0


class _Holding:
    """What one key has waiting in one class, whatever the model."""

    __slots__ = ("calls", "tokens")

    def __init__(self) -> None:
        self.calls: _Calls = OrderedDict()
        self.tokens = 0


class _Row:
    """One class: its calls in the order in which they came, and what each key has among them."""

    __slots__ = ("calls", "holdings")

    def __init__(self) -> None:
        self.calls: _Calls = OrderedDict()
        self.holdings: dict[str, _Holding] = {}


class _Ticket:
    """One waiting call."""

    __slots__ = ("call", "expires", "joined", "lane", "meter", "order")

    def __init__(
        self, call: Call, lane: Hashable, meter: _Meter, order: int, joined: float, expires: float
    ) -> None:
        self.call = call
        self.lane = lane
        self.meter = meter
        self.order = order
        self.joined = joined
        self.expires = expires


class Line:
    """All waiting calls: who is next, who must give up a place, and whose time is over."""

    __slots__ = (
        "_clocks",
        "_expiries",
        "_keys_max",
        "_lanes",
        "_meters",
        "_orders",
        "_rows",
        "_turns",
        "size_max",
        "waiting",
    )

    def __init__(self, size_max: int) -> None:
        self.size_max = size_max
        self.waiting: dict[int, _Ticket] = {}
        """By the call's id."""
        self._lanes: dict[Hashable, dict[int, dict[_Meter, _Calls]]] = {}
        """In each lane, by class and meter, the calls in the order in which they came."""
        self._rows: dict[int, _Row] = {}
        self._clocks: dict[tuple[str, int], _Clock] = {}
        """By model and class, so as many as the fleet has."""
        self._meters = 0
        self._keys_max = KEYS_MAX + size_max
        self._expiries: list[tuple[float, int]] = []
        self._orders = 0
        self._turns = 0

    def __len__(self) -> int:
        return len(self.waiting)

    def is_full(self) -> bool:
        """Say whether one more call would be too many."""
        return len(self.waiting) >= self.size_max

    def has_lane(self, lane: Hashable, priority: int) -> bool:
        """Say whether somebody stands in a lane who is no less urgent."""
        return any(theirs <= priority for theirs in self._lanes.get(lane, ()))

    def by_model(self) -> dict[str, int]:
        """Count who waits for each model that somebody waits for; may be asked on any thread."""
        return Counter(ticket.call.model for ticket in list(self.waiting.values()))

    # -- coming and going --------------------------------------------------------------------

    def join(self, call: Call, lane: Hashable, now: float, expires: float) -> None:
        """Stand in a lane until `expires`; there is a place, or somebody just gave up theirs."""
        assert call.id not in self.waiting
        meter = self._meter(call)
        if not meter.waiting and meter.tag < meter.clock.now:
            meter.tag = meter.clock.now
        meter.waiting += 1
        self._orders += 1
        ticket = _Ticket(call, lane, meter, self._orders, now, expires)
        self.waiting[call.id] = ticket
        self._enter_lane(ticket)
        row = self._rows.setdefault(call.priority, _Row())
        row.calls[call.id] = ticket
        holding = row.holdings.setdefault(call.key, _Holding())
        holding.calls[call.id] = ticket
        holding.tokens += call.tokens
        heappush(self._expiries, (expires, call.id))

    def leave(self, call_id: int) -> bool:
        """Step out, from wherever in the line; False if the call was not waiting."""
        if (ticket := self.waiting.pop(call_id, None)) is None:
            return False
        call, meter = ticket.call, ticket.meter
        meter.waiting -= 1
        self._leave_lane(ticket)
        row = self._rows[call.priority]
        del row.calls[call_id]
        holding = row.holdings[call.key]
        del holding.calls[call_id]
        holding.tokens -= call.tokens
        if not holding.calls:
            del row.holdings[call.key]
        if len(self._expiries) > 2 * len(self.waiting) + 64:
            # Those who left early must not pile up in the heap while the others wait.
            self._expiries = sorted((one.expires, id_) for id_, one in self.waiting.items())
        return True

    def move(self, call_id: int, lane: Hashable) -> None:
        """Put a waiting call into another lane; of its key's calls there it is the last."""
        ticket = self.waiting[call_id]
        if ticket.lane != lane:
            self._leave_lane(ticket)
            ticket.lane = lane
            self._enter_lane(ticket)

    def resize(self, size_max: int, models: Container[str]) -> None:
        """Have another bound, and forget models that are gone; whoever waits already may stay."""
        self.size_max, self._keys_max = size_max, KEYS_MAX + size_max
        for at, clock in list(self._clocks.items()):
            if at[0] not in models and not any(one.waiting for one in clock.meters.values()):
                self._meters -= len(clock.meters)
                del self._clocks[at]

    def deadline(self) -> float:
        """Give the time at which the next waiting call expires, or infinity."""
        heap = self._expiries
        while heap and self._is_stale(heap[0]):
            heappop(heap)
        return heap[0][0] if heap else inf

    def expire(self, now: float) -> list[int]:
        """Remove and give the calls whose time is over, in the order of their expiry."""
        expired = []
        while self.deadline() <= now:
            _, call_id = heappop(self._expiries)
            self.leave(call_id)
            expired.append(call_id)
        return expired

    # -- who is next, who goes ---------------------------------------------------------------

    def heads(self, now: float) -> Iterator[int]:
        """Give each lane's best call, in the order in which they should be served.

        What is given is a snapshot: after a call was admitted and charged, ask again.
        """
        heads = []
        for classes in self._lanes.values():
            priority = min(classes)
            best = min(
                (meter.clock.turn, meter.tag, next(iter(calls.values())).order, meter)
                for meter, calls in classes[priority].items()
            )
            calls = classes[priority][best[3]]
            is_newest_first = len(calls) > 1 and self._is_stressed(calls, now)
            call_id = next(reversed(calls)) if is_newest_first else next(iter(calls))
            heads.append((priority, *best[:3], call_id))
        heads.sort()
        return iter([head[4] for head in heads])

    def victim(self, call: Call) -> int | None:
        """Say who must give up a place for a call that finds the line full; None: nobody.

        The newest call of the least urgent class goes if it is less urgent than `call`; or else,
        in the same class, the newest call of the key with most tokens waiting, if these are more
        than those of the call's own key would be with this call.
        """
        lowest = max((priority for priority, row in self._rows.items() if row.calls), default=-1)
        if lowest < call.priority:
            return None
        row = self._rows[lowest]
        if lowest > call.priority:
            return next(reversed(row.calls))
        own = row.holdings.get(call.key)
        most = max(row.holdings.values(), key=_tokens_of)
        if most.tokens > (own.tokens if own is not None else 0) + call.tokens:
            return next(reversed(most.calls))
        return None

    def ahead(self, call: Call) -> int:
        """Say about how many waiting calls come before this one.

        All of the classes above, and of its own as many as the keys there are given while its own
        key's calls are: whoever has little waiting does not stand behind another's backlog.
        """
        ahead = 0
        for priority, row in self._rows.items():
            if priority < call.priority:
                ahead += len(row.calls)
            elif priority == call.priority:
                own = row.holdings.get(call.key)
                turns = 1 if own is None else len(own.calls) + 1
                ahead += min(len(row.calls), turns * len(row.holdings))
        return ahead

    # -- what was used -----------------------------------------------------------------------

    def charge(self, call: Call) -> None:
        """Account a call's expected tokens to its key; once, when it is first admitted."""
        clock = self._clocks.get((call.model, call.priority))
        meter = clock.meters.get(call.key) if clock is not None else None
        if clock is None or meter is None:
            meter = self._meter(call)
            clock = meter.clock
        self._turns += 1
        clock.turn = self._turns
        tag = meter.tag
        lag = clock.now - tag
        if lag <= 0:
            clock.now = tag
        elif not meter.waiting:
            tag = clock.now
        elif lag > LEEWAY_TOKENS:
            tag = clock.now - LEEWAY_TOKENS
        meter.tag = tag + (call.prompt_tokens + call.answer_tokens) * meter.rate

    def correct(self, call: Call, tokens: int) -> None:
        """Hear what a charged call really took (over 0), and charge or give back the rest."""
        clock = self._clocks.get((call.model, call.priority))
        meter = clock.meters.get(call.key) if clock is not None else None
        if clock is None or meter is None:
            return  # Forgotten since.
        expected = max(call.tokens, 1)
        tag = meter.tag + tokens - expected * meter.rate
        if tag > meter.tag:
            meter.tag = max(meter.tag, min(tag, clock.now + LEEWAY_TOKENS))
        else:
            meter.tag = min(meter.tag, max(tag, clock.now - LEEWAY_TOKENS))
        meter.told += RATE_WEIGHT * (expected - meter.told)
        meter.took += RATE_WEIGHT * (tokens - meter.took)
        meter.rate = meter.took / meter.told

    # -- within ------------------------------------------------------------------------------

    def _enter_lane(self, ticket: _Ticket) -> None:
        call = ticket.call
        meters = self._lanes.setdefault(ticket.lane, {}).setdefault(call.priority, {})
        meters.setdefault(ticket.meter, OrderedDict())[call.id] = ticket

    def _leave_lane(self, ticket: _Ticket) -> None:
        call, meter = ticket.call, ticket.meter
        classes = self._lanes[ticket.lane]
        meters = classes[call.priority]
        del meters[meter][call.id]
        if not meters[meter]:  # Whatever has become empty goes: nothing is kept for the absent.
            del meters[meter]
            if not meters:
                del classes[call.priority]
                if not classes:
                    del self._lanes[ticket.lane]

    def _meter(self, call: Call) -> _Meter:
        """Give the meter of a call's key, a new one if need be."""
        at = (call.model, call.priority)
        if (clock := self._clocks.get(at)) is None:
            clock = self._clocks[at] = _Clock()
        if (meter := clock.meters.get(call.key)) is None:
            if self._meters >= self._keys_max:
                self._forget()
            meter = clock.meters[call.key] = _Meter(clock, call.key)
            self._meters += 1
        return meter

    def _forget(self) -> None:
        """Drop meters of idle keys: all that hold no debt, and of the others the smaller half.

        A pass looks at all of them, so it must make room for many.
        """
        idle = [
            meter
            for clock in self._clocks.values()
            for meter in clock.meters.values()
            if not meter.waiting
        ]
        idle.sort(key=_debt_of)
        for place, meter in enumerate(idle):
            if place >= KEYS_MAX // 2 and _debt_of(meter) > 0:
                break
            del meter.clock.meters[meter.key]
            self._meters -= 1

    def _is_stressed(self, calls: _Calls, now: float) -> bool:
        """Say whether a key's calls have waited so long that the newest should go first."""
        oldest = next(iter(calls.values()))
        waited_s = now - oldest.joined
        return waited_s > STRESS_SHARE * (oldest.expires - oldest.joined) or (
            waited_s > STRESS_S and 2 * len(self.waiting) > self.size_max
        )

    def _is_stale(self, entry: tuple[float, int]) -> bool:
        ticket = self.waiting.get(entry[1])
        return ticket is None or ticket.expires != entry[0]


def _tokens_of(holding: _Holding) -> int:
    return holding.tokens


def _debt_of(meter: _Meter) -> float:
    return meter.tag - meter.clock.now
