"""Percentiles from buckets: near enough, and never of nothing."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.live.buckets import EDGES_S, Buckets, percentiles, steps


def _of(values: list[float]) -> Buckets:
    buckets = Buckets()
    for value in values:
        buckets.add(value)
    return buckets


def test_nothing_has_no_percentiles():
    """Where nothing was timed, there is no number, rather than a zero."""
    before = Buckets()

    assert percentiles(steps(before.counts, before.counts[:])) is None


@given(st.lists(st.floats(0.001, 400.0), min_size=1, max_size=200))
def test_percentiles_are_at_most_six_percent_off(values: list[float]):
    """Each is within a twelfth of an octave of the value at that rank."""
    found = percentiles(steps(Buckets().counts, _of(values).counts))
    assert found is not None
    ordered = sorted(values)
    for rank, shown in zip((0.50, 0.95, 0.99), (found.p50, found.p95, found.p99), strict=True):
        exact = ordered[max(0, -int(-rank * len(ordered) // 1) - 1)]

        assert exact / 1.07 < shown < exact * 1.07


def test_only_what_is_new_counts():
    """A difference of two moments holds what was timed between them."""
    rng = Random(3)
    buckets = _of([rng.uniform(5, 9) for _ in range(1000)])
    before = buckets.counts[:]
    buckets.add(0.1)
    found = percentiles(steps(before, buckets.counts))

    assert found is not None
    assert 0.09 < found.p99 < 0.11


def test_what_lies_outside_is_shown_as_the_edge():
    """Times below the first and above the last bucket have the edge's value."""
    found = percentiles(steps(Buckets().counts, _of([0.0, 1e9]).counts))

    assert found is not None
    assert (EDGES_S[0], round(EDGES_S[-1], 5)) == (found.p50, found.p99)
