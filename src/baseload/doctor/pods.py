"""Where are the pods in an object, and which of them serve a model?

A model server is known by what it asks for (an accelerator), or by its image's or command's name.
Only of such are slow starts, long answers and memory that must not be taken back expected.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    get,
    mapping,
    text,
    whole,
)

TEMPLATES: Final[dict[str, tuple[Pointer, ...]]] = {
    "Pod": ((),),
    "Deployment": (("spec", "template"),),
    "StatefulSet": (("spec", "template"),),
    "DaemonSet": (("spec", "template"),),
    "ReplicaSet": (("spec", "template"),),
    "Job": (("spec", "template"),),
    "CronJob": (("spec", "jobTemplate", "spec", "template"),),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
}
_LEAST: Final = {
    "HorizontalPodAutoscaler": ("minReplicas", 1), "ScaledObject": ("minReplicaCount", 0),
}  # fmt: skip
"""Which field of a scaler says how many pods it keeps, and how many where it does not say."""
SERVING: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "LeaderWorkerSet")
"""Kinds whose pods run until they are told to end."""
SCALED: Final = ("Deployment", "StatefulSet")
"""Kinds of which any pod does as well as another."""
GPU: Final = "nvidia.com/gpu"
_ACCELERATOR = re.compile(r"(nvidia\.com/(gpu|mig-.*)|amd\.com/gpu|gpu\.intel\.com/.*|.*/npu)$")
_ADDED = re.compile(
    r"(leaderworkerset\.sigs|statefulset\.kubernetes|apps\.kubernetes|batch\.kubernetes)[.]"
    r"(k8s\.)?io/.+|job-name|controller-uid|(controller-revision|pod-template)-hash"
)
"""Labels that controllers give to pods."""
_SERVER = re.compile(
    r"vllm|sglang|text-generation-inference|llama[.-]?(cpp|server)|ollama|tritonserver|tensorrt"
    r"|lmdeploy|model-?server|inference|deepseek"
)


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, or the template of pods, of an object."""

    kind: str
    """Of the object that it belongs to."""
    at: Pointer
    """Way to its template."""
    body: dict[str, Any]

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec; empty if there is none."""
        return mapping(self.body, "spec")

    @property
    def labels(self) -> dict[str, Any]:
        """Its labels, without those that controllers add."""
        return mapping(self.body, "metadata", "labels")

    @property
    def leads(self) -> bool:
        """Whether it is the first of a group, which speaks for the others."""
        return self.at[-1:] == ("leaderTemplate",)

    @property
    def here(self) -> Pointer:
        """Way to its spec."""
        return (*self.at, "spec")

    @property
    def containers(self) -> Iterator[tuple[Pointer, dict[str, Any]]]:
        """Its containers with the way to each, but those that start it."""
        return self._listed("containers")

    @property
    def every(self) -> Iterator[tuple[Pointer, dict[str, Any]]]:
        """All its containers, those that start it last."""
        yield from self._listed("containers")
        yield from self._listed("initContainers")

    def _listed(self, field: str) -> Iterator[tuple[Pointer, dict[str, Any]]]:
        for index, each in enumerate(entries(self.spec, field)):
            if isinstance(each, dict):
                yield (*self.here, field, index), each

    @property
    def takes_accelerators(self) -> bool:
        """Whether it asks for one."""
        return any(wants_accelerator(container) for _, container in self.every)

    @property
    def serves_a_model(self) -> bool:
        """Whether it is a model server that runs until it is told to end."""
        return self.kind in SERVING and any(serves_a_model(each) for _, each in self.containers)


def pods_of(manifest: Manifest) -> tuple[Pod, ...]:
    """Give the pods that an object makes."""
    return tuple(
        Pod(kind=manifest.kind, at=at, body=get(manifest.body, *at))
        for at in TEMPLATES.get(manifest.kind, ())
        if isinstance(get(manifest.body, *at), dict)
    )


def asked(container: dict[str, Any]) -> dict[str, Any]:
    """Give all that a container asks for or is limited to, by resource."""
    return {
        **mapping(container, "resources", "limits"), **mapping(container, "resources", "requests"),
    }  # fmt: skip


def wants_accelerator(container: dict[str, Any]) -> bool:
    """Say whether a container asks for an accelerator."""
    return any(_ACCELERATOR.fullmatch(name) for name in asked(container))


def serves_a_model(container: dict[str, Any]) -> bool:
    """Say whether a container is a model server."""
    words = [text(container, "image"), *map(str, entries(container, "command"))]
    return wants_accelerator(container) or bool(_SERVER.search(" ".join(words).lower()))


def port_number(port: Any) -> int:
    """Give the number of a container's port, also one that is written as text; 0 if it has none."""
    said = get(port, "containerPort")
    if isinstance(said, str) and said.isdecimal() and len(said) < 6:
        return int(said)
    return whole(said) or 0


def replicas(manifest: Manifest, others: Manifests) -> int:
    """Give how many pods there are at least: what a scaler keeps, or what is said; 1 by default."""
    for scaler in others:
        if scaler.kind in _LEAST and targets(scaler, manifest):
            key, usual = _LEAST[scaler.kind]
            least = whole(scaler.body, "spec", key)
            return usual if least is None else least
    said = whole(manifest.body, "spec", "replicas")
    return 1 if said is None else said


def targets(scaler: Manifest, manifest: Manifest) -> bool:
    """Say whether an autoscaler scales an object."""
    target = mapping(scaler.body, "spec", "scaleTargetRef")
    wanted = target.get("kind", "Deployment"), target.get("name")
    return wanted == (manifest.kind, manifest.name) and scaler.is_beside(manifest)


def matches(selector: Any, labels: dict[str, Any]) -> bool:
    """Say whether a label selector selects labels; an empty one selects everything.

    Labels that only controllers add are taken for right: no template has them.
    """
    for key, value in mapping(selector, "matchLabels").items():
        if labels.get(key) != value and not _ADDED.fullmatch(str(key)):
            return False
    return all(
        _holds(each, labels) for each in entries(selector, "matchExpressions")
        if not _ADDED.fullmatch(text(each, "key"))
    )  # fmt: skip


def _holds(expression: Any, labels: dict[str, Any]) -> bool:
    key, values = text(expression, "key"), entries(expression, "values")
    match text(expression, "operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return True
