"""How much of a limit may one replica give out while it hears nothing of the others?

At first it knows how things stood a moment ago: what it had used itself, and what was left for all.
It may use its part of what was left. As that knowledge ages, it may use its part of the whole.
Whatever the age, the parts of all replicas that knew the same add up to the limit and no more.

That is for an outage, which all of them see. If only one waits for a late answer, the others go on
and may use up what it takes to be left. So in a *moment* it gives out little of that: an eighth of
its part, or the hundredth of the limit that limits may be off by.

Not here: when replicas hear nothing of each other (`fuse`).
"""

from math import floor, inf

from baseload.core.card import Card
from baseload.core.quota import Scope, most_of

SLACK = 0.01
"""What limits may be off by."""
MOMENT = 0.125
"""A part of what was left that others can hardly do without in a few hundredths of a second."""
ROUNDING = 1e-6
"""What sums of floats may be off by, before a whole piece is lost."""
KNOWN_MAX = 8192
"""Scopes of which it is remembered how they stood; beyond, all is forgotten and learnt anew."""


class Known:
    """How a scope stood, at a time: what this replica had used, and what all had."""

    __slots__ = (
        "at", "day", "in_flight", "lent_requests", "lent_tokens", "month", "own_in_flight",
        "own_requests", "own_tokens", "requests", "tokens", "usd_day", "usd_month",
    )  # fmt: skip

    def __init__(self) -> None:
        self.at = -inf
        self.own_requests = self.own_tokens = self.own_in_flight = 0
        self.requests = self.tokens = self.in_flight = 0
        self.day = self.month = 0
        self.usd_day = self.usd_month = 0.0
        self.lent_requests = self.lent_tokens = 0
        """What this replica has given out since, by itself."""


class Shares:
    """What one replica knows of how all scopes stand."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._known: dict[str, Known] = {}

    def learn(  # noqa: PLR0913, PLR0917 - all that was heard
        self, name: str, card: Card, requests: int, tokens: int, in_flight: int,
        usd_day: float, usd_month: float, now: float, is_late: bool,
    ) -> None:  # fmt: skip
        """Hear how a scope stands; in a late answer, what was lent since may be missing."""
        known = self._of(name)
        if card.has_budget:
            card.others_day_usd += usd_day - card.day_usd()
            card.others_month_usd += usd_month - card.month_usd()
        known.at, known.day, known.month = now, card.day, card.month
        known.own_requests, known.own_tokens = card.requests, card.tokens
        known.own_in_flight = card.in_flight
        known.requests, known.tokens, known.in_flight = requests, tokens, in_flight
        known.usd_day, known.usd_month = usd_day, usd_month
        if not is_late:
            known.lent_requests = known.lent_tokens = 0

    def lend(self, name: str, tokens: int) -> None:
        """Note that this replica has let a call in by itself."""
        known = self._of(name)
        known.lent_requests += 1
        known.lent_tokens += tokens

    def narrow(
        self, card: Card, scope: Scope, tokens: int, now: float, replicas: int, is_moment: bool
    ) -> None:
        """Hold a card against this replica's part of each limit, for a call of so many tokens.

        Money does not come back by waiting. Of that the card knows what others have spent, as of
        some time; what was left then is divided, and nothing more.
        """
        rpm, tpm, concurrency, usd_day, usd_month = (most_of(scope, kind) for kind in range(5))
        spent_day, spent_month = card.others_day_usd, card.others_month_usd
        if (known := self._known.get(scope.name)) is None:
            known = _NOTHING
        else:
            spent_day = known.usd_day if known.day == card.day else spent_day
            spent_month = known.usd_month if known.month == card.month else spent_month
        age = (now - known.at) / self._window_s
        card.rpm = part(rpm, known.own_requests, rpm - known.requests, age, replicas)
        card.tpm = part(tpm, known.own_tokens, tpm - known.tokens, age, replicas)
        card.concurrency = part(
            concurrency, known.own_in_flight, concurrency - known.in_flight, age, replicas
        )
        card.usd_day = share(usd_day, spent_day, usd_day - spent_day, 0.0, replicas)
        card.usd_month = share(usd_month, spent_month, usd_month - spent_month, 0.0, replicas)
        if is_moment and replicas > 1:
            more = max(rpm * SLACK, (rpm - known.requests) * MOMENT) / replicas
            card.rpm = min(card.rpm, card.requests + max(more, 1) - known.lent_requests)
            more = max(tpm * SLACK, (tpm - known.tokens) * MOMENT) / replicas
            card.tpm = min(card.tpm, card.tokens + max(more, tokens) - known.lent_tokens)

    def _of(self, name: str) -> Known:
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[name] = Known()
        return known


_NOTHING = Known()
"""What is known of a scope that was never asked for: its age is infinite."""


def share(most: float, own: float, left: float, age: float, replicas: int) -> float:
    """Give one replica's part of a limit; `age` is that of the knowledge, in windows."""
    if most == inf:
        return inf
    age = min(max(age, 0.0), 1.0)
    return (1 - age) * (own + max(left, 0.0) / replicas) + age * most / replicas


def part(most: float, own: float, left: float, age: float, replicas: int) -> float:
    """Give the same of what is counted in pieces.

    Of fewer than there are replicas, each may have one in the long run: that lets in too many, and
    the other way nobody would be let in at all.
    """
    found = share(max(most, replicas), own, left, age, replicas)
    return found if found == inf else floor(found + ROUNDING)
