"""Who may reach an engine, who watches it, and what keeps it from being evicted?

Port 8000 is for the gateway and for what scrapes metrics. An engine itself asks nobody but the
names' server; what stages its weights fetches by https. A pod has one policy for all its
containers, so the way out stays open afterwards, to port 443 alone; none where weights are mounted.
The machines of a group talk over ports of their own choosing, with each other only.

Not here: what is scraped of the gateway (`kubernetes.gateway`), rules (`monitoring`).
"""

from typing import Final
from urllib.parse import urlsplit

from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.pods import serving
from baseload.render.kubernetes.engine.volumes import claimed
from baseload.render.kubernetes.objects import Object
from baseload.render.picture import PORT

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
MONITORING: Final = "monitoring"


def policy(about: About) -> Object:
    """Give the engine's NetworkPolicy."""
    gateway = {
        "app.kubernetes.io/component": "gateway",
        "app.kubernetes.io/instance": about.instance,
    }
    watching = {NAMESPACE_LABEL: monitoring_namespace(about)}
    ingress: list[Object] = [
        {
            "from": [
                {"podSelector": {"matchLabels": gateway}},
                {"namespaceSelector": {"matchLabels": watching}},
            ],
            "ports": [{"port": PORT, "protocol": "TCP"}],
        }
    ]
    names = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    egress: list[Object] = [{"to": [{"namespaceSelector": {}}], "ports": names}]
    if claimed(about) is None:
        egress.append({"ports": [{"port": 443, "protocol": "TCP"}]})
    if about.is_group:
        same = [{"podSelector": {"matchLabels": about.selector}}]
        ingress.append({"from": same})
        egress.append({"to": same})
    return about.object(
        "networking.k8s.io/v1", "NetworkPolicy",
        spec={
            "podSelector": {"matchLabels": about.selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    )  # fmt: skip


def monitoring_namespace(about: About) -> str:
    """Give the namespace that scrapes come from: that of the Prometheus which scalers ask."""
    host = urlsplit(about.picture.deploy.prometheus).hostname or ""
    parts = host.split(".")
    return parts[1] if len(parts) > 2 and parts[2] == "svc" else MONITORING


def disruption(about: About) -> Object:
    """Let nodes be drained one engine at a time."""
    return about.object(
        "policy/v1", "PodDisruptionBudget",
        spec={
            "maxUnavailable": 1,
            # One that cannot start is in nobody's way.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": about.selector},
        },
    )  # fmt: skip


def account(about: About) -> Object:
    """Give a name of its own, with no rights, that a cloud may tie a role for its bucket to."""
    return about.object("v1", "ServiceAccount", automountServiceAccountToken=False)


def service(about: About) -> Object:
    """Give the address under which the gateway finds it."""
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    return about.object(
        "v1", "Service", spec={"type": "ClusterIP", "selector": serving(about), "ports": [port]}
    )


def monitor(about: About) -> Object | None:
    """Give what has its metrics scraped; llama.cpp's are in the gateway that starts it."""
    if about.engine.said.engine == "llama.cpp":
        return None
    endpoint = {
        "port": "http",
        "path": "/metrics",
        "interval": f"{about.picture.deploy.monitoring.interval_s}s",
        "relabelings": [
            {"targetLabel": "job", "replacement": "engines", "action": "replace"},
            {"targetLabel": "backend", "replacement": about.engine.name, "action": "replace"},
        ],
    }
    return about.object(
        "monitoring.coreos.com/v1", "PodMonitor",
        spec={
            "selector": {"matchLabels": serving(about)},
            "podMetricsEndpoints": [endpoint],
        },
    )  # fmt: skip
