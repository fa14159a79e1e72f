"""Does what objects say of each other hold: selectors, targets, ports, volumes, names?

No API server looks at this; a Service that selects nothing is valid, and useless.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.render.kubernetes_tools import Object, name_of

Labels = dict[str, str]
SELECTING = ("NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "Service", "ServiceMonitor")


def dangling(objects: Iterable[Object], outside: Iterable[str] = ()) -> list[str]:
    """Say which references lead nowhere; `outside` names what others make: `Secret/keys`."""
    made = [*objects]
    there = {name_of(each) for each in made} | {*outside}
    wanted = ((each, name) for each in made for name in _wanted(each))
    found = [
        *(f"{name_of(each)}: there is no {name}" for each, name in wanted if name not in there),
        *(f"{name_of(each)}: {what}" for each in made for what in _selected(each, made)),
        *(f"{name_of(each)}: {what}" for each in made for what in _routed(each, made)),
    ]
    return [*dict.fromkeys(found)]


def _wanted(made: Object) -> Iterator[str]:
    """Give what an object names that must be there."""
    if target := made.get("spec", {}).get("scaleTargetRef"):
        yield f"{target.get('kind', 'Deployment')}/{target['name']}"
    for pod in _found(made, lambda each: "containers" in each):
        for key, kind in (
            ("serviceAccountName", "ServiceAccount"),
            ("priorityClassName", "PriorityClass"),
        ):
            if key in pod:
                yield f"{kind}/{pod[key]}"
        for each in _found(pod, lambda each: True):
            yield from _named(each)


def _named(each: Object) -> Iterator[str]:
    optional = ("secretKeyRef", "configMapKeyRef", "secretRef", "configMapRef", "configMap")
    for key in optional:
        if key in each and not each[key].get("optional"):
            kind = "Secret" if key.startswith("secret") else "ConfigMap"
            yield f"{kind}/{each[key]['name']}"
    if "secretName" in each:
        yield f"Secret/{each['secretName']}"
    if "claimName" in each:
        yield f"PersistentVolumeClaim/{each['claimName']}"
    if "resourceClaimTemplateName" in each:
        yield f"ResourceClaimTemplate/{each['resourceClaimTemplateName']}"
    if each.get("storageClassName"):
        yield f"StorageClass/{each['storageClassName']}"


def _found(value: Any, wanted: Callable[[Object], bool]) -> Iterator[Object]:
    if isinstance(value, dict):
        if wanted(value):
            yield value
        for below in value.values():
            yield from _found(below, wanted)
    elif isinstance(value, list):
        for below in value:
            yield from _found(below, wanted)


def _pods(made: Iterable[Object]) -> list[tuple[Labels, Object]]:
    """Give the labels and the specification of every pod that objects make."""
    return [
        (template.get("metadata", {}).get("labels", {}) | more, template["spec"])
        for each in made
        for template, more in _templates(each)
    ]


def _templates(one: Object) -> Iterator[tuple[Object, Labels]]:
    """Give templates of pods, each with the labels that a controller adds."""
    if one["kind"] != "LeaderWorkerSet":
        for template in _found(one, lambda each: "containers" in each.get("spec", {})):
            yield template, {}
        return
    group = one["spec"]["leaderWorkerTemplate"]
    leader = group.get("leaderTemplate", group["workerTemplate"])
    for number, template in enumerate((leader, group["workerTemplate"])):
        yield (
            template,
            {
                "leaderworkerset.sigs.k8s.io/name": one["metadata"]["name"],
                "leaderworkerset.sigs.k8s.io/worker-index": str(number),
            },
        )


def _selected(one: Object, made: list[Object]) -> Iterator[str]:
    """See that a selector selects, and that the ports it leads to are there."""
    kind, spec = one["kind"], one.get("spec", {})
    if kind not in SELECTING or ("selector" not in spec and "podSelector" not in spec):
        return
    selector = spec.get("selector", spec.get("podSelector"))
    wanted = selector if kind == "Service" else selector.get("matchLabels", {})
    if kind == "ServiceMonitor":
        services = [each for each in made if each["kind"] == "Service"]
        ports = [
            {port.get("name") for port in each["spec"]["ports"]} for each in services
            if wanted.items() <= each["metadata"].get("labels", {}).items()
        ]  # fmt: skip
    else:
        ports = [
            {port.get("name") for box in pod["containers"] for port in box.get("ports", [])}
            for labels, pod in _pods(made) if wanted.items() <= labels.items()
        ]  # fmt: skip
    if not ports:
        yield f"selects nothing: {wanted}"
        return
    named = {port["targetPort"] for port in spec.get("ports", []) if kind == "Service"} | {
        end["port"] for key in ("endpoints", "podMetricsEndpoints") for end in spec.get(key, [])
    }  # fmt: skip
    for name in named:
        if isinstance(name, str) and not any(name in each for each in ports):
            yield f"there is no port {name}"


def _routed(one: Object, made: list[Object]) -> Iterator[str]:
    """See that a route, and the gateway's own file, lead to ports of Services."""
    open_ports = {
        (each["metadata"]["name"], key)
        for each in made if each["kind"] == "Service" for port in each["spec"]["ports"]
        for key in (port["port"], port.get("name"))
    }  # fmt: skip
    if one["kind"] == "ConfigMap":
        for name, port in re.findall(r"http://(engine-[a-z0-9-]+):([0-9]+)", str(one.get("data"))):
            if (name, int(port)) not in open_ports:
                yield f"leads to {name}:{port}"
    if one["kind"] == "HTTPRoute":
        for rule in one["spec"]["rules"]:
            for back in rule.get("backendRefs", []):
                if (back["name"], back["port"]) not in open_ports:
                    yield f"leads to {back}"
    if one["kind"] == "Ingress":
        for back in _found(one, lambda each: "port" in each and "name" in each):
            if (back["name"], next(iter(back["port"].values()))) not in open_ports:
                yield f"leads to {back}"
