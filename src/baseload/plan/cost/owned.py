"""What do own servers cost?

`value lost + interest + power + colocation + network + staff + maintenance`, a month.

- Capital: accelerators, the rest of each server, its part of the network, and spares.
- Value lost: capital less what it still fetches at the end, `capital * kept ** (months / 12)`.
- Interest: capital is lent in equal monthly payments (an annuity) over the horizon,
  `payment = capital * r / (1 - (1 + r) ** -months)`, r a month's rate; interest is what payments
  are more than capital. Who pays in cash loses as much elsewhere. Source: any textbook of finance.
- Power: watts at the load (`power`), times PUE, times price.
- Colocation: by kW that machines may draw at most, since that is what is contracted, or by rack.

Defaults say where they come from; *assumption* marks those that no source was found for. They are
prices of the USA, for a server of eight accelerators of the H100's kind. Money of later months is
not discounted, taxes are not in it, and spares cost capital alone.

Not here: how many servers are needed (`sizing`), what a token costs (`terms.Bill.usd_mtok`).
"""

from math import ceil, expm1, log1p

import msgspec

from baseload.plan.cost.power import PUE, USD_KWH, energy_usd, watts
from baseload.plan.cost.terms import HOURS_MONTH, MONTHS_YEAR, Bill, check


class Ownership(msgspec.Struct, frozen=True, kw_only=True):
    """Some servers of one kind, bought together."""

    accelerator_usd: float
    """Of one, to buy."""
    tdp_w: float
    """Of one accelerator."""
    accelerators: int = 8
    """Of one server."""
    servers: int = 1
    months: float = 36.0
    load: float = 1.0
    """0 to 1, as `power.load_of` gives it for the calls that an accelerator works on at once."""
    server_usd: float = 70_000.0
    """The rest of a server: an eight-H100 server with its network cards for $310,000 (a public
    cluster calculation, prices of August 2024, docs.google.com 1Ft3RbeZ) less 8 times $30,000 for
    an H100 (huggingface.co/hardware/h100). Secondary sources, and old."""
    network_usd: float = 10_000.0
    """A server's part of switches and cables. Assumption, for Ethernet; the same calculation has
    $56,000 to $103,000 a server for InfiniBand with a port for each accelerator."""
    spares: float = 0.05
    """Spare parts, as a part of all other capital. Assumption."""
    kept_year: float = 0.67
    """What a year leaves of the value: 65, 45 and 30 % after one, two and three years
    (v2-pseo-ai.pages.dev, GPU residual value guide; not verified, and the least sure of all)."""
    interest_year: float = 0.08
    """Nominal, a twelfth of it a month. Assumption."""
    rest_w: float = 4600.0
    """What a server draws beside its accelerators: 10.2 kW that a DGX H100 may draw at most
    (supercluster.blog and unanswered.io, of NVIDIA's manual) less 8 * 700 W; a ceiling. A DGX A100
    is rated at 6.5 kW (pcnews.ru, of NVIDIA's manual): 3,300 W."""
    pue: float = PUE
    usd_kwh: float = USD_KWH
    colocation_usd_kw_month: float = 194.95
    """Mean asked for 250 to 500 kW in the USA's main markets at the end of 2025 (CBRE, North
    America Data Center Trends H2 2025, as homes-expo.com had it; $184.06 a year before, read at
    CBRE). That energy is billed apart is an assumption. Fewer kW cost more each."""
    rack_usd_month: float = 0.0
    """Above 0, colocation is by the rack instead."""
    rack_w: float = 17_300.0
    """What one rack may draw. Assumption: a three-phase feed of 60 A at 208 V, used to 80 %."""
    transit_usd_month: float = 500.0
    """Access to the internet, for all servers. Assumption."""
    staff_persons: float = 0.25
    """Persons that any cluster needs. Assumption."""
    staff_persons_server: float = 0.02
    """And for each server more. Assumption."""
    wage_usd_year: float = 96_800.0
    """Median of network and system administrators in the USA, May 2024 (Bureau of Labor Statistics,
    as candidcreative.ca had it)."""
    wage_share: float = 0.70
    """Part of what a person costs that is wages (Bureau of Labor Statistics, private industry,
    June 2020)."""
    maintenance_year: float = 0.05
    """Repairs and support, as a part of capital. Assumption; a vendor's own support for a DGX is
    said to cost 20 % (supercluster.blog)."""


def capital_parts(own: Ownership) -> dict[str, float]:
    """Give what is paid at the beginning, in US dollars, by what is bought."""
    bought = {
        "accelerators": own.servers * own.accelerators * own.accelerator_usd,
        "servers": own.servers * own.server_usd,
        "network": own.servers * own.network_usd,
    }
    return bought | {"spares": own.spares * sum(bought.values())}


def annuity_usd_month(usd: float, interest_year: float, months: float) -> float:
    """Give the equal payment that pays a loan back, with interest, at the end of each month."""
    check(months > 0.0, f"months: {months:g} is not above 0")
    rate = interest_year / MONTHS_YEAR
    if rate == 0.0:
        return usd / months
    return usd * rate / -expm1(-months * log1p(rate))


def kept_usd(own: Ownership) -> float:
    """Give what capital still fetches at the end of the horizon."""
    bought = sum(capital_parts(own).values())
    return bought * float(own.kept_year ** (own.months / MONTHS_YEAR))


def it_w(own: Ownership) -> float:
    """Give what all servers draw at their load, without the site's part."""
    each = own.accelerators * watts(own.tdp_w, own.load) + own.rest_w
    return own.servers * each


def it_w_max(own: Ownership) -> float:
    """Give what all servers may draw at most."""
    return own.servers * (own.accelerators * own.tdp_w + own.rest_w)


def owned(own: Ownership) -> Bill:
    """Give what own servers cost, by kind.

    Kinds: `capital` (value lost), `interest`, `power`, `colocation`, `network`, `staff`,
    `maintenance`. Raises ValueError for inputs that mean nothing.
    """
    _check(own)
    bought = sum(capital_parts(own).values())
    persons = own.staff_persons + own.staff_persons_server * own.servers
    return Bill(
        months=own.months,
        costs={
            "capital": (bought - kept_usd(own)) / own.months,
            "interest": _interest_usd_month(own, bought),
            "power": energy_usd(it_w(own), HOURS_MONTH, own.pue, own.usd_kwh),
            "colocation": _colocation_usd_month(own),
            "network": own.transit_usd_month,
            "staff": persons * own.wage_usd_year / own.wage_share / MONTHS_YEAR,
            "maintenance": bought * own.maintenance_year / MONTHS_YEAR,
        },
    )


def _interest_usd_month(own: Ownership, bought: float) -> float:
    payment = annuity_usd_month(bought, own.interest_year, own.months)
    return max(0.0, payment - bought / own.months)


def _colocation_usd_month(own: Ownership) -> float:
    if own.rack_usd_month > 0.0:
        return ceil(it_w_max(own) / own.rack_w) * own.rack_usd_month
    return it_w_max(own) / 1000.0 * own.colocation_usd_kw_month


def _check(own: Ownership) -> None:
    check(own.months > 0.0, f"months: {own.months:g} is not above 0")
    check(own.servers >= 1, f"servers: {own.servers} is below 1")
    check(0.0 <= own.kept_year <= 1.0, f"kept_year: {own.kept_year:g} is not between 0 and 1")
    check(0.0 < own.wage_share <= 1.0, f"wage_share: {own.wage_share:g} is not above 0, up to 1")
    check(own.rack_w > 0.0, f"rack_w: {own.rack_w:g} is not above 0")
    for field in own.__struct_fields__:
        value = getattr(own, field)
        check(value >= 0, f"{field}: {value:g} is below 0")
