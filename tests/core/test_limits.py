"""Limits: fixed, and learnt from what refusals show."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.core.facts import ALIVE, DROPPED, IGNORE, SUCCESS, Lesson
from baseload.core.limits import (
    HOLD_S_MAX,
    HOLD_S_MIN,
    STRAIN_GAP_S,
    AdaptiveLimit,
)

REFUSAL_S = 0.05
ENDS, REFUSED, BEGINS = range(3)


class Account:
    """A provider that holds `hidden(now)` calls at once, always asked for more than the limit."""

    def __init__(self, limit: AdaptiveLimit, call_s: float, hidden: Callable[[float], int]) -> None:
        self.limit, self.call_s, self.hidden = limit, call_s, hidden
        self.rng = Random(7)
        self.heap: list[tuple[float, int, int, float]] = []
        self.order = count()
        self.in_flight = self.held = 0
        self.sent = self.refused = 0
        self.held_s = 0.0
        self.now = 0.0

    def run_until(self, end: float) -> None:
        """Offer as many calls as the limit lets through, until `end`."""
        self._fill()
        while self.heap and self.heap[0][0] <= end:
            at, _, what, taken_at = heappop(self.heap)
            self._pass(at)
            if what == BEGINS:
                self.limit.learn(ALIVE, self.in_flight, taken_at, at)
                continue
            self.in_flight -= 1
            if what == ENDS:
                self.held -= 1
            self.limit.learn(DROPPED if what == REFUSED else SUCCESS, self.in_flight, taken_at, at)
            self._fill()
        self._pass(end)

    def watch(self, seconds: float) -> tuple[float, float]:
        """Run on; give the mean of calls held by the provider, and the share of refused ones."""
        self.sent = self.refused = 0
        self.held_s = 0.0
        self.run_until(self.now + seconds)
        return self.held_s / seconds, self.refused / max(self.sent, 1)

    def _pass(self, at: float) -> None:
        self.held_s += self.held * (at - self.now)
        self.now = at

    def _fill(self) -> None:
        while self.in_flight < self.limit.limit:
            self.in_flight += 1
            self.sent += 1
            if self.held >= self.hidden(self.now):
                self.refused += 1
                self._at(REFUSAL_S, REFUSED)
            else:
                self.held += 1
                call_s = self.call_s * self.rng.uniform(0.5, 1.5)
                self._at(call_s * 0.1, BEGINS)
                self._at(call_s, ENDS)

    def _at(self, seconds: float, what: int) -> None:
        heappush(self.heap, (self.now + seconds, next(self.order), what, self.now))


@pytest.mark.parametrize("call_s", [5.0, 0.2])
def test_it_finds_a_hidden_limit(call_s):
    """Within a minute it is near what the provider holds, and asks for more only rarely."""
    account = Account(AdaptiveLimit(100, 500), call_s, lambda now: 40)
    account.run_until(30.0)
    mean, _ = account.watch(30.0)
    _, refused = account.watch(60.0)

    assert pytest.approx(40, rel=0.2) == mean
    assert refused < 0.05


@pytest.mark.parametrize("call_s", [5.0, 0.2])
def test_it_follows_a_hidden_limit_that_moves(call_s):
    """A minute after each move, what the provider holds is again what it could hold."""
    hidden = 40
    account = Account(AdaptiveLimit(100, 500), call_s, lambda now: hidden)
    account.run_until(60.0)
    means = []
    for hidden in (80, 20):  # noqa: B007 - read by the account
        account.run_until(account.now + 60.0)
        means.append(account.watch(20.0)[0])

    assert [80, 20] == [pytest.approx(mean, rel=0.2) for mean in means]


def test_a_provider_that_holds_one_call_is_asked_for_little_more():
    """At the smallest of limits it still finds its way, down and back up."""
    hidden = 1
    account = Account(AdaptiveLimit(100, 500), 1.0, lambda now: hidden)
    account.run_until(60.0)
    low = account.watch(20.0)[0]
    hidden = 30
    account.run_until(account.now + 90.0)
    high = account.watch(20.0)[0]

    assert pytest.approx(1, rel=0.2) == low
    assert pytest.approx(30, rel=0.2) == high


def test_one_round_of_refusals_halves_at_most():
    """Refusals of calls sent before the cut are echoes, and lower it to the round's floor only."""
    limit = AdaptiveLimit(100, 100)
    for in_flight in range(99, -1, -1):
        limit.learn(DROPPED, in_flight, 0.0, 1.0)

    assert 50 == limit.limit


def test_a_refusal_of_a_newer_call_begins_a_round():
    """A call sent after the cut and refused shows that the cut was too small."""
    limit = AdaptiveLimit(100, 100)
    limit.learn(DROPPED, 30, 0.0, 1.0)
    limit.learn(DROPPED, 30, 1.1, 1.2)

    assert 30 == limit.limit


def test_it_recovers_from_refusals_at_low_load():
    """Refusals by rate, with little in flight, cut deep; use brings the limit back in a minute."""
    limit = AdaptiveLimit(100, 100)
    for number in range(20):
        limit.learn(DROPPED, 2, number * 0.1, number * 0.1 + 0.05)
    low = limit.limit
    now = 2.0
    while now < 62.0:
        now += 0.25
        limit.learn(SUCCESS, limit.limit - 1, now - 0.2, now)

    assert 2 == low
    assert 100 == limit.limit


def test_it_does_not_grow_unused():
    """Successes far below the limit prove nothing about more."""
    limit = AdaptiveLimit(100, 200)
    for number in range(1000):
        limit.learn(SUCCESS, 50, number * 0.1, number * 0.1)

    assert 100 == limit.limit


def test_it_waits_before_it_grows():
    """Right after a refusal it stays, however well calls go."""
    limit = AdaptiveLimit(100, 200)
    limit.learn(DROPPED, 80, 0.0, 10.0)
    limit.learn(ALIVE, 80, 10.0, 10.0 + HOLD_S_MIN - 0.01)
    held = limit.limit
    for tenth in range(1, 30):
        limit.learn(ALIVE, 80, 10.0, 10.0 + HOLD_S_MIN + tenth * 0.1)

    assert 80 == held
    assert 80 < limit.limit


def test_strain_lowers_it_gently():
    """A tenth a second while strained, nothing while not, and never to starvation."""
    limit = AdaptiveLimit(100, 100)
    limit.strained(2.9, 0.0)
    calm = limit.limit
    for tenth in range(1, 20):
        limit.strained(9.0, tenth * 0.1)
    gentle = limit.limit
    for second in range(600):
        limit.strained(9.0, 2.0 + second * STRAIN_GAP_S)

    assert 100 == calm
    assert 81 == gentle
    assert 25 == limit.limit


def test_strain_takes_no_more_than_is_carried():
    """What the backend surely works on is never taken away for strain."""
    limit = AdaptiveLimit(100, 100)
    for second in range(60):
        limit.strained(9.0, second * STRAIN_GAP_S, 60)

    assert 60 == limit.limit


def test_a_small_limit_grows_with_time_and_not_with_calls():
    """A limit of one that hears of an event every four seconds still gains one a second."""
    limit = AdaptiveLimit(1, 100)
    limit.learn(DROPPED, 0, 0.0, 0.0)
    now = HOLD_S_MIN
    for _ in range(4):
        limit.learn(SUCCESS, limit.limit - 1, now, now + 4.0)
        now += 4.0

    assert pytest.approx(17, abs=2) == limit.limit


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([*Lesson, "strain"]),
        st.integers(0, 300),
        st.floats(0, 20),
        st.floats(0, 2 * HOLD_S_MAX),
    ),
    max_size=200,
)


def _play(events, extra_ignored):
    limit = AdaptiveLimit(20, 200)
    seen, now = [], 0.0
    for what, in_flight, age_s, gap_s in events:
        now += gap_s
        if extra_ignored:
            limit.learn(IGNORE, in_flight, now - age_s, now)
        if what == "strain":
            limit.strained(in_flight / 10, now)
        else:
            limit.learn(what, in_flight, now - age_s, now)
        seen.append(limit.limit)
    return seen


@given(EVENTS)
def test_it_stays_in_bounds(events):
    """Whatever happens, at least one call may go out, and never more than the most."""
    seen = _play(events, extra_ignored=False)

    assert [] == [limit for limit in seen if not 1 <= limit <= 200]


@given(EVENTS)
def test_what_proves_nothing_teaches_nothing(events):
    """Callers' own mistakes and cancels between other events change nothing at all."""
    assert _play(events, extra_ignored=False) == _play(events, extra_ignored=True)
