"""Are names, labels and ports' names written as the API server demands?

A name that is mended is mended wherever the file refers to it.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from baseload.doctor.edits import Edit, Put
from baseload.doctor.manifests import Manifest, Manifests, Pointer, entries, mapping, word
from baseload.doctor.pods import pods_of
from baseload.doctor.rules import Hit, Hits, Rule

LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_1035: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
PORT: Final = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")
_SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_NAMED: Final = (
    "name", "claimName", "secretName", "serviceName", "serviceAccountName", "priorityClassName",
)  # fmt: skip
_OTHER_WORDS: Final = ("labels", "matchLabels", "annotations", "selector", "nodeSelector", "env")
"""Below these, `name` is not the name of an object."""
_LABELS: Final[tuple[Pointer, ...]] = (
    ("metadata", "labels"),
    ("spec", "selector", "matchLabels"),
    ("spec", "template", "metadata", "labels"),
    ("spec", "template", "spec", "nodeSelector"),
)


def slug(name: str, most: int = 63) -> str:
    """Give a name as DNS has them."""
    return re.sub("[^a-z0-9]+", "-", name.lower())[:most].strip("-")


def _wanted(kind: str) -> tuple[re.Pattern[str], str]:
    if kind == "Service":
        return LABEL_1035, "a to z, 0 to 9 and `-`, at most 63, beginning with a letter"
    if kind == "Namespace":
        return LABEL, "a to z, 0 to 9 and `-`, at most 63"
    return _SUBDOMAIN, "a to z, 0 to 9, `-` and `.`, beginning and ending with a letter or figure"


def missing(manifest: Manifest, _: Manifests) -> Hits:
    """Find objects without a name."""
    about = mapping(manifest.body, "metadata")
    if not about.get("name") and not about.get("generateName"):
        yield Hit(at=("metadata", "name"), what="it has no name", hint="give `metadata.name`")


def bad(manifest: Manifest, others: Manifests) -> Hits:
    """Find names of objects that are not DNS names."""
    wanted, form = _wanted(manifest.kind)
    if manifest.kind and not manifest.kind.startswith(("Role", "ClusterRole")):
        at = ("metadata", "name")
        yield from _named(manifest, at, manifest.name, wanted, form, others)
    yield from _named(
        manifest, ("metadata", "namespace"), manifest.namespace, LABEL,
        "a to z, 0 to 9 and `-`, at most 63", others,
    )  # fmt: skip


def _named(
    manifest: Manifest, at: Pointer, name: str, wanted: re.Pattern[str], form: str,
    others: Manifests,
) -> Hits:  # fmt: skip
    if not name or wanted.fullmatch(name):
        return
    mended = slug(name)
    if not wanted.fullmatch(mended):
        mended = f"x-{mended}".rstrip("-")[:63]
    edits: list[Edit] = [Put(at=at, value=mended)]
    for index, other in enumerate(others):
        if other is not manifest and at[-1] == "name":
            edits += [
                Put(at=place, value=mended, object=index)
                for place in _references(other.body, name, ())
            ]
    yield Hit(
        at=at, what=f"`{word(name)}` cannot be a name here", hint=form,
        cure=f"it is `{mended}`, and so where the file refers to it", edits=tuple(edits),
    )  # fmt: skip


def _references(value: Any, name: str, at: Pointer) -> Iterator[Pointer]:
    """Give places that refer to an object by its name; an object's own name is not one."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in _NAMED and each == name and at != ("metadata",):
                yield (*at, key)
            elif key not in _OTHER_WORDS:
                yield from _references(each, name, (*at, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _references(each, name, (*at, index))


def bad_parts(manifest: Manifest, _: Manifests) -> Hits:
    """Find names of containers and volumes that are not DNS labels."""
    for pod in pods_of(manifest):
        for field in ("containers", "initContainers", "volumes"):
            for index, each in enumerate(entries(pod.spec, field)):
                name = each.get("name") if isinstance(each, dict) else None
                if not isinstance(name, str) or not name or LABEL.fullmatch(name):
                    continue
                mended = slug(name) or f"{field[:9]}-{index}".lower()
                edits: list[Edit] = [Put(at=(*pod.here, field, index, "name"), value=mended)]
                if field == "volumes":
                    edits += _mounts(pod.here, pod.spec, name, mended)
                yield Hit(
                    at=(*pod.here, field, index, "name"), hint="a to z, 0 to 9 and `-`, at most 63",
                    what=f"`{word(name)}` cannot be a name here", cure=f"it is `{mended}`",
                    edits=tuple(edits),
                )  # fmt: skip


def _mounts(here: Pointer, spec: dict[str, Any], name: str, mended: str) -> list[Edit]:
    return [
        Put(at=(*here, field, index, "volumeMounts", number, "name"), value=mended)
        for field in ("containers", "initContainers")
        for index, container in enumerate(entries(spec, field))
        for number, mount in enumerate(entries(container, "volumeMounts"))
        if isinstance(mount, dict) and mount.get("name") == name
    ]


def bad_ports(manifest: Manifest, _: Manifests) -> Hits:
    """Find names of containers' ports that are not names of services as IANA has them."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for index, port in enumerate(entries(container, "ports")):
                name = port.get("name") if isinstance(port, dict) else None
                if isinstance(name, str) and name and not PORT.fullmatch(name):
                    mended = slug(name, 15)
                    mended = mended if PORT.fullmatch(mended) else f"p-{mended}"[:15].strip("-")
                    yield Hit(
                        at=(*at, "ports", index, "name"),
                        what=f"`{word(name)}` cannot be the name of a port",
                        hint="a to z, 0 to 9 and `-`, at most 15, a letter among them",
                        cure=f"it is `{mended}`, also in probes",
                        edits=(
                            Put(at=(*at, "ports", index, "name"), value=mended),
                            *_probed(at, container, name, mended),
                        ),
                    )  # fmt: skip


def _probed(at: Pointer, container: dict[str, Any], name: str, mended: str) -> list[Edit]:
    return [
        Put(at=(*at, probe, handler, "port"), value=mended)
        for probe in ("readinessProbe", "livenessProbe", "startupProbe")
        for handler in ("httpGet", "tcpSocket")
        if mapping(container, probe, handler).get("port") == name
    ]


def bad_labels(manifest: Manifest, _: Manifests) -> Hits:
    """Find labels that are too long or hold signs that labels may not."""
    places = (
        _LABELS if manifest.kind != "Service" else (("metadata", "labels"), ("spec", "selector"))
    )
    for at in places:
        for key, value in mapping(manifest.body, *at).items():
            if not _KEY.fullmatch(key):
                hint = "letters, figures, `-`, `_` and `.`, at most 63, after an optional `domain/`"
                yield Hit(at=(*at, key), what=f"`{word(key)}` cannot be a label's key", hint=hint)
            if isinstance(value, str) and not _VALUE.fullmatch(value):
                mended = re.sub("[^A-Za-z0-9_.-]+", "-", value)[:63].strip("-_.")
                yield Hit(
                    at=(*at, key), what=f"`{word(value)}` cannot be a label's value",
                    hint="letters, figures, `-`, `_`, `.`, at most 63; annotations take any text",
                    cure=f"it is `{mended}`", edits=(Put(at=(*at, key), value=mended),),
                )  # fmt: skip


RULES: Final = (
    Rule(
        id="name-missing", severity="refused", check=missing, fixed="no",
        about="an object has no name",
    ),
    Rule(
        id="bad-name", severity="refused", check=bad,
        about="an object's name or namespace is not a DNS name of the form that its kind takes",
    ),
    Rule(
        id="bad-part-name", severity="refused", check=bad_parts,
        about="the name of a container or volume is not a DNS label",
    ),
    Rule(
        id="bad-port-name", severity="refused", check=bad_ports,
        about="the name of a container's port is not one of at most 15 lower-case characters",
    ),
    Rule(
        id="bad-label", severity="refused", check=bad_labels, fixed="values; keys are yours",
        about="a label's key or value has signs that labels may not have, or too many",
    ),
)  # fmt: skip
