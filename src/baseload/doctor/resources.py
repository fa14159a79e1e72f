"""Do pods ask for amounts that exist, and for memory that nobody takes away again?

Not here: accelerators (`sharing`), how amounts are read (`quantities`).
"""

from collections.abc import Iterator
from typing import Any, Final

from baseload.doctor.edits import Put
from baseload.doctor.manifests import Manifest, Manifests, Pointer, entries, mapping, word
from baseload.doctor.pods import SERVING, pods_of, serves_a_model
from baseload.doctor.quantities import meant, parse
from baseload.doctor.rules import Hit, Hits, Rule

SIDES: Final = ("requests", "limits")
_EXAMPLE: Final = "write `64Gi`, `500m`, `0.5`: a number and a suffix of Kubernetes, no space"


def is_extended(name: str) -> bool:
    """Say whether a resource is one that a device plugin or an operator advertises."""
    domain, _, rest = name.rpartition("/")
    return bool(rest) and bool(domain) and not domain.endswith("kubernetes.io")


def is_whole_only(name: str) -> bool:
    """Say whether it is counted in whole numbers, with request equal to limit."""
    return is_extended(name) or name.startswith("hugepages-")


def _amounts(manifest: Manifest) -> Iterator[tuple[Pointer, Any]]:
    """Give every quantity of an object."""
    sides: list[Pointer] = [("spec", "resources", "requests"), ("spec", "hard")]
    for index, _ in enumerate(entries(manifest.body, "spec", "volumeClaimTemplates")):
        at = ("spec", "volumeClaimTemplates", index, "spec", "resources", "requests")
        sides.append(at)
    for pod in pods_of(manifest):
        sides += [(*at, "resources", side) for at, _ in pod.every for side in SIDES]
        for index, volume in enumerate(entries(pod.spec, "volumes")):
            empty = mapping(volume, "emptyDir")
            if "sizeLimit" in empty:
                yield (*pod.here, "volumes", index, "emptyDir", "sizeLimit"), empty["sizeLimit"]
    for side in sides:
        for name, value in mapping(manifest.body, *side).items():
            yield (*side, name), value


def bad_quantity(manifest: Manifest, _: Manifests) -> Hits:
    """Find amounts that the API server cannot read, or that are below zero."""
    for at, value in _amounts(manifest):
        amount = parse(value)
        if value is None or isinstance(value, dict | list) or (amount is not None and amount >= 0):
            continue
        better = meant(value)
        what = "is below zero" if amount is not None else "is no quantity"
        yield Hit(
            at=at, what=f"`{word(value)}` {what}", hint=_EXAMPLE,
            cure=f"it is `{better}`" if better else "",
            edits=(Put(at=at, value=better),) if better else (),
        )  # fmt: skip


def over_limit(manifest: Manifest, _: Manifests) -> Hits:
    """Find requests above their limit."""
    for at, name, request, limit in _pairs(manifest):
        if not is_whole_only(name) and request > limit:
            value = mapping(manifest.body, *at, "requests")[name]
            yield Hit(
                at=(*at, "requests", name),
                what=f"more {word(name)} is asked for ({word(value)}) than the limit allows",
                hint="a request may be as high as its limit at most",
                cure=f"the limit is {word(value)} too",
                edits=(Put(at=(*at, "limits", name), value=value),),
            )  # fmt: skip


def _pairs(manifest: Manifest) -> Iterator[tuple[Pointer, str, Any, Any]]:
    """Give resources that have both, with the way to `resources`."""
    for pod in pods_of(manifest):
        for at, container in pod.every:
            limits = mapping(container, "resources", "limits")
            for name, value in mapping(container, "resources", "requests").items():
                request, limit = parse(value), parse(limits.get(name))
                if request is not None and limit is not None:
                    yield (*at, "resources"), name, request, limit


def mistaken(manifest: Manifest, _: Manifests) -> Hits:
    """Find memory in thousandths of a byte and CPUs by the million: `m` and `M` mixed up."""
    for at, value in _amounts(manifest):
        if not isinstance(value, str) or parse(value) is None:
            continue
        is_size = at[-1] in ("memory", "ephemeral-storage", "storage", "sizeLimit")
        better = f"{value[:-1]}M" if is_size and value.endswith("m") else ""
        better = f"{value[:-1]}m" if at[-1] == "cpu" and value.endswith("M") else better
        if better:
            what = "is thousandths of a byte" if is_size else "is millions of CPUs"
            yield Hit(
                at=at, what=f"`{word(value)}` {what}", hint="`m` is a thousandth, `M` a million",
                cure=f"it is `{better}`", edits=(Put(at=at, value=better),),
            )  # fmt: skip


def overcommitted(manifest: Manifest, _: Manifests) -> Hits:
    """Find model servers whose memory is not all asked for."""
    for at, name, request, limit in _pairs(manifest):
        container = _around(manifest, at)
        starts = "initContainers" in at
        if name == "memory" and request < limit and serves_a_model(container) and not starts:
            asked, most = (container["resources"][side]["memory"] for side in SIDES)
            yield Hit(
                at=(*at, "requests", "memory"),
                what=f"{word(asked)} are asked for and {word(most)} allowed",
                hint="a model fills its memory: beyond the request it is the first to be killed "
                "when the node runs short",
                cure=f"{word(most)} are asked for",
                edits=(Put(at=(*at, "requests", "memory"), value=most),),
            )  # fmt: skip


def _around(manifest: Manifest, at: Pointer) -> dict[str, Any]:
    return mapping(manifest.body, *at[:-1])


def unlimited(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers whose memory has no limit."""
    if manifest.kind not in SERVING:
        return
    for pod in pods_of(manifest):
        for at, container in pod.containers:
            limits = mapping(container, "resources", "limits")
            if limits.get("memory") is None:
                yield Hit(
                    at=(*at, "resources"), what="nothing limits its memory",
                    hint="one that leaks takes others on its node down with it; measure what it "
                    "needs, and ask for that",
                )  # fmt: skip


def no_cpu(manifest: Manifest, _: Manifests) -> Hits:
    """Find containers that ask for no CPU."""
    if manifest.kind not in SERVING:
        return
    for pod in pods_of(manifest):
        for at, container in pod.containers:
            resources = mapping(container, "resources")
            if not any(mapping(resources, side).get("cpu") for side in SIDES):
                yield Hit(
                    at=(*at, "resources"), what="it asks for no CPU",
                    hint="on a busy node it gets next to none, and answers come late",
                )  # fmt: skip


RULES: Final = (
    Rule(
        id="bad-quantity", severity="refused", check=bad_quantity, fixed="where it can be guessed",
        about="an amount is not written as Kubernetes reads it: `64GB`, `32 Gi`, `-1`",
    ),
    Rule(
        id="request-over-limit", severity="refused", check=over_limit,
        about="a request is higher than its limit",
    ),
    Rule(
        id="suffix-mistaken", severity="harmful", check=mistaken,
        about="memory in thousandths of a byte (`m`), or CPUs by the million (`M`)",
    ),
    Rule(
        id="memory-overcommit", severity="harmful", check=overcommitted,
        about="a model server asks for less memory than its limit",
    ),
    Rule(
        id="memory-unlimited", severity="harmful", check=unlimited, fixed="no",
        about="a container that runs for long has no limit of memory",
    ),
    Rule(
        id="cpu-missing", severity="advice", check=no_cpu, fixed="no",
        about="a container that runs for long asks for no CPU",
    ),
)  # fmt: skip
