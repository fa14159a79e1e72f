"""How much load does one replica take, and what do callers get before that?

Latency over load is flat for long and then goes up a wall: the knee. It is looked for by following
the same calls at several rates (`replica`), between bounds that the estimate gives.

Not here: how many replicas keep a load below it (`units`, `sizing`).
"""

from math import inf
from random import Random

import msgspec

from baseload.plan.load import Load, Objectives
from baseload.plan.queueing.arrivals import Draw, draw
from baseload.plan.queueing.estimate import estimate, knee_estimate, limit_rps
from baseload.plan.queueing.latency import MIDDLE, Latency, measure
from baseload.plan.queueing.replica import simulate
from baseload.plan.speed.pace import Pace

CALLS_MIN = 400
CALLS_MAX = 1000
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


def calls_of(pace: Pace, load: Load, objectives: Objectives) -> int:
    """Give how many calls have to be followed until a replica shows its steady state.

    Of a trace all that may be: its bursts are few.
    """
    limit = limit_rps(pace, load)
    top = knee_estimate(pace, load, objectives)
    if not (batch := estimate(pace, load, min(top, NEARLY * limit)).batch) < inf:
        return CALLS_MIN
    least = max(CALLS_MIN, min(len(load.prompts), CALLS_MAX))
    return min(max(round(BATCHES * batch), least), CALLS_MAX)


def follow(pace: Pace, calls: Draw, rps: float) -> Latency:
    """Give what calls get at a rate, in their steady state; past the knee as well."""
    arrivals = calls.at(rps)
    found = measure(arrivals, simulate(pace, arrivals), MIDDLE)
    return msgspec.structs.replace(found, rps=rps)


def keeps(latency: Latency, objectives: Objectives) -> bool:
    """Say whether callers get what was asked for."""
    return (
        latency.ttft_p95_s <= objectives.ttft_p95_s
        and latency.tpot_p95_s <= objectives.tpot_p95_s
        and latency.refused <= REFUSED_MAX
    )


def _search(pace: Pace, load: Load, calls: Draw, objectives: Objectives) -> float:
    """Halve the span between a rate that does and one that does not."""

    def does(rps: float, of: Draw = calls) -> bool:
        found = follow(pace, of, rps)
        return keeps(found, objectives) and not found.is_growing

    low, high = 0.0, capacity_rps(pace, load, calls)
    if not high or not does(high * IDLE, calls.head(IDLE_CALLS)):
        return 0.0
    guess = knee_estimate(pace, load, objectives)
    for step in range(STEPS_MAX):
        if high - low <= NEAR * high:
            break
        rps = guess if step == 0 and low < guess < high else (low + high) / 2
        if does(rps):
            low = rps
        else:
            high = rps
    return low
