"""Do services have ports that can be, and pods behind them?"""

from typing import Any, Final

from baseload.doctor.edits import Drop, Edit, Put
from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    get,
    mapping,
    text,
    whole,
    word,
)
from baseload.doctor.names import slug
from baseload.doctor.pods import SERVING, matches, pods_of
from baseload.doctor.rules import Hit, Hits, Rule

PORTS: Final[Pointer] = ("spec", "ports")
SELECTOR: Final[Pointer] = ("spec", "selector")


def _ports(manifest: Manifest) -> list[tuple[int, dict[str, Any]]]:
    if manifest.kind != "Service":
        return []
    found = entries(manifest.body, *PORTS)
    return [(index, each) for index, each in enumerate(found) if isinstance(each, dict)]


def no_ports(manifest: Manifest, _: Manifests) -> Hits:
    """Find services without ports, but those that need none."""
    spec = mapping(manifest.body, "spec")
    needs_none = spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None"
    if manifest.kind == "Service" and not needs_none and not entries(spec, "ports"):
        yield Hit(at=PORTS, what="it has no ports", hint="name the port that callers use")


def numbers(manifest: Manifest, _: Manifests) -> Hits:
    """Find ports that do not exist."""
    for index, port in _ports(manifest):
        for key in ("port", "targetPort", "nodePort"):
            number = whole(port, key)
            least = 0 if key == "nodePort" else 1
            if number is not None and not least <= number < 65536:
                at = (*PORTS, index, key)
                yield Hit(at=at, what=f"{number} is no port", hint="1 to 65535")


def unnamed(manifest: Manifest, _: Manifests) -> Hits:
    """Find ports of services with several that have no name."""
    ports = _ports(manifest)
    for index, port in ports if len(ports) > 1 else ():
        if not text(port, "name"):
            name = f"port-{whole(port, 'port') or index}"
            yield Hit(
                at=(*PORTS, index), what="it has no name", hint="of several ports each has one",
                cure=f"it is `{name}`", edits=(Put(at=(*PORTS, index, "name"), value=name),),
            )  # fmt: skip


def doubles(manifest: Manifest, _: Manifests) -> Hits:
    """Find ports that are there twice."""
    seen: set[tuple[Any, ...]] = set()
    names: set[str] = set()
    for index, port in _ports(manifest):
        key, name = (whole(port, "port"), text(port, "protocol") or "TCP"), text(port, "name")
        at: Pointer = (*PORTS, index)
        if key[0] is not None and key in seen:
            what = f"port {key[0]} ({word(key[1])}) is there already"
            yield Hit(at=at, what=what, cure="it is removed", edits=(Drop(at=at),))
        elif name and name in names:
            fresh = f"{slug(name, 56)}-{index}"
            yield Hit(
                at=(*at, "name"), what=f"another port is called `{word(name)}`",
                cure=f"it is `{fresh}`", edits=(Put(at=(*at, "name"), value=fresh),),
            )  # fmt: skip
        seen.add(key)
        names.add(name)


def node_port(manifest: Manifest, _: Manifests) -> Hits:
    """Find ports of nodes on a service that has none."""
    if text(manifest.body, "spec", "type") in ("", "ClusterIP"):
        for index, port in _ports(manifest):
            if whole(port, "nodePort"):
                at = (*PORTS, index, "nodePort")
                yield Hit(
                    at=at, what="a service of type ClusterIP has no nodePort",
                    cure="it is removed", edits=(Drop(at=at),),
                )  # fmt: skip


def _behind(manifest: Manifest, others: Manifests) -> list[Manifest]:
    selector = mapping(manifest.body, "spec", "selector")
    return [
        each for each in others
        if each.is_beside(manifest)
        and any(matches({"matchLabels": selector}, pod.labels) for pod in pods_of(each))
    ]  # fmt: skip


def orphan(manifest: Manifest, others: Manifests) -> Hits:
    """Find services that no pod of a file with workloads is behind."""
    selector = mapping(manifest.body, "spec", "selector")
    near = [each for each in others if each.kind in SERVING]
    if manifest.kind != "Service" or not selector or not near or _behind(manifest, others):
        return
    near = [each for each in near if each.is_beside(manifest)]
    labels = mapping(near[0].body, "spec", "selector", "matchLabels") if len(near) == 1 else {}
    edits: tuple[Edit, ...] = (Put(at=("spec", "selector"), value=labels),) if labels else ()
    yield Hit(
        at=("spec", "selector"), what="it selects no pod of this file",
        hint="callers are refused: nobody is behind it",
        cure=f"it selects the pods of {near[0].label}" if edits else "", edits=edits,
    )  # fmt: skip


def target(manifest: Manifest, others: Manifests) -> Hits:
    """Find ports whose target no container behind the service has."""
    if manifest.kind != "Service":
        return
    known = [
        port
        for each in (_behind(manifest, others) if mapping(manifest.body, *SELECTOR) else ())
        for pod in pods_of(each) for _, container in pod.containers
        for port in entries(container, "ports")
    ]  # fmt: skip
    for index, port in _ports(manifest) if known else ():
        wanted = get(port, "targetPort")
        wanted = whole(port, "port") if wanted is None else wanted
        key = "name" if isinstance(wanted, str) and not wanted.isdecimal() else "containerPort"
        if str(wanted) not in [str(get(each, key)) for each in known]:
            only = known[0] if len(known) == 1 else {}
            better = text(only, "name") or whole(only, "containerPort")
            yield Hit(
                at=(*PORTS, index, "targetPort"),
                what=f"no container behind it has the port {word(wanted)}",
                hint="callers are refused, unless the program listens there all the same",
                cure=f"it goes to {better}, the only one" if better else "",
                edits=(Put(at=(*PORTS, index, "targetPort"), value=better),) if better else (),
            )  # fmt: skip


def path_type(manifest: Manifest, _: Manifests) -> Hits:
    """Find paths of Ingresses that do not say how they are compared."""
    if manifest.kind != "Ingress" or text(manifest.body, "apiVersion") != "networking.k8s.io/v1":
        return
    for number, rule in enumerate(entries(manifest.body, "spec", "rules")):
        for index, path in enumerate(entries(rule, "http", "paths")):
            if isinstance(path, dict) and path.get("pathType") is None:
                at = ("spec", "rules", number, "http", "paths", index, "pathType")
                yield Hit(
                    at=at, what="it has no pathType", hint="Prefix is the usual one",
                    cure="it is Prefix", edits=(Put(at=at, value="Prefix"),),
                )  # fmt: skip


RULES: Final = (
    Rule(
        id="service-ports-missing", severity="refused", check=no_ports, fixed="no",
        about="a service has no ports",
    ),
    Rule(
        id="service-port-number", severity="refused", check=numbers, fixed="no",
        about="a port of a service is not between 1 and 65535",
    ),
    Rule(
        id="service-port-unnamed", severity="refused", check=unnamed,
        about="one of several ports of a service has no name",
    ),
    Rule(
        id="service-port-duplicate", severity="refused", check=doubles,
        about="a service has a port, or a port's name, twice",
    ),
    Rule(
        id="service-node-port", severity="refused", check=node_port,
        about="a service of type ClusterIP has a nodePort",
    ),
    Rule(
        id="ingress-path-type", severity="refused", check=path_type,
        about="a path of an Ingress has no pathType",
    ),
    Rule(
        id="service-orphan", severity="harmful", check=orphan,
        fixed="where the file has one workload",
        about="a service selects no pod of the file",
    ),
    Rule(
        id="service-target", severity="harmful", check=target,
        fixed="where there is one port to go to",
        about="a service's port goes to a port that no container behind it has",
    ),
)  # fmt: skip
