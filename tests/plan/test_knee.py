from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.plan.load import Load, Objectives
from baseload.plan.queueing.arrivals import draw, split
from baseload.plan.queueing.estimate import estimate, knee_estimate, limit_rps
from baseload.plan.queueing.knee import (
    NEAR,
    calls_of,
    capacity_rps,
    follow,
    keeps,
    knee,
)
from baseload.plan.queueing.latency import measure
from baseload.plan.queueing.replica import simulate
from tests.plan.turns import H200Pace, PlainPace

CHAT = Load(rps=6.0, prompt=1000, answer=200, prompt_cv=0.9, answer_cv=0.7)
STRICT = Objectives(ttft_p95_s=0.5, tpot_p95_s=0.03)
LOADS = st.builds(
    Load, rps=st.just(1.0), prompt=st.floats(1, 5000), answer=st.floats(1, 800),
    prompt_cv=st.floats(0, 2), answer_cv=st.floats(0, 2), arrival_cv=st.floats(0, 3),
    cached=st.floats(0, 1),
)  # fmt: skip
PACES = st.builds(
    PlainPace, turn=st.floats(1e-3, 0.05), answer=st.floats(0, 1e-3), token=st.floats(0, 1e-4),
    look=st.floats(0, 1e-8), slots=st.integers(1, 256), kv_tokens=st.integers(2000, 10**6),
    turn_tokens=st.integers(300, 8192), lone=st.floats(0, 1e-4),
)  # fmt: skip
ESTIMATED = ("ttft_p50_s", "ttft_p95_s", "tpot_p50_s", "tpot_p95_s", "batch")


# -- the estimate ---------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(PACES, LOADS, st.floats(0.001, 1.5), st.floats(1.0, 2.0))
def test_more_load_never_cuts_an_estimate(pace, load, part, more):
    """No estimated figure is smaller at a higher rate, but for rounding in the last digits."""
    rps = part * (limit_rps(pace, load) or 1.0)

    low, high = estimate(pace, load, rps), estimate(pace, load, rps * more)

    for name in ESTIMATED:
        assert getattr(low, name) <= getattr(high, name) * (1 + 1e-9), name


@settings(max_examples=60, deadline=None)
@given(PACES, LOADS, st.floats(0.001, 1.2), st.floats(0.2, 1.0))
def test_a_faster_pace_never_raises_an_estimate(pace, load, part, factor):
    """With shorter turns, no estimated figure is larger, and the limit is no lower."""
    rps = part * (limit_rps(pace, load) or 1.0)
    slow = estimate(pace, load, rps)
    pace.turn, pace.answer = pace.turn * factor, pace.answer * factor
    pace.token, pace.look = pace.token * factor, pace.look * factor

    fast = estimate(pace, load, rps)

    assert slow.limit_rps <= fast.limit_rps * (1 + 1e-9)
    for name in ESTIMATED:
        assert getattr(fast, name) <= getattr(slow, name) * (1 + 1e-9), name


def test_past_the_limit_an_estimate_is_infinite():
    """At the rate at which turns cannot keep up, no wait is long enough."""
    pace = H200Pace()

    assert inf == estimate(pace, CHAT, limit_rps(pace, CHAT)).ttft_p50_s
    assert inf > estimate(pace, CHAT, 0.99 * limit_rps(pace, CHAT)).ttft_p95_s


@pytest.mark.parametrize("slots", [16, 64, 256])
def test_the_limit_is_what_a_flooded_replica_gets_done(slots):
    """The estimated limit is within a tenth of what a replica with endless work begins a second."""
    pace = H200Pace()
    pace.slots = slots

    flooded = capacity_rps(pace, CHAT, draw(CHAT, 1500, Random(1)))

    assert pytest.approx(flooded, rel=0.1) == limit_rps(pace, CHAT)


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7])
def test_an_estimate_is_near_what_calls_meet(part):
    """Below the knee, medians are within 20 % of those of calls followed, tails within 40 %."""
    pace, rps = H200Pace(), part * limit_rps(H200Pace(), CHAT)

    guess, found = estimate(pace, CHAT, rps), follow(pace, draw(CHAT, 1500, Random(2)), rps)

    assert pytest.approx(found.tpot_p50_s, rel=0.20) == guess.tpot_p50_s
    assert pytest.approx(found.ttft_p50_s, rel=0.20) == guess.ttft_p50_s
    assert pytest.approx(found.tpot_p95_s, rel=0.40) == guess.tpot_p95_s
    assert pytest.approx(found.ttft_p95_s, rel=0.40) == guess.ttft_p95_s


# -- calls followed -------------------------------------------------------------------------


def test_a_queue_with_one_slot_is_the_known_one():
    """With answers of one token and one slot, waits are those of an M/D/1 queue (Khinchine)."""
    pace = PlainPace(turn=0.01, answer=0.0, token=0.0, look=0.0, slots=1)
    of = draw(Load(rps=1.0, prompt=10, answer=1), 20_000, Random(3)).at(70.0)
    used = 0.7

    run = simulate(pace, of)

    waits = [first - at - 0.01 for at, first in zip(of.at_s, run.first_s, strict=True)]
    assert used * 0.01 / (2 * (1 - used)) == pytest.approx(sum(waits) / len(waits), rel=0.08)
    assert used == pytest.approx(measure(of, run).busy, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(PACES, LOADS, st.floats(0.05, 1.2), st.floats(1.1, 2.0), st.integers(0, 9))
def test_more_load_never_cuts_what_calls_meet(pace, load, part, more, seed):
    """On the same calls, mean end to end at a higher rate is no more than a turn and 2 % lower.

    Not exactly: calls that come later may be read in a turn with fewer others.
    """
    calls = draw(load, 120, Random(seed))
    rps = part * (limit_rps(pace, load) or 1.0)

    assert mean_s(pace, calls.at(rps)) <= mean_s(pace, calls.at(rps * more)) * 1.02 + turn_max_s(
        pace
    )


@settings(max_examples=25, deadline=None)
@given(PACES, LOADS, st.floats(0.05, 1.2), st.floats(0.2, 0.9), st.integers(0, 9))
def test_a_faster_pace_never_raises_what_calls_meet(pace, load, part, factor, seed):
    """On the same calls, mean end to end with shorter turns is no more than a turn and 2 % higher."""
    of = draw(load, 120, Random(seed)).at(part * (limit_rps(pace, load) or 1.0))
    slow_s, longest_s = mean_s(pace, of), turn_max_s(pace)
    pace.turn, pace.answer = pace.turn * factor, pace.answer * factor
    pace.token, pace.look = pace.token * factor, pace.look * factor

    assert mean_s(pace, of) <= slow_s * 1.02 + longest_s


def mean_s(pace, of):
    run = simulate(pace, of)
    times = [last - at for at, last in zip(of.at_s, run.last_s, strict=True) if last < inf]
    return sum(times) / len(times) if times else 0.0


def turn_max_s(pace):
    return pace.turn_s(pace.slots, 0.0, pace.turn_tokens, 0.0, pace.turn_tokens)


# -- the knee -------------------------------------------------------------------------------


@pytest.mark.parametrize("objectives", [Objectives(), STRICT, Objectives(tpot_p95_s=0.012)])
def test_at_the_knee_objectives_are_kept_and_past_it_not(objectives):
    """The knee keeps objectives, and a little above one of them fails on the same calls."""
    pace = H200Pace()

    found = knee(pace, CHAT, objectives, Random(7))

    calls = draw(CHAT, calls_of(pace, CHAT, objectives), Random(7))
    assert keeps(follow(pace, calls, found), objectives)
    above = found * (1 + 2 * NEAR)
    past = follow(pace, calls, above)
    is_too_much = above > capacity_rps(pace, CHAT, calls)
    assert is_too_much or past.is_growing or not keeps(past, objectives)


@pytest.mark.parametrize(
    ("pace", "objectives"),
    [(H200Pace(), Objectives(ttft_p95_s=0.001)), (PlainPace(kv_tokens=100), Objectives())],
)
def test_what_no_call_keeps_has_no_knee(pace, objectives):
    """Where one call alone takes too long, or the cache holds none, the knee is at 0."""
    assert 0.0 == knee(pace, CHAT, objectives, Random(7))


def test_bursts_bring_the_knee_nearer():
    """The more irregular the gaps, the less load keeps the same objectives."""
    smooth, even, bursty = (
        knee(H200Pace(), Load(rps=1, prompt=1000, answer=200, arrival_cv=cv), STRICT, Random(7))
        for cv in (0.0, 1.0, 2.0)
    )

    assert smooth > even > bursty > 0


def test_a_faster_machine_has_a_later_knee():
    """With half the overhead and twice the compute, more load keeps the same objectives."""
    pace = H200Pace()
    before = knee(pace, CHAT, STRICT, Random(7))
    pace.OVERHEAD_S, pace.FLOPS_PART = pace.OVERHEAD_S / 2, pace.FLOPS_PART * 2

    assert knee(pace, CHAT, STRICT, Random(7)) > 1.2 * before


def test_the_estimated_knee_is_near_the_knee():
    """It is within a quarter, which is near enough to rank machines."""
    found = knee(H200Pace(), CHAT, STRICT, Random(7))

    assert pytest.approx(found, rel=0.25) == knee_estimate(H200Pace(), CHAT, STRICT)


def test_the_same_seed_gives_the_same_knee():
    """Chance comes from the generator that is handed in, and from nowhere else."""
    assert knee(H200Pace(), CHAT, STRICT, Random(5)) == knee(H200Pace(), CHAT, STRICT, Random(5))


# -- draws ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(LOADS, st.integers(50, 400), st.integers(0, 9))
def test_a_draw_has_the_means_of_its_load(load, calls, seed):
    """Sizes have the mean that is asked for, but for rounding; gaps have one of exactly 1."""
    drawn = draw(load, calls, Random(seed))

    assert pytest.approx(1.0) == sum(drawn.gaps) / calls
    assert abs(sum(drawn.prompts) / calls - load.prompt) <= 1
    assert abs(sum(drawn.answers) / calls - load.answer) <= 1
    assert min(drawn.prompts + drawn.answers) >= 1


def test_a_draw_from_a_trace_is_the_trace():
    """A trace's sizes and gaps stay together and in order; a long draw begins it anew."""
    load = Load(
        rps=1, prompt=2, answer=5, prompts=(1, 2, 3), answers=(4, 5, 6), gaps=(0.5, 1.0, 1.5)
    )

    drawn = draw(load, 6, Random(0))

    assert ((1, 2, 3) * 2, (4, 5, 6) * 2) == (drawn.prompts, drawn.answers)
    assert (0.5, 1.0, 1.5) * 2 == drawn.gaps
    assert (0.25, 0.75, 1.5) == drawn.at(2.0).at_s[:3]


def test_a_short_draw_from_a_trace_comes_from_all_over_it():
    """A trace whose second half has twice the sizes gives half of its calls from each half."""
    load = Load(
        rps=1, prompt=15, answer=1, prompts=(10,) * 1000 + (20,) * 1000, answers=(1,) * 2000,
        gaps=(1.0,) * 2000,
    )  # fmt: skip

    assert pytest.approx(15, abs=1.5) == sum(draw(load, 400, Random(4)).prompts) / 400


def test_splitting_a_load_takes_bursts_away():
    """Of n replicas each gets a part of the rate; of a trace, each n-th call with its gaps."""
    bursty = Load(rps=8, prompt=10, answer=10, arrival_cv=3.0)
    traced = Load(
        rps=8, prompt=2, answer=1, prompts=(1, 2, 3, 4), answers=(1,) * 4, gaps=(1.0,) * 4
    )

    assert (2.0, 3.0**0.5) == (split(bursty, 4).rps, pytest.approx(split(bursty, 4).arrival_cv))
    assert (1, 3) == split(traced, 2).prompts
    assert pytest.approx(sum(split(traced, 2).gaps)) == 2.0


def test_more_calls_are_followed_where_more_fit():
    """A replica with many slots needs more calls until its steady state shows."""
    few, many = PlainPace(slots=4), PlainPace(slots=200, kv_tokens=10**6)
    patient = Objectives(ttft_p95_s=100.0, tpot_p95_s=10.0)

    assert calls_of(few, CHAT, patient) < calls_of(many, CHAT, patient)
