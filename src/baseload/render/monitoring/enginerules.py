"""How full are engines, under whatever names they say it, and when is that too full?

vLLM, SGLang and llama.cpp each have names of their own for the same things. Recorded here under
one name each, by backend: `backend:engine_waiting_calls:sum` and others. An engine that Prometheus
does not ask itself is taken from the gateway's probes.

A group of SGLang's processes shows the same calls once for each rank, and once more for each
priority, so there the largest value is taken of what only differs in that.

Not here: what the gateway thinks of a backend (`service`).
"""

from math import ceil
from typing import Final

from baseload.render.monitoring.alerts import Alert, Rule, group, number, one_of, quoted
from baseload.render.picture import Engine, Picture

MINUTE_S: Final = 60
KV_USED_MAX: Final = 0.95
PREEMPTIONS_MAX: Final = 0.1
"""Calls a second that lose their place in the KV cache and begin again."""
_RANKS: Final = "tp_rank, pp_rank, moe_ep_rank, priority"

WAITING: Final = (
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "llamacpp:requests_deferred",
)
RUNNING: Final = (
    "vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing",
)  # fmt: skip
KV_USED: Final = (
    "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage",
    "llamacpp:kv_cache_usage_ratio",
)  # fmt: skip
TOKENS: Final = (
    "vllm:generation_tokens_total", "sglang:generation_tokens_total",
    "llamacpp:tokens_predicted_total",
)  # fmt: skip
PREEMPTIONS: Final = ("vllm:num_preemptions_total", "sglang:num_retracted_requests_total")


def recorded() -> list[Rule]:
    """Give the rules that record how engines do."""
    probed = "or max by (backend) (baseload_engine_"
    rules = {
        "backend:engine_waiting_calls:sum": f"{_sum(WAITING)}\n{probed}waiting_calls)",
        "backend:engine_running_calls:sum": f"{_sum(RUNNING)}\n{probed}running_calls)",
        "backend:engine_kv_used_ratio:max": f"max by (backend) (\n{_either(KV_USED)}\n)\n"
        f"{probed}kv_used_ratio)",
        "backend:engine_tokens:rate5m": f"{_rates(TOKENS)}",
        "backend:engine_preemptions:rate5m": f"{_rates(PREEMPTIONS)}",
    }
    return [{"record": name, "expr": expr} for name, expr in rules.items()]


def _either(names: tuple[str, ...]) -> str:
    return "\n  or ".join(("  " + names[0], *names[1:]))


def _sum(names: tuple[str, ...]) -> str:
    return f"sum by (backend) (max without ({_RANKS}) (\n{_either(names)}\n))"


def _rates(names: tuple[str, ...]) -> str:
    return f"sum by (backend) (\n{_either(tuple(f'rate({name}[5m])' for name in names))}\n)"


def start_max_s(engine: Engine) -> float:
    """Give the longest from an order to start until there is a first token, in whole minutes."""
    return ceil((engine.machine_s + engine.start_s[1]) / MINUTE_S) * MINUTE_S


def alerts(picture: Picture) -> list[Alert]:
    """Give the alerts about engines; none where the fleet deploys none."""
    if not picture.engines:
        return []
    zero = [_at_zero(picture, engine) for engine in picture.engines if engine.said.to_zero]
    return [_down(picture), _full(), _preempting(), *zero]


def groups(picture: Picture) -> list[Rule]:
    """Give what is recorded and what is told."""
    rules = (alert.rule for alert in alerts(picture))
    return [group("baseload-engines", [*recorded(), *rules])]


def _down(picture: Picture) -> Alert:
    # A cloud's group that is meant to have no machine is asked all the same, and answers nothing.
    cold = [group.engine.name for group in picture.groups if not group.replicas]
    but = f", backend!~{one_of(cold)}" if cold else ""
    longest_s = max(5.0 * MINUTE_S, *(start_max_s(engine) for engine in picture.engines))
    return Alert(
        name="EngineIsDown",
        expr=f'up{{job="engines"{but}}} == 0',
        severity="ticket",
        for_s=longest_s,
        summary="An engine of {{ $labels.backend }} does not answer",
        description=f"{{{{ $labels.instance }}}} is there and has not answered for longer than "
        f"any engine takes to start ({number(longest_s / MINUTE_S)} min).",
    )


def _full() -> Alert:
    return Alert(
        name="EngineCacheIsFull",
        expr=f"backend:engine_kv_used_ratio:max > {number(KV_USED_MAX)}",
        severity="ticket",
        for_s=10 * MINUTE_S,
        summary="The KV cache of {{ $labels.backend }} is full",
        description="{{ $value | humanizePercentage }} of it has been used for ten minutes: new "
        "calls wait in the engine, or push out others.",
    )


def _preempting() -> Alert:
    return Alert(
        name="EnginePreempts",
        expr=f"backend:engine_preemptions:rate5m > {number(PREEMPTIONS_MAX)}",
        severity="ticket",
        for_s=10 * MINUTE_S,
        summary="Engine {{ $labels.backend }} preempts calls",
        description='{{ $value | printf "%.2f" }} calls a second lose their place in its KV cache '
        "and are worked out anew: it has taken more than it can hold.",
    )


def models_of(picture: Picture, engine: Engine) -> list[str]:
    """Give the models that it is a backend of."""
    return [
        model.name for model in picture.fleet.models.values()
        if any(engine.name in tier for tier in model.tiers)
    ]  # fmt: skip


def _at_zero(picture: Picture, engine: Engine) -> Alert:
    """Tell of calls that wait in vain.

    The gateway gives up a call after about as long as this waits, and another comes minutes later:
    so it is remembered for a while that somebody waited.
    """
    models = one_of(models_of(picture, engine))
    longest_s = start_max_s(engine)
    return Alert(
        name="EngineStaysAtZero",
        expr=f"sum(max_over_time(baseload_waiting_calls{{model=~{models}}}[5m])) > 0\n"
        f'unless on () sum(up{{job="engines", backend={quoted(engine.name)}}}) > 0',
        severity="page",
        for_s=longest_s,
        labels={"backend": engine.name},
        summary=f"Engine {engine.name} is at zero while calls wait",
        description='{{ $value | printf "%.0f" }} calls have waited for it in five minutes, and no '
        f"engine has come up in {number(longest_s / MINUTE_S)} min, the longest that it takes.",
    )
