"""What load is in a record of real traffic?

The busiest hour is the load: its rate, how irregular its gaps are, how long its prompts and answers
are; what it is like over a day is the day's factor. Of a trace shorter than an hour, the whole.
Calls that failed, those without a single token of an answer, are left out.

Where a trace names its prompts' blocks (Mooncake's), the part of prompts that a prefix cache would
have is worked out: leading blocks that were seen not long ago. Where it says how many tokens came
from a cache (the gateway's ledger), that part is taken.

Not here: how files are read (`calls`), what a load does to a replica (`queueing`).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, pstdev

import msgspec

from baseload.plan.calls import Call, TraceError, calls
from baseload.plan.cost.terms import SECONDS_DAY, SECONDS_HOUR
from baseload.plan.load import Load

KEPT_MAX = 10_000
"""Calls of the busiest hour whose gaps and sizes the load keeps."""
BLOCK = 512
"""Tokens of one of Mooncake's blocks."""
BLOCKS_MAX = 10_000
"""Blocks that the prefix cache is taken to hold, those used last. These 5 million tokens are about
what DeepSeek-V3 in FP8 leaves free on eight H200 (0.66 million on each)."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says."""

    load: Load
    calls: int
    span_s: float
    notes: tuple[str, ...]
    """What a reader of the load should know of it."""


def read(path: str | Path) -> Load:
    """Give the load of a trace's busiest hour; `TraceError` for what cannot be read."""
    return inspect(path).load


def inspect(path: str | Path) -> Trace:
    """Give the load of a trace with what is worth knowing of it; `TraceError` likewise."""
    path = Path(path)
    found = list(calls(path))
    served = sorted((call for call in found if call.answer > 0), key=lambda call: call.at_s)
    if len(served) < 2:
        raise TraceError(f"{path}: has {len(served)} answered calls; a load takes at least two")
    if served[-1].at_s <= served[0].at_s:
        raise TraceError(f"{path}: all calls come at the same time: no rate can be told")
    return _summed(served, len(found) - len(served))


# -- from calls to a load -------------------------------------------------------------------


def _summed(served: list[Call], failed: int) -> Trace:
    span_s = served[-1].at_s - served[0].at_s
    times, is_coarse = _spread([call.at_s for call in served])
    low, high = _busiest(times)
    hour, gaps = served[low:high], [late - early for early, late in pairwise(times[low:high])]
    prompts, answers = [call.prompt for call in hour], [call.answer for call in hour]
    rps = len(hour) / SECONDS_HOUR if span_s > SECONDS_HOUR else len(served) / span_s
    load = Load(
        rps=rps, prompt=fmean(prompts), answer=fmean(answers), prompt_cv=_cv(prompts),
        answer_cv=_cv(answers), arrival_cv=_cv(gaps) if gaps else 1.0,
        prompts=tuple(prompts[:KEPT_MAX]), answers=tuple(answers[:KEPT_MAX]),
        gaps=_kept_gaps(gaps), cached=_cached(served),
        day_factor=min(len(served) / span_s / rps, 1.0) if span_s > SECONDS_DAY else 1.0,
    )  # fmt: skip
    notes = tuple(_notes(len(served), failed, span_s, len(hour), is_coarse))
    return Trace(load=load, calls=len(served), span_s=span_s, notes=notes)


def _notes(count: int, failed: int, span_s: float, hour: int, is_coarse: bool) -> Iterator[str]:
    yield f"{count:,} calls in {_span(span_s)}; the busiest hour of them is the load"
    if span_s <= SECONDS_DAY:
        yield "not longer than a day, so every hour is taken to be as busy as this one"
    if hour > KEPT_MAX:
        yield f"sizes and gaps are those of the hour's first {KEPT_MAX:,} calls"
    if failed:
        yield f"{failed:,} calls without an answer are left out"
    if is_coarse:
        yield "most calls share their time with others: they are spread evenly until the next time"


def _spread(times: list[float]) -> tuple[list[float], bool]:
    """Spread calls that a coarse clock gave the same time, if most are such; say whether.

    Mooncake's clock ticks every three seconds. Left as they are, ten calls would come in no time.
    """
    starts = sorted(set(times))
    if 2 * len(starts) > len(times):
        return times, False
    tick_s = median(late - early for early, late in pairwise(starts))
    alike = Counter(times)
    room_s = {early: min(late - early, tick_s) for early, late in pairwise(starts)}
    return [
        start + room_s.get(start, tick_s) * place / alike[start]
        for start in starts
        for place in range(alike[start])
    ], True


def _busiest(times: list[float]) -> tuple[int, int]:
    """Give the first call of the busiest hour, and the first one after it."""
    best = (0, 0)
    for low, start in enumerate(times):
        high = bisect_left(times, start + SECONDS_HOUR, lo=max(low, best[1] - 1))
        if high - low > best[1] - best[0]:
            best = (low, high)
        if high == len(times):
            break
    return best


def _kept_gaps(gaps: list[float]) -> tuple[float, ...]:
    """Give the gap before each call that is kept, their mean 1; before the first, the mean."""
    kept = gaps[: KEPT_MAX - 1]
    mean = fmean(kept) if kept else 0.0
    return (1.0, *(gap / mean if mean else 1.0 for gap in kept))


def _cached(served: list[Call]) -> float:
    """Give the part of prompts' tokens that a cache has: as was reported, or by their blocks."""
    reported = [(call.cached, call.prompt) for call in served if call.cached is not None]
    if reported:
        total = sum(prompt for _, prompt in reported)
        return min(sum(cached for cached, _ in reported) / total, 1.0) if total else 0.0
    seen: dict[int, None] = {}
    hits = total = 0
    for call in served:
        if not call.blocks:
            continue
        total += call.prompt
        hits += min(_leading(call.blocks, seen) * BLOCK, call.prompt)
        for block in call.blocks:
            seen.pop(block, None)
            seen[block] = None
        while len(seen) > BLOCKS_MAX:
            del seen[next(iter(seen))]
    return hits / total if total else 0.0


def _leading(blocks: tuple[int, ...], seen: Mapping[int, None]) -> int:
    """Give how many blocks from the first on are known."""
    for place, block in enumerate(blocks):
        if block not in seen:
            return place
    return len(blocks)


def _cv(values: list[int] | list[float]) -> float:
    mean = fmean(values)
    return pstdev(values) / mean if mean else 0.0


def _span(span_s: float) -> str:
    for unit_s, name in ((SECONDS_DAY, "days"), (SECONDS_HOUR, "hours"), (60.0, "minutes")):
        if span_s >= unit_s:
            return f"{span_s / unit_s:.1f} {name}"
    return f"{span_s:.1f} seconds"
