"""Does a workload outlive the loss of a node, a drain, a rollout?"""

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
    whole,
    word,
)
from baseload.doctor.pods import SCALED, SERVING, matches, pods_of, replicas
from baseload.doctor.rules import Hit, Hits, Rule

_WHY: Final = "Lets one pod at a time be moved when nodes are drained, and no more."
_BUDGET: Final = "PodDisruptionBudget"


def _covers(budget: Manifest, manifest: Manifest) -> bool:
    selector = get(budget.body, "spec", "selector")
    return (
        budget.kind == _BUDGET and budget.is_beside(manifest)
        and isinstance(selector, dict)
        and any(matches(selector, pod.labels) for pod in pods_of(manifest))
    )  # fmt: skip


def no_budget(manifest: Manifest, others: Manifests) -> Hits:
    """Find workloads of several pods that a drain may take down all at once."""
    count = replicas(manifest, others)
    labels = mapping(manifest.body, "spec", "selector", "matchLabels")
    if manifest.kind not in SCALED or count < 2 or any(_covers(each, manifest) for each in others):
        return
    body = {
        "apiVersion": "policy/v1", "kind": _BUDGET,
        "metadata": {
            "name": manifest.name,
            **({"namespace": manifest.namespace} if manifest.namespace else {}),
        },
        "spec": {
            "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels},
        },
    }  # fmt: skip
    is_known = bool(labels and manifest.name)
    yield Hit(
        at=(), what=f"no disruption budget covers its {count} pods",
        hint="draining nodes may take all of them away at once",
        cure="a PodDisruptionBudget lets one go at a time" if is_known else "",
        adds=(Manifest(body=body, why=_WHY),) if is_known else (),
    )  # fmt: skip


def both(manifest: Manifest, _: Manifests) -> Hits:
    """Find budgets that say how many may go and how many must stay."""
    spec = mapping(manifest.body, "spec")
    has_both = all(spec.get(key) is not None for key in ("minAvailable", "maxUnavailable"))
    if manifest.kind == _BUDGET and has_both:
        yield Hit(
            at=("spec", "minAvailable"), what="minAvailable and maxUnavailable exclude each other",
            cure="maxUnavailable is kept", edits=(Drop(at=("spec", "minAvailable")),),
        )  # fmt: skip


def blocking(manifest: Manifest, others: Manifests) -> Hits:
    """Find budgets that let no pod go, so that no node can be drained."""
    if manifest.kind != _BUDGET:
        return
    spec = mapping(manifest.body, "spec")
    counts = [replicas(each, others) for each in others
              if each.kind in SCALED and _covers(manifest, each)]  # fmt: skip
    least = whole(spec, "minAvailable")
    key = ""
    if spec.get("maxUnavailable") in (0, "0", "0%"):
        key = "maxUnavailable"
    elif spec.get("minAvailable") == "100%" or (counts and least and least >= sum(counts)):
        key = "minAvailable"
    if key:
        at: Pointer = ("spec", key)
        yield Hit(
            at=at, what=f"{key}: {word(spec[key])} lets no pod go",
            hint="nodes cannot be drained, and upgrades of the cluster hang",
            cure="one may go at a time",
            edits=(Put(at=("spec", "maxUnavailable"), value=1),)
            + ((Drop(at=at),) if key == "minAvailable" else ()),
        )  # fmt: skip


def orphan(manifest: Manifest, others: Manifests) -> Hits:
    """Find budgets that cover nothing, where workloads are in the file."""
    near = [each for each in others if each.kind in SERVING]
    if manifest.kind == _BUDGET and near and not any(_covers(manifest, each) for each in others):
        yield Hit(
            at=("spec", "selector"), what="it covers no pod of this file",
            hint="a budget protects the pods whose labels it selects, in its own namespace",
        )  # fmt: skip


def no_spread(manifest: Manifest, others: Manifests) -> Hits:
    """Find workloads whose pods may all be on one node."""
    labels = mapping(manifest.body, "spec", "selector", "matchLabels")
    if manifest.kind not in SCALED or replicas(manifest, others) < 2:
        return
    for pod in pods_of(manifest):
        is_kept_apart = mapping(pod.spec, "affinity", "podAntiAffinity")
        if entries(pod.spec, "topologySpreadConstraints") or is_kept_apart:
            continue
        spread: dict[str, Any] = {
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels},
        }  # fmt: skip
        yield Hit(
            at=pod.here, what="all its pods may run on one node",
            hint="and are lost with it; spread them over nodes",
            cure="they are spread over nodes where there is room" if labels else "",
            edits=(Put(at=(*pod.here, "topologySpreadConstraints"), value=[spread]),)
            if labels else (),
        )  # fmt: skip


def recreated(manifest: Manifest, others: Manifests) -> Hits:
    """Find Deployments of several pods that are all gone for the length of a start.

    One pod may have no other choice: it holds a disk, or the only GPU.
    """
    strategy = text(manifest.body, "spec", "strategy", "type")
    is_meant = manifest.kind == "Deployment" and strategy == "Recreate"
    if is_meant and replicas(manifest, others) > 1:
        yield Hit(
            at=("spec", "strategy", "type"),
            what="Recreate ends every pod before the first new one starts",
            hint="RollingUpdate with maxSurge: 0 replaces them one by one, on the same nodes",
        )  # fmt: skip


def surge(manifest: Manifest, _: Manifests) -> Hits:
    """Find rollouts that need more accelerators than the workload has."""
    strategy = mapping(manifest.body, "spec", "strategy")
    if manifest.kind != "Deployment" or strategy.get("type") == "Recreate":
        return
    takes = any(pod.takes_accelerators for pod in pods_of(manifest))
    if takes and get(strategy, "rollingUpdate", "maxSurge") is None:
        yield Hit(
            at=("spec", "strategy"), what="a rollout starts a new pod before it ends an old one",
            hint="without a spare GPU it hangs; with maxSurge: 0 and maxUnavailable: 1 it needs "
            "none, and has one pod less meanwhile",
        )  # fmt: skip


RULES: Final = (
    Rule(
        id="budget-both", severity="refused", check=both,
        about="a disruption budget has both minAvailable and maxUnavailable",
    ),
    Rule(
        id="budget-missing", severity="harmful", check=no_budget,
        about="no disruption budget covers a workload of several pods",
    ),
    Rule(
        id="budget-blocks", severity="harmful", check=blocking,
        about="a disruption budget lets no pod go, so that nodes cannot be drained",
    ),
    Rule(
        id="budget-orphan", severity="harmful", check=orphan, fixed="no",
        about="a disruption budget covers no pod of the file",
    ),
    Rule(
        id="spread-missing", severity="harmful", check=no_spread,
        about="several pods may all run on one node",
    ),
    Rule(
        id="recreate", severity="harmful", check=recreated, fixed="no",
        about="each rollout of a Deployment of several pods is an outage",
    ),
    Rule(
        id="surge", severity="advice", check=surge, fixed="no",
        about="a rollout needs more accelerators than the workload has",
    ),
)  # fmt: skip
