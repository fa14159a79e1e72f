"""The line of waiting calls: order, fairness, bounds."""

from collections import Counter, deque
from itertools import count
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.core import queueing
from baseload.core.facts import BATCH, DEFAULT, INTERACTIVE, Call
from baseload.core.queueing import LEEWAY_TOKENS, Line


def _call(call_id: int, key: str = "", **more) -> Call:
    return Call(id=call_id, model=more.pop("model", "m"), deadline=1e9, key=key, **more)


def _line(*calls: Call, size_max: int = 100) -> Line:
    line = Line(size_max)
    for call in calls:
        line.join(call, "lane", 0.0, 100.0)
    return line


def _serve(line: Line, times: int = 10**6, now: float = 0.0) -> list[Call]:
    served = []
    while line.waiting and len(served) < times:
        call = line.waiting[next(line.heads(now))].call
        line.leave(call.id)
        line.charge(call)
        served.append(call)
    return served


def _ids(calls: list[Call]) -> list[int]:
    return [call.id for call in calls]


def _tokens_by_key(calls: list[Call]) -> Counter[str]:
    tokens: Counter[str] = Counter()
    for call in calls:
        tokens[call.key] += call.tokens
    return tokens


# -- order ---------------------------------------------------------------------------------------


def test_one_key_is_served_as_it_came():
    """Within a key, first come is first served, across lanes too."""
    line = Line(10)
    for call_id, lane in [(1, "a"), (2, "b"), (3, "a"), (4, "c")]:
        line.join(_call(call_id), lane, 0.0, 100.0)

    assert [1, 2, 4] == list(line.heads(0.0))
    assert [1, 2, 3, 4] == _ids(_serve(line))


def test_batch_never_goes_before_interactive():
    """The more urgent class is served first, whatever its keys have used."""
    urgent = [_call(id_, "hungry", priority=INTERACTIVE, answer_tokens=9999) for id_ in (3, 4)]
    line = _line(_call(1, "b", priority=BATCH), _call(2, "d", priority=DEFAULT), *urgent)

    assert [3, 4, 2, 1] == _ids(_serve(line))


def test_equal_tokens_for_unequal_demand():
    """Keys that offer 8:1:1 get equal tokens as long as all of them have calls waiting."""
    line, ids = Line(10_000), count()
    offers = ["a"] * 8 + ["b", "c"]
    served: list[Call] = []
    for now in range(3000):
        line.join(_call(next(ids), offers[now % 10], answer_tokens=9), "lane", 0.0, 1e9)
        if now % 4 == 0:
            served += _serve(line, 1)
    tokens = _tokens_by_key(served[50:])
    fair = sum(tokens.values()) / 3

    assert [] == [key for key in "abc" if abs(tokens[key] - fair) > fair / 10]


def test_fairness_is_weighed_by_tokens():
    """A key whose calls are ten times as large gets a tenth of the calls."""
    large = [_call(id_, "large", prompt_tokens=900, answer_tokens=100) for id_ in range(500)]
    small = [_call(1000 + id_, "small", prompt_tokens=90, answer_tokens=10) for id_ in range(500)]
    calls = Counter(call.key for call in _serve(_line(*large, *small, size_max=2000), 440))

    assert (40, 400) == (calls["large"], calls["small"])


def test_what_was_used_without_waiting_counts_too():
    """A key that had permits at once goes behind one that comes when there are none left."""
    line = Line(10)
    for call_id in range(5):
        line.charge(_call(call_id, "busy", answer_tokens=99))
    line.join(_call(10, "busy"), "lane", 0.0, 9.0)
    line.join(_call(11, "new"), "lane", 0.0, 9.0)

    assert [11, 10] == _ids(_serve(line))


def test_an_idle_key_has_saved_nothing():
    """A key that was away while another used much shares evenly from now on."""
    line = Line(100)
    line.charge(_call(1, "away"))
    for call_id in range(1000):
        line.charge(_call(call_id, "busy", answer_tokens=99))
    for call_id in range(20):
        line.join(_call(call_id, ("busy", "away")[call_id % 2], answer_tokens=99), "l", 0.0, 9.0)

    assert {"busy": 5, "away": 5} == Counter(call.key for call in _serve(line, 10))


def test_wrong_estimates_are_corrected():
    """A key that asks for much and takes little gets as many tokens as an exact one."""
    padded = [_call(id_, "padded", answer_tokens=399) for id_ in range(1000)]
    exact = [_call(1000 + id_, "exact", answer_tokens=99) for id_ in range(1000)]
    line, served = _line(*padded, *exact, size_max=2000), Counter[str]()
    for _ in range(400):
        call = _serve(line, 1)[0]
        line.correct(call, 100)
        served[call.key] += 1

    assert abs(served["padded"] - served["exact"]) <= 4


def test_padded_estimates_do_not_keep_permits():
    """Permits taken on padded estimates before anyone waited earn nothing when others come."""
    line, served = Line(2000), Counter[str]()
    out = deque(_call(call_id, "padded", answer_tokens=9999) for call_id in range(300))
    for call in out:
        line.charge(call)
    for call_id in range(1000):
        line.join(_call(1000 + call_id, "padded", answer_tokens=9999), "lane", 0.0, 9.0)
        line.join(_call(2000 + call_id, "exact", answer_tokens=99), "lane", 0.0, 9.0)
    for _ in range(800):
        line.correct(out.popleft(), 100)
        out.extend(_serve(line, 1))
        served[out[-1].key] += 1

    assert abs(served["padded"] - served["exact"]) < 80


def test_a_correction_has_bounds():
    """However wrong an estimate was, it does not move a key further than the leeway."""
    line, padded, short = Line(10), _call(1, "padded", answer_tokens=10**6), _call(2, "short")
    for call in (padded, short, short):
        line.charge(call)
    line._clocks["m", DEFAULT].now = 10.0**6
    line.correct(padded, 1)
    line.correct(short, 10**9)
    clock = line._clocks["m", DEFAULT]
    leads = {key: meter.tag - clock.now for key, meter in clock.meters.items()}

    assert {"padded": -LEEWAY_TOKENS, "short": LEEWAY_TOKENS} == leads


def test_closed_backends_save_up_no_more_than_the_leeway():
    """A key that could not be served for long may make up for a little of it only."""
    line = Line(10)
    line.join(_call(1, "shut"), "closed", 0.0, 1e9)
    line.join(_call(2, "shut"), "closed", 0.0, 1e9)
    for call_id in range(100):
        line.charge(_call(call_id, "busy", answer_tokens=10_000))
    clock = line._clocks["m", DEFAULT]
    line.charge(_call(1, "shut"))

    assert clock.now - LEEWAY_TOKENS + 2 == clock.meters["shut"].tag


def test_models_take_turns():
    """Where two models' calls wait, neither keeps the other waiting."""
    line = Line(100)
    for call_id in range(10):
        line.join(_call(call_id, "a", model="big", answer_tokens=500), "big", 0.0, 9.0)
    for call_id in range(10, 13):
        line.join(_call(call_id, "b", model="small"), "small", 0.0, 9.0)

    assert {"big": 3, "small": 3} == Counter(call.model for call in _serve(line, 6))


# -- stress --------------------------------------------------------------------------------------


def test_newest_first_once_the_oldest_has_waited_long():
    """After half of the time that a call may wait, its key's newest call is next."""
    line = _line(_call(1), _call(2), _call(3))

    assert [1] == list(line.heads(50.0))
    assert [3] == list(line.heads(50.1))


def test_newest_first_in_a_filling_line():
    """In a line more than half full a second of waiting is enough; emptier, it is not."""
    line = _line(*[_call(call_id) for call_id in range(6)], size_max=10)
    stressed = list(line.heads(1.1))
    line.leave(5)

    assert ([5], [0], [0]) == (stressed, list(line.heads(1.1)), list(line.heads(0.9)))


def test_first_come_again_when_the_stress_is_over():
    """When those who waited too long have left, order is as before."""
    line = _line(_call(1))
    for call_id in (2, 3):
        line.join(_call(call_id), "lane", 60.0, 160.0)
    stressed = list(line.heads(61.0))
    line.expire(100.0)

    assert ([3], [2]) == (stressed, list(line.heads(100.0)))


def test_one_keys_backlog_leaves_the_others_order():
    """Only the key whose own calls have waited too long is served newest first."""
    line = _line(_call(1, "late"), _call(2, "late"))
    for call_id in (3, 4):
        line.join(_call(call_id, "calm"), "lane", 60.0, 160.0)

    assert [2, 3, 1, 4] == _ids(_serve(line, now=61.0))


# -- a full line ---------------------------------------------------------------------------------


def test_the_least_urgent_gives_up_its_place():
    """The newest call of the lowest class goes for a call that is more urgent."""
    line = _line(_call(1, priority=BATCH), _call(2, priority=BATCH), _call(3, priority=INTERACTIVE))

    assert 2 == line.victim(_call(9, priority=DEFAULT))
    line.leave(1)
    line.leave(2)
    assert None is line.victim(_call(9, priority=DEFAULT))


def test_the_key_that_holds_most_gives_up_its_place():
    """Within a class, the newest call of the key with most tokens waiting goes."""
    line = _line(_call(1, "a"), _call(2, "b", answer_tokens=9), _call(3, "b"), _call(4, "a"))

    assert (3, None) == (line.victim(_call(9, "c")), line.victim(_call(9, "b")))
    assert None is line.victim(_call(9, "c", answer_tokens=99))


def test_a_call_of_a_lower_class_displaces_nobody():
    """A batch call does not push out anyone but batch calls, and an empty line nobody."""
    line = _line(*[_call(call_id, "a", priority=INTERACTIVE) for call_id in range(9)])

    assert (None, None) == (line.victim(_call(9, "b", priority=BATCH)), Line(0).victim(_call(1)))


def test_ahead_does_not_count_another_keys_backlog():
    """A key with nothing waiting comes after one call of each other key, not after all of them."""
    line = _line(*[_call(id_, "greedy") for id_ in range(50)], _call(60, "modest"))

    assert 2 == line.ahead(_call(99, "newcomer"))
    assert 4 == line.ahead(_call(99, "modest"))
    assert 51 == line.ahead(_call(99, "greedy"))


def test_ahead_counts_the_own_class_and_above():
    """Calls of lower classes are not waited for."""
    line = _line(*[_call(id_, priority=id_ % 3) for id_ in range(7)])
    kinds = (INTERACTIVE, DEFAULT, BATCH)

    assert [3, 5, 7] == [line.ahead(_call(9, priority=kind)) for kind in kinds]


# -- expiry and bounds ---------------------------------------------------------------------------


def test_expiry_is_in_order_and_complete():
    """All whose time is over leave, the earliest first; the others stay."""
    line = Line(10)
    for call_id, expires in [(1, 9.0), (2, 3.0), (3, 5.0), (4, 12.0)]:
        line.join(_call(call_id), "a", 0.0, expires)

    assert 3.0 == line.deadline()
    assert [2, 3, 1] == line.expire(9.0)
    assert ([4], 12.0) == (list(line.heads(0.0)), line.deadline())


def test_leaving_is_idempotent():
    """Leaving twice, or without having waited, is no mistake."""
    line = _line(_call(1), size_max=1)

    assert line.is_full()
    assert [True, False, False] == [line.leave(1), line.leave(1), line.leave(2)]
    assert (0, inf, False) == (len(line), line.deadline(), line.is_full())


def test_a_call_may_come_back():
    """A call that left and waits again expires at its new time, not at its old one."""
    line = Line(2)
    line.join(_call(1), "a", 0.0, 5.0)
    line.leave(1)
    line.join(_call(1), "b", 1.0, 8.0)

    assert ([], [1]) == (line.expire(6.0), line.expire(8.0))


def test_nothing_is_kept_of_those_who_left():
    """Many who come and leave before their time leave nothing behind."""
    line = Line(2)
    for call_id in range(10_000):
        line.join(_call(call_id, f"key-{call_id % 7}"), call_id, 0.0, 1e9 + call_id)
        line.leave(call_id)

    assert len(line._expiries) < 200
    assert ({}, {}) == (line._lanes, line._rows[DEFAULT].holdings)


def test_remembered_keys_are_bounded(monkeypatch):
    """However many keys there are, only so many are remembered, and those that wait are kept."""
    monkeypatch.setattr(queueing, "KEYS_MAX", 100)
    line = _line(_call(0, "waits"), size_max=10)
    for call_id in range(1000):
        line.charge(_call(call_id, f"key-{call_id}", answer_tokens=call_id % 5 + 1))
        meters = line._clocks["m", DEFAULT].meters

        assert line._meters == len(meters) <= 110
        assert "waits" in meters


_STEPS = st.lists(
    st.tuples(
        st.integers(0, 9), st.sampled_from("xy"), st.sampled_from("abc"), st.integers(0, 2),
        st.floats(0, 50),
    ),
    max_size=60,
)  # fmt: skip


@settings(deadline=None)
@given(_STEPS)
def test_it_agrees_with_a_plain_list(steps):
    """Against a list that is searched: the same members, lengths, expiries and lowest classes."""
    line, plain = Line(7), []
    for now, (call_id, lane, key, priority, wait_s) in enumerate(steps):
        gone = sorted((expires, id_) for id_, expires, *_ in plain if expires <= now)
        plain = [one for one in plain if one[1] > now]
        expired = line.expire(float(now))
        if call_id in line.waiting:
            line.leave(call_id)
            plain = [one for one in plain if one[0] != call_id]
        elif not line.is_full():
            call = _call(call_id, key, priority=priority)
            line.join(call, lane, float(now), now + wait_s)
            plain.append((call_id, now + wait_s, lane, priority))
        heads = list(line.heads(float(now)))
        best = {lane: min(one[3] for one in plain if one[2] == lane) for _, _, lane, _ in plain}

        assert [id_ for _, id_ in gone] == expired
        assert {one[0] for one in plain} == set(line.waiting)
        assert min((one[1] for one in plain), default=inf) == line.deadline()
        assert best == {line.waiting[id_].lane: line.waiting[id_].call.priority for id_ in heads}
        assert len(best) == len(heads)
        above = sum(one[3] < 1 for one in plain)
        assert above <= line.ahead(_call(99, priority=1)) <= sum(one[3] <= 1 for one in plain)
