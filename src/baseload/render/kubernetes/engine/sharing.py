"""How do several engines share one GPU?

MPS by the device plugin: nodes that carry `nvidia.com/device-plugin.config: mps-N` offer each GPU N
times; a pod asks for one of those, never for two, and the plugin gives it a Nth of memory and of
compute. The plugin mounts all that a pod needs, /dev/shm too, so pods need no `hostIPC`.

MPS by dynamic resource allocation: one claim is one GPU, and all pods of an engine name the same
claim. A template would give each pod a claim, and with it a GPU, of its own: nothing would be
shared. So an engine has at most as many replicas as its GPU carries. Since Kubernetes 1.34; in
NVIDIA's driver MPS is behind the feature gate `MPSSupport`.

Engines see the whole GPU's memory in both, so `--gpu-memory-utilization` is a part of the whole.

Not here: the plugin's own configuration (`kubernetes.cluster`), what fits (`render.settling`).
"""

from math import floor
from typing import Final

from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.placing import PRODUCTS
from baseload.render.kubernetes.objects import Object
from baseload.render.picture import Picture

DRIVER: Final = "gpu.nvidia.com"
MIB: Final = 1024**2


def mps_shares(picture: Picture) -> tuple[int, ...]:
    """Give into how many parts GPUs are shared through the device plugin, each once."""
    return tuple(sorted({
        each.said.share for each in picture.in_clusters if each.said.sharing == "mps"
    }))  # fmt: skip


def claim_name(about: About) -> str:
    """Give the name of the claim that all pods of an engine share."""
    return f"{about.name}-gpu"


def claim(about: About) -> Object:
    """Give the claim of one GPU that is shared through MPS."""
    engine = about.engine
    exactly: Object = {"deviceClassName": DRIVER, "allocationMode": "ExactCount", "count": 1}
    if product := PRODUCTS.get(engine.accelerator.name):
        expression = f"device.attributes['{DRIVER}'].productName == '{product}'"
        exactly["selectors"] = [{"cel": {"expression": expression}}]
    each_mib = floor(engine.accelerator.memory_bytes / engine.said.share / MIB)
    config = {
        "apiVersion": "resource.nvidia.com/v1beta1",
        "kind": "GpuConfig",
        "sharing": {
            "strategy": "MPS",
            "mpsConfig": {
                "defaultActiveThreadPercentage": floor(100 / engine.said.share),
                "defaultPinnedDeviceMemoryLimit": f"{each_mib}Mi",
            },
        },
    }
    opaque = {"driver": DRIVER, "parameters": config}
    return about.object(
        "resource.k8s.io/v1", "ResourceClaim", claim_name(about),
        spec={"devices": {
            "requests": [{"name": "gpu", "exactly": exactly}],
            "config": [{"requests": ["gpu"], "opaque": opaque}],
        }},
    )  # fmt: skip
