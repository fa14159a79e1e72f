"""A backend at zero replicas: who waits for it, for how long, and what wakes it.

The line of those who wait is in `test_asleep_line`.
"""

import pytest

from baseload.core.breaker import ASLEEP, CLOSED, FAILURES_MAX, OPEN
from baseload.core.desk import TRY_S
from baseload.core.facts import (
    ADMITTED,
    DONE,
    FAILED,
    FIRST_TOKEN,
    LOST,
    OVERLOADED,
    PARKED,
    QUEUED,
    UNAVAILABLE,
    UNREACHABLE,
    Call,
    Fact,
    Sight,
    Told,
)
from baseload.core.gate import ATTEMPTS_MAX, Gate
from baseload.core.patience import RETRY_JITTER
from baseload.core.seat import AWAKE_S
from baseload.core.setup import Setup
from tests.core.worlds import calls, fail, gate, model, permits_out

COLD_S = 60.0


def sleepy(*tiers: dict[str, int], cold_start_s: float = COLD_S, **fields) -> Gate:
    """Give a gate whose backend `z` may be at zero replicas."""
    desk = gate(*(tiers or ({"z": 1},)), **fields)
    desk.seats["z"].cold_start_s = cold_start_s
    return desk


def asleep(*tiers: dict[str, int], now: float = 10.0, **fields) -> tuple[Gate, Call]:
    """Give such a gate with a call that has found nobody there and waits."""
    desk = sleepy(*tiers, **fields)
    call = Call(0, "m", 1000.0)
    desk.offer(call, now)
    assert "z" == desk.attempt(call).target.backend
    assert QUEUED is fail(desk, call, UNREACHABLE, now)
    return desk, call


def notices(desk: Gate) -> list[tuple[int, Fact]]:
    """Fetch what the gate has to say, by the calls' numbers."""
    found = [(call.id, fact) for call, fact in desk.notices]
    desk.notices.clear()
    return found


def test_a_setup_says_who_may_be_asleep():
    """Seats learn from the setup how long a cold start takes, also of a later one."""
    setup = Setup(models={"m": model({"z": 1})}, concurrency={"z": 2}, cold_starts={"z": 9.0})
    desk = gate({"z": 1})
    before = desk.seats["z"].cold_start_s
    desk.reconfigure(setup, 1.0)

    assert (0.0, 9.0) == (before, desk.seats["z"].cold_start_s)


@pytest.mark.parametrize("fact", [UNREACHABLE, OVERLOADED])
def test_who_finds_nobody_waits_as_long_as_a_cold_start(fact: Fact):
    """The call waits, so do all that come, and nobody is blamed; the breaker stays innocent."""
    desk = sleepy(wait_s=5.0, size=20)
    first, *others = (Call(number, "m", 1000.0) for number in range(10))
    desk.offer(first, 10.0)
    told = fail(desk, first, fact, 10.0)
    facts = {desk.offer(call, 11.0) for call in others}
    breaker, detector = desk.seats["z"].breaker, desk.seats["z"].detector

    assert (QUEUED, {QUEUED}) == (told, facts)
    assert (ASLEEP, 0, 0) == (breaker.phase, breaker.failures, detector.level)
    assert 10.0 + COLD_S == desk.deadline()
    assert desk.awaits("z")


def test_all_that_were_under_way_wait_too():
    """A burst meets nobody: however many are refused, the breaker does not open."""
    desk, ids = sleepy(limit=20, size=20), calls()
    burst = [next(ids) for _ in range(FAILURES_MAX + 3)]
    for call in burst:
        desk.offer(call, 10.0)
    facts = [fail(desk, call, UNREACHABLE, 10.0 + call.id / 1000) for call in burst]
    desk.observe("z", Sight(12.0, ping_s=0.01), 12.0)
    desk.tick(13.0)

    assert {QUEUED} == set(facts)
    assert [(call.id, ADMITTED) for call in burst] == notices(desk)


def test_who_wakes_is_not_fallen_upon():
    """Hundreds may wait for a process that has just begun: they are let in in steps."""
    desk, _ = asleep(limit=100, size=200)
    for number in range(1, 100):
        desk.offer(Call(number, "m", 1000.0), 10.0)
    out = []
    for now in (20.0, 21.0, 22.0):
        desk.observe("z", Sight(now), now)
        out.append(permits_out(desk)["z"])

    assert [25, 50, 100] == out


def test_a_look_that_succeeds_wakes_it():
    """Whoever waits is admitted at once, in a first step, and the call counts as the second."""
    desk, call = asleep()
    desk.observe("z", Sight(40.0, ping_s=0.01), 40.0)
    seat = desk.seats["z"]

    assert [(0, ADMITTED)] == notices(desk)
    assert (CLOSED, 0.25, 2) == (seat.breaker.phase, seat.portion, desk._stays[call.id].attempts)
    assert not desk.awaits("z")
    assert desk.attempt(call).first_token_s == 2 * model({"z": 1}).first_token_s


def test_what_was_sent_before_it_woke_says_nothing():
    """An attempt of before, which fails only now, neither puts it to sleep nor costs a pause."""
    desk, ids = sleepy(limit=8), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 10.0)
    desk.offer(second, 10.0)
    fail(desk, first, UNREACHABLE, 11.0)
    desk.observe("z", Sight(12.0), 12.0)
    fact = fail(desk, second, UNREACHABLE, 13.0)

    assert (ADMITTED, CLOSED) == (fact, desk.seats["z"].breaker.phase)


def test_a_first_token_wakes_it_too():
    """A call that was under way and is answered shows that somebody is there."""
    desk, ids = sleepy(limit=8), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 10.0)
    desk.offer(second, 10.0)
    fail(desk, first, UNREACHABLE, 10.0)
    desk.heard(second, Told(FIRST_TOKEN, 12.0))

    assert [(first.id, ADMITTED)] == notices(desk)


def test_after_a_cold_start_in_vain_callers_are_refused():
    """It is sent once more, and then hears `unavailable`; the next one waits as long again."""
    desk, call = asleep(wait_s=5.0)
    desk.tick(10.0 + COLD_S)
    tried = notices(desk)
    fact = fail(desk, call, UNREACHABLE, 10.0 + COLD_S)
    desk.tick(10.0 + COLD_S + TRY_S)
    refused, retry_s = notices(desk), desk.retry_after_s(call, UNAVAILABLE)
    desk.leave(call, 80.0)
    following = desk.offer(Call(1, "m", 1000.0), 80.0)

    assert ([(0, ADMITTED)], QUEUED) == (tried, fact)
    assert [(0, UNAVAILABLE)] == refused
    assert COLD_S - TRY_S <= retry_s <= COLD_S * (1 + RETRY_JITTER)
    assert QUEUED is following
    assert 80.0 + COLD_S + TRY_S == desk.line.deadline()


def test_a_lone_caller_finds_out_what_no_look_has_seen():
    """Where looks fail and calls would not, the one who waits is sent before its time is over."""
    desk, call = asleep(wait_s=5.0)
    desk.tick(10.0 + COLD_S)
    admitted = notices(desk)
    desk.heard(call, Told(FIRST_TOKEN, 11.0 + COLD_S))

    assert [(0, ADMITTED)] == admitted
    assert CLOSED is desk.seats["z"].breaker.phase


def test_who_is_sent_too_late_for_another_wait_hears_that_nobody_is_there():
    """A try whose connection hangs ends beyond the call's time: it is refused like the others."""
    desk, call = asleep(wait_s=5.0)
    desk.tick(10.0 + COLD_S)

    assert UNAVAILABLE is fail(desk, call, UNREACHABLE, 15.0 + COLD_S)


def test_who_comes_late_has_a_whole_cold_start_as_well():
    """At the end of the first one's time, one of those who wait tries, and the others wait on."""
    desk, _ = asleep()
    later = [Call(number, "m", 1000.0) for number in (1, 2)]
    for call in later:
        desk.offer(call, 50.0)
    desk.tick(70.0)
    tried = notices(desk)
    fact = fail(desk, later[1], UNREACHABLE, 70.0)
    desk.tick(75.0)
    refused = notices(desk)
    desk.tick(50.0 + COLD_S + TRY_S)

    assert ([(2, ADMITTED)], QUEUED) == (tried, fact)
    assert [(0, UNAVAILABLE)] == refused
    assert [(1, UNAVAILABLE), (2, UNAVAILABLE)] == sorted(notices(desk))


def test_the_calls_own_deadline_holds():
    """A call that may not live as long as a cold start takes waits no longer than it may live."""
    desk = sleepy()
    call = Call(0, "m", 25.0)
    desk.offer(call, 10.0)
    fail(desk, call, UNREACHABLE, 10.0)

    assert 25.0 == desk.deadline()


def test_a_longer_wait_of_the_line_holds():
    """Where the line's own wait is longer than a cold start, calls wait so long, trying anew."""
    desk, call = asleep(wait_s=50.0, cold_start_s=5.0)
    tries = range(15, 60, 5)
    for now in tries:
        desk.tick(now)
        assert [(0, ADMITTED)] == notices(desk)
        assert QUEUED is fail(desk, call, UNREACHABLE, now)
    desk.tick(60.0)

    assert [(0, UNAVAILABLE)] == notices(desk)
    assert len(tries) > ATTEMPTS_MAX


def test_a_backend_that_seems_awake_and_refuses_is_given_up():
    """Where looks succeed and calls do not, a call makes no more attempts than any other."""
    desk, call = asleep()
    now, fact, attempts = 10.0, QUEUED, 1
    while fact is QUEUED:
        now += 1.0
        desk.observe("z", Sight(now), now)
        assert [(0, ADMITTED)] == notices(desk)
        fact = fail(desk, call, OVERLOADED, now)
        attempts += 1

    assert (OVERLOADED, ATTEMPTS_MAX) == (fact, attempts)


def test_others_are_asked_first():
    """Whoever else can take the call does, in the tier's order; only the last resort is waited for."""
    desk, ids = sleepy({"z": 1}, {"a": 1}, limit=1), calls()
    first = next(ids)
    desk.offer(first, 10.0)
    moved = fail(desk, first, UNREACHABLE, 10.0)
    second = next(ids)
    waits = desk.offer(second, 11.0)
    desk.heard(first, Told(DONE, 12.0))

    assert (ADMITTED, QUEUED) == (moved, waits)
    assert [(second.id, ADMITTED)] == notices(desk)
    assert {"a": 1, "z": 0} == permits_out(desk)


def test_who_failed_is_asked_again_before_a_sleeper_is_waited_for():
    """While another backend may only be out of breath, a call pauses and asks that one."""
    desk, ids = sleepy({"a": 1}, {"z": 1}), calls()
    call = next(ids)
    desk.offer(call, 10.0)
    facts = [fail(desk, call, fact, 10.0) for fact in (FAILED, UNREACHABLE)]
    desk.tick(11.0)

    assert [ADMITTED, QUEUED] == facts
    assert [(call.id, ADMITTED)] == notices(desk)
    assert "a" == desk.attempt(call).target.backend


def test_a_backend_that_has_just_answered_is_not_asleep():
    """Shortly after a token, a refused connection is a failure like any other."""
    desk, ids = sleepy(), calls()
    first, second, third = next(ids), next(ids), next(ids)
    desk.offer(first, 10.0)
    desk.heard(first, Told(FIRST_TOKEN, 10.0))
    desk.heard(first, Told(DONE, 10.0))
    desk.offer(second, 10.0 + AWAKE_S)
    desk.heard(second, Told(UNREACHABLE, 10.0 + AWAKE_S))
    failures = desk.seats["z"].breaker.failures
    desk.offer(third, 11.0 + AWAKE_S)
    desk.heard(third, Told(UNREACHABLE, 11.0 + AWAKE_S))

    assert (1, ASLEEP) == (failures, desk.seats["z"].breaker.phase)


@pytest.mark.parametrize("fact", [UNREACHABLE, OVERLOADED])
def test_a_backend_that_is_answering_somebody_is_not_asleep(fact: Fact):
    """While an answer is under way, however long ago it began, a refusal is one like any other."""
    desk, ids = sleepy(), calls()
    first, second, third = next(ids), next(ids), next(ids)
    desk.offer(first, 10.0)
    desk.heard(first, Told(FIRST_TOKEN, 11.0))
    desk.offer(second, 60.0)
    desk.heard(second, Told(fact, 60.0))
    failures = desk.seats["z"].breaker.failures
    desk.heard(first, Told(DONE, 61.0))
    desk.offer(third, 62.0)
    desk.heard(third, Told(fact, 62.0))

    assert (1, ASLEEP) == (failures, desk.seats["z"].breaker.phase)
    assert 0 == desk.seats["z"].begun


def test_who_failed_just_before_it_fell_asleep_waits_too():
    """A connection that is lost as the process ends, after others have been refused already."""
    desk, ids = sleepy(limit=8), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 10.0)
    desk.offer(second, 10.0)
    fail(desk, first, UNREACHABLE, 10.1)
    fact = fail(desk, second, LOST, 10.2)
    desk.observe("z", Sight(30.0), 30.0)

    assert QUEUED is fact
    assert [(first.id, ADMITTED), (second.id, ADMITTED)] == notices(desk)


def test_signs_of_life_are_no_sleep():
    """A call that was queued there and then thrown out was not met by nobody."""
    desk, ids = sleepy(), calls()
    call = next(ids)
    desk.offer(call, 10.0)
    desk.heard(call, Told(PARKED, 11.0))
    desk.heard(call, Told(OVERLOADED, 12.0))

    assert 1 == desk.seats["z"].breaker.failures


def test_who_has_no_cold_start_is_never_asleep():
    """Without the field all is as ever: failures in a row open the breaker."""
    desk, ids = gate({"z": 1}), calls()
    for _ in range(FAILURES_MAX):
        call = next(ids)
        desk.offer(call, 10.0)
        desk.heard(call, Told(UNREACHABLE, 10.0))
        desk.leave(call, 10.0)

    assert OPEN is desk.seats["z"].breaker.phase
    assert not desk.awaits("z")


def test_a_sleeper_that_is_closed_lets_its_callers_go():
    """Closing it while calls wait for nobody else tells them so at once."""
    desk, _ = asleep()
    desk.order("z", False, 20.0)

    assert [(0, UNAVAILABLE)] == notices(desk)
    assert not desk.awaits("z")
