"""What does a provider's API cost?

`(prompt * (1 - cached) * input + prompt * cached * cached price + answer * output) / 1e6` a call,
times `1 + peak * (factor - 1)` where a part `peak` of calls comes in hours that cost more. Tokens
that a model thinks in are answer tokens.

Not here: prices (`catalog`), dated prices of past calls (`core.rates`).
"""

import msgspec

from baseload.plan.catalog.rows import ApiPrice
from baseload.plan.cost.terms import DAYS_MONTH, MTOK, Bill, check
from baseload.plan.load import Load


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an API."""

    requests_day: float
    prompt: float
    """Tokens, mean."""
    answer: float
    """Tokens, mean, thinking included."""
    cached: float = 0.0
    """Part of prompts' tokens that the provider's cache has."""
    peak_share: float | None = None
    """Part of calls in hours that cost more; None: as many as those hours are of the week."""
    months: float = 36.0


def calls_of(load: Load, months: float = 36.0) -> Calls:
    """Give a load's calls."""
    return Calls(
        requests_day=load.requests_day,
        prompt=load.prompt,
        answer=load.answer,
        cached=load.cached,
        months=months,
    )


def api_usd_call(price: ApiPrice, calls: Calls) -> dict[str, float]:
    """Give what one call costs in US dollars, by kind: `prompts`, `cached prompts`, `answers`."""
    check(0.0 <= calls.cached <= 1.0, f"cached: {calls.cached:g} is not between 0 and 1")
    peak = price.peak_share if calls.peak_share is None else calls.peak_share
    check(0.0 <= peak <= 1.0, f"peak_share: {peak:g} is not between 0 and 1")
    factor = (1.0 + peak * (price.peak_factor - 1.0)) / MTOK
    return {
        "prompts": calls.prompt * (1.0 - calls.cached) * price.input_usd_mtok * factor,
        "cached prompts": calls.prompt * calls.cached * price.cached_usd_mtok * factor,
        "answers": calls.answer * price.output_usd_mtok * factor,
    }


def api(price: ApiPrice, calls: Calls) -> Bill:
    """Give what an API costs, by kind: `prompts`, `cached prompts`, `answers`."""
    a_month = calls.requests_day * DAYS_MONTH
    each = api_usd_call(price, calls)
    return Bill(
        costs={kind: usd * a_month for kind, usd in each.items()},
        months=calls.months,
    )
