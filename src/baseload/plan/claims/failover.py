"""Does DNS fail over in 50 ms, and lift availability from 99.5 % to 99.99 %?

DNS moves callers once a check has failed so many times and what resolvers keep has run out:
`interval * misses + TTL`. Two independent sites are down together for the product of their shares;
each failure of the one in use costs the time until callers have moved.

Not here: availability of replicas (`mix.reserve`), failing over in the gateway.
"""

import msgspec

from baseload.plan.claims.claim import Claim, Given, step
from baseload.plan.cost.terms import SECONDS_HOUR, SECONDS_YEAR
from baseload.plan.mix.reserve import sites_availability
from baseload.plan.result import Formula

ROUTE_53 = (
    "aws.amazon.com/blogs/aws/route-53-health-check-improvements-faster-interval-and-"
    "configurable-failover, read 2026-11-26"
)


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim says, and what is known of DNS."""

    claimed_s: float = 0.05
    site: float = 0.995
    goal: float = 0.9999
    fast_interval_s: float = 10.0
    interval_s: float = 30.0
    misses: int = 3
    ttl_s: float = 60.0
    outage_s: float = 3600.0
    """Of one outage of a site, mean."""


def detected_s(interval_s: float, misses: int, ttl_s: float) -> float:
    """Give how long callers go to a site that is down: `interval * misses + TTL`, in seconds."""
    return interval_s * misses + ttl_s


def failover_claim(inputs: Failover | None = None) -> Claim:
    """Give the claim about DNS, worked out."""
    it = inputs or Failover()
    fast, slow = _both(it)
    both = sites_availability((it.site, it.site))
    got = both - _outages(it) * fast / SECONDS_YEAR
    return Claim(
        name="DNS that fails over in 50 ms",
        says="DNS routing fails over in 50 ms and lifts availability from 99.5 % to 99.99 %.",
        given=(
            Given(what="failover", value=f"{it.claimed_s * 1e3:g} ms", source="the claim"),
            Given(what="one site", value=_nines(it.site), source="the claim"),
            Given(what="both", value=_nines(it.goal), source="the claim"),
            Given(what="Route 53 checks", value=f"every {it.interval_s:g} s, or"
                  f" {it.fast_interval_s:g} s for a fee; {it.misses} misses by default",
                  source=ROUTE_53),
            Given(what="TTL", value=f"{it.ttl_s:g} s, as advised there", source=ROUTE_53),
            Given(what="an outage of a site", value=f"{it.outage_s / 60:g} min",
                  source="assumption: the claim has none"),
        ),
        steps=_steps(it, fast, slow, both, got),
        verdict="follows if" if fast <= it.claimed_s else "does not follow",
        because=f"DNS takes {fast:g} to {slow:g} s, longer where resolvers keep answers beyond"
        f" their TTL. Two independent sites would stand {_nines(both)} if callers moved at once;"
        f" with outages of {it.outage_s / 60:g} min the faster check leaves {_nines(got)}. Within"
        " milliseconds only what holds the connection can fail over, before a first token.",
    )  # fmt: skip


def _both(it: Failover) -> tuple[float, float]:
    fast, slow = (
        detected_s(interval, it.misses, it.ttl_s)
        for interval in (it.fast_interval_s, it.interval_s)
    )
    return fast, slow


def _outages(it: Failover) -> float:
    """Outages of one site in a year."""
    return (1 - it.site) * SECONDS_YEAR / it.outage_s


def _steps(
    it: Failover, fast: float, slow: float, both: float, got: float
) -> tuple[Formula, ...]:  # fmt: skip
    allowed_s = (1 - it.goal) * SECONDS_YEAR
    outages = _outages(it)
    left_s = (both - it.goal) * SECONDS_YEAR
    found = [
        step(f"failover, checks every {interval:g} s", "interval * misses + TTL",
             f"{interval:g} * {it.misses} + {it.ttl_s:g}", f"{taken:g} s")
        for interval, taken in ((it.fast_interval_s, fast), (it.interval_s, slow))
    ]  # fmt: skip
    found += [
        step("down in a year", "(1 - goal) * year", f"{1 - it.goal:.4%} of 8,760 h",
             f"{allowed_s / 60:.0f} min"),
        *(step(f"failovers of {taken:g} s in that", "down / failover",
               f"{allowed_s:,.0f} / {taken:g}", f"{allowed_s / taken:.0f}")
          for taken in (fast, slow)),
        step("two sites, moving at once", "1 - (1 - site)^2", f"1 - {1 - it.site:.3f}^2",
             _nines(both)),
        step("outages of the one in use, a year", "(1 - site) * year / outage",
             f"{1 - it.site:.1%} of 8,760 h / {it.outage_s / SECONDS_HOUR:g} h", f"{outages:.1f}"),
        step("two sites, moved by the faster check", "two sites - outages * failover / year",
             f"{_nines(both)} - {outages:.1f} * {fast:g} / {SECONDS_YEAR:,.0f}", _nines(got)),
    ]  # fmt: skip
    if left_s > 0:
        least_s = (1 - it.site) * SECONDS_YEAR / (left_s / fast)
        found.append(step("outage that is long enough for the goal",
            "(1 - site) * year / ((two sites - goal) * year / failover)",
            f"{(1 - it.site) * SECONDS_YEAR:,.0f} / ({left_s:,.0f} / {fast:g})",
            f"{least_s / SECONDS_HOUR:.1f} h or more"))  # fmt: skip
    return tuple(found)


def _nines(part: float) -> str:
    return f"{part * 100:.4f}".rstrip("0").rstrip(".") + " %"
