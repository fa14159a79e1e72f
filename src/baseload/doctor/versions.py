"""Is an object of a version of the API that is still there?

Versions that only went from beta to stable are exchanged. Where fields moved too (Ingress, the
metrics of an autoscaler), they are moved.
"""

from collections.abc import Callable
from typing import Any, Final

from baseload.config.mistakes import nearest
from baseload.doctor.edits import Drop, Edit, Put
from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    get,
    mapping,
    text,
    word,
)
from baseload.doctor.rules import Hit, Hits, Rule
from baseload.doctor.shape import KINDS, is_of_kubernetes, newest

Removed = tuple[str, str, str, str]
"""Old version, kind, the Kubernetes that no longer has it, what took its place (empty: nothing)."""
_APPS: Final = ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet")
_ADMISSION: Final = "admissionregistration.k8s.io"
REMOVED: Final[tuple[Removed, ...]] = (
    *(("extensions/v1beta1", kind, "1.16", "apps/v1") for kind in _APPS[:3]),
    *((f"apps/v1beta{beta}", kind, "1.16", "apps/v1") for beta in (1, 2) for kind in _APPS),
    ("extensions/v1beta1", "NetworkPolicy", "1.16", "networking.k8s.io/v1"),
    ("extensions/v1beta1", "Ingress", "1.22", "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "Ingress", "1.22", "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass", "1.22", "networking.k8s.io/v1"),
    ("policy/v1beta1", "PodDisruptionBudget", "1.25", "policy/v1"),
    ("policy/v1beta1", "PodSecurityPolicy", "1.25", ""),
    ("extensions/v1beta1", "PodSecurityPolicy", "1.16", ""),
    ("batch/v1beta1", "CronJob", "1.25", "batch/v1"),
    ("batch/v2alpha1", "CronJob", "1.21", "batch/v1"),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler", "1.25", "autoscaling/v2"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "1.26", "autoscaling/v2"),
    ("scheduling.k8s.io/v1beta1", "PriorityClass", "1.22", "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "StorageClass", "1.22", "storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "CSIDriver", "1.22", "storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "CSIStorageCapacity", "1.27", "storage.k8s.io/v1"),
    ("discovery.k8s.io/v1beta1", "EndpointSlice", "1.25", "discovery.k8s.io/v1"),
    ("node.k8s.io/v1beta1", "RuntimeClass", "1.25", "node.k8s.io/v1"),
    *(
        ("rbac.authorization.k8s.io/v1beta1", kind, "1.22", "rbac.authorization.k8s.io/v1")
        for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    ),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "1.22", ""),
    (f"{_ADMISSION}/v1beta1", "ValidatingWebhookConfiguration", "1.22", ""),
    (f"{_ADMISSION}/v1beta1", "MutatingWebhookConfiguration", "1.22", ""),
)  # fmt: skip


def unsaid(manifest: Manifest, _: Manifests) -> Hits:
    """Find objects that do not say what they are."""
    for key in ("apiVersion", "kind"):
        if not text(manifest.body, key):
            better = newest(manifest.kind) if key == "apiVersion" else None
            yield Hit(
                at=(key,), what=f"it has no {key}", hint="is it a Kubernetes object?",
                cure=f"it is {better}" if better else "",
                edits=(Put(at=(key,), value=better),) if better else (),
            )  # fmt: skip


def removed(manifest: Manifest, _: Manifests) -> Hits:
    """Find versions of the API that are gone."""
    said = text(manifest.body, "apiVersion")
    for old, kind, since, fresh in REMOVED:
        if (old, kind) == (said, manifest.kind):
            edits: tuple[Edit, ...] = ()
            if fresh:
                moves = _MOVES[kind](manifest.body) if kind in _MOVES else ()
                edits = (Put(at=("apiVersion",), value=fresh), *moves)
            yield Hit(
                at=("apiVersion",), what=f"{kind} of {old} is gone since Kubernetes {since}",
                hint=f"it is {fresh} now" if fresh else "there is none any more"
                if "Policy" in kind else "version v1 has other fields; write it anew",
                cure=f"it is {fresh}" if fresh else "", edits=edits,
            )  # fmt: skip


def wrong(manifest: Manifest, _: Manifests) -> Hits:
    """Find kinds that are known, in a version that does not have them."""
    said, kind = text(manifest.body, "apiVersion"), manifest.kind
    if not said or any((said, kind) == each[:2] for each in REMOVED) or (said, kind) in KINDS:
        return
    better = newest(kind)
    group = said.rpartition("/")[0]
    if better is not None and is_of_kubernetes(said):
        yield Hit(
            at=("apiVersion",), what=f"{word(said)} has no {kind}", hint=f"{kind} is of {better}",
            cure=f"it is {better}", edits=(Put(at=("apiVersion",), value=better),),
        )  # fmt: skip
    elif group in ("", "apps", "batch") and kind:
        here = [known for version, known in KINDS if version == said]
        yield Hit(at=("kind",), what=f"{word(said)} has no {word(kind)}", hint=nearest(kind, here))


def _ingress(body: dict[str, Any]) -> tuple[Edit, ...]:
    edits: list[Edit] = []
    backend = mapping(body, "spec", "backend")
    if backend:
        edits += [
            Put(at=("spec", "defaultBackend"), value=_backend(backend)),
            Drop(at=("spec", "backend")),
        ]  # fmt: skip
    for number, rule in enumerate(entries(body, "spec", "rules")):
        for index, path in enumerate(entries(rule, "http", "paths")):
            at: Pointer = ("spec", "rules", number, "http", "paths", index)
            if mapping(path, "backend"):
                edits.append(Put(at=(*at, "backend"), value=_backend(path["backend"])))
            if isinstance(path, dict) and path.get("pathType") is None:
                edits.append(Put(at=(*at, "pathType"), value="ImplementationSpecific"))
    return tuple(edits)


def _backend(old: dict[str, Any]) -> dict[str, Any]:
    if "serviceName" not in old:
        return old
    port = old.get("servicePort")
    key = "name" if isinstance(port, str) and not port.isdecimal() else "number"
    value = int(port) if isinstance(port, str) and port.isdecimal() else port
    return {"service": {"name": old["serviceName"], "port": {key: value}}}


def _metrics(body: dict[str, Any]) -> tuple[Edit, ...]:
    """Move what v2beta1 said of a resource's target."""
    edits: list[Edit] = []
    for index, metric in enumerate(entries(body, "spec", "metrics")):
        resource = mapping(metric, "resource")
        for old, kind, fresh in (
            ("targetAverageUtilization", "Utilization", "averageUtilization"),
            ("targetAverageValue", "AverageValue", "averageValue"),
        ):
            if old in resource:
                at: Pointer = ("spec", "metrics", index, "resource")
                target = {"type": kind, fresh: get(resource, old)}
                edits += [Put(at=(*at, "target"), value=target), Drop(at=(*at, old))]
    return tuple(edits)


_MOVES: Final[dict[str, Callable[[dict[str, Any]], tuple[Edit, ...]]]] = {
    "Ingress": _ingress, "HorizontalPodAutoscaler": _metrics,
}  # fmt: skip

RULES: Final = (
    Rule(
        id="kind-missing", severity="refused", check=unsaid, fixed="apiVersion of a known kind",
        about="an object does not say its kind or the version of its API",
    ),
    Rule(
        id="api-removed", severity="refused", check=removed, fixed="where it has a successor",
        about="the version of the API is gone: extensions/v1beta1, policy/v1beta1, ...",
    ),
    Rule(
        id="api-wrong", severity="refused", check=wrong, fixed="where the kind is known",
        about="this version of the API does not have this kind",
    ),
)  # fmt: skip
