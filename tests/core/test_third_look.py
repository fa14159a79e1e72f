"""Bounds and permits at their edges: continuations, and limits that have just been lowered."""

from baseload.core.facts import (
    ADMITTED,
    BATCH,
    CUT,
    DROPPED,
    FIRST_TOKEN,
    INTERACTIVE,
    QUEUED,
    Call,
    Told,
)
from baseload.core.gate import RESUMES_MAX, Gate
from tests.core.worlds import calls, gate, permits_out


def test_an_answer_is_continued_as_often_as_the_bound_says():
    """With enough backends of the same weights, an answer that always breaks is given up then."""
    names = [f"b{number}" for number in range(RESUMES_MAX + 4)]
    of = gate(dict.fromkeys(names, 100), weights=dict.fromkeys(names, "w"))
    call = next(calls())
    fact, continued = of.offer(call, 0.0), -1
    while fact is ADMITTED:
        of.attempt(call)
        of.heard(call, Told(FIRST_TOKEN, 0.0))
        of.relay(call)
        of.heard(call, Told(CUT, 0.0))
        fact = of.again(call, Told(CUT, 0.0))
        continued += 1
    of.leave(call, 0.0)

    assert (RESUMES_MAX, CUT) == (continued, fact)


def _full_of_batch(limit: int) -> Gate:
    of = gate({"a": 100}, limit=limit, size=20)
    for number in range(limit):
        call = Call(number, "m", 1000.0, priority=BATCH)
        assert of.offer(call, 0.0) is ADMITTED
        of.attempt(call)
    return of


def test_no_permit_is_taken_away_that_could_not_be_given_out_again():
    """While more is in flight than a lowered limit allows, a batch call keeps its permit."""
    of = _full_of_batch(10)
    of.seats["a"].limit.learn(DROPPED, 5, 0.0, 1.0)
    urgent = Call(100, "m", 1000.0, priority=INTERACTIVE)
    fact = of.offer(urgent, 1.0)

    assert (QUEUED, {"a": 10}, []) == (fact, permits_out(of), list(of.notices))
    assert len(of.line) == 1


def test_the_one_permit_of_a_limit_of_one_can_be_taken_away():
    """An interactive call needs no spare permit to take that of a batch call."""
    of = _full_of_batch(1)
    urgent = Call(100, "m", 1000.0, priority=INTERACTIVE)
    fact = of.offer(urgent, 1.0)

    assert (QUEUED, {"a": 1}) == (fact, permits_out(of))
    assert of.notices[-1] == (urgent, ADMITTED)
