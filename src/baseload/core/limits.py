"""How many calls may a backend, or the account behind it, carry at once?

A limit only learns a number; who holds a permit is the gate's business. The operator's number may
be kept as it is, or be where learning starts. A provider's true limit is known to nobody, and moves
under load, but each refusal shows it: what is still in flight afterwards is what the provider
holds. So a refusal lowers the limit to that, though never by more than half for one round of calls:
refusals of calls that were sent before the last cut are echoes of the same mistake. After a pause
the limit feels its way up again, slowly first, and only while it is really used. A limit that was
found again where it was is probed less often, so that asking costs few refusals.

Sources: limits taught by success, drop and ignore are those of Netflix's concurrency-limits, which
advises clients to learn by loss; growth that quickens with time since a loss is known from TCP's
CUBIC; that strain is measured by the first token is our own.

Not here: who waits, and how long a provider wants to be left alone.
"""

from math import inf

from baseload.core.facts import DROPPED, IGNORE, SUCCESS, Lesson

CUT = 0.5
"""The least part that one round of refusals leaves."""
HOLD_S_MIN = 3.0
HOLD_S_MAX = 10.0
"""Pause after a refusal before the limit grows; it lengthens while refusals confirm the limit."""
HOLD_GROWTH = 1.5
CONFIRMED = 0.15
"""A new limit this near, as a share, to the last one confirms it."""
USED = 0.8
"""The limit counts as used when this share of it is in flight."""
GROWTH_PER_S_MIN = 0.03
GROWTH_PER_S_MAX = 0.3
GROWTH_DOUBLES_S = 5.0
GROWTH_LEAST_PER_S = 1.0
"""Calls a second that a used limit gains at least: three per cent of little is nothing."""
GROWTH_GAP_S_MAX = 0.5
"""Time that one event can vouch for."""
GROWTH_LEAST_GAP_S_MAX = 5.0
"""The same for the least growth, back to when the event's call was sent: a limit of one hears of
an event only every few seconds, and would stay small for minutes.
"""
STRAIN_MAX = 3.0
STRAIN_CUT = 0.9
STRAIN_GAP_S = 1.0
STRAIN_SHARE_MIN = 0.25
"""What strain alone always leaves: if less load does not help, we are not what strains it."""

_GROWS_FASTEST_S = 20.0
"""Quiet time after which growth has surely reached its most; keeps the power's result small."""


class AdaptiveLimit:
    """A limit between 1 and `most` that begins at `start` and follows what refusals show."""

    __slots__ = (
        "_cut_at",
        "_floor",
        "_grown_at",
        "_hold_s",
        "_known",
        "_quiet_from",
        "_strain_floor",
        "_strained_at",
        "_value",
        "limit",
        "most",
    )

    def __init__(self, start: int, most: int) -> None:
        assert 1 <= start <= most
        self.limit = start
        self.most = most
        self._value = float(start)
        self._floor = self._strain_floor = 1.0
        self._cut_at = self._grown_at = self._quiet_from = self._strained_at = -inf
        self._hold_s = HOLD_S_MIN
        self._known = 0.0
        """Where the limit was before the last round of refusals began, once it had grown."""

    def learn(self, lesson: Lesson, in_flight: int, taken_at: float, now: float) -> None:
        """Take the lesson of an attempt that was sent at `taken_at`.

        `in_flight` are the calls in flight after its permit came back; for `ALIVE` it still counts.
        """
        if lesson is DROPPED:
            self._refused(in_flight, taken_at, now)
        elif self.limit < self.most and now >= self._quiet_from and lesson is not IGNORE:
            self._used(in_flight + 1 if lesson is SUCCESS else in_flight, taken_at, now)

    def strained(self, strain: float, now: float, carried: int = 0) -> None:
        """Give way, at most once a second, while first tokens take far longer than usual.

        The limit stays above `carried`, what the backend surely works on, where that is known.
        """
        if strain <= STRAIN_MAX or now < self._strained_at + STRAIN_GAP_S:
            return
        if now > self._strained_at + HOLD_S_MIN:
            self._strain_floor = self._value * STRAIN_SHARE_MIN
        self._strained_at = now
        lowered = max(self._value * STRAIN_CUT, self._strain_floor, carried, 1.0)
        self._set(min(lowered, self._value))
        self._quiet_from = max(self._quiet_from, now + HOLD_S_MIN)

    def allow(self, most: int, now: float) -> None:
        """Have another bound, and be there at once unless refusals hold the limit lower."""
        is_held = self._value < self.most or now < self._quiet_from
        self.most = most
        self._set(min(self._value, most) if is_held else float(most))

    def _refused(self, in_flight: int, taken_at: float, now: float) -> None:
        if taken_at >= self._cut_at:
            if now >= self._quiet_from:  # The first refusal since the limit could grow.
                is_confirmed = abs(self._value - self._known) <= max(self._known * CONFIRMED, 1)
                self._hold_s = (
                    min(self._hold_s * HOLD_GROWTH, HOLD_S_MAX) if is_confirmed else HOLD_S_MIN
                )
                self._known = self._value
            self._cut_at = now
            self._floor = self._value * CUT
        self._set(max(self._floor, min(self._value, in_flight), 1.0))
        self._quiet_from = max(self._quiet_from, now + self._hold_s)

    def _used(self, in_flight: int, taken_at: float, now: float) -> None:
        if in_flight < USED * self.limit:
            return
        since_s = now - max(self._grown_at, self._quiet_from)
        gap_s = min(since_s, GROWTH_GAP_S_MAX)
        least_gap_s = max(gap_s, min(since_s, now - taken_at, GROWTH_LEAST_GAP_S_MAX))
        self._grown_at = now
        quiet_s = min(now - self._quiet_from, _GROWS_FASTEST_S)
        share = min(GROWTH_PER_S_MIN * 2 ** (quiet_s / GROWTH_DOUBLES_S), GROWTH_PER_S_MAX)
        grown = max(self._value * share * gap_s, GROWTH_LEAST_PER_S * least_gap_s)
        self._set(min(self._value + grown, self.most))

    def _set(self, value: float) -> None:
        self._value = value
        self.limit = int(value)
