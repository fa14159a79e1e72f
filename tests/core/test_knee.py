"""The knee: the number of calls at which an engine writes the most, found while it is served."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.core.knee import START, Knee, Window, levels_between

Curve = Callable[[int], float]


class Bench:
    """An engine whose rate is a curve; windows of a second, always asked for all it may have.

    Calls are there at once and leave by a fifth a second, as where answers take five seconds.
    """

    def __init__(self, knee: Knee, curve: Curve, noise: float = 0.0, seed: int = 1) -> None:
        self.knee, self.curve, self.noise = knee, curve, noise
        self.rng = Random(seed)
        self.now, self.calls = 0.0, 8.0
        self.levels: list[int] = []

    def run(self, seconds: int, first_s: Callable[[int], float] = lambda _calls: 0.0) -> float:
        """Run on; give the mean rate."""
        rates = []
        for _ in range(seconds):
            self.now += 1.0
            level = self.knee.level
            self.calls = level if self.calls < level else max(level, self.calls * 0.8)
            rate = self.curve(round(self.calls))
            rates.append(rate)
            seen = rate * max(0.1, 1 + self.rng.gauss(0.0, self.noise))
            late = 5 if first_s(level) > 1.0 else 0
            self.knee.measure(Window(self.now, 1.0, seen, self.calls, 10, late))
            self.levels.append(self.knee.level)
        return sum(rates) / seconds


def best(curve: Curve) -> float:
    """Give what the best fixed number of calls yields."""
    return max(curve(calls) for calls in range(2, 129))


def saturating(calls: int) -> float:
    """More helps ever less, and never hurts."""
    return 100 * calls / (1 + calls / 40)


def peaked(top: int) -> Curve:
    """Give an engine that yields less beyond some number."""
    return lambda calls: calls if calls <= top else top * (top / calls) ** 0.7


def capped(top: int) -> Curve:
    """Give an engine that yields no more beyond some number."""
    return lambda calls: min(calls, top)


CURVES = {"saturating": saturating, "early": peaked(5), "late": peaked(64), "capped": capped(32)}


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("name", CURVES)
def test_it_yields_as_much_as_the_best_fixed_number(name: str, noise: float):
    """After a minute and a half, 95 % of the best on average, tries of other levels included."""
    for seed in range(4):
        bench = Bench(Knee(2, 128), CURVES[name], noise, seed)
        bench.run(90)

        assert 0.95 * best(CURVES[name]) <= bench.run(180), seed


@pytest.mark.parametrize(("first", "then"), [(capped(16), capped(64)), (peaked(90), peaked(10))])
def test_it_follows_a_knee_that_moves(first: Curve, then: Curve):
    """Two minutes after the knee has moved, up or down, it is found again."""
    bench = Bench(Knee(2, 128), first, 0.03)
    bench.run(180)
    bench.curve = then
    bench.run(120)

    assert 0.95 * best(then) <= bench.run(120)


def test_the_way_up_is_quick():
    """Sixteen times as many calls are reached within twenty windows."""
    bench = Bench(Knee(2, 128), saturating)
    bench.run(20)

    assert 128 in bench.levels


def test_of_what_yields_the_same_the_smallest_is_kept():
    """Where more calls yield no more, they are not given: first tokens come earlier."""
    bench = Bench(Knee(2, 128), capped(16))
    bench.run(240)

    assert 16 == sorted(bench.levels[-100:])[50]


def test_little_demand_changes_nothing():
    """Windows in which fewer calls came than the level allows do not move it."""
    knee = Knee(2, 128)
    for at in range(100):
        knee.measure(Window(float(at), 1.0, 50.0, START / 2, 1, 0))

    assert (START, 0.0) == (knee.level, knee.rate)


def test_first_tokens_are_kept_within_their_objective():
    """Where more calls yield more but make first tokens late, it stays where they are not."""
    bench = Bench(Knee(2, 128), saturating)
    bench.run(120, first_s=lambda calls: calls / 20)
    lately = bench.levels
    bench.run(200, first_s=lambda calls: calls / 20)

    assert sum(level <= 20 for level in lately[-200:]) > 150
    assert max(lately[-200:]) <= 23


def test_time_between_tokens_is_kept_within_its_objective():
    """Rate and calls give it: forty calls at 2,000 tokens a second wait 20 ms for each token."""
    bench = Bench(Knee(2, 128, token_s=0.02), saturating)
    bench.run(200)
    most = sorted(bench.levels[-100:])[50]

    assert most / saturating(most) <= 0.02
    assert most >= 30


def test_objectives_that_nobody_can_hold_lead_to_the_least():
    """If first tokens are late at any number, it is the smallest that remains."""
    bench = Bench(Knee(2, 128), saturating)
    bench.run(120, first_s=lambda _calls: 9.0)

    assert [2] * 50 == bench.levels[-50:]


def test_it_begins_with_what_is_there():
    """An engine that has sixty calls when it is first seen is not emptied to be learnt."""
    assert (64, 8, 4) == (Knee(2, 128, 70).level, Knee(2, 128, 3).level, Knee(2, 4, 70).level)


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_levels_are_distinct_and_hold_both_bounds(one: int, other: int):
    """From the least to the most, rising, each at most a fifth (and one call) above the last."""
    least, most = min(one, other), max(one, other)
    levels = levels_between(least, most)

    assert (least, most) == (levels[0], levels[-1])
    assert all(a < b <= a * 1.25 + 1 for a, b in pairwise(levels))


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.lists(
        st.tuples(
            st.floats(0, 20), st.floats(0, 1e6), st.floats(0, 100), st.integers(0, 9),
            st.integers(0, 9),
        ),
        max_size=60,
    ),
)  # fmt: skip
def test_whatever_it_sees_it_stays_within_its_bounds(least: int, most: int, seen):
    """Empty windows, idle ones, and rates that jump: never above the most, or below the least."""
    knee, now = Knee(least, most), 0.0
    for length_s, tokens, calls, firsts, late in seen:
        now += length_s
        knee.measure(Window(now, length_s, tokens, calls, firsts + late, late))

        assert min(least, most) <= knee.level <= most
