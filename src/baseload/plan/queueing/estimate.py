"""How long do calls take, roughly, without following them? In microseconds instead of milliseconds.

In a steady state n calls come in a mean turn, so n * (answer - 1) answers are being written in it,
and n * prompt tokens are read. That fixes how long the mean turn takes, and so the rate: n over its
length. So n is looked for, by halving, until the rate is the one asked for. A turn reads with
probability 1 - exp(-n) (Poisson), then all that came meanwhile; the others only write.

Most calls that a replica can take in one turn are bounded by its slots, its KV cache and its tokens
a turn. The rate there is the limit: past it no wait is long enough.

Waiting for a slot is that of a queue with as many servers as there are slots: the chance to wait is
`u ** (sqrt(2 * (c + 1)) - 1)` (Sakasegawa 1977) at utilisation u, and the wait of those who do
is exponential with mean `(ca² + cs²) / 2 * S / (c * (1 - u))` (Allen and Cunneen; S is the time in
a slot, ca and cs the coefficients of variation of gaps and answers).

It brackets and ranks; what is promised comes from following calls (`knee`). More load never makes
any of its figures smaller, as long as more work never makes a turn shorter.

Not here: percentiles of real runs (`latency`).
"""

from math import exp, expm1, inf, log, log1p, sqrt

import msgspec

from baseload.plan.load import Load, Objectives
from baseload.plan.queueing.latency import percentile
from baseload.plan.queueing.replica import AHEAD
from baseload.plan.speed.pace import Pace

HALVINGS, KNEE_HALVINGS = 24, 12
"""Times that a span is halved: calls in a turn, and rates."""
LUCKY, UNLUCKY = 0.5, 2.0
"""How likely a middling call meets a turn that reads, and an unlucky one, against the mean one:
chosen to be near calls followed, not derived."""
SHORT = 4
"""Times by which a short answer is shorter than the mean: likewise."""
Z95 = 1.645
"""Standard deviations above the mean below which 95 of 100 normal values lie."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What callers roughly get from one replica at one load; infinite past its limit."""

    rps: float
    limit_rps: float
    """The rate at which turns can no longer keep up."""
    ttft_p50_s: float
    ttft_p95_s: float
    tpot_p50_s: float
    tpot_p95_s: float
    batch: float
    """Answers being written at once, mean."""


class _Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Means that matter for turns."""

    prompt: float
    median: float
    """Of prompts, over their mean."""
    prompt_p95: float
    read: float
    """Tokens of a prompt that are not in the prefix cache."""
    longest: float
    """The same of the prompt that a token is part of: long ones have more tokens."""
    before: float
    """What a token that is read looks back on."""
    further: float
    """Tokens of an answer after its first."""
    context: float
    """What an answer being written looks back on; long answers are seen more often."""
    prompt_cv: float
    answer_cv: float
    arrival_cv: float


def limit_rps(pace: Pace, load: Load) -> float:
    """Give the rate at which turns can no longer keep up, in calls a second; 0 if no call fits."""
    return _limit_rps(pace, _sizes(load))


def _limit_rps(pace: Pace, sizes: _Sizes) -> float:
    most = _calls_max(pace, sizes)
    return most / _turn_s(pace, sizes, most) if most > 0 else 0.0


def estimate(pace: Pace, load: Load, rps: float) -> Estimate:
    """Give what callers roughly get at so many calls a second of one replica."""
    return _estimate(pace, _sizes(load), rps)


def _estimate(pace: Pace, sizes: _Sizes, rps: float) -> Estimate:
    most = _calls_max(pace, sizes)
    limit = most / _turn_s(pace, sizes, most) if most > 0 else 0.0
    if rps >= limit:
        return Estimate(
            rps=rps, limit_rps=limit, ttft_p50_s=inf, ttft_p95_s=inf, tpot_p50_s=inf,
            tpot_p95_s=inf, batch=inf,
        )  # fmt: skip
    calls = _calls(pace, sizes, rps, most)
    mean_s = _turn_s(pace, sizes, calls)
    surge = min(
        calls + Z95 * max(sizes.arrival_cv, 1.0) * sqrt(calls / max(sizes.further, 1)), most
    )
    half_s, most_s = _waits_s(pace, sizes, calls / most, mean_s)
    return Estimate(
        rps=rps, limit_rps=limit,
        ttft_p50_s=_first_s(pace, sizes, calls, rps) + half_s,
        ttft_p95_s=_late_s(pace, sizes, surge, rps) + most_s,
        tpot_p50_s=mean_s, tpot_p95_s=_uneven_s(pace, sizes, surge), batch=calls * sizes.further,
    )  # fmt: skip


def knee_estimate(pace: Pace, load: Load, objectives: Objectives) -> float:
    """Give the highest rate of one replica that roughly keeps objectives, in calls a second."""
    sizes = _sizes(load)
    low, high = 0.0, _limit_rps(pace, sizes)
    for _ in range(KNEE_HALVINGS):
        middle = (low + high) / 2
        at = _estimate(pace, sizes, middle)
        if at.ttft_p95_s <= objectives.ttft_p95_s and at.tpot_p95_s <= objectives.tpot_p95_s:
            low = middle
        else:
            high = middle
    return low


def _sizes(load: Load) -> _Sizes:
    prompt, answer = max(load.prompt, 1.0), max(load.answer, 1.0)
    read = max(prompt * (1 - load.cached), 1.0)
    spread = sqrt(log1p(load.prompt_cv**2))
    middle, late = prompt * exp(-(spread**2) / 2), prompt * exp(Z95 * spread - spread**2 / 2)
    if load.prompts:
        ordered = sorted(load.prompts)
        middle, late = percentile(ordered, 0.5), percentile(ordered, 0.95)
    return _Sizes(
        prompt=prompt, median=middle / prompt, prompt_p95=max(late, prompt),
        read=read, longest=read * (1 + load.prompt_cv**2),
        before=prompt - read + read * (1 + load.prompt_cv**2) / 2,
        further=answer - 1, context=prompt + answer * (1 + load.answer_cv**2) / 2,
        prompt_cv=load.prompt_cv, answer_cv=load.answer_cv, arrival_cv=load.arrival_cv,
    )  # fmt: skip


def _slots(pace: Pace, sizes: _Sizes) -> float:
    """Give how many answers fit at once, in slots and cache."""
    return min(float(pace.slots), pace.kv_tokens / sizes.context)


def _calls_max(pace: Pace, sizes: _Sizes) -> float:
    """Give how many calls can come in a turn, in the mean; 0 if the cache cannot hold one."""
    slots = _slots(pace, sizes)
    if slots < 1:
        return 0.0
    by_tokens = pace.turn_tokens / (sizes.read + sizes.further)
    # A call is in its slot for the turns that read it, too: at least one.
    return min(by_tokens, slots / (sizes.further + max(sizes.read / pace.turn_tokens, 1.0)))


def _calls(pace: Pace, sizes: _Sizes, rps: float, most: float) -> float:
    """Find how many calls come in a turn at a rate."""
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle < rps * _turn_s(pace, sizes, middle):
            low = middle
        else:
            high = middle
    return high


def _turn_s(pace: Pace, sizes: _Sizes, calls: float) -> float:
    """Give the length of the mean turn in which so many calls come."""
    batch = calls * sizes.further
    reads = -expm1(-calls * max(sizes.read / pace.turn_tokens, 1.0))
    quiet_s = _writing_s(pace, sizes, batch, 0.0)
    if reads <= 0:
        return quiet_s
    tokens = min(calls * sizes.read / reads, pace.turn_tokens)
    return quiet_s + reads * (_writing_s(pace, sizes, batch, tokens) - quiet_s)


def _writing_s(pace: Pace, sizes: _Sizes, batch: float, reading: float) -> float:
    """Give a turn's length; between two whole numbers of answers, in between."""
    tokens, low = round(reading), max(int(batch), 1)
    before = sizes.before if tokens else 0.0
    longest = min(tokens, round(sizes.longest))
    low_s = pace.turn_s(low, sizes.context, tokens, before, longest)
    if (part := batch - low) <= 0:
        return low_s
    return low_s + part * (pace.turn_s(low + 1, sizes.context, tokens, before, longest) - low_s)


def _first_s(pace: Pace, sizes: _Sizes, calls: float, rps: float) -> float:
    """Give the time to the first token of a middling call that needs not wait for a slot."""
    own = sizes.read * (sizes.median + calls)
    missed_s = _missed_s(pace, sizes, calls, rps * LUCKY)
    return pace.call_s(sizes.prompt) + missed_s + _reading_s(pace, sizes, calls, own)


def _late_s(pace: Pace, sizes: _Sizes, calls: float, rps: float) -> float:
    """Give the same for a long prompt that is read with more others than usual."""
    own = sizes.read * max(sizes.prompt_p95 / sizes.prompt, 1.0)
    more = sizes.read * (calls + Z95 * sqrt(calls * (1 + sizes.prompt_cv**2)))
    missed_s = _missed_s(pace, sizes, calls, rps * UNLUCKY)
    return pace.call_s(sizes.prompt_p95) + missed_s + _reading_s(pace, sizes, calls, own + more)


def _missed_s(pace: Pace, sizes: _Sizes, calls: float, rps: float) -> float:
    """Give the time until the turn begins that reads a call.

    It comes in the middle of a turn and misses those that are planned. The more is read, the more
    likely it meets a turn that reads, and long prompts make long turns that are met more often.
    """
    mean_s = _turn_s(pace, sizes, calls)
    others = sizes.read * (1 + sizes.prompt_cv**2) * max(calls, 1.0)
    others_s = max(_reading_s(pace, sizes, calls, others), mean_s)
    chance = min(rps * _reading_s(pace, sizes, 0.0, sizes.read), 1.0)
    busy = min(calls * (sizes.further + 1), 1.0)
    return busy * (0.5 + AHEAD) * (mean_s + chance * (others_s - mean_s))


def _uneven_s(pace: Pace, sizes: _Sizes, calls: float) -> float:
    """Give the mean time between tokens of a short answer that many prompts are read beside.

    Prompts read during k turns are Poisson with mean n * k, so a turn's mean over them spreads by
    one reading times sqrt(n * (1 + cv²) / k).
    """
    quiet_s = _writing_s(pace, sizes, calls * sizes.further, 0.0)
    own_s = _reading_s(pace, sizes, calls, sizes.read) - quiet_s
    turns = max(sizes.further / SHORT, 1.0)
    spread = sqrt(calls * (1 + sizes.prompt_cv**2) / turns)
    return _turn_s(pace, sizes, calls) + Z95 * own_s * spread


def _reading_s(pace: Pace, sizes: _Sizes, calls: float, tokens: float) -> float:
    """Give the time in which so many tokens are read, in as many turns as that takes."""
    batch = calls * sizes.further
    room = max(pace.turn_tokens - batch, 1.0)
    whole = int(tokens / room)
    rest_s = _writing_s(pace, sizes, batch, tokens - whole * room)
    return rest_s + whole * _writing_s(pace, sizes, batch, room)


def _waits_s(pace: Pace, sizes: _Sizes, used: float, mean_s: float) -> tuple[float, float]:
    """Give the wait for a slot that half of the calls, and 95 of 100, do not exceed."""
    slots = _slots(pace, sizes)
    chance = used ** (sqrt(2 * (slots + 1)) - 1)
    squares = (sizes.arrival_cv**2 + sizes.answer_cv**2) / 2
    those_s = squares * (sizes.further + 1) * mean_s / (slots * max(1 - used, 1e-9))
    half, most = (those_s * log(max(chance / part, 1.0)) for part in (0.5, 0.05))
    return half, most
