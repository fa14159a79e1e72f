"""How does each backend stand, and why, in one sentence?

States and lights are for machines. Whoever is paged at night is told in words: what is the matter,
since when it is being left alone, when it is tried again, what it said last.
"""

from math import inf

import msgspec

from baseload.core.breaker import ASLEEP, CLOSED, OPEN, PROBING
from baseload.core.overload import RED, YELLOW
from baseload.core.seat import Seat
from baseload.gateway.live.buckets import Percentiles
from baseload.gateway.live.pulse import BRISK_S, Error, Recent

FRESH_S = 60.0
"""An error older than that no longer explains how things are."""
DRAINING, DISABLED = "draining", "disabled"
"""What an operator can have made of a backend."""
MODES = {"drain": DRAINING, "disable": DISABLED}
"""What each order makes of it."""


class BackendView(msgspec.Struct, frozen=True):
    """One backend's card.

    `state` is `up`, `probing`, `asleep` (at zero replicas), `open` (left alone by its breaker),
    `down`, `draining` or `disabled`; `words` say why. `light` is `green`, `yellow` or `red`, and
    `why` what turned it. `share` is its part of all attempts of the last minute, `portion` how much
    of its own share it is given now; `first_token` is of the last minute, `attempts_s` and
    `error_rate` of the last ten seconds. `probes_in_s` is there while its breaker is open.
    """

    name: str
    where: str
    state: str
    tone: str
    words: str
    light: str
    why: str
    in_flight: int
    limit: int
    limit_most: int
    parked: int
    queued_s: float
    portion: float
    share: float
    attempts_s: float
    error_rate: float
    failures: int
    """Of the last ten seconds."""
    first_token: Percentiles | None
    breaker: str
    probes_in_s: float | None
    errors: list[Error]
    engine: str | None
    is_usable: bool


class Facts(msgspec.Struct, frozen=True):
    """What a backend's card is made from, beside its seat."""

    name: str
    where: str
    now: float
    """On the gate's clock."""
    at: float
    """Since 1970."""
    mode: str = ""
    """`draining` or `disabled`, if an operator made it so."""
    engine: str | None = None
    total_attempts: int = 0
    """Of the last minute, of all backends."""


def view(facts: Facts, seat: Seat, recent: Recent) -> BackendView:
    """Draw up one card."""
    brisk = recent.brisk()
    failures = sum(second.failures for second in brisk)
    ended = failures + sum(second.answered for second in brisk)
    attempts = sum(second.attempts for second in recent.seconds)
    state = state_of(seat, facts.mode)
    tone, words = words_of(state, facts, seat, recent)
    breaker = seat.breaker
    return BackendView(
        name=facts.name,
        where=facts.where,
        state=state,
        tone=tone,
        words=words,
        light=seat.detector.level.name.lower(),
        why=seat.detector.reason,
        in_flight=seat.in_flight,
        limit=seat.limit.limit,
        limit_most=seat.limit.most,
        parked=seat.parked,
        queued_s=round(seat.detector.queued_s, 2),
        portion=round(seat.portion, 3),
        share=round(attempts / facts.total_attempts, 3) if facts.total_attempts else 0.0,
        attempts_s=round(sum(second.attempts for second in brisk) / max(len(brisk), 1), 1),
        error_rate=round(failures / ended, 4) if ended else 0.0,
        failures=failures,
        first_token=recent.first_token(),
        breaker=breaker.phase.value,
        probes_in_s=probes_in_s(seat, facts.now),
        errors=[msgspec.structs.replace(error) for error in recent.errors],
        engine=facts.engine,
        is_usable=seat.is_served() and facts.mode == "",
    )


def state_of(seat: Seat, mode: str) -> str:
    """Name the state; what an operator did comes first."""
    if mode:
        return mode
    if not seat.is_up:
        return "down"
    return "up" if seat.breaker.phase is CLOSED else seat.breaker.phase.value


def probes_in_s(seat: Seat, now: float) -> float | None:
    """Say after how long a backend that is left alone is tried again."""
    if seat.breaker.phase is not OPEN or seat.breaker.deadline == inf:
        return None
    return round(max(seat.breaker.deadline - now, 0.0), 1)


def words_of(state: str, facts: Facts, seat: Seat, recent: Recent) -> tuple[str, str]:
    """Say how a backend stands: how bad that is, and a sentence. The worst reason is given.

    Sentences go on where "It is" would have begun, so that a name can be put before them.
    """
    last = _last_error(recent, facts.at)
    return (
        _of_absence(state, facts, seat)
        or _of_breaker(seat, last)
        or _of_light(seat, _last_error(recent, facts.at, BRISK_S))
        or _of_load(seat, recent, last)
    )


def _of_absence(state: str, facts: Facts, seat: Seat) -> tuple[str, str] | None:
    """What was done to it, or is not there."""
    if state == DISABLED:
        return "off", "Disabled by an operator: it is sent no calls."
    if state == DRAINING:
        return "off", words_of_draining(seat.in_flight)
    if state == "down":
        engine = f" ({facts.engine})" if facts.engine else ""
        return "bad", f"Down: its engine is not ready{engine}."
    return None


def words_of_draining(in_flight: int) -> str:
    """Say how far a backend is that an operator drains."""
    rest = "1 call is" if in_flight == 1 else f"{in_flight} calls are"
    return f"Drained by an operator: no new calls; {rest} still open."


def _of_breaker(seat: Seat, last: str) -> tuple[str, str] | None:
    if seat.breaker.phase is OPEN:
        return "bad", f"Left alone for a while after failures{last}."
    if seat.breaker.phase is PROBING:
        return "bad", f"Being tried with one call at a time{last}."
    if seat.breaker.phase is ASLEEP:
        return "warn", "Asleep: nobody is there, and calls wait until it has come up."
    return None


def _of_light(seat: Seat, last: str) -> tuple[str, str] | None:
    level, why = seat.detector.level, seat.detector.reason
    if why.endswith("failed"):  # Of a slow or a full one, its last error explains nothing.
        why += last
    if level is RED:
        return "bad", f"Red: {why}; it gets only calls that nobody else can take."
    if level is YELLOW:
        part = f"; it gets {100 * seat.portion:.0f} % of its share" if seat.portion < 1 else ""
        return "warn", f"Yellow: {why}{part}."
    return None


def _of_load(seat: Seat, recent: Recent, last: str) -> tuple[str, str]:
    """What may be said of one that is neither absent, nor failing, nor slow."""
    failures = sum(second.failures for second in recent.brisk())
    if seat.breaker.portion < 1:
        return (
            "warn",
            f"Well again: it gets its calls back in steps, {100 * seat.portion:.0f} % now.",
        )
    if failures:
        return "warn", f"Failing now and then: {failures} times in the last {BRISK_S} s{last}."
    if seat.account.in_flight >= seat.limit.limit:
        return "warn", f"Full: all {seat.limit.limit} places are taken."
    if seat.portion < 1:
        return (
            "good",
            f"Well, and spared a little: it gets {100 * seat.portion:.0f} % of its share.",
        )
    if not any(second.attempts for second in recent.seconds):
        return "good", "Well; it had no calls in the last minute."
    return "good", "Well."


def _last_error(recent: Recent, at: float, fresh_s: float = FRESH_S) -> str:
    error = recent.errors[0] if recent.errors else None
    if error is None or at - error.at > fresh_s:
        return ""
    return f": {error.reason}"
