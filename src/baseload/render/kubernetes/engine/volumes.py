"""Where do an engine's weights lie, and what else does a pod mount?

With a storage class, on a volume of local NVMe that its CSI driver cuts for each pod: a generic
ephemeral volume, since a Deployment's replicas cannot share one that is `ReadWriteOnce`. It lives
as long as the pod, so a container that starts again finds its weights, and a new pod fetches them.
A group's pods keep theirs (`volumeClaimTemplates`), since a group starts anew as a whole whenever
one of its containers does. Without a storage class: the node's own disk, asked for so that the
scheduler finds one with room. `pvc://CLAIM/PATH` mounts what others have filled, read-only.

Not here: filling them (`staging`).
"""

from math import ceil
from typing import Final, NamedTuple

from baseload.render.kubernetes.engine.names import WEIGHTS, About
from baseload.render.kubernetes.engine.placing import GIB, shared_gib
from baseload.render.kubernetes.objects import Object, Param

ROOM: Final = 1.3
"""Over the weights: tokenizers, what a repository also has, what a file system keeps."""
PVC: Final = "pvc://"


class Volumes(NamedTuple):
    """What a pod has mounted."""

    volumes: list[Object]
    mounts: list[Object]
    templates: list[Object]
    """Claims that a group's pods keep."""
    disk: Param | None
    """Of the node, that is asked for."""


def size_gib(about: About) -> int:
    """Room for the weights."""
    return ceil(about.engine.weights_bytes * ROOM / GIB)


def claimed(about: About) -> tuple[str, str] | None:
    """Give the claim and the path in it, where weights are there already."""
    if not about.engine.said.weights.startswith(PVC):
        return None
    claim, _, path = about.engine.said.weights.removeprefix(PVC).partition("/")
    return claim, path.strip("/")


def volumes_of(about: About) -> Volumes:
    """Give the volumes of one pod."""
    memory = {"medium": "Memory", "sizeLimit": _gib(shared_gib(about))}
    mount: Object = {"name": "shared", "mountPath": "/dev/shm"}  # noqa: S108 - the pod's own
    # MPS brings its own: over it, clients do not find their server.
    is_alone = about.engine.said.sharing == "none" and not about.is_cpu
    mounts = [mount] if is_alone else []
    others = [{"name": "shared", "emptyDir": memory}] if is_alone else []
    if (found := claimed(about)) is not None:
        claim, path = found
        if about.engine.said.engine == "llama.cpp":  # PATH is that of a file
            path = path.rpartition("/")[0]
        mount = {"name": "weights", "mountPath": about.folder, "readOnly": True}
        if path:
            mount["subPath"] = path
        source = {"claimName": claim, "readOnly": True}
        volume = {"name": "weights", "persistentVolumeClaim": source}
        return Volumes([volume, *others], [mount, *mounts], [], None)
    mounts.insert(0, {"name": "weights", "mountPath": WEIGHTS, "readOnly": True})
    size = about.param("disk", about="Room for weights, for each pod.", value=_gib(size_gib(about)))
    if not about.engine.said.storage_class:
        volume = {"name": "weights", "emptyDir": {"sizeLimit": size}}
        return Volumes([volume, *others], mounts, [], size)
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": about.param(
            "storage_class", about="StorageClass of local NVMe.",
            value=about.engine.said.storage_class, minLength=1,
        ),
        "resources": {"requests": {"storage": size}},
    }  # fmt: skip
    if about.is_group:
        return Volumes(others, mounts, [{"metadata": {"name": "weights"}, "spec": spec}], None)
    template = {"metadata": {"labels": about.pod_labels}, "spec": spec}
    volume = {"name": "weights", "ephemeral": {"volumeClaimTemplate": template}}
    return Volumes([volume, *others], mounts, [], None)


def _gib(count: int) -> str:
    return f"{count}Gi"
