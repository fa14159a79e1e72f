"""The gate: permits, the line, refusals and their `Retry-After`."""

import pytest

from baseload.core.breaker import FAILURES_MAX, OPEN_S_MAX
from baseload.core.facts import Fact, Told
from baseload.core.gate import ATTEMPTS_MAX, DOWN_RETRY_S
from baseload.core.patience import RETRY_AFTER_S_MAX, RETRY_JITTER
from baseload.core.resting import PAUSE_S_MAX, PAUSE_S_MIN
from tests.core.worlds import calls, fail, gate, permits_out


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
    assert "a" == desk.attempt(second).target.backend


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


def test_a_failure_is_retried_elsewhere_at_once_and_then_here_after_a_pause():
    """Each backend is tried once without delay; when none is left the call pauses."""
    desk, ids = gate({"a": 1, "b": 1}, {"c": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    visited = [desk.attempt(call).target.backend]
    facts = []
    for now in (2.0, 3.0, 4.0):
        facts.append(fail(desk, call, Fact.FAILED, now))
        if facts[-1] is Fact.ADMITTED:
            visited.append(desk.attempt(call).target.backend)

    assert [Fact.ADMITTED, Fact.ADMITTED, Fact.QUEUED] == facts
    assert {"a", "b"} == set(visited[:2])
    assert "c" == visited[2]
    assert {"a": 0, "b": 0, "c": 0} == permits_out(desk)
    assert 4.0 + PAUSE_S_MIN / 2 <= desk.deadline() <= 4.0 + PAUSE_S_MIN
    desk.tick(desk.deadline())
    assert [(call, Fact.ADMITTED)] == list(desk.notices)


def test_attempts_are_bounded():
    """However many backends there are, a call tries only so many."""
    desk, ids = gate(dict.fromkeys("abcdefgh", 1)), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    facts = [fail(desk, call, Fact.FAILED, 1.0 + number) for number in range(ATTEMPTS_MAX)]

    assert [Fact.ADMITTED] * (ATTEMPTS_MAX - 1) + [Fact.FAILED] == facts


def test_a_retry_may_have_to_wait():
    """If the other backend is full, the call waits for it, and goes there when it is free."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    fact = fail(desk, first, Fact.FAILED, 2.0)
    desk.heard(second, Told(Fact.DONE, 3.0))

    assert Fact.QUEUED is fact
    assert [(first, Fact.ADMITTED)] == list(desk.notices)
    assert "b" == desk.attempt(first).target.backend


def test_a_waiting_retry_does_not_block_others():
    """Those who may use other backends pass by a call that waits for a certain one."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    first, second, third = next(ids), next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    fail(desk, first, Fact.FAILED, 2.0)

    assert Fact.ADMITTED is desk.offer(third, 2.0)
    assert "a" == desk.attempt(third).target.backend


def test_no_time_for_another_attempt():
    """After its deadline a call is not tried again, whatever is free."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls(deadline=5.0)
    call = next(ids)
    desk.offer(call, 1.0)

    assert Fact.OVERDUE is fail(desk, call, Fact.SLOW, 5.0)


def test_open_breakers_leave_nobody_to_ask():
    """After probes have failed, too, a call is refused at once and told when to come back."""
    desk, ids = gate({"a": 1}, limit=100), calls()
    _open(desk, ids, 10.0)
    now = 10.0
    for _ in range(4):
        now = desk.deadline()
        _lose(desk, next(ids), now)
    refused = next(ids)

    assert Fact.UNAVAILABLE is desk.offer(refused, now)
    probes_at = desk.seats["a"].breaker.deadline
    assert now + OPEN_S_MAX == probes_at
    after_s = desk.retry_after_s(refused, Fact.UNAVAILABLE)
    assert OPEN_S_MAX <= after_s <= OPEN_S_MAX * (1 + RETRY_JITTER)
    desk.leave(refused, now)
    assert Fact.ADMITTED is desk.offer(next(ids), probes_at)


def test_who_comes_early_in_an_outage_waits_for_the_probe():
    """A breaker that opened a moment ago will be probed soon: waiting beats refusing."""
    desk, ids = gate({"a": 1}, limit=100), calls()
    _open(desk, ids, 10.0)
    call = next(ids)
    fact = desk.offer(call, 10.1)
    desk.tick(10.5)

    assert Fact.QUEUED is fact
    assert [(call, Fact.ADMITTED)] == list(desk.notices)


def _open(desk, ids, now: float) -> None:
    """Have a backend fail until its breaker opens."""
    for _ in range(FAILURES_MAX):
        _lose(desk, next(ids), now)


def _lose(desk, call, now: float) -> None:
    desk.offer(call, now)
    desk.heard(call, Told(Fact.LOST, now))
    desk.leave(call, now)


def test_a_backend_that_is_down_is_not_asked():
    """Down it takes no calls; up again it takes them, with a clean breaker."""
    desk, ids = gate({"a": 1}), calls()
    desk.announce("a", False, 1.0)
    refused = next(ids)
    while_down = desk.offer(refused, 2.0)
    after_s = desk.retry_after_s(refused, while_down)
    desk.announce("a", True, 3.0)

    assert Fact.UNAVAILABLE is while_down
    assert DOWN_RETRY_S <= after_s <= DOWN_RETRY_S * (1 + RETRY_JITTER)
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
    """A line that gets a permit every two seconds has newcomers wait for all before them."""
    desk, ids = gate({"a": 1}, limit=1, size=3, wait_s=500.0), calls()
    for _ in range(4):
        desk.offer(next(ids), 0.0)
    now, running = 0.0, _call(1)
    for _ in range(60):
        now += 2.0
        desk.leave(running, now)
        running, _ = desk.notices.popleft()
        desk.offer(next(ids), now)
    shed = next(ids)

    assert Fact.SHED is desk.offer(shed, now)
    assert 6.0 <= desk.retry_after_s(shed, Fact.SHED) <= 6.0 * (1 + RETRY_JITTER)


def _call(number: int):
    return next(call for call in calls() if call.id == number)


def test_retry_after_is_bounded():
    """However slow the line, nobody is sent away for longer than the bound and its jitter."""
    desk, ids = gate({"a": 1}, limit=1, size=3, wait_s=1e6), calls(deadline=1e9)
    for _ in range(4):
        desk.offer(next(ids), 0.0)
    for number in range(1, 4):
        desk.leave(_call(number), number * 10_000.0)
        desk.offer(next(ids), number * 10_000.0)
    shed = next(ids)
    desk.offer(shed, 30_000.0)

    after_s = desk.retry_after_s(shed, Fact.SHED)
    assert RETRY_AFTER_S_MAX <= after_s <= RETRY_AFTER_S_MAX * (1 + RETRY_JITTER)


def test_time_does_not_run_backwards():
    """An event from the past is a driver's mistake, and is not taken silently."""
    desk = gate({"a": 1})
    desk.tick(5.0)

    with pytest.raises(AssertionError, match="backwards"):
        desk.tick(4.0)


def test_a_backend_may_say_itself_when_to_come_back():
    """What a backend asked for is passed on, as the least over all backends."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    fail(desk, call, Fact.BUSY, 1.0, retry_after_s=7.0)
    one_of_two = desk.retry_after_s(call, Fact.BUSY)
    desk.heard(call, Told(Fact.BUSY, 1.0, retry_after_s=20.0))
    both = desk.retry_after_s(call, Fact.BUSY)

    assert 1.0 <= one_of_two <= 2.0
    assert 7.0 <= both <= 11.0


def test_a_backends_wish_is_honoured_before_it_is_asked_again():
    """With nobody else to ask, the call rests for as long as the backend said."""
    desk, ids = gate({"a": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)

    assert Fact.QUEUED is fail(desk, call, Fact.BUSY, 1.0, retry_after_s=3.0)
    assert 4.0 <= desk.deadline() <= 4.4


def test_a_wish_beyond_the_calls_patience_is_passed_on():
    """A backend that wants to be left alone for longer than a call may wait is not waited for."""
    desk, ids = gate({"a": 1}, wait_s=5.0), calls()
    call = next(ids)
    desk.offer(call, 1.0)

    assert Fact.BUSY is fail(desk, call, Fact.BUSY, 1.0, retry_after_s=30.0)


def test_pauses_grow_and_are_bounded_in_number():
    """A call alone with a failing backend pauses longer each time, and then gives up."""
    desk, ids = gate({"a": 1}, limit=9), calls()
    call, now, pauses = next(ids), 1.0, []
    desk.offer(call, now)
    while fail(desk, call, Fact.FAILED, now) is Fact.QUEUED:
        pauses.append(desk.deadline() - now)
        now = desk.deadline()
        desk.tick(now)
        desk.notices.clear()

    assert ATTEMPTS_MAX - 1 == len(pauses)
    for number, pause in enumerate(pauses):
        assert PAUSE_S_MIN * 2**number / 2 <= pause <= min(PAUSE_S_MIN * 2**number, PAUSE_S_MAX)


def test_retries_are_a_share_of_live_calls():
    """When many calls fail together, only some may ask the same backend again."""
    desk, ids = gate({"a": 1}, limit=30, size=100), calls()
    live = [next(ids) for _ in range(30)]
    for call in live:
        desk.offer(call, 1.0)
    told = [Told(Fact.BUSY, 2.0) for _ in live]
    for call, each in zip(live, told, strict=True):
        desk.heard(call, each)
    facts = [desk.again(call, each) for call, each in zip(live, told, strict=True)]

    assert 6 == facts.count(Fact.QUEUED)
    assert 24 == facts.count(Fact.BUSY)


def test_what_no_backend_offers_is_not_worth_coming_back_for():
    """A path that is nowhere to be had gets no time at all."""
    desk, ids = gate({"a": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)

    assert 0.0 == desk.retry_after_s(call, Fact.ABSENT)
