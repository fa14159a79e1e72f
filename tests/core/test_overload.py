"""The detector: a light that turns worse at once and better in steps."""

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.config.fleet import Overload
from baseload.core.facts import Sight
from baseload.core.overload import (
    GREEN,
    HOLD_S,
    OUTCOMES_MIN,
    RED,
    SIGHT_AGE_S_MAX,
    WINDOW_S,
    YELLOW,
    Detector,
)
from baseload.core.pace import Pace


def _detector(**thresholds) -> Detector:
    return Detector(Overload(**thresholds), Pace())


def _end(detector: Detector, good: int, bad: int, now: float) -> None:
    for number in range(good + bad):
        detector.ended(number >= good, now)


def _warm(detector: Detector, first_token_s: float) -> float:
    now = 0.0
    for _ in range(200):
        now += 0.1
        detector.first_token(100, first_token_s, 0.0, now)
    return now


@pytest.mark.parametrize(
    ("good", "bad", "level", "reason"),
    [
        (100, 3, YELLOW, "3 % of 103 calls failed"),
        (100, 2, GREEN, ""),
        (37, 3, RED, "8 % of 40 calls failed"),
        (18, 2, YELLOW, "10 % of 20 calls failed"),
        (0, OUTCOMES_MIN - 1, GREEN, ""),
        (0, OUTCOMES_MIN, RED, "100 % of 10 calls failed"),
    ],
)
def test_failures_turn_it(good, bad, level, reason):
    """A share of failures turns it, but not so few calls that one failure is a large share."""
    detector = _detector()
    _end(detector, good, bad, 100.0)

    assert (level, reason) == (detector.level, detector.reason)


def test_failures_are_those_of_the_last_seconds():
    """Failures before the window do not count with those after."""
    detector = _detector()
    _end(detector, 8, 2, 100.0)
    first = detector.level
    detector.settle(100.0 + HOLD_S)
    _end(detector, 100, 2, 100.0 + WINDOW_S + HOLD_S)

    assert YELLOW is first
    assert GREEN is detector.level


def test_it_gets_better_in_announced_steps():
    """Red becomes yellow, then green, each at the moment announced, without any traffic."""
    detector = _detector()
    _end(detector, 0, 10, 100.0)
    steps = []
    while detector.deadline < inf:
        steps.append((detector.deadline, detector.level))
        detector.settle(detector.deadline)

    assert [(100.0 + HOLD_S, RED), (100.0 + 2 * HOLD_S, YELLOW)] == steps
    assert (GREEN, "") == (detector.level, detector.reason)


def test_evidence_as_bad_holds_it():
    """While calls go on failing it stays red; calls that go well do not hold it."""
    detector = _detector()
    _end(detector, 0, 10, 100.0)
    _end(detector, 0, 1, 101.0)
    held = detector.deadline
    _end(detector, 20, 0, 102.0)

    assert 101.0 + HOLD_S == held == detector.deadline


def test_old_failures_cannot_turn_it_again():
    """Once it is green, one new failure is judged without those before."""
    detector = _detector()
    _end(detector, 0, 50, 100.0)
    detector.ended(True, 100.0 + 2 * HOLD_S)

    assert GREEN is detector.level


def test_queue_time_turns_it():
    """A provider that queues calls for long is overloaded, though every call goes well."""
    detector = _detector(queued_s=5.0)
    levels = []
    for number in range(4):
        detector.first_token(100, 13.0, 12.0, 100.0 + number)
        levels.append(detector.level)

    assert [YELLOW, RED, RED, RED] == levels
    assert "queued 9.1 s at the provider" == detector.reason


def test_a_call_that_was_not_queued_does_not_hold_it():
    """The average still remembers the queue, but the newest call says that it is gone."""
    detector = _detector(queued_s=5.0)
    for _ in range(5):
        detector.first_token(100, 13.0, 12.0, 100.0)
    detector.first_token(100, 1.0, 0.0, 101.0)

    assert detector.queued_s > 5.0
    assert 100.0 + HOLD_S == detector.deadline


@pytest.mark.parametrize(("slower", "level"), [(1.2, GREEN), (3.0, YELLOW), (6.0, RED)])
def test_slow_first_tokens_turn_it(slower, level):
    """First tokens that take several times as long as usual turn it."""
    detector = _detector()
    now = _warm(detector, 0.5)
    for _ in range(60):
        now += 0.1
        detector.first_token(100, 0.5 * slower, 0.0, now)

    assert level is detector.level
    assert (f"first token {slower:.1f}x as usual" if level else "") == detector.reason


def test_few_milliseconds_are_nobodys_trouble():
    """From 10 to 60 ms is six times as slow, and nothing to act on."""
    detector = _detector()
    now = _warm(detector, 0.01)
    for _ in range(50):
        detector.first_token(100, 0.06, 0.0, now)

    assert GREEN is detector.level


def test_an_objective_says_which_rise_is_trouble():
    """From 10 to 600 ms is trouble, but not where first tokens are wanted within two seconds."""
    plain, aimed = _detector(), _detector()
    aimed.aim(2.0)
    for detector in (plain, aimed):
        now = _warm(detector, 0.01)
        for _ in range(50):
            detector.first_token(100, 0.6, 0.0, now)

    assert RED is plain.level
    assert GREEN is aimed.level


def test_old_strain_cannot_turn_it_again():
    """Once it is green, the next call is judged by itself."""
    detector = _detector()
    now = _warm(detector, 0.5)
    for _ in range(50):
        detector.first_token(100, 5.0, 0.0, now)
    was = detector.level
    detector.first_token(100, 5.0, 0.0, now + 2 * HOLD_S)

    assert RED is was
    assert GREEN is detector.level


def test_many_parked_calls_turn_it_yellow():
    """When most calls are queued at the provider, it is busy before any has been answered."""
    few, many = _detector(), _detector()
    for detector, swift in ((few, 10), (many, 1)):
        for _ in range(swift):
            detector.first_token(100, 0.5, 0.0, 100.0)
        for _ in range(4):
            detector.parked(100.0)

    assert GREEN is few.level
    assert (YELLOW, "4 calls queued at the provider") == (many.level, many.reason)


@pytest.mark.parametrize(
    ("sight", "level", "reason"),
    [
        (Sight(100.0, kv_usage=0.8), GREEN, ""),
        (Sight(100.0, kv_usage=0.9), YELLOW, "KV cache 90 % full"),
        (Sight(100.0, kv_usage=0.97), RED, "KV cache 97 % full"),
        (Sight(100.0, waiting=1, slots=1), GREEN, ""),
        (Sight(100.0, waiting=3, running=4, slots=4), YELLOW, "3 waiting"),
        (Sight(100.0, waiting=12, running=4), RED, "12 waiting"),
        (Sight(100.0, waiting=12, running=100), GREEN, ""),
        (Sight(100.0, ping_s=0.19), GREEN, ""),
        (Sight(100.0, ping_s=0.41), RED, "ping took 0.41 s"),
        (Sight(100.0, kv_usage=0.9, ping_s=0.3), RED, "ping took 0.30 s"),
        (Sight(100.0, kv_usage=0.99, waiting=3, slots=4), RED, "KV cache 99 % full"),
    ],
)
def test_what_a_look_shows_turns_it(sight, level, reason):
    """The worst of what an engine shows turns it."""
    detector = _detector()
    detector.saw(sight, 0, 100.5)

    assert (level, reason) == (detector.level, detector.reason)


def test_a_stale_look_is_ignored():
    """What was seen long ago proves nothing, neither does a look older than the last one."""
    detector = _detector()
    detector.saw(Sight(100.0, kv_usage=0.99), 0, 100.0 + SIGHT_AGE_S_MAX)
    detector.saw(Sight(111.0, kv_usage=0.1), 0, 111.0)
    detector.saw(Sight(110.0, kv_usage=0.99), 0, 111.0)

    assert GREEN is detector.level


def test_regular_looks_hold_it_without_flicker():
    """A full engine looked at every five seconds stays red between looks, and gets better after."""
    detector = _detector()
    levels = []
    for now in range(100, 130):
        detector.settle(now)
        if now % 5 == 0:
            detector.saw(Sight(now, kv_usage=0.99), 0, now)
        levels.append(detector.level)
    detector.settle(125.0 + SIGHT_AGE_S_MAX + HOLD_S)

    assert {RED} == set(levels[5:])
    assert GREEN is detector.level


def test_saturation_is_the_worst_resource():
    """In flight, KV cache or waiting calls: the fullest decides."""
    detector = _detector()
    bare = detector.saturation(5, 10)
    detector.saw(Sight(100.0, kv_usage=0.76), 5, 100.0)
    cache = detector.saturation(5, 10)
    detector.saw(Sight(101.0, kv_usage=0.1, waiting=3, running=2), 5, 101.0)
    waiting = detector.saturation(5, 10)

    assert (0.5, pytest.approx(0.8), 1.5) == (bare, cache, waiting)


def test_calls_sent_since_the_look_count():
    """Between looks our own calls are added to what was seen, and those that ended taken off."""
    detector = _detector()
    detector.saw(Sight(100.0, waiting=0, running=4, slots=8), 4, 100.0)

    assert [0.25, 0.5, 1.0, 1.5] == [detector.saturation(n, 100) for n in (2, 4, 8, 12)]


def test_a_look_stops_counting_when_it_is_old():
    """Its end is announced, and then only our own count is left."""
    detector = _detector()
    detector.saw(Sight(100.0, kv_usage=0.8), 0, 100.0)
    due = detector.deadline
    detector.settle(due)

    assert 100.0 + SIGHT_AGE_S_MAX == due
    assert (0.1, inf) == (detector.saturation(1, 10), detector.deadline)


def test_a_new_process_is_not_blamed():
    """A reset forgets level, window and sight, and announces nothing."""
    detector = _detector()
    detector.saw(Sight(100.0, kv_usage=0.99), 0, 100.0)
    _end(detector, 0, 20, 100.0)
    detector.reset()
    detector.ended(True, 100.1)

    assert (GREEN, "", inf) == (detector.level, detector.reason, detector.deadline)
    assert 0.1 == detector.saturation(1, 10)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["good", "bad", "bad", "token", "parked", "saw"]),
        st.floats(0, 1),
        st.one_of(st.floats(0, 0.2), st.floats(0, 12)),
    ),
    max_size=150,
)


def _play(events, rng: Random | None) -> list[object]:
    detector, now, seen = _detector(), 0.0, []
    for what, size, gap_s in events:
        for at in sorted(now + rng.random() * gap_s for _ in range(4)) if rng else ():
            detector.settle(at)
        now += gap_s
        if what == "token":
            detector.first_token(int(size * 300), size * 9, size * 20 - 8, now)
        elif what == "parked":
            detector.parked(now)
        elif what == "saw":
            sight = Sight(now - size * 2, kv_usage=size, waiting=int(size * 9), ping_s=size / 3)
            detector.saw(sight, int(size * 7), now)
        else:
            detector.ended(what == "bad", now)
        seen.append(
            (
                detector.level,
                detector.reason,
                detector.deadline,
                detector.queued_s,
                detector.pace.strain(),
                detector.saturation(5, 10),
                tuple(detector._window.sums),
            )
        )
    return seen


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 999))
def test_extra_settling_changes_nothing(events, seed):
    """Hundreds of looks at the clock between events leave the very same state as none."""
    assert _play(events, None) == _play(events, Random(seed))


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_time_always_leads_back_to_green(events):
    """Whatever happened, its announced moments lead to green, and are few."""
    detector, now = _detector(), 0.0
    for what, size, gap_s in events:
        now += gap_s
        if what == "saw":
            detector.saw(Sight(now, kv_usage=size), 0, now)
        else:
            detector.ended(what == "bad", now)
    steps = 0
    while detector.deadline < inf:
        assert detector.deadline > now
        now = detector.deadline
        detector.settle(now)
        steps += 1

    assert GREEN is detector.level
    assert steps <= 3
