"""How much load does one replica take, and what do callers get before that?

Latency over load is flat for long and then goes up a wall: the knee. It is looked for by following
the same calls at several rates (`replica`), between bounds that the estimate gives. A load past it
is refused, with how far past it is and how many replicas would take it.

Not here: how many replicas are paid for, and which stand by (`mix`).
"""

from math import ceil, inf
from random import Random

import msgspec

from baseload.plan.load import Load, Objectives
from baseload.plan.queueing.arrivals import Draw, draw
from baseload.plan.queueing.estimate import estimate, knee_estimate, limit_rps
from baseload.plan.queueing.latency import MIDDLE, Latency, measure
from baseload.plan.queueing.replica import simulate
from baseload.plan.speed.pace import Pace

CALLS_MIN = 400
CALLS_MAX = 1500
BATCHES = 8
"""Calls followed, in batches at the estimated knee: so many times everybody is new."""
NEARLY = 0.98
"""Part of the limit at which a batch is as good as full, and still finite."""
STEPS_MAX = 10
"""Rates that are tried for a knee, at most."""
NEAR = 0.03
"""How near to the knee is near enough, as part of it."""
FLOOD = 4.0
"""Times the estimated limit at which a queue never empties."""
IDLE, IDLE_CALLS = 1e-3, 100
"""Part of the capacity at which calls do not meet, and how many of them show it."""
TINY = 1e-6
REFUSED_MAX = 0.01
"""Part of the calls that may be too long for the KV cache."""


class PastKnee(msgspec.Struct, frozen=True, kw_only=True):
    """A load that one replica does not take."""

    rps: float
    knee_rps: float
    """What it takes; 0 if not even one call alone is served well enough."""
    over: float
    """By how much the load is past that: 0.25 is a quarter; infinite past 0."""
    replicas: int
    """How many would take it, each at most at the utilisation that is allowed; 0: no number."""
    objective: str
    """What fails: `ttft_p95_s`, `tpot_p95_s`, `stability` (the queue grows) or `kv_tokens`."""
    wanted: float
    found: float


def at_load(
    pace: Pace, load: Load, rps: float, rng: Random, objectives: Objectives | None = None
) -> Latency | PastKnee:
    """Give what callers of one replica get at a rate, or by how much that is past the knee.

    Without objectives the knee is where the queue begins to grow.
    """
    calls = draw(load, calls_of(pace, load, objectives), rng)
    found = follow(pace, calls, rps)
    capacity = capacity_rps(pace, load, calls)
    failed = _failed(found, objectives)
    if rps > capacity and (failed is None or failed[0] == "stability"):
        failed = "stability", capacity, rps
    if failed is None:
        return found
    objective, wanted, value = failed
    knee_rps = min(_search(pace, load, calls, objectives), rps)
    allowed = knee_rps * (objectives.utilisation_max if objectives else 1.0)
    return PastKnee(
        rps=rps, knee_rps=knee_rps, over=rps / knee_rps - 1 if knee_rps else inf,
        replicas=max(ceil(rps / allowed), 2) if allowed else 0,
        objective=objective, wanted=wanted, found=value,
    )  # fmt: skip


def knee(pace: Pace, load: Load, objectives: Objectives, rng: Random) -> float:
    """Give the highest rate of one replica at which objectives are kept, in calls a second.

    It is within 3 % of the highest that these very calls allow, and 0 if none does.
    """
    return _search(pace, load, draw(load, calls_of(pace, load, objectives), rng), objectives)


def capacity_rps(pace: Pace, load: Load, calls: Draw) -> float:
    """Give how many calls a second a replica gets done with a queue that never empties.

    It is measured at a multiple of the estimated limit, while the middle half of the calls begin.
    """
    arrivals = calls.at(max(limit_rps(pace, load), TINY) * FLOOD)
    first_s = sorted(simulate(pace, arrivals).first_s)
    low, high = len(first_s) // 4, 3 * len(first_s) // 4
    span_s = first_s[high] - first_s[low]
    return (high - low) / span_s if 0 < span_s < inf else 0.0


def calls_of(pace: Pace, load: Load, objectives: Objectives | None = None) -> int:
    """Give how many calls have to be followed until a replica shows its steady state.

    Of a trace all that may be: its bursts are few.
    """
    limit = limit_rps(pace, load)
    top = limit if objectives is None else knee_estimate(pace, load, objectives)
    if not (batch := estimate(pace, load, min(top, NEARLY * limit)).batch) < inf:
        return CALLS_MIN
    least = max(CALLS_MIN, min(len(load.prompts), CALLS_MAX))
    return min(max(round(BATCHES * batch), least), CALLS_MAX)


def follow(pace: Pace, calls: Draw, rps: float) -> Latency:
    """Give what calls get at a rate, in their steady state; past the knee as well."""
    arrivals = calls.at(rps)
    found = measure(arrivals, simulate(pace, arrivals), MIDDLE)
    return msgspec.structs.replace(found, rps=rps)


def _failed(found: Latency, objectives: Objectives | None) -> tuple[str, float, float] | None:
    """Give the first thing that is not as wanted: its name, what was wanted, what was found."""
    if found.refused > REFUSED_MAX:
        return "kv_tokens", REFUSED_MAX, found.refused
    if objectives is not None:
        for name in ("ttft_p95_s", "tpot_p95_s"):
            if (value := getattr(found, name)) > (wanted := getattr(objectives, name)):
                return name, wanted, value
    return ("stability", 1.0, 1.0 + found.is_growing) if found.is_growing else None


def _search(pace: Pace, load: Load, calls: Draw, objectives: Objectives | None) -> float:
    """Halve the span between a rate that does and one that does not."""

    def does(rps: float, of: Draw = calls) -> bool:
        return _failed(follow(pace, of, rps), objectives) is None

    low, high = 0.0, capacity_rps(pace, load, calls)
    if not high or not does(high * IDLE, calls.head(IDLE_CALLS)):
        return 0.0
    guess = high if objectives is None else knee_estimate(pace, load, objectives)
    for step in range(STEPS_MAX):
        if high - low <= NEAR * high:
            break
        rps = guess if step == 0 and low < guess < high else (low + high) / 2
        if does(rps):
            low = rps
        else:
            high = rps
    return low
