"""How do several workers' parts become one page?

By the second: what ended in the same second of the day is added up, and so are the buckets below
the percentiles, so these are those of all calls. What is wrong is not collected but found anew, in
the sums, and so it is said once. What happened is told in the order in which it did, with who saw
it, for a breaker that opened in one worker is another thing than one that opened in all.

A worker looks once a second, and two looks may fall into one second and none into the next. So the
time that a merged sample spans is what its samples span together, divided by the workers there
were: what is shown per second stays right, and counts are each there once.

Nothing is kept here: a worker that has ended takes along what it knew of the last minutes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import structs

from baseload.cli.merging_backends import merged_backends
from baseload.gateway.live.buckets import Percentiles, Step, percentiles
from baseload.gateway.live.happenings import KEPT_MAX, Happening
from baseload.gateway.live.headline import House, ModelView, Trouble, troubles, worst_first
from baseload.gateway.live.part import Part
from baseload.gateway.live.pulse import BRISK_S, SAMPLES_MAX, Sample, Timing
from baseload.gateway.live.spending import KEYS_MAX, OTHERS, KeyView, Spent
from baseload.gateway.live.view import Live, State

Parts = Mapping[int, Part]
"""By the worker's index."""


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What the foreman knows."""

    boot: str
    tick: int
    """The last second that is over, and so will not change."""
    since: int
    at: float
    error_rate: float
    """Above which share of failed calls it is bad, by the fleet file."""
    count: int
    """Workers that there should be."""
    missing: dict[int, str]
    """Why a worker did not answer."""
    notes: Sequence[Happening]
    """What happened to all of them, and to some of them."""


def merged_live(parts: Parts, whole: Whole) -> Live:
    """Give one page for all; there must be a part."""
    samples = merged_samples(parts, whole.tick)
    brisk = [sample for sample in samples if sample.tick > whole.tick - BRISK_S]
    return Live(
        _state(parts, whole, brisk),
        [sample for sample in samples if sample.tick > whole.since][-SAMPLES_MAX:],
        merged_happenings(parts, whole),
    )


# -- second by second ------------------------------------------------------------------------------

_Found = list[tuple[int, Sample, Timing]]


def merged_samples(parts: Parts, tick: int) -> list[Sample]:
    """Give one sample for each second up to a tick."""
    by_second: defaultdict[int, _Found] = defaultdict(list)
    for index, part in parts.items():
        for sample, timing in zip(part.samples, part.timings, strict=True):
            if (second := int(sample.at)) <= tick:
                by_second[second].append((index, sample, timing))
    last: dict[int, Sample] = {}
    """How each worker stood when it last looked."""
    merged = []
    for second, found in sorted(by_second.items()):
        last |= {index: sample for index, sample, _ in found}
        alive = sum(part.first <= second for part in parts.values())
        merged.append(_sample(second, found, alive, last.values()))
    return merged


def _sample(second: int, found: _Found, alive: int, stands: Iterable[Sample]) -> Sample:
    samples = [sample for _, sample, _ in found]
    refusals: Counter[str] = Counter()
    for sample in samples:
        refusals.update(sample.refusals)
    return Sample(
        tick=second,
        at=round(max(sample.at for sample in samples), 3),
        span_s=round(sum(sample.span_s for sample in samples) / alive, 3),
        answered=sum(sample.answered for sample in samples),
        failed=sum(sample.failed for sample in samples),
        refused=sum(sample.refused for sample in samples),
        own=sum(sample.own for sample in samples),
        refusals=dict(refusals),
        first_token=_percentiles(timing.first_token for _, _, timing in found),
        between_tokens=_percentiles(timing.between_tokens for _, _, timing in found),
        waiting=sum(sample.waiting for sample in stands),
        in_flight=sum(sample.in_flight for sample in stands),
        parked=sum(sample.parked for sample in stands),
    )


def _percentiles(all_: Iterable[Sequence[Step]]) -> Percentiles | None:
    sums: Counter[int] = Counter()
    for steps in all_:
        for place, count in steps:
            sums[place] += count
    return percentiles(sorted(sums.items()))


def merged_happenings(parts: Parts, whole: Whole) -> list[Happening]:
    """Give what happened, by time; the same words in the same second are one line."""
    lines = [
        structs.replace(note, tick=int(note.at))
        for note in whole.notes
        if whole.since < int(note.at) <= whole.tick
    ]
    seen: dict[tuple[int, str, str], dict[int, Happening]] = {}
    for index, part in parts.items():
        for one in part.happenings:
            if whole.since < (second := int(one.at)) <= whole.tick:
                seen.setdefault((second, one.kind, one.words), {})[index] = one
    for (second, _, words), by_worker in seen.items():
        first = min(by_worker.values(), key=lambda one: one.at)
        who = f"{len(by_worker)} of {whole.count} workers"
        if len(by_worker) == 1:
            who = f"worker {next(iter(by_worker))}"
        count = sum(one.count for one in by_worker.values())
        lines.append(structs.replace(first, tick=second, words=f"{words} ({who})", count=count))
    return sorted(lines, key=lambda one: one.at)[-KEPT_MAX:]


# -- how things stand ------------------------------------------------------------------------------

_MISSING = {
    "given up": ("bad", "Worker {} is given up: it never came to serve. The others serve."),
    "silent": ("bad", "Worker {} does not answer: what it does is not shown here."),
    "starting": ("warn", "Worker {} is being started."),
}


def _state(parts: Parts, whole: Whole, brisk: Sequence[Sample]) -> State:
    states = [part.state for part in parts.values()]
    first = states[0]
    backends = merged_backends(list(parts.values()))
    models = [_model(model, states) for model in first.models]
    names = {one.state for one in states}
    in_flight = sum(one.in_flight for one in states)
    waiting, queue_size = (
        sum(one.waiting for one in states), sum(one.queue_size for one in states),
    )  # fmt: skip
    lag_s = max(one.lag_s for one in states)
    alarms = list(dict.fromkeys(alarm for part in parts.values() for alarm in part.alarms))
    house = House(
        backends, models, brisk, alarms, waiting, queue_size, whole.error_rate, lag_s,
        "draining" in names, in_flight,
    )  # fmt: skip
    missing = [
        Trouble(_MISSING[why][0], f"worker {at} {why}", _MISSING[why][1].format(at))
        for at, why in whole.missing.items()
    ]
    return structs.replace(
        first,
        boot=whole.boot,
        tick=whole.tick,
        at=round(whole.at, 3),
        uptime_s=max(one.uptime_s for one in states),
        state=next(name for name in ("draining", "serving", "starting") if name in names),
        connections=sum(one.connections for one in states),
        in_flight=in_flight,
        waiting=waiting,
        queue_size=queue_size,
        lag_s=lag_s,
        troubles=worst_first([*troubles(house), *missing]),
        backends=backends,
        models=models,
        keys=_keys(states),
    )


def _model(model: ModelView, states: Iterable[State]) -> ModelView:
    is_served = any(
        one.is_served for state in states for one in state.models if one.name == model.name
    )
    return structs.replace(model, is_served=is_served)


def _keys(states: Iterable[State]) -> list[KeyView]:
    """Add up what each key has used, the most expensive first; so many, and the others as one."""
    views: dict[str, KeyView] = {}
    for state in states:
        for view in state.keys:
            _add(views, view)
    ordered = sorted(views.values(), key=_by_cost)
    kept = {view.name: view for view in ordered[:KEYS_MAX]}
    for view in ordered[KEYS_MAX:]:
        _add(kept, structs.replace(view, name=OTHERS))
    return sorted(kept.values(), key=_by_cost)


def _by_cost(view: KeyView) -> tuple[float, int, str]:
    return -view.day.cost_usd, -view.day.calls, view.name


def _add(views: dict[str, KeyView], view: KeyView) -> None:
    if (found := views.get(view.name)) is not None:
        view = KeyView(view.name, _sum(found.hour, view.hour), _sum(found.day, view.day))
    views[view.name] = view


def _sum(one: Spent, other: Spent) -> Spent:
    return Spent(
        one.calls + other.calls,
        one.prompt_tokens + other.prompt_tokens,
        one.cached_tokens + other.cached_tokens,
        one.completion_tokens + other.completion_tokens,
        one.unpriced + other.unpriced,
        round(one.cost_usd + other.cost_usd, 6),
    )
