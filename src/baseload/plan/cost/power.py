"""How many watts does a server draw, and what do they cost and emit?

An accelerator's draw rises steeply with the first calls that it works on at once and soon bends:
reading weights keeps it busy already. One curve says it, with calls at once `n`:
`watts = TDP * (idle + (full - idle) * n / (n + half))`.

`full` and `half` were fitted by least squares to our measurement of one H200 (vLLM 0.24.0, a dense
model of 7.6 billion parameters in BF16, 512 tokens in and 128 out, 1 to 256 calls at once;
2026-11-23): 429 W at 2, 548 W at 8, 690 W at 256. It is within 4 % from 4 calls on, 13 % below at
2, and 18 % above at 1, where the run took 0.6 s and the meter's mean may have idle time in it.
Others measured the same form with a lower top: 300 W at 1 call and 600 W at 128 on H100
(vllm-sr-sim, `TDP * (0.43 + 0.43 * share of KV)`), 441 W at 8 and 637 W at 898 for a model of 70
billion on four H100 (ML.ENERGY). So this curve is the cautious one. It is concave, so a load that
varies draws a little less than its mean says.

Not here: how many calls a replica works on (`queueing`), what else owning costs (`owned`).
"""

import msgspec

from baseload.plan.cost.terms import check

CALLS_FULL = 256.0
"""Calls at once that count as a load of 1: the most that was measured."""
PUE = 1.54
"""Energy of a site over that of its machines: weighted mean of the Uptime Institute's survey of
2025 (thefreesheet.com, 2026-01-19)."""
USD_KWH = 0.146
"""Mean price for commercial customers in the USA (EIA, Electric Power Monthly, table 5.6.A, as
energypricestoday.com had it on 2026-04-26); large sites often pay less."""
CO2_G_KWH = 366.0
"""Emissions of electricity in the USA in 2023: 1,532 million tonnes for 4,183 TWh (EIA, FAQ 74)."""
JOULES_KWH = 3.6e6


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """How an accelerator's draw depends on its load, in parts of its TDP."""

    idle: float = 0.115
    """With weights loaded and nothing to do: 80 W of 700 W on an H200 (serialalice.pt, June 2026;
    not verified)."""
    full: float = 0.997
    """Towards which it rises."""
    half_calls: float = 2.18
    """Calls at once at which it has risen half the way."""


H200 = Draw()
"""As fitted."""


def load_of(calls: float) -> float:
    """Give the load, 0 to 1, of so many calls at once on one accelerator."""
    return min(1.0, max(0.0, calls) / CALLS_FULL)


def watts(tdp_w: float, load: float, draw: Draw = H200) -> float:
    """Give what one accelerator draws at a load of 0 to 1 (`load_of` its calls at once).

    Source: the module's fit. It never falls with the load.
    """
    check(0.0 <= load <= 1.0, f"load: {load:g} is not between 0 and 1")
    calls = load * CALLS_FULL
    return tdp_w * (draw.idle + (draw.full - draw.idle) * calls / (calls + draw.half_calls))


def energy_kwh(it_w: float, hours: float, pue: float = PUE) -> float:
    """Give the energy at the meter for machines that draw so much: `W / 1000 * hours * PUE`."""
    check(pue >= 1.0, f"pue: {pue:g} is below 1")
    return it_w / 1000.0 * hours * pue


def energy_usd(it_w: float, hours: float, pue: float = PUE, usd_kwh: float = USD_KWH) -> float:
    """Give what that energy costs in US dollars."""
    return energy_kwh(it_w, hours, pue) * usd_kwh


def joules_token(it_w: float, tokens_s: float, pue: float = PUE) -> float:
    """Give the energy at the meter for each of so many answer tokens a second, in joules."""
    check(tokens_s > 0.0, f"tokens_s: {tokens_s:g} is not above 0")
    return it_w * pue / tokens_s


def co2_g_token(joules: float, co2_g_kwh: float = CO2_G_KWH) -> float:
    """Give grams of CO2 for a token of so many joules."""
    return joules / JOULES_KWH * co2_g_kwh
