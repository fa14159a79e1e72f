"""In which terms is everything here paid?

Money is US dollars, a month is 730 hours, a horizon is so many months. A `Bill` is what one way
costs, by kind, in a month of its horizon; what is paid unevenly (a commitment that outlasts the
horizon) is spread over the horizon's months, so a month times the months is always the horizon.

Not here: where the amounts come from (`owned`, `rented`, `serverless`, `api`).
"""

import msgspec

HOURS_MONTH = 730.0
"""A twelfth of 8,760 hours; clouds reckon their months so, too."""
HOURS_DAY = 24.0
DAYS_MONTH = HOURS_MONTH / HOURS_DAY
MONTHS_YEAR = 12
SECONDS_HOUR = 3600.0
SECONDS_DAY = 86_400.0
SECONDS_YEAR = MONTHS_YEAR * HOURS_MONTH * SECONDS_HOUR
MTOK = 1e6
GB = 1e9


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a way costs over its horizon."""

    costs: dict[str, float]
    """US dollars a month by kind; none is negative."""
    months: float
    """The horizon."""

    @property
    def usd_month(self) -> float:
        """US dollars of a month, all kinds."""
        return sum(self.costs.values())

    @property
    def usd_horizon(self) -> float:
        """US dollars of all months."""
        return self.usd_month * self.months

    def usd_mtok(self, tokens_month: float) -> float:
        """Give US dollars for a million tokens, prompts' and answers', if there are so many."""
        if tokens_month <= 0.0:
            raise ValueError(f"tokens_month: {tokens_month:g} is not above 0")
        return self.usd_month / tokens_month * MTOK


def check(is_so: bool, what: str) -> None:
    """Refuse an input that means nothing, by a ValueError that says what it must be."""
    if not is_so:
        raise ValueError(what)
