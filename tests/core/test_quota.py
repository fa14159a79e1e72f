"""Limits of keys: examples with numbers, each checked by hand."""

from datetime import UTC, datetime

import pytest

from baseload.config.fleet import Model, Target
from baseload.config.tenancy import Key, Limits
from baseload.core.card import SLICES
from baseload.core.quota import IDLE_CARDS_MAX, Hold, Quota, Scope, Verdict, scopes_of

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
HALF_DAY_S = 43_200.0


def scope(name: str = "key:a", **limits: float) -> Scope:
    return Scope(name, Limits(**limits), name)


def ask(quota: Quota, *scopes: Scope, tokens: int = 1, usd: float = 0.0, at: float = 0.0):
    """Reserve at a time, counted from noon; give the hold and the verdict."""
    hold = Hold(scopes, tokens, usd)
    return hold, quota.reserve(hold, at, NOON + at)


def test_requests_are_limited_to_so_many_in_a_minute():
    """The third of two a minute is refused, and told when the first of them is a minute old."""
    quota, key = Quota(), scope(rpm=2)
    ask(quota, key, at=1.0)
    ask(quota, key, at=11.0)
    _, verdict = ask(quota, key, at=21.0)

    assert Verdict(
        False, 2, 0, 0, 0, 11.25 + 60 - 21, 1.25 + 60 - 21, "rpm", "key:a", 2.0, 2.0, 1.0
    ) == verdict  # fmt: skip


def test_a_slice_expires_when_all_of_it_is_a_minute_old():
    """What came at the end of a slice blocks until the slice is over, not a moment longer."""
    quota, key = Quota(), scope(rpm=1)
    ask(quota, key, at=0.24)

    assert not ask(quota, key, at=60.24)[1].is_granted
    assert ask(quota, key, at=60.25)[1].is_granted


def test_a_grant_says_what_is_left():
    """The figures of a grant count the call itself, and are those of the tightest scope."""
    quota = Quota()
    _, verdict = ask(
        quota, scope(rpm=10, tpm=1000), scope("model:m", rpm=5, tpm=5000), tokens=100, at=0.1
    )

    assert Verdict(True, 5, 4, 1000, 900, pytest.approx(60.15)) == verdict


def test_tokens_are_corrected_where_they_were_reserved():
    """What was set aside and not used is free at once; what it took counts from its admission."""
    quota, key = Quota(), scope(tpm=1000)
    hold, _ = ask(quota, key, tokens=900, at=0.0)

    assert not ask(quota, key, tokens=200, at=10.0)[1].is_granted
    quota.settle(hold, 300, 0.0, NOON)
    assert 500 == ask(quota, key, tokens=200, at=20.0)[1].tokens_left
    assert 800 == ask(quota, key, tokens=0, at=60.25)[1].tokens_left


def test_what_was_estimated_too_low_is_counted_as_it_was():
    """A call that took more than it had asked for leaves less to the next."""
    quota, key = Quota(), scope(tpm=1000)
    hold, _ = ask(quota, key, tokens=100)
    quota.settle(hold, 950, 0.0, NOON)

    assert "tpm" == ask(quota, key, tokens=100)[1].limit


def test_a_call_beyond_the_whole_limit_can_never_pass():
    """It is refused with its size beside the limit, and no time to come back."""
    quota, key = Quota(), scope(tpm=1000)
    _, verdict = ask(quota, key, tokens=1001)

    assert ("tpm", 1000.0, 1001.0, 0.0) == (
        verdict.limit, verdict.most, verdict.asked, verdict.retry_after_s,
    )  # fmt: skip


def test_all_scopes_or_none():
    """A refusal by one scope takes nothing from the others, and says whose limit it was."""
    quota, key, model = Quota(), scope(rpm=5), scope("model:m", rpm=1)
    ask(quota, model)
    _, refused = ask(quota, key, model)
    _, granted = ask(quota, key)

    assert ("model:m", 4) == (refused.scope, granted.requests_left)


def test_the_limit_that_takes_longest_is_named():
    """Of several limits that are reached, the time to come back is that of the last to be free."""
    quota, key = Quota(), scope(rpm=2, tpm=100)
    ask(quota, key, tokens=10, at=0.0)
    ask(quota, key, tokens=90, at=30.0)
    _, verdict = ask(quota, key, tokens=50, at=31.0)

    assert ("tpm", 30.25 + 60 - 31) == (verdict.limit, verdict.retry_after_s)


def test_calls_at_once_are_limited_until_one_is_settled():
    """A place comes free with the end of a call, and only once."""
    quota, key = Quota(), scope(concurrency=1)
    hold, _ = ask(quota, key)

    assert "concurrency" == ask(quota, key)[1].limit
    quota.settle(hold, 0, 0.0, NOON)
    quota.settle(hold, 0, 0.0, NOON)
    assert ask(quota, key)[1].is_granted
    assert not ask(quota, key)[1].is_granted


def test_a_budget_counts_what_is_spent_and_what_calls_in_flight_may_cost():
    """A day's money is reserved, settled, and free again with the next day (UTC)."""
    quota, key = Quota(), scope(usd_day=1.0)
    hold, _ = ask(quota, key, usd=0.6)
    _, verdict = ask(quota, key, usd=0.6)
    quota.settle(hold, 5, 0.3, NOON)

    assert ("usd_day", 1.0, 0.6, 0.6) == (verdict.limit, verdict.most, verdict.used, verdict.asked)
    assert HALF_DAY_S == verdict.retry_after_s
    assert ask(quota, key, usd=0.6)[1].is_granted
    assert not ask(quota, key, usd=0.6, at=HALF_DAY_S - 1)[1].is_granted
    assert ask(quota, key, usd=0.4, at=HALF_DAY_S)[1].is_granted


def test_money_of_a_call_over_midnight_belongs_to_the_day_of_its_end():
    """What is in flight at midnight counts on both sides of it, as it will be in the ledger."""
    quota, key = Quota(), scope(usd_day=1.0)
    hold, _ = ask(quota, key, usd=0.9, at=HALF_DAY_S - 1)

    assert not ask(quota, key, usd=0.2, at=HALF_DAY_S + 1)[1].is_granted
    quota.settle(hold, 5, 0.5, NOON + HALF_DAY_S + 2)
    assert not ask(quota, key, usd=0.6, at=HALF_DAY_S + 3)[1].is_granted


def test_the_first_of_all_days_belongs_to_its_month():
    """What is spent on the first of January 1970 counts on the second."""
    quota, key = Quota(), scope(usd_month=1.0)
    hold = Hold((key,), 1, 0.9)

    assert quota.reserve(hold, 0.0, 0.0).is_granted
    quota.settle(hold, 1, 0.9, 0.0)
    assert not quota.reserve(Hold((key,), 1, 0.2), 86_400.0, 86_400.0).is_granted


def test_a_budget_of_nothing_lets_nobody_in():
    """Even a call without a price is refused, and told to come back with the next month."""
    _, verdict = ask(Quota(), scope(usd_month=0.0))

    assert ("usd_month", 4.5 * 86_400) == (verdict.limit, verdict.retry_after_s)


def test_what_was_spent_before_counts_on_its_day():
    """A budget begins with what the ledger knows; a day later only the month's part is left."""
    spent = {"key:a": (0.9, 5.0)}
    key = scope(usd_day=1.0, usd_month=5.5)

    assert not ask(Quota(spent=spent, spent_until_s=NOON), key, usd=0.2)[1].is_granted
    quota = Quota(spent=spent, spent_until_s=NOON)
    assert ask(quota, key, usd=0.2, at=86_400.0)[1].is_granted
    assert "usd_month" == ask(quota, key, usd=0.4, at=86_400.0)[1].limit


def test_asking_twice_changes_nothing():
    """A hold that is granted is granted again as it was; a refusal leaves no trace."""
    quota, key = Quota(), scope(rpm=2, concurrency=2)
    hold, first = ask(quota, key)
    again = quota.reserve(hold, 1.0, NOON)
    refused = [ask(quota, key, scope("other", rpm=1, tpm=1), tokens=2)[1] for _ in range(3)]

    assert first is again
    assert ["tpm"] * 3 == [verdict.limit for verdict in refused]
    assert 0 == ask(quota, key)[1].requests_left


def test_new_limits_hold_from_the_next_call_on():
    """A scope with other limits keeps what it has used."""
    quota = Quota()
    for _ in range(3):
        ask(quota, scope(rpm=10))

    assert not ask(quota, scope(rpm=3))[1].is_granted
    assert 1 == ask(quota, scope(rpm=5))[1].requests_left


def test_idle_cards_are_forgotten_and_used_ones_are_not():
    """So many names as there may be, the memory is bounded; what is held or spent is kept."""
    quota = Quota()
    ask(quota, scope("held", concurrency=1))
    spender, _ = ask(quota, scope("spender", usd_month=1.0), usd=0.9)
    quota.settle(spender, 1, 0.9, NOON)
    for number in range(3 * IDLE_CARDS_MAX):
        hold, _ = ask(quota, scope(f"n{number}", rpm=1), at=number * 1.0)
        quota.settle(hold, 1, 0.0, NOON)

    later = 3.0 * IDLE_CARDS_MAX
    assert len(quota) <= IDLE_CARDS_MAX
    assert not ask(quota, scope("held", concurrency=1), at=later)[1].is_granted
    assert not ask(quota, scope("spender", usd_month=1.0), usd=0.2, at=later)[1].is_granted


def test_a_window_of_another_length():
    """The window is the constructor's; its slices become as much shorter."""
    quota, key = Quota(2.0), scope(rpm=1)
    ask(quota, key, at=0.0)

    assert not ask(quota, key, at=2.0)[1].is_granted
    assert ask(quota, key, at=2.0 + 2.0 / SLICES)[1].is_granted


def test_scopes_of_a_key_and_a_model():
    """A key, the key on this model, the model: those of them that have limits."""
    tiers = ({"b": Target(backend="b", model="m")},)
    model = Model(name="m", tiers=tiers, limits=Limits(concurrency=9))
    key = Key(name="team-a", sha256="0" * 64, rpm=5, per_model={"m": Limits(tpm=7), "n": Limits()})
    bare = Key(name="team-b", sha256="0" * 64)

    assert [
        ("key:team-a", "key team-a"),
        ("key:team-a/model:m", "key team-a on model m"),
        ("model:m", "model m"),
    ] == [(one.name, one.words) for one in scopes_of(key, model)]
    assert ["model:m"] == [one.name for one in scopes_of(None, model)]
    assert () == scopes_of(bare, Model(name="m", tiers=tiers))
