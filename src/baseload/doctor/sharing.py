"""Are accelerators asked for as they can be had: whole ones, or shares that somebody configured?

Kubernetes counts devices in whole numbers, and the request of one has to be its limit. Half a GPU
is had by telling NVIDIA's device plugin to advertise each GPU twice and to have MPS keep the two
apart: equal parts of memory and compute, one to a container, whole GPUs only, no MIG. Pods then ask
for 1. The plugin reads this from a ConfigMap, by a label of the node, so pods choose such nodes.
"""

from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

from baseload.doctor.edits import Edit, Put
from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    get,
    mapping,
    text,
    whole,
    word,
)
from baseload.doctor.pods import GPU, Pod, asked, pods_of, replicas
from baseload.doctor.quantities import parse
from baseload.doctor.resources import is_whole_only
from baseload.doctor.rules import Hit, Hits, Rule

SHARE: Final = "baseload.dev/gpu-share"
"""Annotation of pods: how many share a GPU."""
NODES: Final = "nvidia.com/device-plugin.config"
CONFIG: Final = "baseload-gpu-sharing"
PLUGIN_NAMESPACE: Final = "nvidia-device-plugin"
SHARES_MAX: Final = 48
"""Clients that MPS takes on one GPU of Volta or newer."""
_WHY: Final = f"""\
Tells NVIDIA's device plugin to share GPUs through MPS. It belongs into the plugin's namespace,
here {PLUGIN_NAMESPACE} (with the GPU operator: gpu-operator). To have it used:
  helm upgrade -i nvdp nvdp/nvidia-device-plugin -n {PLUGIN_NAMESPACE} --set config.name={CONFIG}
  kubectl label node NODE {NODES}=NAME-OF-THE-CONFIG
Nodes without the label keep whole GPUs (`default`). Each share has an equal part of the GPU's
memory and compute: see that the model fits into it."""


def _sides(container: dict[str, Any], name: str) -> tuple[Any, Any]:
    resources = mapping(container, "resources")
    return mapping(resources, "requests").get(name), mapping(resources, "limits").get(name)


def _wanted(container: dict[str, Any], name: str) -> Fraction | None:
    """Give how much is wanted of a resource if that is no whole number, or None."""
    amounts = [parse(value) for value in _sides(container, name) if value is not None]
    parts = [each for each in amounts if each is not None and each > 0 and each.denominator > 1]
    return parts[0] if parts else None


def fraction(manifest: Manifest, others: Manifests) -> Hits:
    """Find parts of devices; a part of a GPU becomes a share of one."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for name in asked(container):
                wanted = _wanted(container, name)
                if wanted is None or not is_whole_only(name):
                    continue
                cure, edits = _cure(pod, at, name, wanted, replicas(manifest, others))
                for side in ("requests", "limits"):
                    value = get(container, "resources", side, name)
                    if (parse(value) or Fraction(1)).denominator > 1:
                        yield Hit(
                            at=(*at, "resources", side, name),
                            what=f"`{word(value)}` of {word(name)} cannot be had: devices are "
                            "counted in whole numbers",
                            hint="share a GPU through MPS: the device plugin advertises it several "
                            "times, and each pod asks for 1"
                            if name == GPU else "ask for a whole number",
                            cure=cure, edits=edits,
                        )  # fmt: skip


def _cure(
    pod: Pod, at: Pointer, name: str, wanted: Fraction, pods: int
) -> tuple[str, tuple[Edit, ...]]:
    share = min(floor(1 / wanted), SHARES_MAX) if name == GPU else 1
    amount = max(1, ceil(wanted))
    edits: tuple[Edit, ...] = tuple(
        Put(at=(*at, "resources", side, name), value=amount) for side in ("requests", "limits")
    )
    if share < 2:
        return f"{amount} are asked for", edits
    cure = f"it asks for 1 of {share} shares of a GPU (MPS)"
    if pods > 1:
        cure += f"; {pods} pods take {ceil(Fraction(pods, share))} GPUs"
    edits += (Put(at=(*pod.at, "metadata", "annotations", SHARE), value=str(share)),)
    if not mapping(pod.spec, "nodeSelector").get(NODES):
        edits += (Put(at=(*pod.here, "nodeSelector", NODES), value=f"mps-{share}"),)
    return cure, edits


def unequal(manifest: Manifest, _: Manifests) -> Hits:
    """Find devices of which the request is not the limit."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for name in asked(container):
                request, limit = _sides(container, name)
                if not is_whole_only(name) or request is None or parse(request) == parse(limit):
                    continue
                said = "there is no limit" if limit is None else f"its limit is {word(limit)}"
                what = f"{word(request)} of {word(name)} are asked for, and {said}"
                is_part = _wanted(container, name) is not None
                yield Hit(
                    at=(*at, "resources", "requests", name), what=what,
                    hint="request and limit of a device have to be equal",
                    cure="" if is_part else f"both are {word(request)}",
                    edits=() if is_part
                    else (Put(at=(*at, "resources", "limits", name), value=request),),
                )  # fmt: skip


def unshared(manifest: Manifest, others: Manifests) -> Hits:
    """Find pods that would each take a whole GPU, where a part of one was wanted."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            request, limit = (parse(value) for value in _sides(container, GPU))
            count = replicas(manifest, others)
            if request is not None and limit is not None and request < 1 <= limit:
                wanted, each = map(word, _sides(container, GPU))
                yield Hit(
                    at=(*at, "resources", "limits", GPU),
                    what=f"at {each} for each pod, {count * ceil(limit)} whole GPUs are taken, "
                    f"where {wanted} a pod was wanted: nothing here shares a GPU",
                    hint="sharing is a matter of the device plugin's configuration, not of the pod",
                )  # fmt: skip


def unconfigured(manifest: Manifest, others: Manifests) -> Hits:
    """Find pods that want a share of a GPU, where no configuration in the file gives shares."""
    for pod in pods_of(manifest):
        share = text(pod.body, "metadata", "annotations", SHARE)
        name = text(pod.spec, "nodeSelector", NODES)
        if not share.isdecimal() or not name.startswith("mps-") or _configures(others, name):
            continue
        config = f"version: v1\nsharing:\n  mps:\n    resources:\n    - name: {GPU}\n"
        data = {"default": "version: v1\n", name: f"{config}      replicas: {int(share)}\n"}
        body = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": CONFIG, "namespace": PLUGIN_NAMESPACE}, "data": data,
        }  # fmt: skip
        ours = [index for index, each in enumerate(others) if each.name == CONFIG]
        cure = f"the ConfigMap {CONFIG} has it as `{name}`"
        yield Hit(
            at=(*pod.here, "nodeSelector"),
            what=f"no configuration `{name}` of the device plugin is in the file",
            hint="without it no node offers shares of a GPU, and the pods stay pending", cure=cure,
            adds=() if ours else (Manifest(body=body, why=_WHY),),
            edits=tuple(Put(at=("data", name), value=data[name], object=each) for each in ours),
        )  # fmt: skip


def _configures(others: Manifests, name: str) -> bool:
    return any(
        each.kind == "ConfigMap" and "sharing" in text(each.body, "data", name) for each in others
    )


def several(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that ask for several shares."""
    for pod in pods_of(manifest):
        nodes = mapping(pod.spec, "nodeSelector")
        is_shared = text(pod.body, "metadata", "annotations", SHARE).isdecimal()
        if not is_shared and nodes.get("nvidia.com/gpu.sharing-strategy") != "mps":
            continue
        for at, container in pod.every:
            for side in ("requests", "limits"):
                count = whole(container, "resources", side, GPU)
                if count is not None and count > 1:
                    yield Hit(
                        at=(*at, "resources", side, GPU),
                        what=f"{count} shares of a GPU cannot be had through MPS: one at most",
                        hint="the device plugin refuses to allocate them, and the pod fails; ask "
                        "for 1, or for whole GPUs on other nodes",
                    )  # fmt: skip


RULES: Final = (
    Rule(
        id="device-fraction", severity="refused", check=fraction,
        about="a part of a GPU or other device is asked for; GPUs are then shared through MPS",
    ),
    Rule(
        id="device-unequal", severity="refused", check=unequal,
        about="request and limit of a GPU or other device differ",
    ),
    Rule(
        id="gpu-unshared", severity="harmful", check=unshared,
        about="part of a GPU is wanted, and each pod would take whole ones",
    ),
    Rule(
        id="gpu-unconfigured", severity="harmful", check=unconfigured,
        about="pods want a share of a GPU, and the file has no such configuration of the plugin",
    ),
    Rule(
        id="gpu-shares", severity="harmful", check=several, fixed="no",
        about="a container asks for more than one share of a GPU",
    ),
)  # fmt: skip
