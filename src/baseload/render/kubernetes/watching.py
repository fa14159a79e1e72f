"""How does a Prometheus operator come to watch the gateway, and by which rules?

A part of its own, since it needs the operator's kinds in the cluster.

Not here: the rules themselves (`monitoring.rules`), the watching of engines (`engines`).
"""

from typing import Any

from baseload.render.kubernetes.identity import chosen, marks, metadata
from baseload.render.kubernetes.objects import Object, Param, Part, Sheet
from baseload.render.picture import Picture


def part(picture: Picture, groups: list[dict[str, Any]]) -> Part:
    """Give what the Prometheus operator reads; `groups` are the rules."""
    sheets = [Sheet(file="servicemonitor.yaml", objects=(_monitor(picture),))]
    if groups:
        sheets.append(Sheet(file="prometheusrule.yaml", objects=(_rules(picture, groups),)))
    about = "Whether the cluster has a Prometheus operator, which reads monitors and rules."
    return Part(
        name="monitoring", sheets=tuple(sheets),
        switch=Param(path=("monitoring", "enabled"), value=True, about=about),
    )  # fmt: skip


def _labelled(picture: Picture) -> Object:
    """Give metadata with labels that may be set: operators choose what they read by them."""
    about = "Labels by which the operator chooses monitors and rules, `release: ...` for example."
    kept = Param(
        path=("monitoring", "labels"), value=marks(picture), about=about,
        schema={"additionalProperties": {"type": "string"}},
    )  # fmt: skip
    return metadata(picture) | {"labels": kept}


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


def _rules(picture: Picture, groups: list[dict[str, Any]]) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _labelled(picture),
        "spec": {"groups": groups},
    }
