"""Who may reach an engine, and what keeps it from being evicted?

Port 8000 is for the gateway and for what scrapes metrics. An engine itself asks nobody but the
names' server; what stages its weights fetches by https. A pod has one policy for all its
containers, so the way out stays open afterwards, to the port of the source alone; none where
weights are mounted. So a cloud's metadata address, which is asked on port 80, is out of reach.
The machines of a group talk over ports of their own choosing, with each other only.

Not here: what scrapes it (`kubernetes.watching`).
"""

from urllib.parse import urlsplit

from baseload.render.kubernetes import network
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.pods import serving
from baseload.render.kubernetes.engine.volumes import claimed
from baseload.render.kubernetes.objects import Object
from baseload.render.picture import PORT


def policy(about: About) -> Object:
    """Give the engine's NetworkPolicy."""
    gateway = {
        "app.kubernetes.io/component": "gateway",
        "app.kubernetes.io/instance": about.instance,
    }
    watching = {network.NAMED: network.monitoring(about.picture)}
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
    # To anywhere: a node's own cache of names is no pod of any namespace.
    egress: list[Object] = [{"ports": names}]
    if claimed(about) is None:
        egress.append({"ports": [{"port": _source_port(about), "protocol": "TCP"}]})
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


def _source_port(about: About) -> int:
    """Give the port that weights are fetched from; of a bucket or the hub, that of https."""
    url = urlsplit(about.engine.said.weights)
    return url.port or 443 if url.scheme == "https" else 443


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
