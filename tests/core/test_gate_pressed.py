"""The gate under pressure: classes, hedges, continuations, red backends."""

from baseload.core.facts import Call, Fact, Hedge, Priority, Send, Sight, Told, Watch
from tests.core.worlds import calls, fail, gate, permits_out

# -- classes -------------------------------------------------------------------------------------


def _call_of(number: int, priority: Priority, **fields) -> Call:
    return Call(number, "m", 1000.0, priority=priority, **fields)


def test_an_interactive_call_takes_the_permit_of_a_batch_call_without_a_token():
    """The newest batch call goes back to the line, unharmed, and is admitted again later."""
    desk = gate({"a": 1}, limit=2)
    batch = [_call_of(number, Priority.BATCH) for number in (1, 2)]
    urgent = _call_of(3, Priority.INTERACTIVE)
    for call in batch:
        desk.offer(call, 1.0)
        desk.attempt(call)
    admitted = desk.offer(urgent, 2.0)
    notices = list(desk.notices)
    desk.notices.clear()
    told = Told(Fact.PREEMPTED, 2.0)
    asked = desk.heard(batch[1], told)
    again = desk.again(batch[1], told)
    desk.heard(batch[0], Told(Fact.DONE, 3.0))

    assert Fact.QUEUED is admitted  # It is sent only after the other has hung up.
    assert [(batch[1], Fact.PREEMPTED), (urgent, Fact.ADMITTED)] == notices
    assert (None, Fact.QUEUED) == (asked, again)
    assert [(batch[1], Fact.ADMITTED)] == list(desk.notices)
    assert {"a": 2} == permits_out(desk)


def test_a_batch_call_with_a_token_keeps_its_permit():
    """What the caller has begun to read is not taken back."""
    desk = gate({"a": 1}, limit=1)
    batch = _call_of(1, Priority.BATCH)
    desk.offer(batch, 1.0)
    desk.heard(batch, Told(Fact.FIRST_TOKEN, 1.5))

    assert Fact.QUEUED is desk.offer(_call_of(2, Priority.INTERACTIVE), 2.0)
    assert not desk.notices


def test_a_part_of_the_limit_is_kept_for_interactive_calls_while_there_are_any():
    """After an interactive call others leave a tenth free, and get it back half a minute later."""
    desk = gate({"a": 1}, limit=10, size=20, wait_s=100.0)
    first = _call_of(100, Priority.INTERACTIVE)
    desk.offer(first, 1.0)
    desk.heard(first, Told(Fact.DONE, 1.5))
    desk.leave(first, 1.5)
    facts = [desk.offer(_call_of(number, Priority.DEFAULT), 2.0) for number in range(10)]
    urgent = desk.offer(_call_of(101, Priority.INTERACTIVE), 2.5)
    desk.leave(_call_of(101, Priority.INTERACTIVE), 3.0)
    while desk.now < 32.5:
        desk.tick(desk.deadline())
        admitted = [call.id for call, fact in desk.notices if fact is Fact.ADMITTED]

    assert [Fact.ADMITTED] * 9 + [Fact.QUEUED] == facts
    assert Fact.ADMITTED is urgent
    assert [9] == admitted


# -- hedging -------------------------------------------------------------------------------------


def _hedging(live: int = 1):
    """Give a gate whose backend `a` has a known pace, and a call that is out there."""
    desk = gate({"a": 1}, {"b": 1}, limit=50, hedge=0.1)
    for number in range(1000, 1100):
        call = Call(number, "m", 1000.0)
        desk.offer(call, 1.0)
        desk.heard(call, Told(Fact.FIRST_TOKEN, 1.1))
        desk.heard(call, Told(Fact.DONE, 1.2))
        desk.leave(call, 1.2)
        desk.now = 1.0
    for number in range(1, live + 1):
        desk.offer(Call(number, "m", 1000.0), 2.0)
    return desk, Call(1, "m", 1000.0)


def test_a_late_call_is_hedged_and_the_first_token_decides():
    """After the usual time a second backend is asked; whoever speaks first keeps its permit."""
    desk, call = _hedging()
    first = desk.attempt(call)
    ask = desk.heard(call, Told(Fact.LATE, 2.2))
    out = permits_out(desk)
    nothing = desk.heard(call, Told(Fact.FIRST_TOKEN, 2.3, backend="b"))

    assert isinstance(first, Send)
    assert 0.09 < first.late_s < 0.2
    assert isinstance(ask, Hedge)
    assert "b" == ask.send.target.backend
    assert {"a": 1, "b": 1} == out
    assert nothing is None
    assert {"a": 0, "b": 1} == permits_out(desk)
    assert "b" == desk.relay(call).target.backend


def test_the_failure_of_one_of_two_is_watched_through():
    """While the other attempt is out, the call goes on with it."""
    desk, call = _hedging()
    desk.heard(call, Told(Fact.LATE, 2.2))
    ask = desk.heard(call, Told(Fact.LOST, 2.3, backend="a"))

    assert Watch(call) == ask
    assert {"a": 0, "b": 1} == permits_out(desk)
    assert desk.heard(call, Told(Fact.LOST, 2.4)) is None
    assert {"a": 0, "b": 0} == permits_out(desk)


def test_hedges_are_capped_by_load():
    """No more than the configured share of live calls has a second attempt."""
    desk, _ = _hedging(live=30)
    asks = [desk.heard(Call(n, "m", 1000.0), Told(Fact.LATE, 2.2)) for n in range(1, 31)]

    assert 3 == sum(isinstance(ask, Hedge) for ask in asks)


# -- resuming ------------------------------------------------------------------------------------


def test_what_was_begun_goes_on_only_with_the_same_weights():
    """A cut stream is continued by a backend that holds the same model, not by the next tier."""
    desk, ids = gate({"a": 1}, {"b": 1}, {"c": 1}, weights={"a": "w", "c": "w"}), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    desk.heard(call, Told(Fact.FIRST_TOKEN, 1.1))
    desk.relay(call)

    assert Fact.ADMITTED is fail(desk, call, Fact.CUT, 2.0)
    assert ("c", True) == (desk.attempt(call).target.backend, desk.attempt(call).is_resumed)


def test_with_nobody_else_the_same_backend_is_asked_to_go_on():
    """After a pause; nobody else has the same model."""
    desk, ids = gate({"a": 1}, {"b": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)
    desk.heard(call, Told(Fact.FIRST_TOKEN, 1.1))
    desk.relay(call)
    fact = fail(desk, call, Fact.CUT, 2.0)
    desk.tick(desk.deadline())

    assert Fact.QUEUED is fact
    assert ("a", True) == (desk.attempt(call).target.backend, desk.attempt(call).is_resumed)


def test_a_refused_start_is_asked_for_in_another_way_at_once():
    """The backend is not at fault: it is asked again without a pause."""
    desk, ids = gate({"a": 1}), calls()
    call = next(ids)
    desk.offer(call, 1.0)

    assert Fact.ADMITTED is fail(desk, call, Fact.UNPREFILLED, 2.0)
    assert "a" == desk.attempt(call).target.backend


# -- red -----------------------------------------------------------------------------------------


def test_a_red_backend_is_asked_only_when_nobody_else_can():
    """The share spills over to the next tier, and what does not fit there still finds it."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    desk.observe("a", Sight(1.0, ping_s=9.0), 1.0)
    first, second = next(ids), next(ids)
    facts = [desk.offer(first, 1.0), desk.offer(second, 1.0)]

    assert [Fact.ADMITTED] * 2 == facts
    assert ["b", "a"] == [desk.attempt(call).target.backend for call in (first, second)]


def test_a_red_backend_gets_its_calls_back_when_the_signs_are_gone():
    """Time alone brings it back, for without calls there is no evidence."""
    desk, ids = gate({"a": 1}, {"b": 1}, limit=1), calls()
    desk.observe("a", Sight(1.0, ping_s=9.0), 1.0)
    while desk.deadline() is not None:
        desk.tick(desk.deadline())
    call = next(ids)
    desk.offer(call, desk.now)

    assert "a" == desk.attempt(call).target.backend
