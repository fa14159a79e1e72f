"""What holds of limits whatever is asked: checked against a list of all that was ever granted."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.config.tenancy import Limits
from baseload.core.card import SLICES
from baseload.core.quota import Hold, Quota, Scope

WINDOW_S = 60.0
DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
"""When plans begin: on the very first day of the calendar, a card does not know its month yet."""


class Book:
    """A double of the quota that knows everything: each grant with its time, never forgotten.

    It is slow and exact. What is used counts from its admission; it says how much was used in the
    window that ends now.
    """

    def __init__(self) -> None:
        self.lines: list[list[float]] = []

    def used(self, now: float, window_s: float) -> tuple[int, float]:
        within = [line for line in self.lines if now - window_s <= line[0] <= now]
        return len(within), sum(line[1] for line in within)


steps = st.lists(
    st.tuples(
        st.floats(0, 20),  # seconds since the last step
        st.integers(1, 400),  # tokens that are reserved
        st.floats(0, 1.5),  # the part of them that is used
        st.floats(0, 0.2),  # dollars that are reserved
        st.integers(0, 6),  # which of the open calls ends; beyond them: none
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 12), st.integers(100, 1500), st.integers(1, 5), st.randoms())
def test_never_over_and_hardly_under(plan, rpm: int, tpm: int, concurrency: int, chance: Random):
    """No window holds more than its limit; who is refused would have been a slice later at most.

    Extra looks (another refused call, another settling of what is settled) change nothing.
    """
    scope = Scope("s", Limits(rpm=rpm, tpm=tpm, concurrency=concurrency), "s")
    huge = Scope("t", Limits(tpm=1), "t")
    quota, book, now = Quota(WINDOW_S), Book(), 0.0
    opened: list[tuple[Hold, list[float]]] = []
    for after_s, tokens, part, _, which in plan:
        now += after_s
        if chance.random() < 0.5:
            assert not quota.reserve(Hold((scope, huge), 2, 0.0), now, now).is_granted
        hold = Hold((scope,), tokens, 0.0)
        verdict = quota.reserve(hold, now, now)
        requests, used = book.used(now, WINDOW_S)
        if verdict.is_granted:
            line = [now, tokens]
            book.lines.append(line)
            opened.append((hold, line))

            assert requests + 1 <= rpm
            assert used + tokens <= tpm
            assert len(opened) <= concurrency
        elif verdict.limit == "concurrency":
            assert len(opened) == concurrency
        elif tokens <= tpm:
            requests, used = book.used(now, WINDOW_S * (1 + 1 / SLICES))

            assert requests + 1 > rpm or used + tokens > tpm
            assert 0 < verdict.retry_after_s <= WINDOW_S * (1 + 1 / SLICES)
        if which < len(opened):
            hold, line = opened.pop(which)
            line[1] = int(line[1] * min(part, 1.0))
            quota.settle(hold, int(line[1]), 0.0, now)
            quota.settle(hold, 10_000, 9.0, now)


@settings(max_examples=100, deadline=None)
@given(steps, st.floats(0.1, 3), st.floats(0.1, 5))
def test_budgets_hold_up_to_the_error_of_the_estimate(plan, usd_day: float, usd_month: float):
    """What a day and a month cost is never more than allowed plus what was estimated too low."""
    scope = Scope("s", Limits(usd_day=usd_day, usd_month=usd_month), "s")
    quota, now = Quota(WINDOW_S), 0.0
    opened: list[Hold] = []
    days: dict[int, float] = {}
    error = 0.0
    for after_s, _, part, usd, which in plan:
        now += after_s * 2000  # A plan is some days long.
        hold = Hold((scope,), 1, usd)
        if quota.reserve(hold, now, YEAR_S + now).is_granted:
            opened.append(hold)
        if which < len(opened):
            hold = opened.pop(which)
            cost = hold.usd * part
            error += max(cost - hold.usd, 0.0)
            days[int(now // DAY_S)] = days.get(int(now // DAY_S), 0.0) + cost
            quota.settle(hold, 1, cost, YEAR_S + now)

    assert all(spent <= usd_day + error + 1e-9 for spent in days.values())
    months = (
        sum(usd for day, usd in days.items() if (day < 31) is first) for first in (True, False)
    )
    assert all(spent <= usd_month + error + 1e-9 for spent in months)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_everything_returns_to_nothing(plan):
    """When all calls are settled and a window has passed, a card is as it was in the beginning."""
    scope = Scope("s", Limits(rpm=50, tpm=5000, concurrency=9, usd_day=2.0), "s")
    quota, now = Quota(WINDOW_S), 0.0
    opened = []
    for after_s, tokens, part, usd, which in plan:
        now += after_s
        hold = Hold((scope,), tokens, usd)
        if quota.reserve(hold, now, now).is_granted:
            opened.append(hold)
        if which < len(opened):
            quota.settle(opened.pop(which), int(tokens * part), usd * part, now)
        card = quota.find("s")

        assert card is not None
        assert len(opened) == card.in_flight >= 0
        assert card.requests == sum(cell[1] for cell in card.cells)
        assert card.tokens == sum(cell[2] for cell in card.cells)
    for hold in opened:
        quota.settle(hold, 1, 0.0, now)
    later = now + WINDOW_S * 1.01
    assert not quota.reserve(Hold((scope,), 9999, 0.0), later, later).is_granted
    card = quota.find("s")
    if card is not None:
        assert (0, 0, 0, 0.0, 0) == (
            card.requests, card.tokens, card.in_flight, card.held_usd, len(card.cells),
        )  # fmt: skip


@pytest.mark.parametrize("per_call", [1, 7, 90])
def test_sustained_use_reaches_the_limit(per_call: int):
    """Whoever asks without pause gets at least 99 % of the tokens that a limit allows."""
    scope, minutes = Scope("s", Limits(tpm=6000), "s"), 20
    quota, now, granted = Quota(WINDOW_S), 0.0, 0
    while now < minutes * WINDOW_S:
        if quota.reserve(Hold((scope,), per_call, 0.0), now, now).is_granted:
            granted += per_call
            now += 1e-6
        else:
            now += 0.05
    share = granted / (6000 * (minutes + 1))

    assert 0.99 <= share * (minutes + 1) / minutes
    assert share <= 1.0
