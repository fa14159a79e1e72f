"""How many gateways are there? As many as calls in flight ask for.

Calls in flight say how full a gateway is; CPU says it late, since answers are mostly waited for.
One is added at once, and taken away slowly: each that goes takes minutes to finish its answers.

The Deployment itself says no number: it would undo the scaler's at every apply.

Not here: the scaling of engines (`engine.scaling`), what an autoscaler asks (`adapter`).
"""

from typing import Any, Final

from baseload.render.kubernetes.identity import metadata
from baseload.render.kubernetes.objects import NAMESPACE, Object, Param
from baseload.render.picture import Picture

_BEHAVIOUR: Final[dict[str, Any]] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 600,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}
METRIC: Final = "baseload_in_flight"
_COUNT: Final = {"minimum": 1}


def scaler(picture: Picture) -> Object:
    """Give what scales the gateway, by KEDA or by a HorizontalPodAutoscaler."""
    return _keda(picture) if picture.deploy.scaler == "keda" else _hpa(picture)


def prometheus(picture: Picture) -> Param:
    """Give the URL at which scalers ask for metrics."""
    return Param(
        path=("prometheus",), value=picture.deploy.prometheus,
        about="Where scalers ask for metrics.",
    )  # fmt: skip


def _target(picture: Picture) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": picture.deploy.name}


def _counts(picture: Picture) -> tuple[Param, Param]:
    said = picture.deploy.gateway
    return (
        Param(
            path=("gateway", "replicas"), value=said.replicas, about="Gateways, at least.",
            schema=_COUNT,
        ),
        Param(
            path=("gateway", "replicas_max"), value=max(said.replicas, said.replicas_max),
            about="Gateways, at most.", schema=_COUNT,
        ),
    )  # fmt: skip


def _in_flight(picture: Picture) -> Param:
    return Param(
        path=("gateway", "in_flight"), value=picture.deploy.gateway.in_flight, text="%s",
        about="Calls in flight, for each gateway, above which one is added.", schema=_COUNT,
    )  # fmt: skip


def _keda(picture: Picture) -> Object:
    least, most = _counts(picture)
    query = Param(
        path=NAMESPACE, value=picture.deploy.namespace,
        text=f'sum({METRIC}{{job="baseload",namespace="%s"}})',
    )  # fmt: skip
    asked = {"serverAddress": prometheus(picture), "query": query, "threshold": _in_flight(picture)}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(picture),
        "spec": {
            "scaleTargetRef": _target(picture),
            "pollingInterval": 15,
            "minReplicaCount": least,
            "maxReplicaCount": most,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _BEHAVIOUR}},
            "triggers": [
                # Where Prometheus has nothing to say, the number stays as it is.
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": asked | {"ignoreNullValues": "false"},
                }
            ],
        },
    }


def _hpa(picture: Picture) -> Object:
    least, most = _counts(picture)
    target = {"type": "AverageValue", "averageValue": _in_flight(picture)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(picture),
        "spec": {
            "scaleTargetRef": _target(picture),
            "minReplicas": least,
            "maxReplicas": most,
            "behavior": _BEHAVIOUR,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {"metric": {"name": METRIC}, "target": target},
                }
            ],
        },
    }
