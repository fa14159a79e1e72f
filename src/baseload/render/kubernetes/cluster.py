"""What does a cluster have once, whatever runs in it?

Priorities: where room is short, gateways go before engines, and engines before what has none. The
NVIDIA device plugin's configurations, for nodes whose GPUs are shared through MPS. The class of
local NVMe volumes that engines name.

Not here: the drivers behind them, which the cluster has already.
"""

from typing import Final

from baseload.render.kubernetes.engine.placing import mps_config
from baseload.render.kubernetes.engine.sharing import mps_shares
from baseload.render.kubernetes.identity import marks, priority_class
from baseload.render.kubernetes.objects import Object, Param, Part, Sheet
from baseload.render.picture import Picture
from baseload.render.text import dump

_RANKS: Final = (
    ("gateway", 1_000_000, "Gateways: callers wait for them."),
    ("engine", 100_000, "Model servers: minutes to start, so nothing of less use puts them out."),
)
_MPS: Final = """\
One configuration for each number of engines on a GPU; a node takes the one that its label
`nvidia.com/device-plugin.config` names, and `default`, which shares nothing, without a label.
Tell the plugin of this ConfigMap: `config.name` in its chart, `devicePlugin.config` in the GPU
operator's. It must lie in the plugin's namespace."""
_STORAGE: Final = """\
Local NVMe by a CSI driver: a volume is made on the node on which its pod is placed."""


def part(picture: Picture) -> Part:
    """Give priorities, and the device plugin's configurations if GPUs are shared."""
    classes = tuple(_priority(picture, *rank) for rank in _RANKS)
    sheets = [Sheet(file="priorityclasses.yaml", objects=classes)]
    if shares := mps_shares(picture):
        plugin = _device_plugin(picture, shares)
        sheets.append(Sheet(file="device-plugin.yaml", objects=(plugin,), about=_MPS))
    about = "Whether what a cluster has once is made here; a second installation leaves it out."
    return Part(
        name="cluster", sheets=tuple(sheets),
        switch=Param(path=("cluster", "enabled"), value=True, about=about),
    )  # fmt: skip


def storage(picture: Picture) -> Part | None:
    """Give the classes of volumes that engines name, if they name any."""
    names = storage_classes(picture)
    if not names:
        return None
    about = "Whether classes of local volumes are made here; not where the cluster has them."
    classes = tuple(_storage_class(picture, name) for name in names)
    return Part(
        name="storage", sheets=(Sheet(file="storageclass.yaml", objects=classes, about=_STORAGE),),
        switch=Param(path=("storage", "enabled"), value=True, about=about),
    )  # fmt: skip


def storage_classes(picture: Picture) -> tuple[str, ...]:
    """Give the names of the classes of volumes."""
    named = [each.said.storage_class for each in picture.in_clusters if each.said.storage_class]
    return tuple(dict.fromkeys(named))


def kubernetes(picture: Picture) -> str:
    """Give the oldest version that knows every field used: pods that sleep before they go, DRA."""
    has_claims = any(each.said.sharing == "dra" for each in picture.in_clusters)
    return "1.34" if has_claims else "1.30"


def _priority(picture: Picture, rank: str, value: int, about: str) -> Object:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": priority_class(picture, rank), "labels": marks(picture, "cluster")},
        "description": about,
        "value": value,
        "globalDefault": False,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _device_plugin(picture: Picture, shares: tuple[int, ...]) -> Object:
    where = Param(
        path=("device_plugin", "namespace"), value="nvidia-device-plugin",
        about="The namespace of NVIDIA's device plugin; `gpu-operator` where that installs it.",
    )  # fmt: skip
    mps = {
        mps_config(share): {
            "version": "v1",
            "sharing": {"mps": {"resources": [{"name": "nvidia.com/gpu", "replicas": share}]}},
        }
        for share in shares
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{picture.deploy.name}-device-plugin",
            "namespace": where,
            "labels": marks(picture, "cluster"),
        },
        "data": {
            name: dump(one) for name, one in ({"default": {"version": "v1"}} | mps).items()
        },
    }  # fmt: skip


def _storage_class(picture: Picture, name: str) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "labels": marks(picture, "cluster")},
        "provisioner": Param(
            path=("storage", "provisioner"), value="topolvm.io",
            about="The CSI driver that makes volumes of a node's own NVMe drives; TopoLVM's name.",
            schema={"minLength": 1},
        ),
        "parameters": Param(
            path=("storage", "parameters"), value={"csi.storage.k8s.io/fstype": "xfs"},
            about="What that driver is told; TopoLVM also takes `topolvm.io/device-class`.",
            schema={"additionalProperties": {"type": "string"}},
        ),
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
    }  # fmt: skip
