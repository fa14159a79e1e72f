"""Does a cluster of five A100 servers cost 37 % less than a p4d.24xlarge?

The claim: five nodes, each with three A100, two Xeon Platinum 8380 and 384 GB, cost $480,000 over
three years, 37 % below one p4d.24xlarge. It names neither the price, the use, nor the hours that it
compares with, so each reading is worked out. What a p4d costs today is the catalogue's.

Not here: what owning costs otherwise (`cost.owned`).
"""

import msgspec

from baseload.plan.catalog.rows import Instance
from baseload.plan.claims.claim import Claim, Given, percent, read_in, step, usd, usd_hour_of
from baseload.plan.cost.breakeven import breakeven_use
from baseload.plan.cost.power import energy_usd, watts
from baseload.plan.cost.rented import Rental, rented
from baseload.plan.cost.terms import HOURS_MONTH
from baseload.plan.result import Formula, Tenure


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim says, and what it leaves open."""

    p4d: Instance
    usd: float = 480_000.0
    saved: float = 0.37
    months: float = 36.0
    nodes: int = 5
    accelerators: int = 3
    """Of one node."""
    p4d_claimed_usd_hour: float = 32.78
    node_max_w: float = 6500.0
    tdp_w: float = 400.0
    rest_w: float = 800.0
    pue: float = 1.5
    usd_kwh: float = 0.10


def cluster_claim(it: Cluster) -> Claim:
    """Give the claim about the cluster, worked out."""
    rate = usd_hour_of(it.p4d)
    hours = it.months * HOURS_MONTH
    claimed, today = _p4d_usd(it, it.p4d_claimed_usd_hour), _p4d_usd(it, rate)
    reference = it.usd / (1.0 - it.saved)
    use = breakeven_use(reference, claimed)
    each, theirs = _accelerator_hours(it)
    return Claim(
        name="Five A100 servers for $480,000",
        says="A cluster of five servers (three A100, two Xeon 8380, 384 GB each) costs $480,000"
        " over three years, 37 % less than a p4d.24xlarge.",
        given=_given(it),
        steps=(
            step("hours", "months * 730", f"{it.months:g} * 730", f"{hours:,.0f} h"),
            *_reference("one p4d at the claimed price", it, it.p4d_claimed_usd_hour, 1),
            *_reference("one p4d today", it, rate, 1),
            *_reference("five p4d at the claimed price", it, it.p4d_claimed_usd_hour, 5),
            *_reference("five p4d today", it, rate, 5),
            *(_reference("one p4d on spot", it, it.p4d.spot_usd_hour, 1, "spot")
              if it.p4d.spot_usd_hour else ()),
            step(f"what {it.saved:.0%} less refers to", "usd / (1 - saved)",
                 f"{usd(it.usd)} / {1 - it.saved:g}", usd(reference)),
            *(step(f"{name}, {when}", f"{above} / full cost", f"{usd(cost)} / {usd(full)}",
                   percent(breakeven_use(cost, full)))
              for name, above, cost in (
                  ("use of one p4d at which that is its cost", "reference", reference),
                  ("break-even use", "usd", it.usd))
              for when, full in (("claimed price", claimed), ("today", today))),
            step("for an A100 and hour: cluster", "usd / (nodes * accelerators * hours)",
                 f"{usd(it.usd)} / ({it.nodes} * {it.accelerators} * {hours:,.0f})", usd(each)),
            step("for an A100 and hour: p4d today", "rate / accelerators",
                 f"{rate:.2f} / {it.p4d.count}", usd(theirs)),
            *_power(it, hours),
        ),
        verdict="follows if" if use <= 1.0 else "does not follow",
        because="it is compared with one p4d (not five) at the claimed price, used for"
        f" {percent(use)} of {hours:,.0f} hours, and the sum covers everything. At full use the"
        f" saving is {percent(1.0 - it.usd / claimed)} at that price and"
        f" {percent(1.0 - it.usd / today)}, the most there is, at today's; below the break-even"
        " use the p4d is cheaper. Whether power, colocation, staff, spares, interest and resale"
        f" are in the {usd(it.usd)} is not said, nor which A100 they are.",
    )  # fmt: skip


def _given(it: Cluster) -> tuple[Given, ...]:
    return (
        Given(what="cluster, three years", value=usd(it.usd), source="the claim"),
        Given(what="saving", value=percent(it.saved), source="the claim"),
        Given(what="p4d.24xlarge, an hour", value=f"${it.p4d_claimed_usd_hour}",
              source="the claim"),
        Given(what="p4d.24xlarge, an hour, today", value=f"${usd_hour_of(it.p4d):g}",
              source=read_in(it.p4d)),
        *_spot(it.p4d),
        Given(what="a server at most", value=f"{it.node_max_w:,.0f} W",
              source="DGX A100, eight A100 (pcnews.ru, of NVIDIA's manual)"),
        Given(what="an A100 SXM", value=f"{it.tdp_w:g} W",
              source="a100_sxm.yaml of AIConfigurator"),
        Given(what="the rest of a server with three", value=f"{it.rest_w:g} W",
              source="assumption: two Xeon 8380 of 270 W (hardwareluxx.de), 260 W for all else"),
        Given(what="PUE", value=f"{it.pue:g}", source="assumption"),
        Given(what="electricity", value=f"${it.usd_kwh:.2f} a kWh", source="assumption"),
    )  # fmt: skip


def _spot(row: Instance) -> tuple[Given, ...]:
    if row.spot_usd_hour is None:
        return ()
    low, high = row.spot_range_usd_hour or (row.spot_usd_hour, row.spot_usd_hour)
    return (
        Given(what=f"{row.name}, an hour, spot", value=f"${row.spot_usd_hour:g}",
              source=f"the same; zones from {low:.2f} to {high:.2f}"),
    )  # fmt: skip


def _p4d_usd(it: Cluster, rate: float, machines: int = 1, tenure: Tenure = "on_demand") -> float:
    rental = Rental(
        usd_hour=rate, machines=machines, months=it.months, tenure=tenure, interruptions_month=0.0
    )
    return rented(rental).usd_horizon


def _reference(
    what: str, it: Cluster, rate: float, machines: int, tenure: Tenure = "on_demand"
) -> tuple[Formula, ...]:
    cost, hours = _p4d_usd(it, rate, machines, tenure), it.months * HOURS_MONTH
    saved, times = 1.0 - it.usd / cost, it.usd / cost
    found = f"saves {percent(saved)}" if saved >= 0.0 else f"costs {times:.1f} times as much"
    return (
        step(what, "machines * hours * rate", f"{machines} * {hours:,.0f} * {rate:.2f}", usd(cost)),
        step(f"the cluster beside {what}", "1 - usd / cost",
             f"1 - {usd(it.usd)} / {usd(cost)}", found),
    )  # fmt: skip


def _accelerator_hours(it: Cluster) -> tuple[float, float]:
    """Give what an accelerator costs an hour: the cluster's, and today's p4d's."""
    hours = it.months * HOURS_MONTH * it.nodes * it.accelerators
    return it.usd / hours, usd_hour_of(it.p4d) / it.p4d.count


def _power(it: Cluster, hours: float) -> tuple[Formula, ...]:
    rated_w = it.nodes * it.node_max_w
    three_w = it.nodes * (it.accelerators * watts(it.tdp_w, 1.0) + it.rest_w)
    return tuple(
        step(what, "kW * hours * PUE * price",
             f"{draw / 1000.0:.1f} * {hours:,.0f} * {it.pue:g} * {it.usd_kwh:.2f}",
             usd(energy_usd(draw, hours, it.pue, it.usd_kwh)))
        for what, draw in (
            ("power, if each draws what a server of eight may", rated_w),
            ("power, three A100 at full load and the rest", three_w),
        )
    )  # fmt: skip
