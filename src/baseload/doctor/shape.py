"""Does an object have the fields that its kind has, each of its type?

The API server refuses what it does not know. Fields and types are those of `shapes.json`, made from
Kubernetes' own definitions. It says nothing of values; the other rules do.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Final

import msgspec

from baseload.doctor.edits import Drop, Edit, Put
from baseload.doctor.manifests import Manifest, Manifests, Pointer, get, text, word
from baseload.doctor.rules import Hit, Hits, Rule

_FILE: dict[str, Any] = msgspec.json.decode((files(__package__) / "shapes.json").read_bytes())
VERSION: Final[str] = _FILE["version"]
KINDS: Final[dict[tuple[str, str], str]] = {
    (name.partition(" ")[0], name.partition(" ")[2]): type_
    for name, type_ in _FILE["kinds"].items()
}
"""Type of an object of (version of the API, kind)."""
TYPES: Final[dict[str, dict[str, str]]] = {
    name: {field.rstrip("!"): type_ for field, type_ in fields.items()}
    for name, fields in _FILE["types"].items()
}
_REQUIRED: Final[dict[str, list[str]]] = {
    name: [field[:-1] for field in fields if field.endswith("!")]
    for name, fields in _FILE["types"].items()
}
MOVED: Final = ("Ingress", "HorizontalPodAutoscaler")
"""Kinds whose fields were others in older versions."""
_WORDS: Final = {
    "string": "text", "int": "a whole number", "number": "a number", "bool": "true or false",
    "quantity": "a quantity", "int|string": "a whole number or text",
}  # fmt: skip
_TAKEN: Final[dict[type, tuple[str, ...]]] = {
    bool: ("bool",),  # before int, of which it is one
    str: ("string", "quantity", "int|string"),
    int: ("int", "number", "quantity", "int|string"),
    float: ("number", "quantity"),
}
CHOICES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("core.v1.ServiceSpec", "type"): ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
    ("core.v1.ServicePort", "protocol"): ("TCP", "UDP", "SCTP"),
    ("core.v1.ContainerPort", "protocol"): ("TCP", "UDP", "SCTP"),
    ("core.v1.Container", "imagePullPolicy"): ("Always", "IfNotPresent", "Never"),
    ("core.v1.PodSpec", "restartPolicy"): ("Always", "OnFailure", "Never"),
    ("core.v1.PodSpec", "dnsPolicy"): (
        "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None",
    ),
    ("core.v1.Toleration", "operator"): ("Exists", "Equal", "Lt", "Gt"),
    ("core.v1.Toleration", "effect"): ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("core.v1.TopologySpreadConstraint", "whenUnsatisfiable"): ("DoNotSchedule", "ScheduleAnyway"),
    ("core.v1.HTTPGetAction", "scheme"): ("HTTP", "HTTPS"),
    ("core.v1.SeccompProfile", "type"): ("RuntimeDefault", "Unconfined", "Localhost"),
    ("apps.v1.DeploymentStrategy", "type"): ("RollingUpdate", "Recreate"),
    ("apps.v1.StatefulSetUpdateStrategy", "type"): ("RollingUpdate", "OnDelete"),
    ("apps.v1.StatefulSetSpec", "podManagementPolicy"): ("OrderedReady", "Parallel"),
    ("batch.v1.CronJobSpec", "concurrencyPolicy"): ("Allow", "Forbid", "Replace"),
    ("networking.v1.HTTPIngressPath", "pathType"): ("Prefix", "Exact", "ImplementationSpecific"),
    ("meta.v1.LabelSelectorRequirement", "operator"): ("In", "NotIn", "Exists", "DoesNotExist"),
    ("policy.v1.PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy"): (
        "AlwaysAllow", "IfHealthyBudget",
    ),
}  # fmt: skip
"""Words that the API server takes where the definitions only say: text."""


def _walk(type_: str, value: Any, at: Pointer) -> Iterator[tuple[str, Any, Pointer]]:
    """Give every value below with its type; what has the wrong type is not entered."""
    yield type_, value, at
    if type_.startswith("[") and isinstance(value, list):
        for index, each in enumerate(value):
            yield from _walk(type_[1:-1], each, (*at, index))
    elif type_.startswith("{") and isinstance(value, dict):
        for key, each in value.items():
            yield from _walk(type_[1:-1], each, (*at, key))
    elif type_ in TYPES and isinstance(value, dict):
        for key, each in value.items():
            if key in TYPES[type_]:
                yield from _walk(TYPES[type_][key], each, (*at, key))


def newest(kind: str) -> str | None:
    """Give the newest version of the API that has a kind; None if the kind is not known."""
    found = [version for version, known in KINDS if known == kind]
    return max(found, key=lambda version: ("beta" not in version, version)) if found else None


def type_of(manifest: Manifest) -> str | None:
    """Give the type of an object; one of an old version is held against the newest."""
    version, kind = text(manifest.body, "apiVersion"), manifest.kind
    if (version, kind) in KINDS:
        return KINDS[version, kind]
    fresh = newest(kind) if is_of_kubernetes(version) and kind not in MOVED else None
    return KINDS[fresh, kind] if fresh else None


def is_of_kubernetes(version: str) -> bool:
    """Say whether a version of the API is of a group that Kubernetes itself may have."""
    group = version.rpartition("/")[0]
    return bool(version) and ("." not in group or group.endswith(".k8s.io"))


def _all(manifest: Manifest) -> Iterator[tuple[str, Any, Pointer]]:
    type_ = type_of(manifest)
    return _walk(type_, manifest.body, ()) if type_ else iter(())


def unknown(manifest: Manifest, _: Manifests) -> Hits:
    """Find fields that the API server does not know."""
    for type_, value, at in _all(manifest):
        for key in value if type_ in TYPES and isinstance(value, dict) else ():
            if key in TYPES[type_]:
                continue
            free = [name for name in TYPES[type_] if name not in value]
            by_lower = {name.lower(): name for name in free}
            close = get_close_matches(key.lower()[:64], by_lower, n=1, cutoff=0.75)
            edits: list[Edit] = [Drop(at=(*at, key))]
            if close:
                edits.append(Put(at=(*at, by_lower[close[0]]), value=value[key]))
            yield Hit(
                at=(*at, key), what=f"there is no field `{word(key)}` here",
                hint=f"did you mean `{by_lower[close[0]]}`?" if close else
                "kubectl refuses it; a server that is not strict drops it in silence",
                cure=f"it is `{by_lower[close[0]]}`" if close else "it is removed",
                edits=tuple(edits),
            )  # fmt: skip


def missing(manifest: Manifest, _: Manifests) -> Hits:
    """Find fields that have to be there."""
    for type_, value, at in _all(manifest):
        for key in _REQUIRED.get(type_, ()) if isinstance(value, dict) else ():
            if value.get(key) is None:
                yield Hit(at=(*at, key), what=f"`{key}` has to be there")


def _fits(type_: str, value: Any) -> bool:
    if value is None or type_ == "any":
        return True
    if isinstance(value, dict | list):
        is_list = type_.startswith("[")
        return is_list if isinstance(value, list) else type_ in TYPES or type_.startswith("{")
    return type_ in next(types for kind, types in _TAKEN.items() if isinstance(value, kind))


def _as(type_: str, value: Any, raw: str | None) -> Any:
    """Give a value in the type that is wanted; None if it cannot be known."""
    said = raw if raw is not None else word(value)
    if type_ == "string" and not isinstance(value, dict | list):
        return said
    if type_ == "bool" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if type_ == "int" and isinstance(value, str | float) and _is_whole(value):
        return int(float(value))
    if type_.startswith("[") and isinstance(value, str | int | float | dict):
        return [value] if _fits(type_[1:-1], value) else None
    return None


def _is_whole(value: str | float) -> bool:
    if isinstance(value, str):
        return value.strip().isdecimal() and value.isascii() and len(value) < 12
    return value.is_integer() and abs(value) < 1e12


def mistyped(manifest: Manifest, _: Manifests) -> Hits:
    """Find values of the wrong type."""
    for type_, value, at in _all(manifest):
        if _fits(type_, value):
            continue
        wanted = _WORDS.get(type_, "a list" if type_.startswith("[") else "a mapping")
        better = _as(type_, value, manifest.raws.get(at))
        is_bare = type_ == "string" and better is not None
        hint = f'put it in quotes: "{word(better)}"' if is_bare else ""
        is_quoted = type_ in ("int", "bool") and better is not None and isinstance(value, str)
        hint = "write it without quotes" if is_quoted else hint
        yield Hit(
            at=at, what=f"`{word(value)}` has to be {wanted}", hint=hint,
            cure=f"it is {_said(better)}" if better is not None else "",
            edits=(Put(at=at, value=better),) if better is not None else (),
        )  # fmt: skip


def _said(value: Any) -> str:
    return f'"{word(value)}"' if isinstance(value, str) else word(value)


def unlisted(manifest: Manifest, _: Manifests) -> Hits:
    """Find words that are none of those which the API server takes."""
    for type_, value, at in _all(manifest):
        for key in value if type_ in TYPES and isinstance(value, dict) else ():
            known, said = CHOICES.get((type_, key)), value[key]
            if known is None or not isinstance(said, str) or said in known or not said:
                continue
            by_lower = {each.lower(): each for each in known}
            close = get_close_matches(said.lower()[:64], by_lower, n=1, cutoff=0.8)
            better = by_lower[close[0]] if close else ""
            yield Hit(
                at=(*at, key), what=f"`{word(said)}` is none of {', '.join(known)}",
                cure=f"it is {better}" if better else "",
                edits=(Put(at=(*at, key), value=better),) if better else (),
            )  # fmt: skip


def repeated(manifest: Manifest, _: Manifests) -> Hits:
    """Find keys that a mapping has twice."""
    for at, _place in manifest.repeated:
        yield Hit(
            at=at, what=f"`{word(at[-1])}` is there twice",
            hint="the last one counts, in silence; strict tools refuse the file",
            cure="the last one is kept", edits=(Put(at=at, value=get(manifest.body, *at)),),
        )  # fmt: skip


RULES: Final = (
    Rule(
        id="unknown-field", severity="refused", check=unknown,
        about="a field that the kind does not have; it is renamed if it is nearly one, or removed",
    ),
    Rule(
        id="wrong-type", severity="refused", check=mistyped, fixed="where it can be known",
        about="a value of the wrong type, as a number where text has to be",
    ),
    Rule(
        id="bad-choice", severity="refused", check=unlisted, fixed="where it is nearly one",
        about="a word that is none of those which the field takes",
    ),
    Rule(
        id="missing-field", severity="refused", check=missing, fixed="no",
        about="a field that has to be there is not",
    ),
    Rule(
        id="duplicate-key", severity="harmful", check=repeated,
        about="a mapping has a key twice; the last one is kept",
    ),
)  # fmt: skip
