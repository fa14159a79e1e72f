"""What Prometheus sees of budgets, and of counters that replicas share."""

from time import time
from types import SimpleNamespace

import pytest

from baseload.config.tenancy import Limits
from baseload.core.card import Card, day_of
from baseload.core.quota import Hold, Quota, Scope
from baseload.gateway.limitmetrics import LimitMetrics
from baseload.store.counters import LocalCounters


def _shown(counters: object) -> dict[str, float]:
    found = LimitMetrics(counters).collect()
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for metric in found
        for sample in metric.samples
    }


def test_shared_counters_tell_whether_they_share():
    """A double has the numbers and nothing else."""
    double = SimpleNamespace(quota=Quota(), alone=4, replicas=3, is_well=lambda now: False)

    assert {
        "baseload_limits_alone_calls_total": 4,
        "baseload_limits_shared": 0,
        "baseload_limits_replicas": 3,
    } == _shown(double)


def test_counters_in_memory_have_nothing_to_tell():
    """There is nobody to share with."""
    assert {} == _shown(LocalCounters())


def _spend(counters: LocalCounters, name: str, limits: Limits, usd: float) -> None:
    hold = Hold((Scope(name, limits, name),), 10, 0.0)
    counters.reserve(hold, lambda _verdict: None)
    counters.settle(hold, 10, usd)


def test_of_all_budgets_the_one_that_is_used_most_is_shown():
    """Each kind of budget has one number, whoever has it; no key's name is a label."""
    counters = LocalCounters({"key:c": (0.0, 90.0)})
    _spend(counters, "key:a", Limits(usd_day=10.0), 2.0)
    _spend(counters, "key:b", Limits(usd_day=10.0, usd_month=400.0), 7.0)
    _spend(counters, "key:c", Limits(usd_month=100.0), 5.0)
    _spend(counters, "key:d", Limits(rpm=5), 1000.0)

    assert {
        "baseload_budget_used_ratio/usd_day": 0.7,
        "baseload_budget_used_ratio/usd_month": 0.95,
    } == pytest.approx(_shown(counters))


def test_without_a_budget_there_is_no_ratio():
    """Neither limits of other kinds nor a budget of nothing have a part that is used."""
    counters = LocalCounters()
    _spend(counters, "key:a", Limits(rpm=5, tpm=500), 1.0)
    _spend(counters, "key:b", Limits(usd_day=0.0), 0.0)

    assert {} == _shown(counters)


def test_a_day_that_is_over_is_not_used_any_more():
    """Nobody has called since midnight, so the card has not heard of the new day: it is asked."""
    card = Card(Limits(usd_day=10.0, usd_month=100.0))
    today = day_of(time())
    card.roll(today)
    card.spend(5.0)
    card.held_usd = 1.0
    in_a_year = today + 366

    assert (0.6, 0.06) == pytest.approx(card.parts_used(today))
    assert (0.1, 0.01) == pytest.approx(card.parts_used(in_a_year))
    assert 5.0 == card.spent_day_usd
