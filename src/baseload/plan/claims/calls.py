"""Is serverless 60 % cheaper under 50,000 requests a day?

The claim names neither the model, the size of a request, nor what it is cheaper than. Read as
paying for each token of an API against machines that always run, it has a break-even, and the
share saved is one point on a curve.

Not here: serverless functions otherwise (`cost.serverless`).
"""

import msgspec

from baseload.plan.catalog.rows import ApiPrice, Instance, Serverless
from baseload.plan.claims.claim import Claim, Given, percent, read_in, step, usd, usd_hour_of
from baseload.plan.cost.api import Calls, api_usd_call
from baseload.plan.cost.breakeven import breakeven_requests_day
from baseload.plan.cost.rented import Rental, rented
from baseload.plan.cost.serverless import Need, refusals
from baseload.plan.cost.terms import DAYS_MONTH, GB, SECONDS_DAY
from baseload.plan.result import Formula

R1 = ApiPrice(
    name="DeepSeek-R1, list price of 2025",
    host="api.deepseek.com",
    model="deepseek-reasoner",
    input_usd_mtok=0.55,
    cached_usd_mtok=0.14,
    output_usd_mtok=2.19,
    source="DeepSeek, replaced since",
    seen="2025",
    verified=False,
)


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim says, and what it leaves open."""

    now: ApiPrice
    one: Instance
    """With one H100."""
    eight: Instance
    """With eight."""
    functions: Serverless
    requests_day: float = 50_000.0
    saved: float = 0.60
    prompt: float = 1000.0
    answer: float = 300.0
    cached: float = 0.0
    then: ApiPrice = R1
    h100_bytes: float = 80e9
    weight_bytes: float = 671e9
    small_weight_bytes: float = 15.2e9


def calls_claim(it: Traffic) -> Claim:
    """Give the claim about serverless, worked out."""
    each, now = _usd_call(it, it.then), _usd_call(it, it.now)
    one, eight = _usd_day(usd_hour_of(it.one)), _usd_day(usd_hour_of(it.eight))
    spent = each * it.requests_day
    even_one, even_eight = (breakeven_requests_day(day * DAYS_MONTH, each) for day in (one, eight))
    return Claim(
        name="Serverless is 60 % cheaper under 50,000 requests a day",
        says="Under 50,000 requests a day, serverless saves 60 %.",
        given=_given(it),
        steps=(
            step("requests a second", "requests / 86,400", f"{it.requests_day:,.0f} / 86,400",
                 f"{it.requests_day / SECONDS_DAY:.2f}"),
            *_at_api(it, it.then, "at the claim's time", each),
            *_at_api(it, it.now, "today", now),
            *_beside("one H100", usd_hour_of(it.one), one, each, spent),
            *_beside("eight H100", usd_hour_of(it.eight), eight, each, spent),
            step(f"requests a day at which {it.saved:.0%} is saved beside one H100",
                 "(1 - saved) * day / usd", f"{1.0 - it.saved:.2f} * {usd(one)} / {each:.6f}",
                 f"{(1 - it.saved) * one / each:,.0f}"),
            *_fits(it),
        ),
        verdict="follows if" if 1.0 - spent / one >= it.saved else "does not follow",
        because="`serverless` is an API paid by the token, a request is about this long, and it is"
        f" compared with one H100 that always runs: {percent(1.0 - spent / one)} saved, at today's"
        f" price {percent(1.0 - now * it.requests_day / one)}; beside eight"
        f" {percent(1.0 - spent / eight)}. Whether they hold the model at all is in the last steps."
        f" {it.requests_day:,.0f} is no threshold: the saving shrinks with each request and is"
        f" gone at {even_one:,.0f} or {even_eight:,.0f} a day, if machines can serve so many.",
    )  # fmt: skip


def _given(it: Traffic) -> tuple[Given, ...]:
    return (
        Given(what="requests a day", value=f"{it.requests_day:,.0f}", source="the claim"),
        Given(what="saving", value=percent(it.saved), source="the claim"),
        Given(what="a request", value=f"{it.prompt:,.0f} + {it.answer:g} tokens",
              source="assumption: the claim has none"),
        Given(what="part of prompts in the cache", value=percent(it.cached), source="assumption"),
        *(Given(what=price.name, value=f"${price.input_usd_mtok} and ${price.output_usd_mtok}"
                " a million tokens" + _peak(price), source=f"{price.source}, {price.seen}")
          for price in (it.then, it.now)),
        *(Given(what=f"{row.name} ({row.count} x {row.accelerator}), an hour",
                value=f"${usd_hour_of(row):g}", source=read_in(row)) for row in (it.one, it.eight)),
        Given(what=it.functions.name, value=_limits(it.functions), source=read_in(it.functions)),
    )  # fmt: skip


def _limits(row: Serverless) -> str:
    memory = f"{row.memory_max_bytes / 2**20:,.0f} MiB, " if row.memory_max_bytes else ""
    longest = f"{row.run_max_s:g} s, " if row.run_max_s else ""
    return f"{memory}{longest}{row.accelerator or 'no accelerator'}"


def _peak(price: ApiPrice) -> str:
    if price.peak_factor == 1.0:
        return ""
    return f"; {price.peak_factor:g} times in {percent(price.peak_share)} of the hours"


def _usd_call(it: Traffic, price: ApiPrice) -> float:
    calls = Calls(
        requests_day=it.requests_day, prompt=it.prompt, answer=it.answer, cached=it.cached
    )
    return sum(api_usd_call(price, calls).values())


def _usd_day(usd_hour: float) -> float:
    return rented(Rental(usd_hour=usd_hour)).usd_month / DAYS_MONTH


def _at_api(it: Traffic, price: ApiPrice, when: str, each: float) -> tuple[Formula, ...]:
    peak = 1.0 + price.peak_share * (price.peak_factor - 1.0)
    return (
        step(f"a request at the API {when}", "(prompt * input + answer * output) * peak",
             f"({it.prompt:g} * {price.input_usd_mtok:g} + {it.answer:g} *"
             f" {price.output_usd_mtok:g}) / 1e6 * {peak:.3f}", f"${each:.6f}"),
        step(f"a day at the API {when}", "requests * usd",
             f"{it.requests_day:,.0f} * {each:.6f}", usd(each * it.requests_day)),
    )  # fmt: skip


def _beside(what: str, rate: float, day: float, each: float, spent: float) -> tuple[Formula, ...]:
    even = breakeven_requests_day(day * DAYS_MONTH, each)
    return (
        step(f"a day of {what}", "24 * rate", f"24 * {rate:g}", usd(day)),
        step(f"saved beside {what}", "1 - API / machines", f"1 - {usd(spent)} / {usd(day)}",
             percent(1.0 - spent / day)),
        step(f"break-even with {what}", "machines / usd", f"{usd(day)} / {each:.6f}",
             f"{even:,.0f} requests a day"),
    )  # fmt: skip


def _fits(it: Traffic) -> tuple[Formula, ...]:
    """Say what holds the weights that the API serves, and whether Lambda holds a small model."""
    need = Need(run_max_s=60.0, memory_bytes=it.small_weight_bytes)
    what = f"{it.small_weight_bytes / GB:g} GB of weights on {it.functions.name}"
    return (
        *(step(f"{it.weight_bytes / GB:g} GB of weights on {count} H100", "weights < memory",
               f"{it.weight_bytes / GB:g} GB, {count * it.h100_bytes / GB:g} GB",
               "fits" if it.weight_bytes < count * it.h100_bytes else "does not fit")
          for count in (1, 8)),
        *(step(f"{what}: {refused.objective}", "wanted <= limit",
               f"{refused.wanted}; {refused.found}", "refused")
          for refused in refusals(it.functions, need)),
    )  # fmt: skip
