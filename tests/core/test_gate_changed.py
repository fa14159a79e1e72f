"""The gate under orders and reloads: what closes, what stays, and who hears of it."""

from random import Random

import msgspec
import pytest

from baseload.config.fleet import Model, Overload, Queue, Target
from baseload.core.breaker import FAILURES_MAX
from baseload.core.facts import Call, Fact, Told
from baseload.core.gate import DOWN_RETRY_S, Gate
from baseload.core.setup import Setup
from tests.core.worlds import calls, fail, gate, model, permits_out


def setup_of(*tiers: dict[str, int], limit: int = 2, size: int = 4, **fields) -> Setup:
    """Give the setup of a gate for `m`; `fields` are the setup's own."""
    names = sorted({name for tier in tiers for name in tier})
    whole = {
        "models": {"m": model(*tiers)},
        "concurrency": dict.fromkeys(names, limit),
        "queue": Queue(size=size, wait_s=5.0),
    }
    return Setup(**(whole | fields))


# -- orders ----------------------------------------------------------------------------------------


def test_a_closed_backend_takes_no_new_calls_and_keeps_the_old():
    """New calls go to the next tier; the permit that is out stays out until its call ends."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.order("a", False, 2.0)
    desk.offer(second, 2.0)
    out = permits_out(desk)
    desk.heard(first, Told(Fact.DONE, 3.0))

    assert {"a": 1, "b": 1} == out
    assert "b" == desk.attempt(second).target.backend
    assert {"a": 0, "b": 1} == permits_out(desk)


def test_opening_it_again_grants_who_waits():
    """A call that waits for a full backend gets the one that comes back, by notice."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    desk.order("a", False, 1.0)
    first, second = next(ids), next(ids)
    facts = [desk.offer(call, 1.0) for call in (first, second)]
    desk.order("a", True, 2.0)

    assert [Fact.ADMITTED, Fact.QUEUED] == facts
    assert [(second, Fact.ADMITTED)] == list(desk.notices)
    assert "a" == desk.attempt(second).target.backend


def test_who_waits_for_nobody_else_hears_so_at_once():
    """When the last backend of a model closes, its waiting calls are not kept until they expire."""
    desk, ids = gate({"a": 1}, limit=1), calls()
    first, second, third = next(ids), next(ids), next(ids)
    for call in (first, second, third):
        desk.offer(call, 1.0)
    desk.order("a", False, 2.0)

    assert [(second, Fact.UNAVAILABLE), (third, Fact.UNAVAILABLE)] == list(desk.notices)
    assert Fact.UNAVAILABLE is desk.offer(next(ids), 2.0)
    assert {"a": 1} == permits_out(desk)


def test_who_could_be_served_elsewhere_goes_on_waiting():
    """Closing one of two full backends sends nobody away, and the other one's permit is granted."""
    desk, ids = gate({"a": 1, "b": 1}, limit=1), calls()
    out, waiting = [next(ids), next(ids)], next(ids)
    for call in (*out, waiting):
        desk.offer(call, 1.0)
    desk.order("a", False, 2.0)
    before = list(desk.notices)
    for call in out:
        desk.leave(call, 3.0)

    assert [] == before
    assert [(waiting, Fact.ADMITTED)] == list(desk.notices)
    assert "b" == desk.attempt(waiting).target.backend


def test_a_withdrawn_attempt_goes_elsewhere_and_teaches_nothing():
    """Before the first token: another backend, no attempt counted, no breaker and limit taught."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls()
    for _ in range(FAILURES_MAX * 2):
        call = next(ids)
        desk.offer(call, 1.0)
        desk.order("a", False, 1.0)
        fact = fail(desk, call, Fact.WITHDRAWN, 1.0) if desk.can_move(call, "a") else None
        target = desk.attempt(call).target.backend
        desk.leave(call, 1.0)
        desk.order("a", True, 1.0)

        assert (Fact.ADMITTED, "b") == (fact, target)
    seat = desk.seats["a"]
    assert (0, 0.0, 2) == (seat.breaker.failures, seat.breaker.rate, seat.limit.limit)


def test_a_withdrawn_answer_goes_on_where_the_same_weights_are():
    """After the first token only equal weights may go on; without them it stays where it is."""
    for weights, can_move in (({"a": "w", "b": "w"}, True), ({"a": "w", "b": "v"}, False)):
        desk, call = gate({"a": 1}, {"b": 1}, weights=weights), next(calls())
        desk.offer(call, 1.0)
        desk.heard(call, Told(Fact.FIRST_TOKEN, 2.0))
        desk.relay(call)
        desk.order("a", False, 3.0)

        assert can_move is desk.can_move(call, "a")
        if can_move:
            assert Fact.ADMITTED is fail(desk, call, Fact.WITHDRAWN, 3.0)
            assert desk.attempt(call).is_resumed


def test_nobody_is_moved_who_would_have_to_wait():
    """If every other backend is full, what is out stays where it is."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    first = next(ids)
    desk.offer(first, 1.0)
    desk.offer(next(ids), 1.0)
    desk.order("a", False, 2.0)

    assert not desk.can_move(first, "a")


def test_retry_after_of_a_closed_backend_is_short():
    """An operator may open it again any moment; callers are not sent away for long."""
    desk, call = gate({"a": 1}), next(calls())
    desk.order("a", False, 1.0)
    fact = desk.offer(call, 1.0)

    assert DOWN_RETRY_S <= desk.retry_after_s(call, fact) <= 2 * DOWN_RETRY_S


# -- reloads ---------------------------------------------------------------------------------------


def test_what_is_the_same_keeps_all_that_was_learnt():
    """Open breakers, learnt limits and the split survive a reload that is about others."""
    setup = setup_of({"a": 1}, {"b": 9, "c": 1}, ceilings={"b": 9})
    desk, ids = Gate(setup, Random(7)), calls()
    for _ in range(FAILURES_MAX):
        call = next(ids)
        desk.offer(call, 1.0)
        fail(desk, call, Fact.FAILED, 1.0)
        desk.leave(call, 1.0)
    seats, plan = dict(desk.seats), desk.permits.plans["m"]
    desk.reconfigure(msgspec.structs.replace(setup, queue=Queue(size=9)), 1.0)

    assert seats == desk.seats
    assert plan is desk.permits.plans["m"]
    assert 9 == desk.line.size_max
    assert not desk.seats["a"].breaker.can_take


def test_who_has_become_another_is_not_blamed():
    """A new URL under an old name, told by its epoch, begins without history."""
    setup = setup_of({"a": 1}, {"b": 1})
    desk, ids = Gate(setup, Random(7)), calls()
    for _ in range(FAILURES_MAX):
        call = next(ids)
        desk.offer(call, 1.0)
        fail(desk, call, Fact.FAILED, 1.0)
        desk.leave(call, 1.0)
    was_open = not desk.seats["a"].breaker.can_take
    desk.reconfigure(msgspec.structs.replace(setup, epochs={"a": 1}), 2.0)
    call = next(ids)
    desk.offer(call, 2.0)

    assert was_open
    assert "a" == desk.attempt(call).target.backend


def test_an_order_is_about_the_name():
    """A backend that was drained stays so when its URL changes, and new names begin open."""
    setup = setup_of({"a": 1}, {"b": 1})
    desk = Gate(setup, Random(7))
    desk.order("a", False, 1.0)
    desk.reconfigure(setup_of({"a": 1}, {"b": 1}, {"c": 1}, epochs={"a": 1}), 2.0)

    assert {"a": False, "b": True, "c": True} == {n: s.is_open for n, s in desk.seats.items()}


def test_permits_of_who_left_come_back_to_who_gave_them():
    """A call that streams from a removed backend ends as always, and nothing is left behind."""
    desk, call = Gate(setup_of({"a": 1}, {"b": 1}), Random(7)), next(calls())
    desk.offer(call, 1.0)
    desk.heard(call, Told(Fact.FIRST_TOKEN, 1.5))
    desk.relay(call)
    old = desk.seats["a"]
    desk.reconfigure(setup_of({"b": 1}), 2.0)
    during = old.in_flight
    desk.heard(call, Told(Fact.DONE, 3.0))
    desk.leave(call, 3.0)

    assert (1, 0) == (during, old.in_flight)
    assert {"b": 0} == permits_out(desk)


def test_waiting_calls_get_the_new_plan():
    """A backend that is added takes those who wait, at once."""
    desk, ids = Gate(setup_of({"a": 1}, limit=1), Random(7)), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    desk.reconfigure(setup_of({"a": 1}, {"z": 1}, limit=1), 2.0)

    assert [(second, Fact.ADMITTED)] == list(desk.notices)
    assert "z" == desk.attempt(second).target.backend


def test_an_engine_that_is_added_is_down_until_it_is_up():
    """Nobody is sent to a backend that has yet to start."""
    desk, ids = Gate(setup_of({"a": 1}, limit=1), Random(7)), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    desk.reconfigure(setup_of({"a": 1}, {"z": 1}, limit=1, down=("z",)), 2.0)
    before = list(desk.notices)
    desk.announce("z", True, 3.0)

    assert [] == before
    assert [(second, Fact.ADMITTED)] == list(desk.notices)


def test_who_waits_for_a_model_that_is_gone_is_told():
    """And one that is out fails over to nobody, with a time to come back."""
    desk, ids = Gate(setup_of({"a": 1}, limit=1), Random(7)), calls()
    first, second = next(ids), next(ids)
    desk.offer(first, 1.0)
    desk.offer(second, 1.0)
    other = {"n": Model(name="n", tiers=({"a": Target(backend="a", model="n")},))}
    desk.reconfigure(setup_of({"a": 1}, limit=1, models=other), 2.0)
    facts = [fail(desk, first, Fact.FAILED, 3.0), desk.offer(next(ids), 3.0)]

    assert [(second, Fact.UNAVAILABLE)] == list(desk.notices)
    assert [Fact.FAILED, Fact.UNAVAILABLE] == facts
    assert desk.retry_after_s(first, Fact.FAILED) >= DOWN_RETRY_S


def test_a_text_is_not_gone_on_with_by_somebody_of_the_same_name():
    """After a reload the name says nothing about the weights."""
    desk, call = Gate(setup_of({"a": 1}), Random(7)), next(calls())
    desk.offer(call, 1.0)
    desk.heard(call, Told(Fact.FIRST_TOKEN, 1.5))
    desk.relay(call)
    desk.reconfigure(setup_of({"a": 1}, epochs={"a": 1}), 2.0)

    assert Fact.CUT is fail(desk, call, Fact.CUT, 3.0)


def test_a_first_token_from_who_left_is_relayed():
    """What was asked before the reload answers after it, and nobody of the same name goes on."""
    desk, call = Gate(setup_of({"a": 1}), Random(7)), next(calls())
    desk.offer(call, 1.0)
    desk.reconfigure(setup_of({"a": 1}, epochs={"a": 1}), 2.0)
    desk.heard(call, Told(Fact.FIRST_TOKEN, 2.5))
    relay = desk.relay(call)

    assert "a" == relay.target.backend
    assert Fact.CUT is fail(desk, call, Fact.CUT, 3.0)


def test_a_failure_at_who_left_is_retried_at_who_came():
    """A mended URL takes over the calls that fail at the old one."""
    desk, call = Gate(setup_of({"a": 1}), Random(7)), next(calls())
    desk.offer(call, 1.0)
    desk.reconfigure(setup_of({"a": 1}, epochs={"a": 1}), 2.0)

    assert Fact.ADMITTED is fail(desk, call, Fact.LOST, 3.0)
    assert {"a": 1} == permits_out(desk)


@pytest.mark.parametrize("number", [1, 5])
def test_another_limit_holds_at_once(number: int):
    """Raised, it takes in who waits; lowered, nobody is thrown out and nobody comes in."""
    desk, ids = Gate(setup_of({"a": 1}, limit=2), Random(7)), calls()
    for call in [next(ids) for _ in range(4)]:
        desk.offer(call, 1.0)
    desk.reconfigure(setup_of({"a": 1}, limit=number), 2.0)

    assert max(2, min(number, 4)) == desk.seats["a"].in_flight
    assert number == desk.seats["a"].limit.limit


def test_an_account_is_one_before_and_after():
    """Two backends of an account share its permits, whoever of them joins or leaves."""
    setup = setup_of({"a": 1}, {"b": 1}, limit=1, accounts={"a": "x", "b": "x"})
    desk, ids = Gate(setup, Random(7)), calls()
    desk.offer(next(ids), 1.0)
    desk.reconfigure(setup_of({"b": 1}, {"c": 1}, limit=1, accounts={"b": "x", "c": "x"}), 2.0)

    assert Fact.QUEUED is desk.offer(next(ids), 2.0)


def test_other_thresholds_hold_for_who_is_known():
    """Overload is judged by the new file from the next evidence on."""
    setup = setup_of({"a": 1})
    desk = Gate(setup, Random(7))
    desk.reconfigure(msgspec.structs.replace(setup, overload=Overload(latency_s=9.0)), 1.0)

    assert (
        9.0 == desk.seats["a"].detector.thresholds.latency_s == desk.seats["a"].overload.latency_s
    )


def test_a_shorter_line_keeps_who_stands_in_it():
    """Nobody is thrown out of a line that is too long now; the next one is refused."""
    setup = setup_of({"a": 1}, limit=1)
    desk, ids = Gate(setup, Random(7)), calls()
    for call in [next(ids) for _ in range(4)]:
        desk.offer(call, 1.0)
    desk.reconfigure(msgspec.structs.replace(setup, queue=Queue(size=1)), 2.0)

    assert 3 == len(desk.line)
    assert Fact.SHED is desk.offer(next(ids), 2.0)


def test_a_resumed_call_that_waits_is_not_given_to_strangers():
    """A backend that is added with other weights does not get a text that others began."""
    weights = {"a": "w", "b": "w", "z": "v"}
    models = {"m": model({"a": 1}, {"b": 1}, weights=weights)}
    desk = Gate(setup_of({"a": 1}, {"b": 1}, limit=1, models=models), Random(7))
    first, second = Call(1, "m", 1000.0), Call(2, "m", 1000.0)
    for call in (first, second):
        desk.offer(call, 1.0)
        desk.heard(call, Told(Fact.FIRST_TOKEN, 1.0))
        desk.relay(call)
    fact = fail(desk, first, Fact.CUT, 2.0)
    more = {"m": model({"a": 1}, {"b": 1}, {"z": 1}, weights=weights)}
    desk.reconfigure(setup_of({"a": 1}, {"b": 1}, {"z": 1}, limit=1, models=more), 3.0)

    assert Fact.QUEUED is fact
    assert [] == list(desk.notices)
