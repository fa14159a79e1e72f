"""What may a mix be made of, and what is asked of it?

An option is one way to serve calls, of which so many replicas can be had; a demand is the load over
a week, and what must still hold when something fails. Rules, in words (`proof` checks them, one by
one, and `program` states them to the solver):

- In each period the replicas that are on, and may serve, can take the load.
- Replicas that are off start within `patience_s` or are no reserve: those only follow the load.
  Spot replicas that are off are never a reserve, since the market may have none.
- With any `survive` replicas that are on gone, what is left can take the load. An API or another
  service counts as one replica: it fails as a whole.
- With `survive_site`, so it is with everything in any one site gone.
- Of the load, `spot_floor` can be taken by what is not spot (skypilot-org/skypilot#2529: spot, but
  never below a floor).

Not here: where capacities and prices come from (`mixture`).
"""

from math import floor, inf

import msgspec

from baseload.errors import BaseloadError
from baseload.plan.cost.terms import HOURS_MONTH, SECONDS_HOUR
from baseload.plan.result import Tenure

MONTH_S = HOURS_MONTH * SECONDS_HOUR
"""Seconds of a month."""
SUM_TOLERANCE = 1e-6


class Option(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to serve calls. Prices are US dollars."""

    name: str
    site: str
    """What fails together: a region, a cloud, a provider, one's own room."""
    tenure: Tenure
    capacity_rps: float
    """Calls a second of one replica within objectives: its knee times the utilisation allowed. Of
    an API, all that it takes."""
    usd_month: float = 0.0
    """One replica, on all month, without what each call costs."""
    usd_month_off: float = 0.0
    """One replica that is held but off all month: owned and reserved ones cost then too."""
    usd_request: float = 0.0
    """Each call: an API's tokens, a serverless run, energy."""
    replicas_max: int = 1
    on_min: int = 0
    """Replicas that are on in every period, whatever else is chosen."""
    rate_rps: float = inf
    """Calls a second that all replicas together may take: a quota, an API's rate limit."""
    start_s: float = 0.0
    """From off to the first token. An API needs none."""
    interruptions_hour: float = 0.0
    """How often one replica is taken away, for spot."""
    availability: float = 1.0
    """Part of the time in which one replica stands (`reserve.replica_availability`)."""
    weights: str = ""
    """Which weights it runs; ways with the same name answer alike."""
    quality: int = 0
    """A class of answers; higher is better, and equal ones may replace each other."""

    @property
    def replica_rps(self) -> float:
        """What one replica adds: less than its capacity where it is taken away now and then.

        The part of the time in which it is there, with a mean time between interruptions of 1/r
        and `start_s` to replace it, is 1 / (1 + r * start_s): an alternating renewal process.
        """
        present = 1.0 / (1.0 + self.interruptions_hour * self.start_s / SECONDS_HOUR)
        return min(self.capacity_rps, self.rate_rps) * present

    @property
    def most(self) -> int:
        """Replicas that may be held: no more than the rate can feed."""
        if self.rate_rps <= self.capacity_rps:
            return min(self.replicas_max, 1)
        fed = self.rate_rps / self.capacity_rps
        return self.replicas_max if fed >= self.replicas_max else floor(fed + SUM_TOLERANCE)

    @property
    def is_spot(self) -> bool:
        """Whether it may be taken away at any time."""
        return self.tenure == "spot"

    @property
    def is_service(self) -> bool:
        """Whether somebody else runs it, and it has no replicas to switch on or off."""
        return self.tenure in {"api", "serverless"}


class Period(msgspec.Struct, frozen=True):
    """Some hours of the week in which the load is alike."""

    rps: float
    hours_share: float
    """Part of all hours."""


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """How much of all calls some options may or must take."""

    who: str
    """A name, a tenure or a site: all options that have it."""
    low: float = 0.0
    high: float = 1.0


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a mix."""

    periods: tuple[Period, ...]
    survive: int = 1
    """Replicas that may fail at once."""
    survive_site: bool = False
    """Whether any one site may fail, with all that is in it."""
    patience_s: float = 10.0
    """What callers wait while a replica starts: one that takes longer is no cold reserve."""
    spot_floor: float = 0.0
    """Part of each period's load that can be taken without spot."""
    bounds: tuple[Bound, ...] = ()
    kinds_max: int | None = None
    """Different options, at most: people run few things."""
    budget_usd_month: float | None = None
    weights: str = ""
    """Which weights must answer; empty: any."""
    quality_min: int = 0
    """The lowest class that may serve."""
    quality_failed_min: int | None = None
    """The lowest class that will do while something has failed; None: the same."""


def may_serve(option: Option, demand: Demand) -> bool:
    """Say whether its answers are what is asked for."""
    is_same = not demand.weights or option.weights == demand.weights
    return is_same and option.quality >= demand.quality_min


def may_stand_in(option: Option, demand: Demand) -> bool:
    """Say whether its answers will do while something else has failed."""
    if demand.quality_failed_min is None:
        return may_serve(option, demand)
    return may_serve(option, demand) or option.quality >= demand.quality_failed_min


def is_cold_reserve(option: Option, demand: Demand) -> bool:
    """Say whether replicas that are off come soon enough when others fail."""
    return option.start_s <= demand.patience_s and not option.is_spot


def is_meant(option: Option, bound: Bound) -> bool:
    """Say whether a bound is about an option."""
    return bound.who in {option.name, option.tenure, option.site}


def call_share(demand: Demand) -> tuple[float, ...]:
    """Give the part of all calls that falls into each period; zeros where there are none."""
    each = [period.rps * period.hours_share for period in demand.periods]
    total = sum(each)
    return tuple(calls / total if total else 0.0 for calls in each)


def require_sound(options: tuple[Option, ...], demand: Demand) -> None:
    """Raise `BaseloadError` with the first thing that makes no sense."""
    for wrong, sentence in _faults(options, demand):
        if wrong:
            raise BaseloadError(f"mix: {sentence}")


def _faults(options: tuple[Option, ...], demand: Demand) -> list[tuple[bool, str]]:
    hours = sum(period.hours_share for period in demand.periods)
    names = [option.name for option in options]
    found = [
        (not options, "there are no options"),
        (len(set(names)) < len(names), "two options have the same name"),
        (not demand.periods, "there are no periods"),
        (abs(hours - 1.0) > SUM_TOLERANCE, f"shares of hours add up to {hours:g}, not 1"),
        (any(not 0 <= p.rps < inf or p.hours_share < 0 for p in demand.periods), "a load is < 0"),
        (not 0 <= demand.spot_floor <= 1, "spot_floor is a part of the load: 0 to 1"),
        (demand.survive < 0, "survive is a count: 0 or more"),
        (any(not 0 <= b.low <= b.high <= 1 for b in demand.bounds), "bounds are 0 <= low <= high"),
    ]
    for option in options:
        prices = (option.usd_month, option.usd_month_off, option.usd_request)
        found += [
            (option.capacity_rps <= 0, f"{option.name} has no capacity"),
            (option.rate_rps <= 0, f"{option.name} has no rate"),
            (not 0 < option.replica_rps < inf, f"{option.name} has neither capacity nor rate"),
            (any(not 0 <= usd < inf for usd in prices), f"{option.name} has a price below 0"),
            (option.usd_month_off > option.usd_month, f"{option.name} costs more when it is off"),
            (not 0 <= option.on_min <= option.most, f"{option.name}: on_min is above its replicas"),
            (not 0 <= option.availability <= 1, f"{option.name}: availability is 0 to 1"),
            (option.start_s < 0 or option.interruptions_hour < 0, f"{option.name} starts before 0"),
        ]
    return found
