"""What is paid for each call: serverless services with their cold starts, and APIs."""

from math import exp
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.rows import ApiPrice, Serverless
from baseload.plan.cost.api import Calls, api, api_usd_call, calls_of
from baseload.plan.cost.serverless import (
    Functions,
    Need,
    cold_share,
    functions_of,
    refusals,
    serverless,
    up_share,
)
from baseload.plan.load import Load

LAMBDA = Serverless(
    name="lambda", cloud="aws", region="us-east-1", run_max_s=900.0,
    memory_max_bytes=10_240 * 2**20, usd_call=2e-7, usd_second=1.66667e-4, cold_start_s=(0.2, 2.0),
    source="a test", seen="2026-11-26", verified=False,
)  # fmt: skip
PRICE = ApiPrice(
    name="pro", host="api.deepseek.com", model="pro", input_usd_mtok=0.66, cached_usd_mtok=0.022,
    output_usd_mtok=1.98, peak_factor=2.0, peak_share=0.25, source="a test", seen="2026-11-26",
    verified=False,
)  # fmt: skip
TEN_A_DAY = Functions(requests_day=10.0, run_s=60.0, start_s=300.0, usd_second=0.001)


def _with(struct, **changes):
    return msgspec.structs.replace(struct, **changes)


def _simulated(use, calls, seed):
    """Play calls one by one: which meet a start, and for how long an instance is up."""
    rng = Random(seed)
    rate = use.requests_day / 86_400
    now = ready = gone = up = 0.0
    cold = 0
    for _ in range(calls):
        now += rng.expovariate(rate)
        if now >= gone:
            ready = now + use.start_s
            up -= now
            cold += 1
            gone = ready + use.run_s + use.keep_alive_s
            up += gone
        elif now < ready:
            cold += 1
        else:
            later = max(gone, now + use.run_s + use.keep_alive_s)
            up += later - gone
            gone = later
    return cold / calls, up / now


@pytest.mark.parametrize("requests_day", [20.0, 100.0, 400.0])
def test_cold_starts_are_those_of_a_simulation(requests_day):
    """Both formulas give what 200,000 simulated calls meet."""
    use = Functions(requests_day=requests_day, run_s=60.0, start_s=300.0, keep_alive_s=600.0)

    met, up = _simulated(use, 200_000, seed=7)

    assert met == pytest.approx(cold_share(use), rel=0.02)
    assert up == pytest.approx(up_share(use), rel=0.02)


def test_without_a_start_to_wait_for_it_is_the_chance_of_a_long_gap():
    """The Poisson gap longer than a run and the time an instance is kept."""
    use = _with(TEN_A_DAY, start_s=0.0)

    assert exp(-10 * 660 / 86_400) == pytest.approx(cold_share(use))


def test_no_calls_no_instance():
    """Without calls nothing is up and nothing is paid."""
    use = _with(TEN_A_DAY, requests_day=0.0)

    assert 0.0 == up_share(use) == serverless(use).usd_month


def test_a_provisioned_instance_is_always_warm_and_always_paid():
    """No call waits; two instances cost every second of the month."""
    use = _with(TEN_A_DAY, provisioned=2, provisioned_usd_second=0.001)

    assert 0.0 == cold_share(use)
    assert 2 * 730 * 3600 * 0.001 == pytest.approx(serverless(use).usd_month)


def test_an_instance_is_paid_while_it_is_up():
    """Many calls keep it up all month; few pay their runs, starts and idle times."""
    month = 730 * 3600 * 0.001

    assert month == pytest.approx(serverless(_with(TEN_A_DAY, requests_day=1e6)).usd_month)
    assert up_share(TEN_A_DAY) * month == pytest.approx(serverless(TEN_A_DAY).usd_month)


def test_calls_are_paid_by_their_seconds():
    """Requests, seconds of runs and seconds of starts, each by its price."""
    use = functions_of(LAMBDA, requests_day=2400.0, run_s=10.0, start_s=28.0)
    calls = 2400 * 730 / 24

    costs = serverless(use).costs

    assert 30.0 == use.start_s
    assert calls * 2e-7 == pytest.approx(costs["requests"])
    assert calls * 10 * 1.66667e-4 == pytest.approx(costs["seconds"])
    assert calls * cold_share(use) * 30 * 1.66667e-4 == pytest.approx(costs["cold starts"])


@given(
    st.sampled_from(["call", "instance"]),
    st.sampled_from(["requests_day", "run_s", "usd_call", "usd_second"]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_serverless_is_monotone(billing, field, one, other):
    """More or longer calls, or higher prices, never cost less."""
    base = Functions(
        requests_day=5000.0, run_s=900.0, usd_call=0.01, usd_second=0.01, billing=billing,
        is_start_billed=False, start_s=100.0,
    )  # fmt: skip
    low, high = (part * getattr(base, field) for part in sorted((one, other)))

    cheap, dear = (serverless(_with(base, **{field: value})).usd_month for value in (low, high))
    assert cheap <= dear * (1 + 1e-12)


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e4), st.floats(0.0, 1e4))
def test_longer_keeping_never_makes_more_calls_cold(requests_day, short, more):
    """Shares are 0 to 1, and fall as instances are kept longer."""
    brief = _with(TEN_A_DAY, requests_day=requests_day, keep_alive_s=short)
    patient = _with(brief, keep_alive_s=short + more)

    assert 0.0 <= cold_share(patient) <= cold_share(brief) * (1 + 1e-12) <= 1.0 + 1e-9


def test_a_service_refuses_what_passes_its_limits():
    """Fifteen minutes, ten gibibytes and no accelerator: a refusal for each."""
    found = refusals(LAMBDA, Need(run_max_s=1200.0, memory_bytes=15.2e9))

    assert [
        ("capability", "calls of 1,200 s", "at most 900 s"),
        ("memory", "15.2 GB", "at most 10.7 GB"),
        ("capability", "an accelerator", "CPUs alone"),
    ] == [(refused.objective, refused.wanted, refused.found) for refused in found]


def test_a_service_takes_what_keeps_its_limits():
    """A small model on CPUs, within time, is not refused."""
    small = Need(run_max_s=900.0, memory_bytes=10_240 * 2**20, needs_accelerator=False)

    assert () == refusals(LAMBDA, small)


def test_a_call_is_tokens_times_prices():
    """Half the prompt from the cache, off-peak: three kinds."""
    calls = Calls(requests_day=1.0, prompt=1000.0, answer=300.0, cached=0.5, peak_share=0.0)

    assert {
        "prompts": 0.00033, "cached prompts": 0.000011, "answers": 0.000594,
    } == pytest.approx(api_usd_call(PRICE, calls))  # fmt: skip


@pytest.mark.parametrize(("peak_share", "factor"), [(None, 1.25), (0.0, 1.0), (1.0, 2.0)])
def test_peak_hours_cost_more(peak_share, factor):
    """Calls spread evenly meet as many peak hours as there are; others say their own part."""
    even = Calls(requests_day=1.0, prompt=1000.0, answer=300.0, peak_share=peak_share)

    assert 0.001254 * factor == pytest.approx(sum(api_usd_call(PRICE, even).values()))


def test_a_load_becomes_calls_of_a_month():
    """A call a second in the busiest hour, half of that over the day."""
    load = Load(rps=1.0, prompt=1000.0, answer=300.0, cached=0.25, day_factor=0.5)

    bill = api(PRICE, calls_of(load, months=12))

    assert 43_200.0 == calls_of(load).requests_day
    assert 43_200 * 730 / 24 * 0.75e-3 * 0.66 * 1.25 == pytest.approx(bill.costs["prompts"])
    assert bill.usd_month * 12 == pytest.approx(bill.usd_horizon)


@given(
    st.sampled_from(["requests_day", "prompt", "answer", "peak_share"]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_an_api_is_monotone(field, one, other):
    """More calls, more tokens and more of them at the peak never cost less; caching never more."""
    base = Calls(requests_day=1e5, prompt=1e4, answer=1e4, cached=0.5, peak_share=1.0)
    low, high = (part * getattr(base, field) for part in sorted((one, other)))

    cheap, dear = (api(PRICE, _with(base, **{field: value})).usd_month for value in (low, high))
    assert cheap <= dear * (1 + 1e-12)
    assert api(PRICE, _with(base, cached=0.9)).usd_month < api(PRICE, base).usd_month


@pytest.mark.parametrize("changes", [{"cached": 1.1}, {"peak_share": -0.1}])
def test_shares_are_shares(changes):
    """A part of something is 0 to 1."""
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        api_usd_call(PRICE, Calls(requests_day=1.0, prompt=1.0, answer=1.0, **changes))
