"""On which nodes does an engine run, and how much of one does it take?

GPUs are whole, and asked for as they are limited: the API server takes nothing else. Memory is
limited to what is asked for, so that no engine lives on what its neighbours have not used yet; CPU
is asked for and not limited, since a throttled engine keeps a GPU waiting.

Nodes are found by what the makers' tools write on them: GPU Feature Discovery the driver's name of
the GPU with `-` for spaces, AMD's node labeller its own. `node_labels` of the fleet file stand
instead of them, for clusters that label otherwise. RDMA is not assumed: a group of machines
talks over the pods' network.

Not here: sharing of a GPU by a claim (`sharing`).
"""

from math import ceil
from typing import Final

from baseload.render.kubernetes.engine.names import GPU, About
from baseload.render.kubernetes.objects import CORES, Object

GIB: Final = 1024**3
PRODUCTS: Final = {
    "t4": "Tesla T4", "v100-32": "Tesla V100-SXM2-32GB", "a10": "NVIDIA A10",
    "a10g": "NVIDIA A10G", "l4": "NVIDIA L4", "l40s": "NVIDIA L40S",
    "a100-40": "NVIDIA A100-SXM4-40GB", "a100-80": "NVIDIA A100-SXM4-80GB",
    "a100-80-pcie": "NVIDIA A100 80GB PCIe", "h100": "NVIDIA H100 80GB HBM3",
    "h100-pcie": "NVIDIA H100 PCIe", "h100-nvl": "NVIDIA H100 NVL", "h200": "NVIDIA H200",
    "h20": "NVIDIA H20", "b200": "NVIDIA B200", "b300": "NVIDIA B300 SXM6 AC",
    "gb200": "NVIDIA GB200", "gb300": "NVIDIA GB300",
    "rtx-pro-6000": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
}  # fmt: skip
"""What NVIDIA's driver calls an accelerator of the catalogue."""
AMD_PRODUCTS: Final = {"mi300x": "AMD_Instinct_MI300X_OAM"}
"""What AMD's node labeller calls it."""
SOCKET_CORES: Final = {"epyc-9654": 96, "xeon-8380": 40}
CORES_OTHERWISE: Final = 16
CORES_LEFT: Final = 4
"""Of a socket, for the kubelet and what runs on every node."""
HOST_GIB: Final = 24
HOST_GIB_EACH: Final = 16
"""Memory of the host: for the server, and for the process of each GPU (assumed, generously)."""
SHARED_GIB_EACH: Final = 2
"""Shared memory for each GPU: tensors that processes of one machine pass on."""
CPUS: Final = 4
CPUS_EACH: Final = 2
SLOT_TOKENS: Final = 4096
"""What the gateway's llama.cpp gives to each of its slots."""
SLOTS_MAX: Final = 16


def mps_config(share: int) -> str:
    """Give the name under which the device plugin finds how nodes share their GPUs."""
    return f"mps-{share}"


def node_selector(about: About) -> dict[str, str]:
    """Give the labels that a node must have."""
    said, accelerator = about.engine.said, about.engine.accelerator
    found = dict(said.node_labels)
    is_mps = said.sharing == "mps"
    if not found and not about.is_cpu and said.sharing != "dra":  # a claim says it by itself
        if product := PRODUCTS.get(accelerator.name):
            found["nvidia.com/gpu.product"] = product.replace(" ", "-") + "-SHARED" * is_mps
        elif product := AMD_PRODUCTS.get(accelerator.name):
            found["amd.com/gpu.product-name"] = product
    if is_mps:
        found["nvidia.com/device-plugin.config"] = mps_config(said.share)
    return {"kubernetes.io/arch": "amd64"} | found if about.is_cpu else found


def tolerations(about: About) -> list[Object]:
    """Let it onto nodes that are kept for GPUs."""
    if about.is_cpu:
        return []
    key = GPU[about.engine.accelerator.vendor]
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"}]


def spread(about: About) -> list[Object]:
    """Keep replicas apart where that can be: one node's end is then not everybody's."""
    if about.is_group:
        return []
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": about.selector},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def shared_gib(about: About) -> int:
    """Size of /dev/shm."""
    return SHARED_GIB_EACH * max(1, about.engine.layout.per_machine)


def resources(about: About) -> Object:
    """Give what one pod asks for, and may take."""
    if about.is_cpu:
        return _of_a_socket(about)
    engine = about.engine
    count = min(engine.layout.per_machine, engine.layout.accelerators)
    memory = about.param(
        "memory", about="Memory of the host, asked for and at most; /dev/shm included.",
        value=f"{HOST_GIB + HOST_GIB_EACH * count + shared_gib(about)}Gi",
    )  # fmt: skip
    cpu = about.param(
        "cpu",
        about="Cores asked for.",
        value=str(CPUS + CPUS_EACH * count),
        **CORES,
    )
    if engine.said.sharing == "dra":
        claims = [{"name": "gpu"}]
        return {
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"memory": memory},
            "claims": claims,
        }
    gpu = {GPU[engine.accelerator.vendor]: str(count)}
    return {
        "requests": {"cpu": cpu, "memory": memory, **gpu},
        "limits": {"memory": memory, **gpu},
    }


def slots(about: About) -> int:
    """Calls at once of llama.cpp."""
    return min(SLOTS_MAX, about.engine.sequences)


def _of_a_socket(about: About) -> Object:
    """Whole cores, limited too: llama.cpp counts its threads by the limit."""
    engine = about.engine
    cores = SOCKET_CORES.get(engine.accelerator.name, CORES_OTHERWISE) - CORES_LEFT
    cache = slots(about) * SLOT_TOKENS * engine.room.kv_token_bytes
    memory = ceil((engine.weights_bytes * 1.1 + cache) / GIB) + 2
    each = {
        "cpu": about.param("cpu", value=str(cores), about="Whole cores.", **CORES),
        "memory": about.param("memory", value=f"{memory}Gi", about="Memory."),
    }
    return {"requests": each, "limits": each}
