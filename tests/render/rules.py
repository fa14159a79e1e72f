"""What would an API server refuse although an object's schema allows it?

Some of its own validation, written again for the double and the checks: names, labels, quantities,
ports, volumes, selectors, whole GPUs. KEDA's webhook is here with its counts of replicas.

Not here: rules in CEL, admission, and whatever needs other objects (`references`).
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.render.kubernetes_tools import Object

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PORT = re.compile(r"(?=[0-9-]*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")
KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"([+-]?[0-9.]+)(m|k|[KMGTPE]i?|e[+-]?[0-9]+)?")
UNITS = {"m": Decimal("0.001"), "k": Decimal(1000)} | {
    sign + two: Decimal((1024 if two else 1000) ** (power + 1))
    for power, sign in enumerate("KMGTPE")
    for two in ("", "i")
}
HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
LABELLED = ("labels", "matchLabels", "nodeSelector")


def refused(made: Object) -> list[str]:
    """Say what is wrong with an object that its schema allows."""
    kind, spec = made.get("kind", ""), made.get("spec", {})
    found = [*_names(made), *_labels(made)]
    for at, pod in _pods(made):
        found += _pod(at, pod, {each["metadata"]["name"] for each in _claims(made)})
    if kind in ("Deployment", "StatefulSet", "DaemonSet"):
        wanted = spec["selector"].get("matchLabels", {})
        have = spec["template"].get("metadata", {}).get("labels", {})
        if not wanted or not wanted.items() <= have.items():
            found.append(f"spec.selector: {wanted} does not match the template's {have}")
    if kind == "PodDisruptionBudget" and ("minAvailable" in spec) == ("maxUnavailable" in spec):
        found.append("spec: one of minAvailable and maxUnavailable")
    if kind == "ScaledObject":
        found += _ordered(spec, "idleReplicaCount", "minReplicaCount", is_below=True)
        found += _ordered(spec, "minReplicaCount", "maxReplicaCount")
    if kind == "HorizontalPodAutoscaler":
        found += _ordered(spec, "minReplicas", "maxReplicas")
    if kind == "Service":
        found += _ports("spec.ports", spec.get("ports", []), one_may_be_nameless=True)
    if kind == "ConfigMap" and sum(map(len, made.get("data", {}).values())) > 2**20:
        found.append("data: more than 1 MiB")
    return found


def _ordered(spec: Object, low: str, high: str, *, is_below: bool = False) -> Iterator[str]:
    if low in spec and high in spec and spec[low] + is_below > spec[high]:
        yield f"spec.{low}: {spec[low]} with {high} {spec[high]}"


def _names(made: Object) -> Iterator[str]:
    name, kind = made["metadata"]["name"], made.get("kind")
    if not (LABEL if kind in ("Service", "Namespace", "LeaderWorkerSet") else NAME).fullmatch(name):
        yield f"metadata.name: {name}"
    if kind in ("ConfigMap", "Secret"):
        for key in made.get("data", {}):
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", key):
                yield f"data: {key}"


def _labels(value: Any, at: str = "") -> Iterator[str]:
    """Find all that are labels, wherever they stand."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _labels(each, f"{at}.{number}")
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        if isinstance(below, dict) and (key in LABELLED or at + key == "spec.selector"):
            for name, label in below.items():
                plain = isinstance(label, str) and VALUE.fullmatch(label)
                if name not in ("matchLabels", "matchExpressions") and not (
                    plain and KEY.fullmatch(name)
                ):
                    yield f"{at}{key}: {name}: {label}"
        if key != "data":
            yield from _labels(below, f"{at}{key}.")


def _pods(value: Any, at: str = "") -> Iterator[tuple[str, Object]]:
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield at, value
        for key, below in value.items():
            yield from _pods(below, f"{at}{key}.")


def _claims(made: Object) -> list[Object]:
    spec = made.get("spec", {})
    of_group = spec.get("leaderWorkerTemplate", {}).get("volumeClaimTemplates", [])
    return [*spec.get("volumeClaimTemplates", []), *of_group]


def _pod(at: str, pod: Object, claims: set[str]) -> Iterator[str]:
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    volumes = [each["name"] for each in pod.get("volumes", [])]
    for what, names in (("container", [each["name"] for each in containers]), ("volume", volumes)):
        if len(set(names)) < len(names) or not all(map(LABEL.fullmatch, names)):
            yield f"{at}: {what}s are called {names}"
    for each in pod.get("volumes", []):
        if len(each) != 2:
            yield f"{at}volumes: {each['name']} has {len(each) - 1} sources"
    named = {each["name"] for each in pod.get("resourceClaims", [])}
    grace_s = pod.get("terminationGracePeriodSeconds", 30)
    for each in containers:
        here = f"{at}{each['name']}"
        for what in _container(each, {*volumes, *claims}, named):
            yield f"{here}: {what}"
        sleep_s = each.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if sleep_s > grace_s:
            yield f"{here}: sleeps {sleep_s} s before it stops, of {grace_s} s"
        security = {**pod.get("securityContext", {}), **each.get("securityContext", {})}
        if security.get("runAsNonRoot") and security.get("runAsUser") == 0:
            yield f"{here}: root, and not root"


def _container(one: Object, volumes: set[str], claims: set[str]) -> Iterator[str]:
    mounts = one.get("volumeMounts", [])
    if unknown := {each["name"] for each in mounts} - volumes:
        yield f"volumeMounts: no volume {unknown}"
    if len({each["mountPath"] for each in mounts}) < len(mounts):
        yield "volumeMounts: two in one place"
    for each in one.get("env", []):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", each["name"]) or len(each) > 2:
            yield f"env: {each}"
    yield from _ports("ports", one.get("ports", []), key="containerPort")
    yield from _probes(one)
    yield from _resources(one.get("resources", {}), claims)


def _ports(
    at: str, ports: list[Object], key: str = "port", *, one_may_be_nameless: bool = False
) -> Iterator[str]:
    names = [each.get("name", "") for each in ports]
    numbers = [(each[key], each.get("protocol", "TCP")) for each in ports]
    if one_may_be_nameless and names == [""]:
        return
    if len(set(names)) < len(names) or not all(map(PORT.fullmatch, names)):
        yield f"{at}: called {names}"
    if len(set(numbers)) < len(numbers):
        yield f"{at}: {numbers}"


def _probes(one: Object) -> Iterator[str]:
    names = {each.get("name") for each in one.get("ports", [])}
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := one.get(kind)) is None:
            continue
        handlers = [each for each in HANDLERS if each in probe]
        port = probe.get("httpGet", probe.get("tcpSocket", {})).get("port", 1)
        if len(handlers) != 1 or (isinstance(port, str) and port not in names):
            yield f"{kind}: {handlers} on {port}"
        if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield f"{kind}: successThreshold must be 1"


def _resources(asked: Object, claims: set[str]) -> Iterator[str]:
    requests, limits = asked.get("requests", {}), asked.get("limits", {})
    for name, text in [*requests.items(), *limits.items()]:
        if (amount := quantity(text)) is None:
            yield f"resources: {name}: {text}"
        elif "/" in name and (
            amount != int(amount) or limits.get(name) != requests.get(name, text)
        ):
            yield f"resources: {name}: whole, and at most what is asked for: {requests}, {limits}"
    for name in requests.keys() & limits.keys():
        if (quantity(requests[name]) or 0) > (quantity(limits[name]) or 0):
            yield f"resources: {name}: asks for {requests[name]} of {limits[name]}"
    if unknown := {each["name"] for each in asked.get("claims", [])} - claims:
        yield f"resources: no claim {unknown}"


def quantity(text: Any) -> Decimal | None:
    """Give the number that a quantity stands for; None if it is none."""
    if not (match := QUANTITY.fullmatch(str(text))):
        return None
    number, unit = Decimal(match[1]), match[2] or ""
    return number * (Decimal("1" + unit) if unit.startswith("e") else UNITS.get(unit, Decimal(1)))
