"""What do callers notice of a run? Percentiles of their waits, and how full the replica was.

TTFT is from arrival to the first token. TPOT, the time for each further token, is
`(end to end - TTFT) / (tokens - 1)`, and answers of one token have none. Percentiles are
interpolated between neighbours, as NumPy does by default.

A replica starts empty and ends with nothing to do, so a steady state shows in the middle of a run
only: what is measured there leaves out the first calls and the last ones.

Not here: the run (`replica`), which latency is good enough (`knee`).
"""

from collections.abc import Sequence
from math import inf, isfinite

import msgspec

from baseload.plan.queueing.replica import Arrivals, Run

MIDDLE = (0.2, 0.95)
"""Part of the calls from which and until which a steady state is measured."""
GROWTH_MAX = 0.05
"""Part of the calls come meanwhile by which the queue may grow before it is said to grow."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """What callers get from one replica at one load."""

    rps: float
    ttft_p50_s: float
    ttft_p95_s: float
    tpot_p50_s: float
    """0 where no answer has a second token."""
    tpot_p95_s: float
    total_p50_s: float
    """From arrival to the last token."""
    total_p95_s: float
    batch: float
    """Calls that the engine works on at once, mean over all time."""
    busy: float
    """Part of the time with a turn going on."""
    tokens_s: float
    """Tokens of answers."""
    is_growing: bool
    """Whether more and more calls wait: the load is past what the replica can do."""
    refused: float = 0.0
    """Part of the calls that the KV cache can never hold."""
    preempted: float = 0.0
    """How often a call was put back for want of KV cache, for each call."""


def measure(arrivals: Arrivals, run: Run, middle: tuple[float, float] = (0.0, 1.0)) -> Latency:
    """Give what the calls in the middle of a run got; all of them unless told otherwise."""
    count = len(arrivals.at_s)
    low, high = int(count * middle[0]), max(int(count * middle[1]), 1)
    places = [place for place in range(low, high) if isfinite(run.last_s[place])]
    at_s, first_s, last_s, sizes = arrivals.at_s, run.first_s, run.last_s, arrivals.answers
    ttft = sorted(first_s[place] - at_s[place] for place in places)
    total = sorted(last_s[place] - at_s[place] for place in places)
    tpot = sorted(
        (last_s[place] - first_s[place]) / (sizes[place] - 1)
        for place in places
        if sizes[place] > 1
    )
    span_s = max(run.end_s - at_s[0], 1e-9)
    return Latency(
        rps=_rate(at_s), ttft_p50_s=percentile(ttft, 0.5), ttft_p95_s=percentile(ttft, 0.95),
        tpot_p50_s=percentile(tpot, 0.5) if tpot else 0.0,
        tpot_p95_s=percentile(tpot, 0.95) if tpot else 0.0,
        total_p50_s=percentile(total, 0.5), total_p95_s=percentile(total, 0.95),
        batch=run.calls_s / span_s, busy=run.busy_s / span_s, tokens_s=run.written / span_s,
        is_growing=_is_growing(arrivals, run, low, high - 1), refused=run.refused / count,
        preempted=run.preempted / count,
    )  # fmt: skip


def percentile(ordered: Sequence[float], part: float) -> float:
    """Give the value below which so large a part of the values lies; infinite without values."""
    if not ordered:
        return inf
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _rate(at_s: Sequence[float]) -> float:
    """Give calls a second; the time before the first call counts as the gap before it."""
    return len(at_s) / at_s[-1] if at_s[-1] > 0 else inf


def _is_growing(arrivals: Arrivals, run: Run, low: int, high: int) -> bool:
    """Compare how many wait for their first token when two calls come, one late, one early."""
    early, late = _waiting(arrivals, run, low), _waiting(arrivals, run, high)
    return late - early > max(GROWTH_MAX * (high - low), 1)


def _waiting(arrivals: Arrivals, run: Run, place: int) -> int:
    now = arrivals.at_s[place]
    return sum(1 for other in range(place) if now < run.first_s[other] < inf)
