"""What do rented machines cost?

- On demand: hours used times the rate.
- Reserved: every hour of the term is paid, used or not, and terms are whole: 18 months of a
  one-year commitment are 24 months paid. The two wastes are shown as `commitment`.
- Spot: an interruption costs the time in which a replacement starts; it is paid and serves nobody.
  To do the same work, `lost = interruptions * start / hours of a month` of all hours are bought
  again: `hours / (1 - lost)`. `standby` is capacity held beyond that against interruptions that
  come together. In a part of the time no spot machine is to be had and on-demand ones take over.
- Egress: bytes to the internet beyond the free ones.

Not here: starting times (`loading`), prices (`catalog`).
"""

from math import ceil

import msgspec

from baseload.plan.catalog.rows import Instance
from baseload.plan.cost.terms import DAYS_MONTH, HOURS_DAY, HOURS_MONTH, SECONDS_HOUR, Bill, check
from baseload.plan.result import Tenure

TERM_MONTHS: dict[str, int] = {"on_demand": 0, "reserved_1y": 12, "reserved_3y": 36, "spot": 0}
"""Months that are committed to at once."""


RATES: dict[Tenure, str] = {
    "on_demand": "on_demand_usd_hour", "reserved_1y": "reserved_1y_usd_hour",
    "reserved_3y": "reserved_3y_usd_hour", "spot": "spot_usd_hour",
}  # fmt: skip
"""Which field of an instance's row has the rate."""


class Rental(msgspec.Struct, frozen=True, kw_only=True):
    """Some machines of one kind, rented in one way."""

    usd_hour: float
    """Of one machine, in this tenure."""
    tenure: Tenure = "on_demand"
    machines: float = 1.0
    """That the load needs; a part of one where others use the rest."""
    hours_day: float = HOURS_DAY
    """In which they are needed."""
    months: float = 36.0
    standby: float = 0.0
    """Machines beyond those, as a part of them."""
    interruptions_month: float = 0.075
    """Of one spot machine: the middle of 5 to 10 % of p4d machines in a month; p5: 15 to 20 % (AWS
    Spot Instance Advisor, 2026-02-24, as thundercompute.com had it; not verified)."""
    start_s: float = 600.0
    """From an interruption until a replacement answers. Assumption; it depends on the model."""
    fallback_share: float = 0.0
    """Part of the time in which no spot machine is to be had."""
    fallback_usd_hour: float = 0.0
    """Of an on-demand machine, for that time."""
    egress_gb_month: float = 0.0
    egress_usd_gb: float = 0.09
    """AWS, first 10 TB (egresscost.com and wring.co, 2026)."""
    egress_free_gb: float = 100.0
    """AWS, a month (the same)."""


def rental_of(
    row: Instance, tenure: Tenure, machines: float = 1.0, months: float = 36.0
) -> Rental | None:
    """Give a rental at the catalogue's rate, round the clock; None if it has no such rate."""
    rate: float | None = getattr(row, RATES[tenure]) if tenure in RATES else None
    if rate is None:
        return None
    return Rental(
        usd_hour=rate,
        tenure=tenure,
        machines=machines,
        months=months,
        fallback_usd_hour=row.on_demand_usd_hour or rate,
    )


def lost_share(rental: Rental) -> float:
    """Give the part of spot hours that go by while a replacement starts; 0 for other tenures."""
    if rental.tenure != "spot":
        return 0.0
    return rental.interruptions_month * rental.start_s / SECONDS_HOUR / HOURS_MONTH


def rented(rental: Rental) -> Bill:
    """Give what rented machines cost, by kind.

    Kinds: `compute` (hours in which machines serve), `standby`, `commitment` (hours paid for and
    not used), `rework` (hours lost to interruptions), `fallback` (on demand for want of spot),
    `egress`.
    Raises ValueError for inputs that mean nothing.
    """
    _check(rental)
    used = rental.machines * rental.hours_day * DAYS_MONTH
    costs = {"compute": used * rental.usd_hour, "standby": used * rental.standby * rental.usd_hour}
    if term := TERM_MONTHS[rental.tenure]:
        held = rental.machines * (1.0 + rental.standby) * HOURS_MONTH
        paid = held * ceil(rental.months / term) * term / rental.months * rental.usd_hour
        costs["commitment"] = max(0.0, paid - sum(costs.values()))
    if rental.tenure == "spot":
        costs = _spot(rental, costs)
    over_gb = max(0.0, rental.egress_gb_month - rental.egress_free_gb)
    costs["egress"] = over_gb * rental.egress_usd_gb
    return Bill(costs=costs, months=rental.months)


def _spot(rental: Rental, costs: dict[str, float]) -> dict[str, float]:
    spot = 1.0 - rental.fallback_share
    lost = lost_share(rental)
    used = rental.machines * (1.0 + rental.standby) * rental.hours_day * DAYS_MONTH
    return {kind: usd * spot for kind, usd in costs.items()} | {
        "rework": sum(costs.values()) * spot * lost / (1.0 - lost),
        "fallback": used * rental.fallback_share * rental.fallback_usd_hour,
    }


def _check(rental: Rental) -> None:
    check(rental.tenure in TERM_MONTHS, f"tenure: {rental.tenure} is not rented by the hour")
    check(rental.months > 0.0, f"months: {rental.months:g} is not above 0")
    check(0.0 <= rental.hours_day <= HOURS_DAY, f"hours_day: {rental.hours_day:g} is not 0 to 24")
    check(0.0 <= rental.fallback_share <= 1.0, "fallback_share is not between 0 and 1")
    check(lost_share(rental) < 1.0, "a spot machine is interrupted before it has started")
    for field in rental.__struct_fields__:
        value = getattr(rental, field)
        check(isinstance(value, str) or value >= 0, f"{field}: {value} is below 0")
