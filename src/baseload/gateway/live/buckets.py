"""How long do things take, to be told apart finely enough for a page?

Exported histograms double from bucket to bucket, which is right for Prometheus and coarse for an
eye: between 1 and 2 s lies the whole difference between well and unwell. Here each doubling has six
buckets, so a percentile is at most 6 % off. Counting costs one search in a sorted tuple.

Not here: percentiles over a time. They are made from differences, once a second (`pulse`).
"""

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

PER_OCTAVE = 6
"""Buckets for each doubling: an error of a twelfth of an octave is 6 %, less than an eye sees."""
LEAST_S = 0.0001
OCTAVES = 23
"""From 0.1 ms, faster than any token, to 14 minutes, longer than a call may take by default."""
EDGES_S = tuple(LEAST_S * 2 ** (step / PER_OCTAVE) for step in range(PER_OCTAVE * OCTAVES + 1))
HALF_STEP = 2 ** (0.5 / PER_OCTAVE)


class Percentiles(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """In seconds; in JSON a list of the three."""

    p50: float
    p95: float
    p99: float


class Buckets:
    """Seconds, counted."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES_S) + 1)

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.counts[bisect_left(EDGES_S, seconds)] += 1


Step = tuple[int, int]
"""A bucket and how many more it holds."""


def steps(before: Sequence[int], after: Sequence[int]) -> tuple[Step, ...]:
    """Give the buckets that hold more than before, and how many more."""
    if before == after:
        return ()
    return tuple(
        (place, new - old)
        for place, (old, new) in enumerate(zip(before, after, strict=True))
        if new != old
    )


def percentiles(found: Sequence[Step]) -> Percentiles | None:
    """Give percentiles of what lies in these buckets, given in order; None of nothing."""
    total = sum(count for _, count in found)
    if not total:
        return None
    out, below, place = [], 0, -1
    pairs = iter(found)
    for rank in (0.50, 0.95, 0.99):
        while below < rank * total:
            place, count = next(pairs)
            below += count
        out.append(_middle_s(place))
    return Percentiles(*out)


def _middle_s(place: int) -> float:
    """Give the middle of a bucket, by ratio; of the outermost two, their edge."""
    if place == 0:
        return LEAST_S
    if place == len(EDGES_S):
        return round(EDGES_S[-1], 5)
    return round(EDGES_S[place] / HALF_STEP, 5)
