import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.plan.queueing.latency import measure
from baseload.plan.queueing.replica import Arrivals, simulate
from tests.plan.turns import PlainPace, PlainReplica

UNEVEN_S = 1.2345678e-5
"""So that no call comes at the very end of a turn, where rounding would decide."""
CALLS = st.lists(
    st.tuples(st.floats(0, 0.2), st.integers(1, 900), st.integers(1, 60)), min_size=1, max_size=25
)
PACES = st.builds(
    PlainPace, turn=st.floats(1e-3, 0.05), answer=st.floats(0, 1e-3), token=st.floats(0, 1e-4),
    look=st.floats(0, 1e-7), call=st.floats(0, 0.01), slots=st.integers(1, 8),
    kv_tokens=st.integers(960, 4000), turn_tokens=st.integers(16, 512),
    lone=st.floats(0, 1e-4),
)  # fmt: skip


def arrivals(calls, **changes):
    at_s, now = [], UNEVEN_S
    for gap, _, _ in calls:
        now += gap
        at_s.append(now)
    prompts, answers = tuple(call[1] for call in calls), tuple(call[2] for call in calls)
    return Arrivals(at_s=tuple(at_s), prompts=prompts, answers=answers, **changes)


def one(at_s, prompt, answer, **changes):
    return Arrivals(at_s=(at_s,), prompts=(prompt,), answers=(answer,), **changes)


def test_a_call_alone_is_read_and_then_written_a_token_a_turn():
    """The first token comes with the turn that reads the prompt, each further one with one more."""
    pace = PlainPace(turn=0.01, answer=0.0, token=0.0, look=0.0, call=0.002)

    run = simulate(pace, one(1.0, 100, 11))

    assert pytest.approx(1.012) == run.first_s[0]
    assert pytest.approx(1.112) == run.last_s[0]
    assert (11, 100, 11) == (run.written, run.read, run.turns)


def test_a_long_prompt_is_read_in_parts():
    """A prompt that is longer than a turn's tokens takes as many turns as it has parts."""
    pace = PlainPace(turn=0.01, answer=0.0, token=0.0, look=0.0, turn_tokens=512)

    assert pytest.approx(0.03) == simulate(pace, one(0.0, 1025, 1)).first_s[0]


def test_what_the_prefix_cache_has_is_not_read():
    """Of a prompt half of which is cached, half is read; of one that is all cached, one token."""
    assert 50 == simulate(PlainPace(), one(0.0, 100, 2, cached=0.5)).read
    assert 1 == simulate(PlainPace(), one(0.0, 100, 2, cached=1.0)).read


def test_a_call_misses_the_turn_that_is_planned():
    """A call that comes in the middle of a turn is read in the second turn after it."""
    pace = PlainPace(turn=0.01, answer=0.0, token=0.0, look=0.0)
    calls = Arrivals(at_s=(0.0, 0.025), prompts=(10, 10), answers=(100, 1))

    assert pytest.approx(0.05) == simulate(pace, calls).first_s[1]


def test_a_call_waits_for_a_slot():
    """With one slot, the second call begins when the first one has ended."""
    pace = PlainPace(turn=0.01, answer=0.0, token=0.0, look=0.0, slots=1)
    calls = Arrivals(at_s=(0.0, 0.0), prompts=(10, 10), answers=(5, 5))

    assert [pytest.approx(0.01), pytest.approx(0.06)] == list(simulate(pace, calls).first_s)


def test_the_last_one_in_is_put_back_when_the_cache_is_full():
    """Two answers that together outgrow the cache are both written, the second one in two goes."""
    pace = PlainPace(kv_tokens=260, slots=2)
    calls = Arrivals(at_s=(0.0, 0.0), prompts=(100, 100), answers=(100, 100))

    run = simulate(pace, calls)

    assert (200, 1) == (run.written, run.preempted)
    assert run.read > 200
    assert run.kv_peak <= 260
    assert run.last_s[0] < run.last_s[1]


def test_a_call_that_never_fits_is_turned_away():
    """A call longer than the cache is refused, and all others are served."""
    calls = Arrivals(at_s=(0.0, 0.0), prompts=(1000, 10), answers=(10, 10))

    run = simulate(PlainPace(kv_tokens=500), calls)

    assert (1, 10) == (run.refused, run.written)
    assert 0.5 == measure(calls, run).refused


@settings(max_examples=60, deadline=None)
@given(PACES, CALLS)
def test_turns_taken_together_are_turns_taken_one_by_one(pace, calls):
    """Jumping over turns in which nobody joins or leaves changes no time of any call."""
    of = arrivals(calls)

    first, last = PlainReplica(pace, of).run()
    run = simulate(pace, of)

    assert first == pytest.approx(list(run.first_s), rel=1e-6)
    assert last == pytest.approx(list(run.last_s), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(PACES, CALLS, st.floats(0, 1))
def test_all_work_is_done_within_the_cache(pace, calls, cached):
    """Every answer is written to its last token, and the cache never holds more than it can."""
    of = arrivals(calls, cached=cached)

    run = simulate(pace, of)

    assert sum(of.answers) == run.written
    assert run.kv_peak <= pace.kv_tokens
    assert 0 == run.refused
    for at, first, last in zip(of.at_s, run.first_s, run.last_s, strict=True):
        assert at < first <= last <= run.end_s


@settings(max_examples=10, deadline=None)
@given(PACES, CALLS)
def test_the_same_calls_give_the_same_run(pace, calls):
    """Nothing is left to chance: a run can be had again to the last digit."""
    of = arrivals(calls)

    assert msgspec.json.encode(simulate(pace, of)) == msgspec.json.encode(simulate(pace, of))
