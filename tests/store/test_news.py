"""What one replica tells the others of money that was spent before it came."""

import time

import pytest

from baseload.core.quota import Quota
from baseload.store.news import Cast, News
from tests.gateway.harness import on_uvloop
from tests.store.redis_server import running_redis
from tests.store.replicas import replicas_of, scope

DAY_S = 86_400.0
NOON = 20_000 * DAY_S + DAY_S / 2
"""2024-10-04: the month goes on for four weeks."""
SPENT = {"key:a": (2.0, 7.0)}


@pytest.mark.parametrize(
    ("later_s", "day_usd", "month_usd"),
    [(0.0, 2.0, 7.0), (DAY_S, 0.0, 7.0), (30 * DAY_S, 0.0, 0.0)],
)
def test_what_was_spent_before_is_told_for_its_day_and_month_alone(later_s, day_usd, month_usd):
    """A replica that tells all once more, a day or a month on, brings no old money into today."""
    quota, at = Quota(spent=SPENT, spent_until_s=NOON), NOON + later_s
    news, key = News(quota, SPENT), scope(usd_day=3.0, usd_month=9.0)
    card = quota.card(key, -1, NOON)
    news.meet("key:a", card)
    news.take(Cast(), NOON)
    news.tell_all()
    ((_, _, _, day, _, _, _, *seeds, is_whole, _),), _ = news.take(Cast(), at)

    assert (int(at // DAY_S), [day_usd, month_usd], True) == (day, seeds, is_whole)


@on_uvloop
async def test_a_budget_that_comes_later_is_told_with_what_was_spent_before_it():
    """All replicas hear what one of them spent before its key had a budget."""
    async with running_redis() as redis, replicas_of(redis.url, spent={}) as (one, two):
        one.settle(await one.ask_all(1, scope(rpm=9)), usd=0.8)
        one.counters.quota.past.spend("a", "m", 0.8, time.time())
        key = scope(rpm=9, usd_day=1.0)
        _, mine = await one.ask(key, usd=0.5)
        _, theirs = await two.ask(key, usd=0.5)

        assert ("usd_day", pytest.approx(0.8)) == (mine.limit, mine.used)
        assert ("usd_day", pytest.approx(0.8)) == (theirs.limit, theirs.used)
