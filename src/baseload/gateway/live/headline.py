"""What is wrong, in one sentence, the worst first?

The sentence at the head of the page is for somebody who was asleep a minute ago. So it names what
callers feel before what machines feel: a model that nobody serves, calls that fail or are refused,
then backends that are not well (callers may not notice, since others answer), then what is only
worth knowing. What an operator did is no trouble, but it is said, for the next one may not know.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from baseload.gateway.live.pulse import BRISK_S, Sample
from baseload.gateway.live.standing import BackendView

QUEUE_SHARE_BAD = 0.5
QUEUE_SHARE_WARN = 0.05
FAILED_MIN = 3
"""Fewer calls that failed are an accident."""
LAG_S_WARN = 0.25
"""The loop that late, callers feel it."""
PARKED_MIN = 3

BAD, WARN, NOTE = "bad", "warn", "note"
_ORDER = {BAD: 0, WARN: 1, NOTE: 2}


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong. `tone` is `bad`, `warn` or `note`.

    `key` stays while it is the same trouble, however the numbers in its words move.
    """

    tone: str
    key: str
    words: str
    backend: str = ""


class Place(msgspec.Struct, frozen=True):
    """A backend's part in a tier of a model."""

    backend: str
    model: str
    share: int


class ModelView(msgspec.Struct, frozen=True):
    """A model: whether a call would find a backend now, and where it is answered."""

    name: str
    is_served: bool
    tiers: list[list[Place]]


class House(msgspec.Struct, frozen=True):
    """How the gateway as a whole stands."""

    backends: Sequence[BackendView]
    models: Sequence[ModelView]
    samples: Sequence[Sample]
    """Of the last seconds."""
    alarms: Sequence[str]
    waiting: int
    queue_size: int
    error_rate: float
    """Above which share of failed calls it is bad, by the fleet file."""
    lag_s: float
    is_draining: bool
    in_flight: int


def troubles(house: House) -> list[Trouble]:
    """Say everything that is wrong, the worst first; nothing if all is well."""
    found = [
        *_models(house), *_calls(house), *_queue(house), *_backends(house), *_others(house),
    ]  # fmt: skip
    return worst_first(found)


def worst_first(found: Iterable[Trouble]) -> list[Trouble]:
    """Put the worst first; of what is equally bad, what came first."""
    return sorted(found, key=lambda trouble: _ORDER[trouble.tone])


def _models(house: House) -> Iterator[Trouble]:
    standing = {backend.name: backend for backend in house.backends}
    unserved = [model for model in house.models if not model.is_served]
    if not unserved:
        return
    names = _list([model.name for model in unserved])
    places = dict.fromkeys(
        place.backend for model in unserved for tier in model.tiers for place in tier
    )
    why = _list([f"{name} is {_SHORT[standing[name].state]}" for name in places])
    yield Trouble(BAD, f"unserved {names}", f"No backend can be asked for {names}: {why}.")


_SHORT = {
    "up": "not to be asked",
    "open": "left alone after failures",
    "probing": "being tried with one call",
    "asleep": "asleep",
    "down": "down",
    "draining": "drained by an operator",
    "disabled": "disabled by an operator",
}


def _calls(house: House) -> Iterator[Trouble]:
    failed = sum(sample.failed for sample in house.samples)
    ended = failed + sum(sample.answered for sample in house.samples)
    if failed >= FAILED_MIN and failed > ended * house.error_rate:
        words = f"{failed} of {ended} calls failed for their callers in the last {BRISK_S} s."
        yield Trouble(BAD, "failing", words)
    refusals: dict[str, int] = {}
    for sample in house.samples:
        for reason, count in sample.refusals.items():
            refusals[reason] = refusals.get(reason, 0) + count
    for reason, (tone, words) in _REFUSED.items():
        if count := refusals.get(reason, 0):
            calls = "1 call" if count == 1 else f"{count} calls"
            yield Trouble(tone, reason, f"{words.format(calls=calls)} in the last {BRISK_S} s.")


_REFUSED = {
    "queue full": (BAD, "The queue is full: {calls} refused"),
    "queue timeout": (BAD, "All backends stay busy: {calls} waited in vain"),
    "no backend": (BAD, "{calls} found no backend"),
    "limit": (WARN, "Limits of keys refused {calls}"),
    "preempted": (NOTE, "{calls} gave way to more urgent ones"),
}


def _queue(house: House) -> Iterator[Trouble]:
    waiting, size = house.waiting, house.queue_size
    if not size or waiting <= size * QUEUE_SHARE_WARN:
        return
    tone = BAD if waiting > size * QUEUE_SHARE_BAD else WARN
    yield Trouble(
        tone, f"queue {tone}", f"The queue is filling: {waiting} of {size} places are taken."
    )


def _backends(house: House) -> Iterator[Trouble]:
    for backend in house.backends:
        name, tone = backend.name, backend.tone
        key = f"{name} {backend.state} {backend.light}"
        words = f"{name} is {backend.words[0].lower()}{backend.words[1:]}"
        if tone == "off":
            yield Trouble(NOTE, key, words, name)
        elif tone != "good":
            others = " Others take its calls." if tone == BAD and _is_spared(house, name) else ""
            yield Trouble(tone, key, words + others, name)
        is_said = tone in {BAD, "off"} or "queued" in backend.words
        if backend.parked >= PARKED_MIN and not is_said:
            words = f"At {name}, {backend.parked} calls are queued at the provider."
            yield Trouble(WARN, f"{name} parked", words, name)


def _is_spared(house: House, name: str) -> bool:
    """Say whether every model that a backend serves has another one to go to."""
    usable = {backend.name for backend in house.backends if backend.is_usable} - {name}
    places = [[place.backend for tier in model.tiers for place in tier] for model in house.models]
    return all(usable.intersection(found) for found in places if name in found)


def _others(house: House) -> Iterator[Trouble]:
    for alarm in house.alarms:
        yield Trouble(BAD, alarm, alarm)
    if house.lag_s > LAG_S_WARN:
        words = f"The gateway itself is late: its loop lags {house.lag_s:.2f} s."
        yield Trouble(WARN, "lag", words)
    if house.is_draining:
        words = f"The gateway is stopping; {house.in_flight} calls are still open."
        yield Trouble(WARN, "stopping", words)


def _list(words: Sequence[str]) -> str:
    """Join words as people do; of many, only some."""
    shown = [*words[:3], f"{len(words) - 3} more"] if len(words) > 4 else list(words)
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + " and " + shown[-1]
