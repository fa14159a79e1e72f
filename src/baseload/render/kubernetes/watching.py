"""How does a Prometheus operator come to watch the gateway and its engines, and by which rules?

A part of its own, since it needs the operator's kinds in the cluster. One monitor is for all
engines: which backend a pod is, its label says.

Not here: the rules themselves (`monitoring.rules`).
"""

import re
from typing import Any, Final

from baseload.render.kubernetes.engine.names import BACKEND
from baseload.render.kubernetes.identity import chosen, marks, metadata
from baseload.render.kubernetes.objects import Object, Param, Part, Sheet
from baseload.render.picture import Picture

_BACKEND: Final = "__meta_kubernetes_pod_label_" + re.sub("[^a-z]", "_", BACKEND)
"""What Prometheus calls the label that pods of an engine have with their backend's name."""


def part(picture: Picture, groups: list[dict[str, Any]]) -> Part:
    """Give what the Prometheus operator reads; `groups` are the rules."""
    sheets = [Sheet(file="servicemonitor.yaml", objects=(_monitor(picture),))]
    if engines := _measured(picture):
        sheets.append(Sheet(file="podmonitor.yaml", objects=(_engines(picture, engines),)))
    if groups:
        sheets.append(Sheet(file="prometheusrule.yaml", objects=(_rules(picture, groups),)))
    about = "Whether the cluster has a Prometheus operator, which reads monitors and rules."
    return Part(
        name="monitoring", sheets=tuple(sheets),
        switch=Param(path=("monitoring", "enabled"), value=True, about=about),
    )  # fmt: skip


def _measured(picture: Picture) -> list[str]:
    """Give engines that have metrics; llama.cpp's are on a port of its pod's loopback."""
    return [each.name for each in picture.in_clusters if each.said.engine != "llama.cpp"]


def _labelled(picture: Picture, name: str = "") -> Object:
    """Give metadata with labels that may be set: operators choose what they read by them."""
    about = "Labels by which the operator chooses monitors and rules, `release: ...` for example."
    kept = Param(
        path=("monitoring", "labels"), value=marks(picture), about=about,
        schema={"additionalProperties": {"type": "string"}},
    )  # fmt: skip
    return metadata(picture, name) | {"labels": kept}


def _monitor(picture: Picture) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _labelled(picture),
        "spec": {
            "selector": {"matchLabels": chosen(picture)},
            "endpoints": [
                {
                    "port": "admin",
                    "path": "/metrics",
                    "interval": f"{picture.deploy.monitoring.interval_s}s",
                    # The job that rules and dashboards ask for, whatever the Service is called.
                    "relabelings": [
                        {"action": "replace", "targetLabel": "job", "replacement": "baseload"}
                    ],
                }
            ],
        },
    }


def _engines(picture: Picture, names: list[str]) -> Object:
    is_measured = {"key": BACKEND, "operator": "In", "values": names}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": _labelled(picture, f"{picture.deploy.name}-engines"),
        "spec": {
            "selector": {
                "matchLabels": {
                    "app.kubernetes.io/component": "engine",
                    "app.kubernetes.io/instance": picture.deploy.name,
                },
                "matchExpressions": [is_measured],
            },
            "podMetricsEndpoints": [
                {
                    # Of a group of machines only the one that serves calls has a port.
                    "port": "http",
                    "path": "/metrics",
                    "interval": f"{picture.deploy.monitoring.interval_s}s",
                    "relabelings": [
                        {"action": "replace", "targetLabel": "job", "replacement": "engines"},
                        {"action": "replace", "targetLabel": "backend", "sourceLabels": [_BACKEND]},
                    ],
                }
            ],
        },
    }


def _rules(picture: Picture, groups: list[dict[str, Any]]) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _labelled(picture),
        "spec": {"groups": groups},
    }
