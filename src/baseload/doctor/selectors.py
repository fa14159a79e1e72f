"""Do workloads and the pods that they make know each other by their labels?

A selector cannot be changed once the object exists, so the labels of the template are what is
mended.
"""

from typing import Any, Final

from baseload.doctor.edits import Edit, Put
from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    mapping,
    text,
    word,
)
from baseload.doctor.names import slug
from baseload.doctor.pods import matches, pods_of
from baseload.doctor.rules import Hit, Hits, Rule

KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
SELECTOR: Final[Pointer] = ("spec", "selector")
LABELS: Final[Pointer] = ("spec", "template", "metadata", "labels")


def _selects(manifest: Manifest) -> dict[str, Any]:
    return mapping(manifest.body, *SELECTOR)


def missing(manifest: Manifest, _: Manifests) -> Hits:
    """Find workloads without a selector, or with one that would select every pod."""
    selector = _selects(manifest)
    if manifest.kind not in KINDS or selector.get("matchExpressions"):
        return
    if not selector.get("matchLabels"):
        labels = mapping(manifest.body, *LABELS) or {"app": slug(manifest.name) or "app"}
        yield Hit(
            at=SELECTOR, what="no selector says which pods are its own",
            hint=f"a {manifest.kind} has to name labels that its template has",
            cure=f"it selects {_shown(labels)}",
            edits=(
                Put(at=(*SELECTOR, "matchLabels"), value=labels), Put(at=LABELS, value=labels),
            ),
        )  # fmt: skip


def mismatch(manifest: Manifest, _: Manifests) -> Hits:
    """Find selectors that do not select the pods of their own template."""
    selector = _selects(manifest)
    labels = mapping(manifest.body, *LABELS)
    if manifest.kind not in KINDS or not selector or matches(selector, labels):
        return
    wanted = {**mapping(selector, "matchLabels"), **_expressed(selector, labels)}
    lacking = {key: value for key, value in wanted.items() if labels.get(key) != value}
    edits: tuple[Edit, ...] = tuple(
        Put(at=(*LABELS, key), value=value) for key, value in lacking.items()
    )
    yield Hit(
        at=SELECTOR,
        what=f"it selects {_shown(wanted)}, and its template has "
        + (f"only {_shown(labels)}" if labels else "no labels"),
        hint="give the template these labels; a selector cannot be changed once it is applied",
        cure=f"the template has {_shown(lacking)}" if edits else "", edits=edits,
    )  # fmt: skip


def _expressed(selector: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """Give labels that satisfy the expressions which ask for something."""
    found: dict[str, Any] = {}
    for each in entries(selector, "matchExpressions"):
        key, values = text(each, "key"), entries(each, "values")
        if text(each, "operator") == "In" and values:
            found[key] = labels[key] if labels.get(key) in values else values[0]
        elif text(each, "operator") == "Exists":
            found[key] = labels.get(key, "true")
    return found


def overlap(manifest: Manifest, others: Manifests) -> Hits:
    """Find workloads that would take each other's pods for their own."""
    if manifest.kind not in KINDS or not _selects(manifest):
        return
    for other in others:
        if other is manifest or other.kind not in KINDS or not other.is_beside(manifest):
            continue
        if other.name != manifest.name and any(
            matches(_selects(manifest), pod.labels) for pod in pods_of(other)
        ):
            yield Hit(
                at=SELECTOR, what=f"it also selects the pods of {other.label}",
                hint="two controllers that fight for pods delete each other's; select a label that "
                "only these pods have",
            )  # fmt: skip


def _shown(labels: dict[str, Any]) -> str:
    return ", ".join(f"`{word(key)}: {word(value)}`" for key, value in labels.items()) or "nothing"


RULES: Final = (
    Rule(
        id="selector-missing", severity="refused", check=missing,
        about="a workload has no selector, or an empty one",
    ),
    Rule(
        id="selector-mismatch", severity="refused", check=mismatch,
        about="a workload's selector does not match the labels of its template",
    ),
    Rule(
        id="selector-overlap", severity="harmful", check=overlap, fixed="no",
        about="a workload's selector matches pods of another workload in the file",
    ),
)  # fmt: skip
