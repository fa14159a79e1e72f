"""How long an attempt may take, and when the rest of the world should come back.

Patience depends on what else could be done: while another backend could be asked, the fleet file's
clocks hold; the last candidate gets more, because giving up on it helps nobody; and a backend that
is being probed gets less, because it was down a moment ago and a caller is waiting.
"""

from math import ceil, inf

from baseload.config.fleet import Model
from baseload.core.breaker import CLOSED
from baseload.core.dice import Dice
from baseload.core.facts import Call, Send
from baseload.core.seat import Permit, Seat

LAST_PATIENCE = 2.0
"""How many times its clocks the last candidate may take, within the call's own deadline."""
PROBE_FIRST_TOKEN_S = 2.0
"""A probe's first-token clock, unless its backend is known to be slow by nature."""
PROBE_TYPICAL = 3.0
DRAIN_WEIGHT = 0.1
"""Share of the newest gap in the moving average between permits coming back."""
RETRY_AFTER_S_MIN = 1.0
RETRY_AFTER_S_MAX = 60.0
RETRY_JITTER = 0.5
"""Callers are told up to this share more than the estimate, so that they do not come back as one.
"""


def send(
    call: Call, permit: Permit, model: Model, now: float, is_last: bool, is_resumed: bool
) -> Send:
    """Give the ask that makes an attempt, with its clocks."""
    first_token_s = model.first_token_s
    seat = permit.seat
    if is_last:
        first_token_s *= LAST_PATIENCE
    elif seat.breaker.phase is not CLOSED:
        typical_s = PROBE_TYPICAL * seat.pace.typical_s(call.prompt_tokens)
        first_token_s = min(first_token_s, max(PROBE_FIRST_TOKEN_S, typical_s))
    if call.is_whole:
        first_token_s = call.deadline - now  # Nothing is heard of it before it is whole.
    late_s = inf
    if model.hedge and not is_last and not is_resumed:
        late_s = seat.pace.p95_s(call.prompt_tokens)
    return Send(
        call,
        permit.target,
        model.headers_s or first_token_s,
        model.first_byte_s or first_token_s,
        first_token_s,
        late_s,
        is_resumed,
    )


class Drain:
    """How fast a line moves: the moving average of the gaps between permits that come back."""

    __slots__ = ("_last", "gap_s")

    def __init__(self) -> None:
        self.gap_s = 0.0
        self._last = 0.0

    def begin(self, now: float) -> None:
        """A line has formed: its pace is measured from here."""
        self._last = now

    def note(self, now: float, since: float = -inf) -> None:
        """A permit came back that somebody waited for; before `since` none could have."""
        self.gap_s += DRAIN_WEIGHT * (now - max(self._last, since) - self.gap_s)
        self._last = now

    def wait_s(self, ahead: int) -> float:
        """Give how long the one behind `ahead` others will wait."""
        return ahead * self.gap_s


def mends_in_s(seat: Seat, now: float, down_s: float) -> float:
    """Give after how long a backend is worth asking again."""
    if not (seat.is_up and seat.is_open):
        return down_s
    breaker = seat.breaker
    probe_s = 0.0 if breaker.can_take or breaker.deadline == inf else breaker.deadline - now
    return max(probe_s, seat.mends_at - now)


def advice_s(wait_s: float, rng: Dice) -> float:
    """Give what callers are told: whole seconds, bounded, and not the same for all."""
    bounded = min(max(wait_s, RETRY_AFTER_S_MIN), RETRY_AFTER_S_MAX)
    return float(ceil(bounded * rng.uniform(1.0, 1.0 + RETRY_JITTER)))
