"""May a pod do more than it has to, and does the file tell secrets?

Values of secrets are never repeated: not in a finding, not in the corrected file.
"""

import re
from typing import Any, Final

from baseload.doctor.edits import Drop, Put
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
from baseload.doctor.names import slug
from baseload.doctor.pods import Pod, pods_of, serves_a_model
from baseload.doctor.rules import Hit, Hits, Rule

_SECRET = re.compile(
    r"(^|[_-])(\w*(API|ACCESS|SECRET|PRIVATE|AUTH|MASTER)_?KEY|TOKEN|PASSWORD|PASSWD|SECRET)$",
    re.IGNORECASE,
)  # fmt: skip
_HOST: Final = ("hostNetwork", "hostPID", "hostIPC")
_NODES_OWN: Final = ("DaemonSet",)
"""What belongs to a node may need rights on it; that is for a person to judge."""


def privileged(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that may do anything on their node."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            place = (*at, "securityContext", "privileged")
            if mapping(container, "securityContext").get("privileged") is True:
                is_mendable = manifest.kind not in _NODES_OWN
                yield Hit(
                    at=place, what="it is privileged: it may do anything on its node",
                    hint="GPUs need no privileges, the device plugin hands them in",
                    cure="it is not privileged" if is_mendable else "",
                    edits=(Put(at=place, value=False),) if is_mendable else (),
                )  # fmt: skip


def _is_root(pod: Pod, container: dict[str, Any]) -> bool | None:
    """Say whether a container runs as root: None if nothing says so either way."""
    around, own = mapping(pod.spec, "securityContext"), mapping(container, "securityContext")
    user = own.get("runAsUser", around.get("runAsUser"))
    if user is not None:
        return bool(user == 0)
    return False if own.get("runAsNonRoot", around.get("runAsNonRoot")) is True else None


def root(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that are told to run as root, with more than a plain user may do."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            if _is_root(pod, container) and not _is_confined(pod, container):
                yield Hit(
                    at=(*at, "securityContext"), what="it runs as root, and is not confined",
                    hint="what breaks out of it is root on the node; give another runAsUser, or "
                    "drop all capabilities with allowPrivilegeEscalation: false and a "
                    "seccompProfile",
                )  # fmt: skip


def _is_confined(pod: Pod, container: dict[str, Any]) -> bool:
    return not _lacking(pod, container).keys() & _CONFINING.keys()


def _lacking(pod: Pod, container: dict[str, Any]) -> dict[str, Pointer]:
    """Give by name what would confine a container and is not set, with the place for it."""
    own, around = mapping(container, "securityContext"), mapping(pod.spec, "securityContext")
    has = {
        "runAsNonRoot": _is_root(pod, container) is False,
        "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities": bool(entries(own, "capabilities", "drop")),
        "seccompProfile": bool(get(own, "seccompProfile") or get(around, "seccompProfile")),
    }
    return {
        name: (name, "drop") if name == "capabilities" else (name,)
        for name, is_set in has.items() if not is_set
    }  # fmt: skip


_CONFINING: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False, "capabilities": ["ALL"],
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
"""What a model server can do without, whoever it runs as; others may have need of it."""


def unconfined(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that could be confined more."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            lacking = _lacking(pod, container)
            if not lacking or mapping(container, "securityContext").get("privileged") is True:
                continue
            place = (*at, "securityContext")
            edits = tuple(
                Put(at=(*place, *way), value=_CONFINING[name]) for name, way in lacking.items()
                if name in _CONFINING and serves_a_model(container)
            )  # fmt: skip
            yield Hit(
                at=place, what=f"it could be confined more: {', '.join(lacking)} not set",
                hint="what breaks out of it can then do less; try it first, not every image can",
                cure="it cannot gain rights" if edits else "", edits=edits,
            )  # fmt: skip


def host(manifest: Manifest, _: Manifests) -> Hits:
    """Find pods that share namespaces of their node."""
    for pod in pods_of(manifest):
        for name in _HOST:
            if pod.spec.get(name) is True and manifest.kind not in _NODES_OWN:
                yield Hit(
                    at=(*pod.here, name), what=f"{name}: it sees what is its node's",
                    hint="remove it, unless the pod serves the node itself",
                )  # fmt: skip


def host_path(manifest: Manifest, _: Manifests) -> Hits:
    """Find volumes that are folders of the node."""
    for pod in pods_of(manifest):
        for index, volume in enumerate(entries(pod.spec, "volumes")):
            if get(volume, "hostPath") is not None and manifest.kind not in _NODES_OWN:
                yield Hit(
                    at=(*pod.here, "volumes", index, "hostPath"),
                    what=f"`{word(text(volume, 'hostPath', 'path'))}` is a folder of the node",
                    hint="on another node it is empty or another one, and it opens the node; keep "
                    "weights on a PersistentVolumeClaim of a local NVMe class",
                )  # fmt: skip


def secrets(manifest: Manifest, _: Manifests) -> Hits:
    """Find secrets that are written out in the environment of a container."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for index, each in enumerate(entries(container, "env")):
                name, value = text(each, "name"), get(each, "value")
                if value in (None, "") or not _SECRET.search(name) or "$(" in str(value):
                    continue
                place: Pointer = (*at, "env", index)
                secret = f"{slug(manifest.name) or 'app'}-secrets"
                reference = {"secretKeyRef": {"name": secret, "key": name}}
                yield Hit(
                    at=(*place, "value"), what=f"{word(name)} stands here in clear text",
                    hint="everybody who reads the file or the object has it; change it",
                    cure=f"it is read from the Secret {secret}, which you make: kubectl create "
                    f"secret generic {secret} --from-literal={word(name)}=...",
                    edits=(
                        Drop(at=(*place, "value")), Put(at=(*place, "valueFrom"), value=reference),
                    ),
                )  # fmt: skip


RULES: Final = (
    Rule(
        id="privileged", severity="harmful", check=privileged, fixed="but not of a DaemonSet",
        about="a container is privileged",
    ),
    Rule(
        id="root", severity="harmful", check=root,
        fixed="of model servers, by confining them",
        about="a container is told to run as root, and nothing confines it",
    ),
    Rule(
        id="unconfined", severity="advice", check=unconfined,
        fixed="of model servers, but for the user and the filesystem",
        about="a container may do more than most need",
    ),
    Rule(
        id="host-namespace", severity="harmful", check=host, fixed="no",
        about="a pod shares the network, processes or memory of its node",
    ),
    Rule(
        id="host-path", severity="harmful", check=host_path, fixed="no",
        about="a volume is a folder of the node",
    ),
    Rule(
        id="secret-in-env", severity="harmful", check=secrets,
        about="a key, token or password stands in the file in clear text",
    ),
)  # fmt: skip
