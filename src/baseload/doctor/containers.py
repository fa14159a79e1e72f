"""Are containers, their images, ports, variables and volumes put together as they have to be?"""

from collections.abc import Iterator
from typing import Any, Final

from baseload.doctor.edits import Drop, Edit, Put
from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    get,
    mapping,
    text,
    whole,
    word,
)
from baseload.doctor.pods import SERVING, pods_of
from baseload.doctor.rules import Hit, Hits, Rule


def missing(manifest: Manifest, _: Manifests) -> Hits:
    """Find pods without containers."""
    for pod in pods_of(manifest):
        if pod.spec and not entries(pod.spec, "containers"):
            yield Hit(at=(*pod.here, "containers"), what="it has no containers")


def no_image(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers without an image."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            if not container.get("image"):
                yield Hit(at=(*at, "image"), what="it has no image", hint="name one, with a tag")


def untagged(manifest: Manifest, _: Manifests) -> Hits:
    """Find images that may be another one tomorrow."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            image = text(container, "image")
            tag = image.rpartition("/")[2].partition(":")[2]
            if image and "@" not in image and tag in ("", "latest"):
                yield Hit(
                    at=(*at, "image"), what=f"`{word(image)}` has no tag of its own"
                    if not tag else f"`{word(image)}` is another image tomorrow",
                    hint="pods of one rollout may differ, and none can be rolled back; name a "
                    "version, or a digest",
                )  # fmt: skip


def _doubles(found: list[Any], *path: str) -> Iterator[tuple[int, Any]]:
    """Give entries that are called as one before them."""
    seen = set()
    for index, each in enumerate(found):
        name = tuple(str(get(each, step)) for step in path)
        if get(each, path[0]) is not None and name in seen:
            yield index, each
        seen.add(name)


def double_containers(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers of a pod that have one name."""
    for pod in pods_of(manifest):
        found = list(pod.every)
        names = [text(each, "name") for _, each in found]
        for index, each in _doubles([each for _, each in found], "name"):
            fresh = _fresh(text(each, "name"), names)
            at = (*found[index][0], "name")
            yield Hit(
                at=at, what=f"another container of the pod is called `{word(each['name'])}`",
                cure=f"it is `{fresh}`", edits=(Put(at=at, value=fresh),),
            )  # fmt: skip


def _fresh(name: str, taken: list[str], most: int = 63) -> str:
    count = 2
    while (fresh := f"{name[: most - 3].rstrip('-')}-{count}") in taken:
        count += 1
    return fresh


def double_ports(manifest: Manifest, _: Manifests) -> Hits:
    """Find ports of a container that have one name."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            ports = entries(container, "ports")
            for index, port in _doubles(ports, "name"):
                place: Pointer = (*at, "ports", index)
                name = text(port, "name")
                is_same = any(each == port for each in ports[:index])
                fresh = _fresh(name, [text(each, "name") for each in ports], 15)
                edit: Edit = Drop(at=place)
                if not is_same:
                    edit = Put(at=(*place, "name"), value=fresh)
                yield Hit(
                    at=(*place, "name"), what=f"another port of it is called `{word(name)}`",
                    cure="it is removed" if is_same else f"it is `{fresh}`", edits=(edit,),
                )  # fmt: skip


def port_numbers(manifest: Manifest, _: Manifests) -> Hits:
    """Find ports that do not exist."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for index, port in enumerate(entries(container, "ports")):
                number = whole(port, "containerPort")
                if number is not None and not 0 < number < 65536:
                    yield Hit(
                        at=(*at, "ports", index, "containerPort"),
                        what=f"{number} is no port", hint="1 to 65535",
                    )  # fmt: skip


def double_variables(manifest: Manifest, _: Manifests) -> Hits:
    """Find variables that a container has twice."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            found = entries(container, "env")
            for index, each in _doubles(found, "name"):
                first = next(
                    number for number, other in enumerate(found)
                    if get(other, "name") == each["name"]
                )  # fmt: skip
                yield Hit(
                    at=(*at, "env", index, "name"),
                    what=f"the variable `{word(each['name'])}` is there already",
                    hint="the last one counts, and server-side apply refuses both",
                    cure="the first is removed", edits=(Drop(at=(*at, "env", first)),),
                )  # fmt: skip


def two_values(manifest: Manifest, _: Manifests) -> Hits:
    """Find variables that have a value, and one from elsewhere."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for index, each in enumerate(entries(container, "env")):
                if get(each, "value") not in (None, "") and mapping(each, "valueFrom"):
                    place = (*at, "env", index, "value")
                    yield Hit(
                        at=place, what="it has both value and valueFrom", cure="valueFrom is kept",
                        edits=(Drop(at=place),),
                    )  # fmt: skip


def restarts(manifest: Manifest, _: Manifests) -> Hits:
    """Find restart policies that the kind does not take."""
    for pod in pods_of(manifest):
        policy = text(pod.spec, "restartPolicy")
        at = (*pod.here, "restartPolicy")
        better = ""
        if manifest.kind in SERVING and policy not in ("", "Always"):
            better = "Always"
        elif manifest.kind in ("Job", "CronJob") and policy not in ("OnFailure", "Never"):
            better = "OnFailure"
        if better:
            said = f"`{word(policy)}`" if policy else "none, which is Always,"
            yield Hit(
                at=at, what=f"{said} is no restart policy of a {manifest.kind}",
                cure=f"it is {better}", edits=(Put(at=at, value=better),),
            )  # fmt: skip


def mounts(manifest: Manifest, _: Manifests) -> Hits:
    """Find mounts of volumes that are not there."""
    claims = [
        *entries(manifest.body, "spec", "volumeClaimTemplates"),
        *entries(manifest.body, "spec", "leaderWorkerTemplate", "volumeClaimTemplates"),
    ]
    for pod in pods_of(manifest):
        names = {text(each, "name") for each in entries(pod.spec, "volumes")}
        names |= {text(each, "metadata", "name") for each in claims}
        for at, container in pod.every:
            for index, each in enumerate(entries(container, "volumeMounts")):
                name = text(each, "name")
                if name and name not in names:
                    yield Hit(
                        at=(*at, "volumeMounts", index, "name"),
                        what=f"the pod has no volume `{word(name)}`",
                        hint="add it to `volumes`",
                    )  # fmt: skip


def double_mounts(manifest: Manifest, _: Manifests) -> Hits:
    """Find volumes that have one name, and mounts that are at one path."""
    for pod in pods_of(manifest):
        for index, each in _doubles(entries(pod.spec, "volumes"), "name"):
            what = f"another volume is called `{word(each['name'])}`"
            yield Hit(at=(*pod.here, "volumes", index, "name"), what=what)
        for at, container in pod.every:
            for index, each in _doubles(entries(container, "volumeMounts"), "mountPath"):
                what = f"something else is mounted at `{word(each['mountPath'])}`"
                yield Hit(at=(*at, "volumeMounts", index, "mountPath"), what=what)


def sources(manifest: Manifest, _: Manifests) -> Hits:
    """Find volumes that come from two sources."""
    for pod in pods_of(manifest):
        for index, volume in enumerate(entries(pod.spec, "volumes")):
            found = [key for key, value in mapping(volume).items() if isinstance(value, dict)]
            if len(found) > 1:
                what = f"it has {len(found)} sources: {word(', '.join(found))}"
                yield Hit(at=(*pod.here, "volumes", index), what=what, hint="keep one")


RULES: Final = (
    Rule(
        id="containers-missing", severity="refused", check=missing, fixed="no",
        about="a pod has no containers",
    ),
    Rule(
        id="image-missing", severity="refused", check=no_image, fixed="no",
        about="a container has no image",
    ),
    Rule(
        id="duplicate-container", severity="refused", check=double_containers,
        about="two containers of a pod have one name",
    ),
    Rule(
        id="duplicate-port", severity="refused", check=double_ports,
        about="two ports of a container have one name",
    ),
    Rule(
        id="port-number", severity="refused", check=port_numbers, fixed="no",
        about="a container's port is not between 1 and 65535",
    ),
    Rule(
        id="env-two-values", severity="refused", check=two_values,
        about="a variable has both value and valueFrom",
    ),
    Rule(
        id="restart-policy", severity="refused", check=restarts,
        about="a restart policy that the kind does not take",
    ),
    Rule(
        id="volume-missing", severity="refused", check=mounts, fixed="no",
        about="a volume is mounted that the pod does not have",
    ),
    Rule(
        id="duplicate-volume", severity="refused", check=double_mounts, fixed="no",
        about="two volumes have one name, or two mounts one path",
    ),
    Rule(
        id="volume-sources", severity="refused", check=sources, fixed="no",
        about="a volume has more than one source",
    ),
    Rule(
        id="image-untagged", severity="harmful", check=untagged, fixed="no",
        about="an image has no tag, or `latest`",
    ),
    Rule(
        id="duplicate-env", severity="harmful", check=double_variables,
        about="a container has a variable twice",
    ),
)  # fmt: skip
