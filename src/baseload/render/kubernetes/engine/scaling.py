"""When are there more engines, and when fewer?

By load: calls that wait in the engine, how full its KV cache is, the time to the first token, and
calls in flight as the gateway counts them. The most demanding of them decides. Up goes one replica
in the time of a cold start, since what a step has done is not seen before; down goes one after more
than two cold starts of calm. HPA's own rule, `ceil(replicas * value / target)`, takes a replica
away only where the rest stay below the target with its load: that is the check with N/(N-1).

To zero: KEDA starts the first engine when calls wait in the gateway's line (which holds them), and
stops the last one when for that long none waited and none was in flight.

By CPU, because somebody wants it: GPUs are full at a tenth of their host's CPU, so it stays at its
least number of replicas, whatever the load.

Figures are those of the engine's own namespace: another installation may have a backend, or a
model, of the same name.

Not here: HPA on external metrics, for clusters without KEDA (`external`).
"""

from math import ceil
from typing import Final

from baseload.render.command import sequences_of
from baseload.render.kubernetes.engine import timing
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.placing import slots
from baseload.render.kubernetes.objects import NAMESPACE, Object, Param
from baseload.render.kubernetes.scaling import prometheus
from baseload.render.picture import Engine

KV_USED: Final = 0.8
"""Above it, engines begin to take calls out of the cache and to compute them again."""
FLIGHT: Final = 0.8
"""Part of the calls at once that fit; the rest is for the time until a replica is there."""
QUEUE: Final = 0.1
"""The same, waiting inside an engine: they wait for a whole answer to end."""
CPU_PERCENT: Final = 70
NOTE: Final = "baseload.dev/note"
CPU_NOTE: Final = (
    "CPU at 70 % is the source article's rule. GPUs are full at about 10 % CPU, so this seldom"
    " scales; `scale_on: load` does."
)


def is_scaled(engine: Engine) -> bool:
    """Say whether its number changes at all."""
    return engine.said.scale_on != "none" and (
        engine.replicas_max > engine.replicas or engine.said.to_zero
    )


def replicas(about: About) -> Param:
    """Give the least number of replicas."""
    return about.param(
        "replicas", about="Replicas, at least.", value=about.engine.replicas, minimum=1
    )


def replicas_max(about: About) -> Param:
    """Give the most."""
    return about.param(
        "replicas_max", about="Replicas, at most.", value=about.engine.replicas_max, minimum=1
    )


def behaviour(engine: Engine) -> Object:
    """Give how fast it goes up and down, by how long a start takes."""
    one = {"type": "Pods", "value": 1, "periodSeconds": timing.step_s(engine)}
    return {
        "scaleUp": {"stabilizationWindowSeconds": 30, "policies": [one]},
        "scaleDown": {
            "stabilizationWindowSeconds": timing.calm_s(engine),
            "policies": [one],
        },
    }


def by_cpu(about: About) -> Object:
    """Give the source article's HPA."""
    target = {"type": "Utilization", "averageUtilization": CPU_PERCENT}
    return about.object(
        "autoscaling/v2", "HorizontalPodAutoscaler",
        annotations={NOTE: CPU_NOTE},
        spec={
            "scaleTargetRef": about.workload,
            "minReplicas": replicas(about),
            "maxReplicas": replicas_max(about),
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": behaviour(about.engine),
        },
    )  # fmt: skip


def by_load(about: About) -> Object:
    """Give KEDA's ScaledObject."""
    engine = about.engine
    least: Object = {"minReplicaCount": replicas(about)}
    if engine.said.to_zero:
        least |= {"idleReplicaCount": 0, "cooldownPeriod": timing.calm_s(engine)}
    return about.object(
        "keda.sh/v1alpha1", "ScaledObject",
        spec={
            "scaleTargetRef": about.workload,
            "pollingInterval": 15,
            **least,
            "maxReplicaCount": replicas_max(about),
            # Without Prometheus nobody knows the load: what runs goes on, who is at zero starts.
            "fallback": {
                "failureThreshold": 4,
                "replicas": replicas(about),
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behaviour(engine)}},
            "triggers": triggers(about),
        },
    )  # fmt: skip


def triggers(about: About) -> list[Object]:
    """Give what KEDA asks Prometheus for."""
    found = [
        _trigger(about, name, query, kind, threshold)
        for name, query, kind, threshold in signals(about)
    ]
    if about.engine.said.to_zero:
        waiting = _calls_waiting(about)
        wakes = _trigger(about, "waiting-calls", waiting, "AverageValue", _flight(about))
        found.append(wakes)
    return found


Signal = tuple[str, str, str, Param]
"""A name, its query (`%s` is the namespace), whether it is meant for each replica (AverageValue),
and where to scale."""


def signals(about: About) -> list[Signal]:
    """Give the signals of load."""
    engine, deploy = about.engine, about.picture.deploy
    mine = f'namespace="%s",backend="{engine.name}"'
    promised = deploy.monitoring
    first = (
        f"histogram_quantile({promised.first_token_share:g}, "
        f"sum by (le) (rate(baseload_first_token_seconds_bucket{{{mine}}}[5m])))"
    )
    found: list[Signal] = []
    if queue := QUEUES.get(engine.said.engine):
        waiting = f"sum({queue}{{{mine}}}) or vector(0)"
        used = " or ".join(f"avg({name}{{{mine}}})" for name in CACHES[engine.said.engine])
        found = [
            ("queue", waiting, "AverageValue", _threshold(
                about, "queue", ceil(QUEUE * sequences_of(engine)),
                "Calls that wait in an engine, for each replica.",
            )),
            ("kv-cache", f"{used} or vector(0)", "Value", _threshold(
                about, "kv_used", KV_USED, "Part of the KV cache that is used.",
            )),
        ]  # fmt: skip
    return [
        *found,
        # Not a number, when nobody calls, is not above 0.
        ("first-token", f"({first} > 0) or vector(0)", "Value", _threshold(
            about, "first_token_s", promised.first_token_s,
            "Seconds to the first token, as promised.",
        )),
        ("in-flight", f"sum(baseload_in_flight{{{mine}}})", "AverageValue", _flight(about)),
    ]  # fmt: skip


QUEUES: Final = {"vllm": "vllm:num_requests_waiting", "sglang": "sglang:num_queue_reqs"}
CACHES: Final = {
    "vllm": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "sglang": ("sglang:token_usage",),
}
"""Newer and older names."""


def _flight(about: About) -> Param:
    engine = about.engine
    most = slots(about) if engine.said.engine == "llama.cpp" else sequences_of(engine)
    each = max(1, int(FLIGHT * most))
    return _threshold(about, "in_flight", each, "Calls in flight, for each replica.")


def _threshold(about: About, name: str, value: float, what: str) -> Param:
    """Give where to scale: a number, which stands as a text in objects."""
    return Param(
        path=about.path("scale", name), value=int(value) if value == int(value) else value,
        about=what, text="%s", schema={"type": "number", "exclusiveMinimum": 0},
    )  # fmt: skip


def _trigger(about: About, name: str, query: str, kind: str, threshold: Param) -> Object:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": kind,
        "metadata": {
            "serverAddress": prometheus(about.picture),
            "query": Param(path=NAMESPACE, value=about.picture.deploy.namespace, text=query),
            "threshold": threshold,
            # First tokens were late, and caches full, of calls that are over: no reason to run.
            "activationThreshold": "0" if kind == "AverageValue" else "1000000",
            "ignoreNullValues": "false",
        },
    }  # fmt: skip


def _calls_waiting(about: About) -> str:
    """Calls in the gateway's line that this backend could take."""
    names = [
        model.name for model in about.picture.fleet.models.values()
        if any(about.engine.name in tier for tier in model.tiers)
    ]  # fmt: skip
    if not names:
        return "vector(0)"
    models = "|".join(map(exactly, names))
    return f'sum(baseload_waiting_calls{{namespace="%s",model=~"{models}"}})'


def exactly(name: str) -> str:
    """Give a regular expression of one name, as it stands between PromQL's quotes."""
    plain = "".join("\\" + sign if sign in ".^$*+?()[]{}|\\" else sign for sign in name)
    return plain.replace("%", r"\x25").replace("\\", "\\\\").replace('"', '\\"')
