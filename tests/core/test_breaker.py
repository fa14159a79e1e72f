"""The breaker: closed, open, probing."""

from math import inf

from baseload.core.breaker import (
    FAILURES_MAX,
    KEY_OPEN_S_MIN,
    OPEN_S_MAX,
    OPEN_S_MIN,
    PORTIONS,
    PROBE_STREAM_S,
    Breaker,
    Phase,
)
from baseload.core.facts import Lesson


def _opened(now: float = 10.0) -> Breaker:
    breaker = Breaker()
    for call_id in range(FAILURES_MAX):
        breaker.learn(call_id, Lesson.DROPPED, now, now)
    return breaker


def test_it_opens_after_failures_in_a_row():
    """The last of the failures in a row opens it, not one before."""
    breaker = Breaker()
    phases = []
    for call_id in range(FAILURES_MAX):
        breaker.learn(call_id, Lesson.DROPPED, 1.0, 1.0)
        phases.append(breaker.phase)

    assert [Phase.CLOSED] * (FAILURES_MAX - 1) + [Phase.OPEN] == phases
    assert 1.0 + OPEN_S_MIN == breaker.deadline


def test_a_success_breaks_the_row():
    """Failures that are not in a row, and not the most, leave it closed."""
    breaker = Breaker()
    for call_id in range(10 * FAILURES_MAX):
        lesson = Lesson.DROPPED if call_id % 5 < 2 else Lesson.SUCCESS
        breaker.learn(call_id, lesson, 1.0, 1.0)

    assert Phase.CLOSED is breaker.phase


def test_it_opens_when_most_calls_fail():
    """A backend that answers every third call is no use either."""
    breaker = Breaker()
    for call_id in range(100):
        lesson = Lesson.SUCCESS if call_id % 3 == 0 else Lesson.DROPPED
        breaker.learn(call_id, lesson, 1.0, 1.0)

    assert Phase.OPEN is breaker.phase


def test_what_proves_nothing_teaches_nothing():
    """A caller's own mistakes and cancels, however many, neither open nor close it."""
    breaker = Breaker()
    for call_id in range(FAILURES_MAX - 1):
        breaker.learn(call_id, Lesson.DROPPED, 1.0, 1.0)
    for call_id in range(100):
        breaker.learn(call_id, Lesson.IGNORE, 1.0, 1.0)
    breaker.learn(200, Lesson.DROPPED, 1.0, 1.0)

    assert Phase.OPEN is breaker.phase


def test_old_calls_do_not_move_an_open_breaker():
    """Calls that began before it opened neither close it nor move its deadline."""
    breaker = _opened()
    due = breaker.deadline
    breaker.learn(1, Lesson.DROPPED, 10.5, 10.5)
    breaker.learn(2, Lesson.SUCCESS, 10.6, 10.6)

    assert (Phase.OPEN, due) == (breaker.phase, breaker.deadline)


def test_one_probe_at_a_time():
    """Once its time has come exactly one call is let through."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    before = breaker.can_take
    breaker.take(77, breaker.heeds_from + 1)

    assert (True, False) == (before, breaker.can_take)


def test_a_probe_that_ends_well_closes_it():
    """A first token is not enough, for streams die in their middle, too; the end decides."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77, breaker.heeds_from + 1)
    breaker.learn(5, Lesson.SUCCESS, 12.0, 12.0)
    bystander = breaker.phase
    breaker.learn(77, Lesson.ALIVE, 12.0, 12.0)
    begun = breaker.phase
    breaker.learn(77, Lesson.SUCCESS, 12.0, 13.0)

    assert [Phase.PROBING, Phase.PROBING, Phase.CLOSED] == [bystander, begun, breaker.phase]


def test_a_probe_that_streams_for_long_has_shown_enough():
    """Answers may take minutes: the backend is not kept waiting for the end of one."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77, breaker.heeds_from + 1)
    breaker.learn(77, Lesson.ALIVE, 12.0, 12.0)
    due = breaker.deadline
    breaker.settle(due)

    assert 12.0 + PROBE_STREAM_S == due
    assert Phase.CLOSED is breaker.phase


def test_traffic_comes_back_in_steps():
    """A backend that has recovered gets a part of its limit, then more, then all."""
    breaker = _recovered()
    seen = [breaker.portion]
    while breaker.deadline < inf:
        breaker.settle(breaker.deadline)
        seen.append(breaker.portion)

    assert list(PORTIONS) == seen


def test_a_failure_on_the_way_up_opens_it_again_and_for_longer():
    """Whoever falls in the first step back was let in too early."""
    breaker = _recovered()
    breaker.learn(80, Lesson.DROPPED, 13.0, 13.0)

    assert (Phase.OPEN, 13.0 + 2 * OPEN_S_MIN) == (breaker.phase, breaker.deadline)


def test_a_dead_key_opens_it_at_once_and_for_long():
    """Nobody but a person brings a refused key back, and no later failure shortens that."""
    breaker = Breaker()
    breaker.kill(10.0)
    due = breaker.deadline
    breaker.learn(1, Lesson.DROPPED, 10.0, 10.0)

    assert (10.0 + KEY_OPEN_S_MIN, due) == (due, breaker.deadline)


def _recovered() -> Breaker:
    """Give a breaker whose probe has just ended well, at 12."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77, breaker.heeds_from + 1)
    breaker.learn(77, Lesson.SUCCESS, 12.0, 12.0)
    return breaker


def test_failed_probes_open_it_for_twice_as_long():
    """The pause doubles at each failed probe, up to its bound."""
    breaker = _opened(now=0.0)
    pauses = []
    for call_id in range(100, 105):
        opened_at = breaker.deadline
        breaker.settle(opened_at)
        breaker.take(call_id, breaker.heeds_from + 1)
        breaker.learn(call_id, Lesson.DROPPED, opened_at, opened_at)
        pauses.append(breaker.deadline - opened_at)

    assert [1.0, 2.0, OPEN_S_MAX, OPEN_S_MAX, OPEN_S_MAX] == pauses


def test_a_probe_that_left_makes_room_for_another():
    """A cancelled probe proves nothing, and does not block the next."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77, breaker.heeds_from + 1)
    breaker.learn(77, Lesson.IGNORE, 12.0, 12.0)

    assert (Phase.PROBING, True) == (breaker.phase, breaker.can_take)


def test_stragglers_do_not_open_it_again():
    """Calls sent before it opened, and failing after a probe closed it, tell of the past."""
    breaker = _recovered()
    for call_id in range(3 * FAILURES_MAX):
        breaker.learn(call_id, Lesson.DROPPED, 9.0, 12.0)

    assert breaker.phase is Phase.CLOSED


def _unheard(silent_s: float) -> Breaker:
    """Give a breaker whose probe, call 77, was sent at its due time and has said nothing since."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77, 11.0)
    breaker.settle(11.0 + silent_s)
    return breaker


def test_a_silent_probe_makes_room_for_another():
    """A probe that hangs must not keep a backend closed that is well again."""
    early, later = _unheard(2 * OPEN_S_MIN - 0.1), _unheard(2 * OPEN_S_MIN)
    later.take(78, 12.5)
    later.learn(78, Lesson.SUCCESS, 12.5, 13.0)

    assert (False, Phase.PROBING) == (early.can_take, early.phase)
    assert Phase.CLOSED is later.phase


def test_a_silent_probe_may_still_bring_good_news():
    """A backend that is only slow to begin is found well by its first probe."""
    breaker = _unheard(5.0)
    breaker.take(78, 16.5)
    breaker.learn(77, Lesson.SUCCESS, 11.0, 17.0)

    assert Phase.CLOSED is breaker.phase


def test_a_silent_probe_brings_no_bad_news_later():
    """When it ends badly after a younger one ended well, it tells of the past."""
    breaker = _unheard(5.0)
    breaker.take(78, 16.5)
    breaker.learn(78, Lesson.SUCCESS, 16.5, 17.0)
    breaker.learn(77, Lesson.DROPPED, 11.0, 17.1)

    assert Phase.CLOSED is breaker.phase
