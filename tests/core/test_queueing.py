"""The line of waiting calls."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from baseload.core.queueing import Line


def test_first_come_first_served_across_lanes():
    """The heads of all lanes come in the order of their arrival."""
    line = Line(10)
    for order, (call_id, lane) in enumerate([(1, "a"), (2, "b"), (3, "a"), (4, "c")]):
        line.join(call_id, lane, order, 100.0)
    first = list(line.heads())
    line.leave(1)

    assert ([1, 2, 4], [2, 3, 4]) == (first, list(line.heads()))


def test_expiry_is_in_order_and_complete():
    """All whose time is over leave, the earliest first; the others stay."""
    line = Line(10)
    for call_id, expires in [(1, 9.0), (2, 3.0), (3, 5.0), (4, 12.0)]:
        line.join(call_id, "a", call_id, expires)

    assert 3.0 == line.deadline()
    assert [2, 3, 1] == line.expire(9.0)
    assert ([4], 12.0) == (list(line.heads()), line.deadline())


def test_leaving_is_idempotent():
    """Leaving twice, or without having waited, is no mistake."""
    line = Line(2)
    line.join(1, "a", 1, 5.0)

    assert [True, False, False] == [line.leave(1), line.leave(1), line.leave(2)]
    assert (0, inf) == (len(line), line.deadline())


def test_a_call_may_come_back():
    """A call that left and waits again expires at its new time, not at its old one."""
    line = Line(2)
    line.join(1, "a", 1, 5.0)
    line.leave(1)
    line.join(1, "b", 2, 8.0)

    assert ([], [1]) == (line.expire(6.0), line.expire(8.0))


def test_memory_is_bounded_by_who_waits():
    """Many who come and leave before their time leave nothing behind."""
    line = Line(2)
    for call_id in range(10_000):
        line.join(call_id, "a", call_id, 1e9 + call_id)
        line.leave(call_id)

    assert len(line._expiries) < 200


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.floats(0, 50))))
def test_it_agrees_with_a_plain_list(steps: list[tuple[int, str, float]]):
    """Against a list that is searched from the front: the same heads, lengths and expiries."""
    line, plain = Line(100), []
    for order, (call_id, lane, expires) in enumerate(steps):
        if any(call_id == waiting[0] for waiting in plain):
            line.leave(call_id)
            plain = [waiting for waiting in plain if waiting[0] != call_id]
        else:
            line.join(call_id, lane, order, expires)
            plain.append((call_id, lane, expires))
        heads = {lane: call_id for call_id, lane, _ in reversed(plain)}

        assert len(plain) == len(line)
        assert min((waiting[2] for waiting in plain), default=inf) == line.deadline()
        assert sorted(heads.values()) == sorted(line.heads())
    expired = line.expire(25.0)

    assert {waiting[0] for waiting in plain if waiting[2] <= 25.0} == set(expired)
