"""May a pod do more than it has to, and does the file tell secrets?

Values of secrets are never repeated: not in a finding, not in the corrected file.
"""

import re
from typing import Any, Final

from baseload.render.doctor.assuming import USER, assume
from baseload.render.doctor.edits import Drop, Edit, Put
from baseload.render.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    get,
    mapping,
    text,
    word,
)
from baseload.render.doctor.names import slug
from baseload.render.doctor.pods import Pod, pods_of, port_number
from baseload.render.doctor.rules import Hit, Hits, Rule

_SECRET = re.compile(r"(^|[_-])(\w*API_?KEY|\w*ACCESS_?KEY|KEY|TOKEN|PASSWORD|PASSWD|SECRET)$",
                     re.IGNORECASE)  # fmt: skip
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
    """Find pods that run as root, or as whatever their image says."""
    for pod in pods_of(manifest):
        found = [(at, _is_root(pod, each)) for at, each in pod.every]
        for at, is_root in found:
            if is_root:
                yield Hit(
                    at=(*at, "securityContext"), what="it runs as root",
                    hint="what breaks out of it is root on the node; give another runAsUser",
                )  # fmt: skip
        if any(is_root is None for _, is_root in found):
            at = (*pod.here, "securityContext")
            why = f"user {USER}: the image must run as one that is not root, with HOME writable"
            has = mapping(pod.spec, "securityContext")
            is_mendable = manifest.kind not in _NODES_OWN
            yield Hit(
                at=at, what="it runs as whatever user its image says, often root",
                hint="what breaks out of it is then root on the node",
                cure=f"it runs as user {USER}" if is_mendable else "",
                edits=(
                    *(Put(at=(*at, key), value=value) for key, value in _as_user(pod).items()
                      if has.get(key) in (None, False)),
                    *assume(manifest.body, "user", why),
                ) if is_mendable else (),
            )  # fmt: skip


def _as_user(pod: Pod) -> dict[str, Any]:
    """Give what a pod needs to run as a plain user: for low ports, the right to listen there."""
    values: dict[str, Any] = {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        # Else all files of a large volume change hands at every start.
        "fsGroupChangePolicy": "OnRootMismatch",
    }  # fmt: skip
    ports = [
        port_number(port)
        for _, container in pod.containers for port in entries(container, "ports")
    ]  # fmt: skip
    if any(0 < port < 1024 for port in ports) and pod.spec.get("hostNetwork") is not True:
        values["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return values


def escalation(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that may gain rights, or keep those that they do not need."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            own = mapping(container, "securityContext")
            if own.get("privileged") is True:
                continue
            edits: list[Edit] = []
            place = (*at, "securityContext")
            if own.get("allowPrivilegeEscalation") is not False:
                edits.append(Put(at=(*place, "allowPrivilegeEscalation"), value=False))
            if not entries(own, "capabilities", "drop"):
                edits.append(Put(at=(*place, "capabilities", "drop"), value=["ALL"]))
            profile = get(own, "seccompProfile") or get(
                pod.spec, "securityContext", "seccompProfile"
            )
            if not profile:
                edits.append(Put(at=(*place, "seccompProfile"), value={"type": "RuntimeDefault"}))
            if edits:
                lacking = ", ".join(str(edit.at[len(place)]) for edit in edits)
                yield Hit(
                    at=place, what=f"it may gain rights: {lacking} not set",
                    hint="a server of models needs none of them",
                    cure="it cannot gain rights", edits=tuple(edits),
                )  # fmt: skip


def host(manifest: Manifest, _: Manifests) -> Hits:
    """Find pods that share namespaces of their node."""
    for pod in pods_of(manifest):
        for name in _HOST:
            if pod.spec.get(name) is True:
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


def token(manifest: Manifest, _: Manifests) -> Hits:
    """Find pods that carry a token for the API server that they do not use."""
    for pod in pods_of(manifest):
        account = text(pod.spec, "serviceAccountName") or text(pod.spec, "serviceAccount")
        at = (*pod.here, "automountServiceAccountToken")
        if account in ("", "default") and pod.spec.get("automountServiceAccountToken") is None:
            yield Hit(
                at=at, what="a token of the default service account is mounted",
                hint="whoever gets into the pod may talk to the API server with it",
                cure="it is not mounted", edits=(Put(at=at, value=False),),
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


def written_secret(manifest: Manifest, _: Manifests) -> Hits:
    """Find Secrets whose contents are in the file."""
    filled = mapping(manifest.body, "data") or mapping(manifest.body, "stringData")
    if manifest.kind == "Secret" and filled:
        yield Hit(
            at=(), what="its contents are in the file, and in every copy of it",
            hint="have them made where they are used, as by External Secrets or SealedSecrets",
        )  # fmt: skip


def writable_root(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that may change their own programs."""
    for pod in pods_of(manifest):
        for at, container in pod.containers:
            if mapping(container, "securityContext").get("readOnlyRootFilesystem") is not True:
                yield Hit(
                    at=at, what="its root filesystem is writable",
                    hint="readOnlyRootFilesystem: true, with an emptyDir for /tmp and caches",
                )  # fmt: skip


RULES: Final = (
    Rule(
        id="privileged", severity="harmful", check=privileged, fixed="but not of a DaemonSet",
        about="a container is privileged",
    ),
    Rule(
        id="root", severity="harmful", check=root,
        fixed="but no DaemonSet, and not where root is asked for",
        about="a pod runs as root, or as whatever its image says",
    ),
    Rule(
        id="escalation", severity="harmful", check=escalation,
        about="a container may gain rights, or keeps capabilities that it does not need",
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
        id="token-mounted", severity="harmful", check=token,
        about="the default service account's token is mounted",
    ),
    Rule(
        id="secret-in-env", severity="harmful", check=secrets,
        about="a key, token or password stands in the file in clear text",
    ),
    Rule(
        id="secret-in-file", severity="advice", check=written_secret, fixed="no",
        about="the contents of a Secret are in the file",
    ),
    Rule(
        id="root-writable", severity="advice", check=writable_root, fixed="no",
        about="a container's root filesystem is writable",
    ),
)  # fmt: skip
