"""The breaker: closed, open, probing."""

from math import inf

from baseload.core.breaker import FAILURES_MAX, OPEN_S_MAX, OPEN_S_MIN, Breaker, Phase
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
    """Failures that are not in a row leave it closed."""
    breaker = Breaker()
    for call_id in range(10 * FAILURES_MAX):
        lesson = Lesson.SUCCESS if call_id % FAILURES_MAX == 0 else Lesson.DROPPED
        breaker.learn(call_id, lesson, 1.0, 1.0)

    assert Phase.CLOSED is breaker.phase


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
    breaker.take(77)

    assert (True, False) == (before, breaker.can_take)


def test_a_probe_that_shows_life_closes_it():
    """The probe's first token is enough; the whole answer may take minutes."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77)
    breaker.learn(5, Lesson.SUCCESS, 12.0, 12.0)
    bystander = breaker.phase
    breaker.learn(77, Lesson.ALIVE, 12.0, 12.0)

    assert (Phase.PROBING, Phase.CLOSED) == (bystander, breaker.phase)
    assert inf == breaker.deadline


def test_failed_probes_open_it_for_twice_as_long():
    """The pause doubles at each failed probe, up to its bound, and never shrinks before life."""
    breaker = _opened(now=0.0)
    pauses = []
    for call_id in range(100, 108):
        opened_at = breaker.deadline
        breaker.settle(opened_at)
        breaker.take(call_id)
        breaker.learn(call_id, Lesson.DROPPED, opened_at, opened_at)
        pauses.append(breaker.deadline - opened_at)

    assert [2.0, 4.0, 8.0, 16.0, OPEN_S_MAX, OPEN_S_MAX, OPEN_S_MAX, OPEN_S_MAX] == pauses


def test_a_probe_that_left_makes_room_for_another():
    """A cancelled probe proves nothing, and does not block the next."""
    breaker = _opened()
    breaker.settle(breaker.deadline)
    breaker.take(77)
    breaker.learn(77, Lesson.IGNORE, 12.0, 12.0)

    assert (Phase.PROBING, True) == (breaker.phase, breaker.can_take)


def test_the_first_token_of_any_call_breaks_the_row():
    """While streams begin to flow, scattered failures are no reason to open."""
    breaker = Breaker()
    for call_id in range(10 * FAILURES_MAX):
        lesson = Lesson.ALIVE if call_id % FAILURES_MAX == 0 else Lesson.DROPPED
        breaker.learn(call_id, lesson, 1.0, 1.0)

    assert breaker.phase is Phase.CLOSED


def test_stragglers_do_not_open_it_again():
    """Calls sent before it opened, and failing after a probe closed it, tell of the past."""
    breaker = _opened(now=10.0)
    breaker.settle(breaker.deadline)
    breaker.take(77)
    breaker.learn(77, Lesson.ALIVE, 11.0, 11.5)
    for call_id in range(3 * FAILURES_MAX):
        breaker.learn(call_id, Lesson.DROPPED, 9.0, 12.0)

    assert breaker.phase is Phase.CLOSED
