"""What do providers' APIs charge on a given day?

DeepSeek's own prices are dated and kept once, with the gateway's (`config.prices`), because the
ledger needs them, too; here they become rows of the catalogue. A plan looks at a whole week, so the
hours of the day in which a provider charges more become a part of the week.

Not here: what a call cost (`core.rates`), other hosts' prices (`apis.toml`).
"""

from collections.abc import Iterable
from datetime import date

from baseload.config.prices import Row, known_rows
from baseload.config.tenancy import Peak
from baseload.plan.catalog.rows import ApiPrice

DAY_MINUTES = 24 * 60
WEEK_DAYS = 7
WORK_DAYS = 5


def api_prices(today: date) -> tuple[ApiPrice, ...]:
    """Give what is known of prices as they hold at the end of a day (UTC), one row a model."""
    moment = f"{today.isoformat()}T23:59"
    latest: dict[tuple[str, str], Row] = {}
    for row in sorted(known_rows(), key=lambda row: row.since):
        if row.since <= moment:
            latest |= {(row.host, model): row for model in row.models}
    return tuple(_price(row, model) for (_, model), row in latest.items())


def peak_share(peak: Peak | None) -> float:
    """Give the part of a week's hours that are peak. Single days off are not counted."""
    if peak is None:
        return 0.0
    minutes = len({minute for hours in peak.hours for minute in _minutes(hours)})
    days = WORK_DAYS if peak.weekdays_only else WEEK_DAYS
    return minutes * days / (DAY_MINUTES * WEEK_DAYS)


def _minutes(hours: str) -> Iterable[int]:
    """Give minutes of the day in `22:00-04:00`, past midnight, too."""
    start, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in hours.split("-"))
    if start <= end:
        return range(start, end)
    return (*range(start, DAY_MINUTES), *range(end))


def _price(row: Row, model: str) -> ApiPrice:
    return ApiPrice(
        name=f"{row.host}/{model}", host=row.host, model=model, source=row.source, seen=row.seen,
        verified=True, input_usd_mtok=row.input_usd_mtok, cached_usd_mtok=row.cached_usd_mtok,
        output_usd_mtok=row.output_usd_mtok,
        peak_factor=row.peak.factor if row.peak else 1.0, peak_share=peak_share(row.peak),
        note=f"since {row.since}",
    )  # fmt: skip
