"""How much of a limit may one replica give out while it hears nothing of the others?

At first it knows how things stood a moment ago: what it had used itself, and what was left for all.
It may use its part of what was left. As that knowledge ages, it may use its part of the whole.
Whatever the age, the parts of all replicas that knew the same add up to the limit and no more.

Not here: when replicas hear nothing of each other (`fuse`).
"""

from math import floor, inf

import msgspec

from baseload.core.card import Card
from baseload.core.quota import Scope, most_of

ROUNDING = 1e-6
"""What sums of floats may be off by, before a whole piece is lost."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """How a scope stood, at a time: what this replica had used, and what all had."""

    at: float
    own_requests: float
    own_tokens: float
    own_in_flight: float
    requests: float
    tokens: float
    in_flight: float
    day: int
    month: int
    usd_day: float
    usd_month: float


def share(most: float, own: float, left: float, age: float, replicas: int) -> float:
    """Give one replica's part of a limit; `age` is that of the knowledge, in windows."""
    if most == inf:
        return inf
    age = min(max(age, 0.0), 1.0)
    return (1 - age) * (own + max(left, 0.0) / replicas) + age * most / replicas


def whole(most: float, own: float, left: float, age: float, replicas: int) -> float:
    """Give the same of what is counted in pieces.

    Of fewer than there are replicas, each may have one in the long run: that lets in too many, and
    the other way nobody would be let in at all.
    """
    part = share(max(most, replicas), own, left, age, replicas)
    return part if part == inf else floor(part + ROUNDING)


def narrow(
    card: Card, scope: Scope, known: Known | None, now: float, window_s: float, replicas: int
) -> None:
    """Hold a card against this replica's part of each limit.

    Money does not come back by waiting. Of that the card knows what others have spent, as of some
    time; what was left then is divided, and nothing more.
    """
    rpm, tpm, concurrency, usd_day, usd_month = (most_of(scope, kind) for kind in range(5))
    spent_day, spent_month = card.others_day_usd, card.others_month_usd
    if known is None:
        known = _NOTHING
    else:
        spent_day = known.usd_day if known.day == card.day else spent_day
        spent_month = known.usd_month if known.month == card.month else spent_month
    age = (now - known.at) / window_s
    card.rpm = whole(rpm, known.own_requests, rpm - known.requests, age, replicas)
    card.tpm = whole(tpm, known.own_tokens, tpm - known.tokens, age, replicas)
    card.concurrency = whole(
        concurrency, known.own_in_flight, concurrency - known.in_flight, age, replicas
    )
    card.usd_day = share(usd_day, spent_day, usd_day - spent_day, 0.0, replicas)
    card.usd_month = share(usd_month, spent_month, usd_month - spent_month, 0.0, replicas)


_NOTHING = Known(-inf, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0)
"""What is known of a scope that was never asked for: its age is infinite."""
