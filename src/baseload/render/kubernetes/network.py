"""Who reaches the gateway, and whom does it reach?

Callers come to one port from anywhere; a key opens the door. The operators' port is for the same
namespace and for monitoring. Out go name look-ups, calls to engines beside it, to the stores, and
to the ports of the fleet's other URLs. A policy can only speak of ports where a URL has a name
outside of the cluster; the clouds' metadata addresses, which give out credentials, are left out.
Those ports have a policy of their own, with a rule for each: a rule without ports opens all.

Not here: the network of engines (`engines`).
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from baseload.config.addresses import parse_url
from baseload.render.kubernetes import config
from baseload.render.kubernetes.identity import chosen, metadata
from baseload.render.kubernetes.objects import ITEM, Object, Param
from baseload.render.picture import PORT, Picture

_IN_CLUSTER: Final = re.compile(r"[a-z0-9-]+\.([a-z0-9-]+)\.svc(\..*)?")
_USUAL: Final = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379,
                 "http": 80, "https": 443}  # fmt: skip
_METADATA: Final = {"0.0.0.0/0": ["169.254.169.254/32", "100.100.100.200/32"],
                    "::/0": ["fd00:ec2::254/128"]}  # fmt: skip
NAMED: Final = "kubernetes.io/metadata.name"
"""The label that every namespace has with its name."""
MONITORING: Final = "monitoring"
"""The namespace of Prometheus where the fleet file's URL does not tell."""


def service(picture: Picture) -> Object:
    """Give the Service."""
    http = {"name": "http", "port": config.HTTP, "targetPort": "http", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(picture),
        "spec": {
            "type": "ClusterIP",
            "selector": chosen(picture),
            "ports": [
                http | {"appProtocol": "https" if picture.fleet.tls else "http"},
                {"name": "admin", "port": config.ADMIN, "targetPort": "admin", "protocol": "TCP",
                 "appProtocol": "http"},
            ],
        },
    }  # fmt: skip


def policy(picture: Picture) -> Object:
    """Give the NetworkPolicy."""
    watching = {"namespaceSelector": {"matchLabels": {NAMED: monitoring(picture)}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(picture),
        "spec": {
            "podSelector": {"matchLabels": chosen(picture)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_port(config.HTTP)]},
                {"from": [{"podSelector": {}}, watching], "ports": [_port(config.ADMIN)]},
            ],
            "egress": _egress(picture),
        },
    }


def outside(picture: Picture) -> Object:
    """Give the NetworkPolicy for what lies outside of the cluster; policies add up."""
    anywhere = [
        {"ipBlock": {"cidr": block, "except": left}} for block, left in _METADATA.items()
    ]  # fmt: skip
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(picture, f"{picture.deploy.name}-outside"),
        "spec": {
            "podSelector": {"matchLabels": chosen(picture)},
            "policyTypes": ["Egress"],
            "egress": Param(
                path=("gateway", "outside_ports"), value=_outside(picture),
                each={"to": anywhere, "ports": [_port(ITEM)]},
                about="TCP ports of backends and stores outside of the cluster.",
                schema={"items": {"type": "integer", "minimum": 1, "maximum": 65535}},
            ),
        },
    }  # fmt: skip


def budget(picture: Picture) -> Object:
    """Give the PodDisruptionBudget: one at a time, and never held up by one that is broken."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(picture),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": chosen(picture)},
        },
    }


def monitoring(picture: Picture) -> Param:
    """Give the namespace that scrapes come from: that of the Prometheus which scalers ask."""
    found = _IN_CLUSTER.fullmatch(urlsplit(picture.deploy.prometheus).hostname or "")
    return Param(
        path=("monitoring", "namespace"), value=found[1] if found else MONITORING,
        about="The namespace of Prometheus, which may reach the metrics.",
    )  # fmt: skip


def _port(number: Any, protocol: str = "TCP") -> Object:
    return {"protocol": protocol, "port": number}


def _egress(picture: Picture) -> list[Any]:
    engines = {"app.kubernetes.io/part-of": "baseload", "app.kubernetes.io/component": "engine"}
    found: list[Any] = [{"ports": [_port(53, "UDP"), _port(53)]}]
    if picture.in_clusters:
        found.append({"to": [{"podSelector": {"matchLabels": engines}}], "ports": [_port(PORT)]})
    for name, ports in _inside(picture).items():
        other: Object = {"namespaceSelector": {"matchLabels": {NAMED: name}}}
        to = other if name else {"podSelector": {}}
        found.append({"to": [to], "ports": [_port(number) for number in sorted(ports)]})
    return found


def _inside(picture: Picture) -> dict[str, set[int]]:
    """Give the ports that are reached in the cluster, by namespace (empty: the gateway's own).

    Those of engines that some site lacks too: sites differ in values, never in their rules.
    """
    everywhere = _engines(picture)
    for site in picture.deploy.sites.values():
        everywhere &= everywhere if site.engines is None else set(site.engines)
    found: dict[str, set[int]] = {}
    for host, port in _addresses(picture, everywhere):
        if match := _IN_CLUSTER.fullmatch(host):
            found.setdefault(match[1], set()).add(port)
        elif not _is_outside(host):
            found.setdefault("", set()).add(port)
    return found


def _outside(picture: Picture) -> list[int]:
    reached = _addresses(picture, _engines(picture))
    return sorted({port for host, port in reached if _is_outside(host)})


def _is_outside(host: str) -> bool:
    return ("." in host or ":" in host) and not _IN_CLUSTER.fullmatch(host)


def _engines(picture: Picture) -> set[str]:
    return {engine.name for engine in picture.in_clusters}


def _addresses(picture: Picture, here: set[str]) -> list[tuple[str, int]]:
    """Give what is called by its own URL: not the engines that are beside the gateway."""
    fleet = picture.fleet
    away = [each for each in fleet.backends.values() if each.name not in here]
    urls = [parse_url(each.url) for each in away if each.url]
    stores = [fleet.store.ledger, fleet.store.counters, fleet.otel.endpoint or ""]
    return [
        *((url.host, url.port) for url in urls),
        *(address for store in stores for address in _hosts(store)),
    ]


def _hosts(url: str) -> list[tuple[str, int]]:
    """Take a URL's addresses; PostgreSQL's may have several."""
    scheme, _, rest = url.partition("://")
    if scheme not in _USUAL:
        return []
    authority = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    found = []
    for one in authority.split(","):
        host, _, port = one.rpartition(":") if re.search(r":[0-9]+$", one) else (one, "", "")
        if host := host.strip("[]"):
            found.append((host.lower(), int(port or _USUAL[scheme])))
    return found
