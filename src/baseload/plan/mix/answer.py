"""What is a mix, and what does it cost?

A part says how many replicas of an option are held, how many of them are on in each period, and how
much of the load goes there.

Not here: whether it keeps what is asked (`proof`), how it is found (`program`), what each replica
is there for (`roles`).
"""

import msgspec

from baseload.plan.mix.option import MONTH_S, Demand, Option


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken of one option."""

    option: str
    held: int
    """Replicas that are paid for or can be started."""
    on: tuple[int, ...]
    """Replicas that are on, in each period."""
    rps: tuple[float, ...]
    """Calls a second that go there when nothing has failed, in each period."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A mix that keeps the demand."""

    parts: tuple[Part, ...]
    """Those of which something is held, in the order of the options."""
    usd_month: float
    usd_month_periods: tuple[float, ...]
    """What each period adds to the month."""
    is_optimal: bool
    """Whether the solver proved that nothing is cheaper."""
    usd_month_bound: float
    """What no mix is below, as far as the solver got."""


def part_usd(part: Part, option: Option, demand: Demand) -> tuple[float, ...]:
    """Give what a part costs in each period, in US dollars of a month.

    On replicas at their price, those that are off at theirs, each for the period's share of hours,
    and calls at theirs.
    """
    return tuple(
        period.hours_share
        * (
            on * option.usd_month
            + (part.held - on) * option.usd_month_off
            + rps * MONTH_S * option.usd_request
        )
        for period, on, rps in zip(demand.periods, part.on, part.rps, strict=True)
    )


def answer_of(
    parts: tuple[Part, ...],
    options: tuple[Option, ...],
    demand: Demand,
    is_optimal: bool,
    usd_month_bound: float,
) -> Answer:
    """Make an answer of parts, with what they cost."""
    named = {option.name: option for option in options}
    costs = [part_usd(part, named[part.option], demand) for part in parts]
    periods = tuple(sum(usd) for usd in zip(*costs, strict=True)) or (0.0,) * len(demand.periods)
    return Answer(
        parts=parts, usd_month=sum(periods), usd_month_periods=periods, is_optimal=is_optimal,
        usd_month_bound=usd_month_bound,
    )  # fmt: skip
