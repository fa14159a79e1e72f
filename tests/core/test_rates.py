"""What tokens cost: at which backend, since when, at which hour."""

import pytest

from baseload.config.tenancy import Peak, Price
from baseload.core.rates import Rate, Tariff

PEAK = Peak(
    hours=("01:00-04:00", "22:00-00:30"), factor=3.0, weekdays_only=True, off_days=("2026-11-25",)
)


def price(since: str = "2026-11-01", **fields) -> Price:
    """Give a price of a dollar in and two out."""
    plain = {"input_usd_mtok": 1.0, "output_usd_mtok": 2.0}
    return Price(backend="b", model="m", since=since, **(plain | fields))


def test_the_latest_price_that_has_begun_holds():
    """Prices of the future wait, those of the past are over; a minute tells as well as a day."""
    prices = [
        price("2026-11-10T16:00", input_usd_mtok=2.0),
        price("2026-11-01"),
        price("2026-12-01", input_usd_mtok=3.0),
    ]
    tariff = Tariff(prices)
    found = [
        tariff.rate("b", "m", moment)
        for moment in (
            "2026-10-31T23:59",
            "2026-11-01T00:00",
            "2026-11-10T15:59",
            "2026-11-10T16:00",
            "2026-11-30T23:59",
            "2026-12-01T00:00",
        )
    ]

    assert [None, 1.0, 1.0, 2.0, 2.0, 3.0] == [rate and rate.input for rate in found]


def test_what_is_not_priced_has_no_rate():
    """Another model, another backend: unknown, not free."""
    tariff = Tariff([price()])

    assert tariff.rate("b", "n", "2026-11-26T09:00") is None
    assert tariff.rate("c", "m", "2026-11-26T09:00") is None


def test_without_a_price_for_the_cache_it_saves_nothing():
    """Cached tokens cost what others cost."""
    assert Rate(1.0, 1.0, 2.0) == Tariff([price()]).rate("b", "m", "2026-11-26T09:00")


def test_each_kind_of_token_has_its_price():
    """Cached tokens are part of the prompt's."""
    assert 6 * 1 + 4 * 0.5 + 3 * 2 == 1e6 * Rate(1.0, 0.5, 2.0).cost_usd(10, 4, 3)


@pytest.mark.parametrize(
    ("moment", "factor"),
    [
        ("2026-11-26T00:59", 1), ("2026-11-26T01:00", 3), ("2026-11-26T03:59", 3),
        ("2026-11-26T04:00", 1), ("2026-11-26T22:00", 3), ("2026-11-26T23:59", 3),
        ("2026-11-27T00:29", 3), ("2026-11-27T00:30", 1),
        ("2026-11-28T02:00", 1),  # a Saturday
        ("2026-11-25T02:00", 1),  # a day off
    ],
)  # fmt: skip
def test_peak_hours_cost_more(moment, factor):
    """On the days that have them, to the minute, past midnight too."""
    tariff = Tariff([price(peak=PEAK, cached_usd_mtok=0.5)])

    assert Rate(1.0 * factor, 0.5 * factor, 2.0 * factor) == tariff.rate("b", "m", moment)
