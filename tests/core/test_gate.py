"""The gate: permits, the line, refusals and their `Retry-After`."""

import pytest

from baseload.core.breaker import FAILURES_MAX
from baseload.core.facts import Fact, Told
from baseload.core.gate import ATTEMPTS_MAX, DOWN_RETRY_S, RETRY_AFTER_S_MAX
from tests.core.worlds import calls, gate, permits_out


def _fail(of, call, fact: Fact, now: float) -> Fact:
    told = Told(fact, now)
    of.heard(call, told)
    return of.again(call, told)


def test_the_first_tier_that_can_take_a_call_does():
    """Calls fill the first tier, then the second, then the line, and then are refused."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=2, size=1), calls()
    facts = [desk.offer(next(ids), 1.0) for _ in range(6)]

    assert [Fact.ADMITTED] * 4 + [Fact.QUEUED, Fact.SHED] == facts
    assert {"a": 2, "b": 2} == permits_out(desk)


def test_a_permit_that_comes_back_goes_to_who_waits():
    """The longest waiting call is admitted by a notice, to the backend that became free."""
    desk, ids = gate({"a": 1}, limit=1), calls()
    first, second, third = next(ids), next(ids), next(ids)
    for call in (first, second, third):
        desk.offer(call, 1.0)
    desk.heard(first, Told(Fact.DONE, 2.0))

    assert [(second, Fact.ADMITTED)] == list(desk.notices)
    assert "a" == desk.route(second)[0].backend


def test_a_newcomer_does_not_overtake():
    """While others wait for the same backends, a new call stands behind them."""
    desk, ids = gate({"a": 1}, limit=1), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    desk.leave(first, 2.0)

    assert Fact.QUEUED is desk.offer(next(ids), 2.0)
    assert [(second, Fact.ADMITTED)] == list(desk.notices)


def test_waiting_ends_at_its_bound():
    """A call that waited as long as it may is told so when the clock passes it, not before."""
    desk, ids = gate({"a": 1}, limit=1, wait_s=5.0), calls()
    desk.offer(next(ids), 1.0)
    second = next(ids)
    desk.offer(second, 1.0)
    due = desk.deadline()
    desk.tick(5.9)
    before = list(desk.notices)
    desk.tick(6.0)

    assert (6.0, []) == (due, before)
    assert [(second, Fact.EXPIRED)] == list(desk.notices)
    assert desk.deadline() is None


def test_a_call_waits_no_longer_than_its_own_deadline():
    """A deadline before the line's bound is the one that counts."""
    desk, ids = gate({"a": 1}, limit=1, wait_s=5.0), calls(deadline=2.5)
    desk.offer(next(ids), 1.0)
    desk.offer(next(ids), 1.0)

    assert 2.5 == desk.deadline()


def test_a_failure_is_retried_elsewhere_and_only_elsewhere():
    """Each backend is tried once; when none is left the failure itself is the answer."""
    desk, ids = gate({"a": 1, "b": 1}, {"c": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    visited = [desk.route(call)[0].backend]
    facts = []
    for now in (2.0, 3.0, 4.0):
        facts.append(_fail(desk, call, Fact.FAILED, now))
        if facts[-1] is Fact.ADMITTED:
            visited.append(desk.route(call)[0].backend)

    assert [Fact.ADMITTED, Fact.ADMITTED, Fact.FAILED] == facts
    assert ["a", "b", "c"] == visited
    assert {"a": 0, "b": 0, "c": 0} == permits_out(desk)


def test_attempts_are_bounded():
    """However many backends there are, a call tries only so many."""
    desk, ids = gate(dict.fromkeys("abcdefgh", 1)), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    facts = [_fail(desk, call, Fact.FAILED, 1.0 + number) for number in range(ATTEMPTS_MAX)]

    assert [Fact.ADMITTED] * (ATTEMPTS_MAX - 1) + [Fact.FAILED] == facts


def test_a_retry_may_have_to_wait():
    """If the other backend is full, the call waits for it, and goes there when it is free."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    fact = _fail(desk, first, Fact.FAILED, 2.0)
    desk.heard(second, Told(Fact.DONE, 3.0))

    assert Fact.QUEUED is fact
    assert [(first, Fact.ADMITTED)] == list(desk.notices)
    assert "b" == desk.route(first)[0].backend


def test_a_waiting_retry_does_not_block_others():
    """Those who may use other backends pass by a call that waits for a certain one."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    first, second, third = next(ids), next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    _fail(desk, first, Fact.FAILED, 2.0)

    assert Fact.ADMITTED is desk.offer(third, 2.0)
    assert "a" == desk.route(third)[0].backend


def test_no_time_for_another_attempt():
    """After its deadline a call is not tried again, whatever is free."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls(deadline=5.0)
    call = next(ids)
    desk.offer(call, 1.0)

    assert Fact.OVERDUE is _fail(desk, call, Fact.SLOW, 5.0)


def test_open_breakers_leave_nobody_to_ask():
    """With every breaker open a call is refused at once, and told when a probe will be made."""
    desk, ids = gate({"a": 1}, limit=100), calls()
    for _ in range(FAILURES_MAX):
        call = next(ids)
        desk.offer(call, 10.0)
        desk.heard(call, Told(Fact.LOST, 10.0))
        desk.leave(call, 10.0)
    refused = next(ids)

    assert Fact.UNAVAILABLE is desk.offer(refused, 10.2)
    assert 11.0 == desk.deadline()
    assert 1.0 == desk.retry_after_s(refused, Fact.UNAVAILABLE)
    assert Fact.ADMITTED is desk.offer(next(ids), 11.0)


def test_a_backend_that_is_down_is_not_asked():
    """Down it takes no calls; up again it takes them, with a clean breaker."""
    desk, ids = gate({"a": 1}), calls()
    desk.announce("a", False, 1.0)
    refused = next(ids)
    while_down = desk.offer(refused, 2.0)
    after_s = desk.retry_after_s(refused, while_down)
    desk.announce("a", True, 3.0)

    assert (Fact.UNAVAILABLE, DOWN_RETRY_S) == (while_down, after_s)
    assert Fact.ADMITTED is desk.offer(next(ids), 3.0)


def test_who_waits_is_admitted_when_a_backend_comes_up():
    """A call that waits is given to a backend the moment that it is announced."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    desk.announce("b", False, 0.0)
    desk.offer(next(ids), 1.0)
    waiting = next(ids)
    desk.offer(waiting, 1.0)
    desk.announce("b", True, 2.0)

    assert [(waiting, Fact.ADMITTED)] == list(desk.notices)


@pytest.mark.parametrize("fact", [Fact.GONE, Fact.REJECTED, Fact.OVERDUE])
def test_a_callers_own_doing_is_no_failure(fact: Fact):
    """However often callers leave or are refused for their own mistakes, a backend stays closed."""
    desk, ids = gate({"a": 1}), calls()
    for _ in range(10 * FAILURES_MAX):
        call = next(ids)
        desk.offer(call, 1.0)
        desk.heard(call, Told(fact, 1.0))
        desk.leave(call, 1.0)

    assert Fact.ADMITTED is desk.offer(next(ids), 1.0)


@pytest.mark.parametrize("state", ["never offered", "queued", "granted", "sent", "failed"])
def test_leaving_is_legal_from_every_state(state: str):
    """Whatever a call was doing, leaving gives everything back, and may be repeated."""
    desk, ids = gate({"a": 1}, limit=1), calls()
    other, call = next(ids), next(ids)
    if state in ("queued", "granted"):
        desk.offer(other, 1.0)
    if state != "never offered":
        desk.offer(call, 1.0)
    if state == "granted":
        desk.leave(other, 2.0)
    if state == "failed":
        desk.heard(call, Told(Fact.LOST, 2.0))
    desk.leave(call, 3.0)
    desk.leave(call, 3.0)
    desk.leave(other, 3.0)

    assert ({"a": 0}, 0) == (permits_out(desk), len(desk.line))


def test_retry_after_follows_the_pace_of_the_line():
    """A line that gets a permit every two seconds tells newcomers to wait for all before them."""
    desk, ids = gate({"a": 1}, limit=1, size=3, wait_s=500.0), calls()
    for _ in range(4):
        desk.offer(next(ids), 0.0)
    now, running = 0.0, 1
    for _ in range(60):
        now += 2.0
        desk.leave(_call(running), now)
        running += 1
        desk.offer(next(ids), now)
    shed = next(ids)

    assert Fact.SHED is desk.offer(shed, now)
    assert 6.0 == desk.retry_after_s(shed, Fact.SHED)


def _call(number: int):
    return next(call for call in calls() if call.id == number)


def test_retry_after_is_bounded():
    """However slow the line, nobody is sent away for longer than the bound."""
    desk, ids = gate({"a": 1}, limit=1, size=3, wait_s=1e6), calls(deadline=1e9)
    for _ in range(4):
        desk.offer(next(ids), 0.0)
    for number in range(1, 4):
        desk.leave(_call(number), number * 10_000.0)
        desk.offer(next(ids), number * 10_000.0)
    shed = next(ids)
    desk.offer(shed, 30_000.0)

    assert RETRY_AFTER_S_MAX == desk.retry_after_s(shed, Fact.SHED)


def test_time_does_not_run_backwards():
    """An event from the past is a driver's mistake, and is not taken silently."""
    desk = gate({"a": 1})
    desk.tick(5.0)

    with pytest.raises(AssertionError, match="backwards"):
        desk.tick(4.0)


def test_a_backend_may_say_itself_when_to_come_back():
    """What a backend asked for is passed on, within the bound, as the least over all backends."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    desk.heard(call, Told(Fact.BUSY, 1.0, retry_after_s=7.0))
    desk.again(call, Told(Fact.BUSY, 1.0))
    one_of_two = desk.retry_after_s(call, Fact.BUSY)
    desk.heard(call, Told(Fact.BUSY, 1.0, retry_after_s=900.0))

    assert (1.0, 7.0) == (one_of_two, desk.retry_after_s(call, Fact.BUSY))


def test_what_no_backend_offers_is_not_worth_coming_back_for():
    """A path that is nowhere to be had gets no time at all."""
    desk, ids = gate({"a": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)

    assert 0.0 == desk.retry_after_s(call, Fact.ABSENT)
