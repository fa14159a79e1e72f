"""What Prometheus sees of what engines say of themselves."""

from types import SimpleNamespace

from baseload.config.fleet import Backend, Overload
from baseload.config.serving import Batch
from baseload.core.facts import Call, Sight
from baseload.core.filling import PREFILL_TOKENS, Filling
from baseload.core.limits import AdaptiveLimit
from baseload.core.seat import Account, Seat
from baseload.gateway.enginemetrics import LOOKS_MAX, SLACK_S, EngineMetrics
from baseload.gateway.probes import PROBE_TIMEOUT_S

PROBE_S = 5.0


def shown(
    now: float, sights: dict[str, Sight], *backends: str, seats: dict[str, Seat] | None = None
) -> dict[str, float]:
    """Give what is shown of a double of a gateway: it has clock, sights, backends and seats."""
    gateway = SimpleNamespace(
        driver=SimpleNamespace(clock=lambda: now),
        probes=SimpleNamespace(sights=sights),
        fleet=SimpleNamespace(
            backends={name: Backend(name=name, probe_s=PROBE_S) for name in backends}
        ),
        gate=SimpleNamespace(seats=seats or {}),
    )
    return {
        f"{sample.name.removeprefix('baseload_engine_')}/{sample.labels['backend']}": sample.value
        for metric in EngineMetrics(gateway).collect()
        for sample in metric.samples
    }


def test_engines_say_how_full_they_are():
    """Each tells what it knows; what it does not, and a provider that tells nothing, is absent."""
    sights = {
        "vllm": Sight(100.0, kv_usage=0.87, waiting=72, running=31),
        "llama": Sight(100.0, waiting=0, running=1, slots=2),
        "api": Sight(100.0, ping_s=0.1),
    }

    assert {
        "kv_used_ratio/vllm": 0.87,
        "running_calls/vllm": 31,
        "waiting_calls/vllm": 72,
        "running_calls/llama": 1,
        "waiting_calls/llama": 0,
    } == shown(101.0, sights, *sights)


def test_what_is_old_is_not_shown():
    """After a few looks that led to nothing, an engine has no numbers; one that left has none."""
    sights = {"a": Sight(100.0, running=1), "gone": Sight(100.0, running=1)}
    ages = LOOKS_MAX * PROBE_S, LOOKS_MAX * PROBE_S + SLACK_S + 0.1
    seen = [shown(100.0 + age, sights, "a") for age in ages]

    assert [{"running_calls/a": 1}, {}] == seen
    assert SLACK_S > PROBE_TIMEOUT_S


def test_what_an_engine_is_given_is_shown():
    """Limits as learnt, and what is out; of backends whose filling nobody watches, nothing."""
    seat, plain = (Seat(name, Account(AdaptiveLimit(8, 8)), Overload()) for name in "ab")
    seat.filling = Filling(Batch(), seat.limit)
    seat.filling.take(Call(1, "m", 9.0, prompt_tokens=30, answer_tokens=20), 0.0)
    sights = {"a": Sight(100.0, kv_tokens=5000, preemptions=2)}
    untold = shown(100.0, sights, "a", "b", seats={"a": seat, "b": plain})
    seat.filling.saw(Sight(100.0, made_tokens=0), 100.0)

    assert "tokens_per_second/a" not in untold
    assert {
        "kv_tokens/a": 5000,
        "preemptions_total/a": 2,
        "tokens_per_second/a": 0,
        "baseload_batch_limit/a": 8,
        "baseload_batch_prefill_limit_tokens/a": PREFILL_TOKENS,
        "baseload_batch_prefill_tokens/a": 30,
        "baseload_batch_expected_tokens/a": 50,
    } == shown(100.0, sights, "a", "b", seats={"a": seat, "b": plain})
