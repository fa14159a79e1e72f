"""How is an engine scaled without KEDA?

By an HPA on external metrics, which the Prometheus adapter serves by the rules that are given here
too. The same signals as with KEDA, and the same windows; but no HPA goes to zero, unless a cluster
has the feature gate HPAScaleToZero, so `render.placeable` refuses `to_zero` with it.

Not here: the adapter's file (`kubernetes.adapter`).
"""

from typing import Any, Final

from baseload.render.kubernetes.engine import scaling
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.objects import Object, Param

PREFIX: Final = "baseload_scale_"


def by_metrics(about: About) -> Object:
    """Give the HPA."""
    metrics = [
        _metric(about, name, kind, threshold) for name, _, kind, threshold in scaling.signals(about)
    ]
    return about.object(
        "autoscaling/v2", "HorizontalPodAutoscaler",
        spec={
            "scaleTargetRef": about.workload,
            "minReplicas": scaling.replicas(about),
            "maxReplicas": scaling.replicas_max(about),
            "metrics": metrics,
            "behavior": scaling.behaviour(about.engine),
        },
    )  # fmt: skip


def metric_name(about: About, signal: str) -> str:
    """Give the name under which the adapter serves a signal."""
    return PREFIX + f"{about.engine.slug}_{signal}".replace("-", "_")


def rules(about: About) -> list[Any]:
    """Give the adapter's rules: each metric is one query, of this backend alone."""
    return [
        {
            "seriesQuery": "baseload_backend_up",
            "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
            "name": {"as": metric_name(about, name)},
            "metricsQuery": query.replace("%s", about.picture.deploy.namespace),
        }
        for name, query, _, _ in scaling.signals(about)
    ]


def _metric(about: About, name: str, kind: str, threshold: Param) -> Object:
    field = "averageValue" if kind == "AverageValue" else "value"
    return {
        "type": "External",
        "external": {
            "metric": {"name": metric_name(about, name)},
            "target": {"type": kind, field: threshold},
        },
    }
