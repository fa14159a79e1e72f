"""How do several workers' cards of one backend become one card?

Counts and limits are added; shares, rates and percentiles are made anew from what they were made
of. A backend is open to calls if it is for any worker; of what is felt the worst is shown with its
words, and how many workers feel so, since each learns for itself.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import structs

from baseload.gateway.live.buckets import percentiles
from baseload.gateway.live.part import Part, Tally
from baseload.gateway.live.pulse import ERRORS_MAX, Error
from baseload.gateway.live.standing import DISABLED, DRAINING, BackendView, words_of_draining

_TONES = ("bad", "warn", "off", "good")
_LIGHTS = ("red", "yellow", "green")
_BREAKERS = ("open", "asleep", "probing", "closed")
_STATES = (DISABLED, DRAINING, "up", "probing", "asleep", "open", "down")
"""What an operator did is done in all workers; else the best holds, for calls are taken there."""


_NOTHING = Tally(0, 0, [])
"""Of a backend that a reload has just brought, or taken."""


def merged_backends(parts: Sequence[Part]) -> list[BackendView]:
    """Give one card for each backend, in the first worker's order."""
    total = sum(tally.attempts for part in parts for tally in part.tallies.values())
    cards = []
    for name in [one.name for one in parts[0].state.backends]:
        found = [
            (view, part.tallies.get(name, _NOTHING))
            for part in parts
            for view in part.state.backends
            if view.name == name
        ]
        cards.append(_card([view for view, _ in found], [tally for _, tally in found], total))
    return cards


def _card(views: list[BackendView], tallies: list[Tally], total_attempts: int) -> BackendView:
    lit = min(views, key=lambda view: _LIGHTS.index(view.light))
    state = min((view.state for view in views), key=_STATES.index)
    in_flight = sum(view.in_flight for view in views)
    tone, words = _words(views, tallies)
    if state == DRAINING:
        tone, words = "off", words_of_draining(in_flight)
    attempts = sum(tally.attempts for tally in tallies)
    failures = sum(view.failures for view in views)
    ended = failures + sum(tally.answered for tally in tallies)
    waits = [view.probes_in_s for view in views if view.probes_in_s is not None]
    first_token: Counter[int] = Counter()
    for tally in tallies:
        first_token.update(dict(tally.first_token))
    return structs.replace(
        views[0],
        state=state,
        tone=tone,
        words=words,
        light=lit.light,
        why=lit.why,
        in_flight=in_flight,
        limit=sum(view.limit for view in views),
        limit_most=sum(view.limit_most for view in views),
        parked=sum(view.parked for view in views),
        queued_s=max(view.queued_s for view in views),
        portion=round(sum(view.portion for view in views) / len(views), 3),
        share=round(attempts / total_attempts, 3) if total_attempts else 0.0,
        attempts_s=round(sum(view.attempts_s for view in views), 1),
        error_rate=round(failures / ended, 4) if ended else 0.0,
        failures=failures,
        first_token=percentiles(sorted(first_token.items())),
        breaker=min((view.breaker for view in views), key=_BREAKERS.index),
        probes_in_s=min(waits) if waits else None,
        errors=_errors(error for view in views for error in view.errors),
        is_usable=any(view.is_usable for view in views),
    )


def _words(views: Sequence[BackendView], tallies: Sequence[Tally]) -> tuple[str, str]:
    """Give the words of whom it is worst for; of equals, of whom it fails or is asked most."""
    worst, _ = min(
        zip(views, tallies, strict=True),
        key=lambda one: (_TONES.index(one[0].tone), -one[0].failures, -one[1].attempts),
    )
    alike = sum(view.tone == worst.tone for view in views)
    if worst.tone == "good" or alike == len(views):
        return worst.tone, worst.words
    return worst.tone, f"{worst.words.removesuffix('.')} ({alike} of {len(views)} workers)."


def _errors(all_: Iterable[Error]) -> list[Error]:
    """Give the newest; what several workers met is counted as one."""
    found: dict[tuple[str, str], Error] = {}
    for error in all_:
        new = Error(error.fact, error.reason, at=0.0, count=0)
        known = found.setdefault((error.fact, error.reason), new)
        known.count += error.count
        known.at = max(known.at, error.at)
    return sorted(found.values(), key=lambda error: -error.at)[:ERRORS_MAX]
