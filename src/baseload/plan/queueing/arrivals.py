"""When do calls come, and how large are they, if a load is all that is known of them?

A draw is made once and stretched to any rate, so that two rates, or two machines, are compared on
the very same calls (common random numbers): what differs is then not luck.

Gaps between calls follow a gamma distribution with mean 1 and the load's coefficient of variation;
at 1 that is a Poisson stream. Sizes follow a log-normal one: an assumption, chosen for its long
tail. They are not drawn one by one: every n-th part of the distribution is there once, in an order
drawn by chance, so a few hundred calls have the mean that was asked for. A load from a trace keeps
the trace's own gaps and sizes, in pieces of some calls from all over it.

Not here: reading traces (`traces`), what calls meet (`replica`).
"""

from itertools import accumulate, pairwise
from math import exp, log1p, sqrt
from random import Random
from statistics import NormalDist

import msgspec

from baseload.plan.load import Load
from baseload.plan.queueing.replica import Arrivals

PIECE = 200
"""Calls of a trace that stay together, so that bursts remain bursts."""
CV_MIN = 0.01
"""Below it all are taken to be alike: powers of less are no numbers."""
_NORMAL = NormalDist()


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """Calls without a rate: gaps before them have a mean of 1, those of a trace over all of it."""

    gaps: tuple[float, ...]
    prompts: tuple[int, ...]
    answers: tuple[int, ...]
    cached: float = 0.0

    def at(self, rps: float) -> Arrivals:
        """Give the same calls at a rate of so many a second, over 0."""
        return Arrivals(
            at_s=tuple(gap / rps for gap in accumulate(self.gaps)),
            prompts=self.prompts, answers=self.answers, cached=self.cached,
        )  # fmt: skip

    def head(self, calls: int) -> "Draw":
        """Give the first so many calls."""
        return Draw(
            gaps=self.gaps[:calls], prompts=self.prompts[:calls], answers=self.answers[:calls],
            cached=self.cached,
        )  # fmt: skip


def draw(load: Load, calls: int, rng: Random) -> Draw:
    """Give so many calls like those of a load; of a trace, so many of its own."""
    if load.prompts:
        return _cut(load, calls, rng)
    return Draw(
        gaps=_gaps(load.arrival_cv, calls, rng),
        prompts=_sizes(load.prompt, load.prompt_cv, calls, rng),
        answers=_sizes(load.answer, load.answer_cv, calls, rng),
        cached=load.cached,
    )


def split(load: Load, replicas: int) -> Load:
    """Give what one of several replicas gets, if each call goes to one drawn by chance.

    Chance takes burstiness away: of a stream of independent gaps with a squared coefficient of
    variation c, every replica of n gets one with 1 + (c - 1) / n (Whitt, "The queueing network
    analyzer", 1983). Of a trace, each gets every n-th call.
    """
    if replicas <= 1:
        return load
    rps, cv = load.rps / replicas, sqrt(1 + (load.arrival_cv**2 - 1) / replicas)
    if not load.prompts:
        return msgspec.structs.replace(load, rps=rps, arrival_cv=cv)
    ends = list(accumulate(load.gaps))[::replicas]
    gaps = (ends[0], *(late - early for early, late in pairwise(ends)))
    return msgspec.structs.replace(
        load, rps=rps, arrival_cv=cv, gaps=_scaled(gaps),
        prompts=load.prompts[::replicas], answers=load.answers[::replicas],
    )  # fmt: skip


def _cut(load: Load, calls: int, rng: Random) -> Draw:
    """Cut calls out of all parts of a trace; more than it has come from its beginning again.

    Their gaps are not brought to a mean of 1 anew: one long pause among them would make bursts of
    all others. So at a rate they come as they do when the whole trace has that rate.
    """
    count = len(load.prompts)
    places = list(range(calls)) if calls >= count else _pieces(count, calls, rng)
    gaps = [load.gaps[place % count] for place in places] if load.gaps else [1.0] * calls
    return Draw(
        gaps=tuple(gaps),
        prompts=tuple(load.prompts[place % count] for place in places),
        answers=tuple(load.answers[place % count] for place in places),
        cached=load.cached,
    )


def _pieces(count: int, calls: int, rng: Random) -> list[int]:
    """Give places of calls in pieces that lie evenly over a trace, the first one by chance."""
    pieces, start = -(-calls // PIECE), rng.randrange(count)
    firsts = [start + count * piece // pieces for piece in range(pieces)]
    return [first + step for first in firsts for step in range(PIECE)][:calls]


def _gaps(cv: float, calls: int, rng: Random) -> tuple[float, ...]:
    if cv < CV_MIN:
        return (1.0,) * calls
    return _scaled([rng.gammavariate(cv**-2, cv**2) for _ in range(calls)])


def _sizes(mean: float, cv: float, calls: int, rng: Random) -> tuple[int, ...]:
    """Give whole sizes of at least 1, log-normal, their mean as asked but for rounding."""
    if cv < CV_MIN:
        return (max(round(mean), 1),) * calls
    spread = sqrt(log1p(cv**2))
    parts = [exp(spread * _NORMAL.inv_cdf((place + 0.5) / calls)) for place in range(calls)]
    rng.shuffle(parts)
    return tuple(max(round(mean * part), 1) for part in _scaled(parts))


def _scaled(values: list[float] | tuple[float, ...]) -> tuple[float, ...]:
    """Give them with a mean of 1."""
    mean = sum(values) / len(values)
    return tuple(value / mean for value in values) if mean else tuple(values)
