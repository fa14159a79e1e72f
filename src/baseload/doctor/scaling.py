"""Does an autoscaler have room to scale, something to scale, and a signal that means something?"""

from typing import Final

from baseload.doctor.edits import Put
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
from baseload.doctor.pods import SERVING, asked, pods_of, targets
from baseload.doctor.rules import Hit, Hits, Rule

_KIND: Final = "HorizontalPodAutoscaler"


def bounds(manifest: Manifest, _: Manifests) -> Hits:
    """Find autoscalers whose most is less than their least."""
    if manifest.kind != _KIND:
        return
    least, most = (whole(manifest.body, "spec", key) for key in ("minReplicas", "maxReplicas"))
    least = 1 if least is None else least
    if most is not None and (most < least or most < 1):
        at: Pointer = ("spec", "maxReplicas")
        better = max(1, least)
        yield Hit(
            at=at, what=f"maxReplicas: {most} is less than minReplicas: {least}",
            cure=f"it is {better}", edits=(Put(at=at, value=better),),
        )  # fmt: skip


def orphan(manifest: Manifest, others: Manifests) -> Hits:
    """Find autoscalers whose target is not in a file that has workloads."""
    if manifest.kind != _KIND or not any(each.kind in SERVING for each in others):
        return
    if not any(targets(manifest, each) for each in others):
        target = mapping(manifest.body, "spec", "scaleTargetRef")
        yield Hit(
            at=("spec", "scaleTargetRef"),
            what=f"{word(target.get('kind'))}/{word(target.get('name'))} is not in this file",
            hint="it scales nothing until something of this kind and name is in its namespace",
        )  # fmt: skip


def _uses_cpu(manifest: Manifest) -> Pointer | None:
    if manifest.kind != _KIND:
        return None
    if get(manifest.body, "spec", "targetCPUUtilizationPercentage") is not None:
        return ("spec", "targetCPUUtilizationPercentage")
    for index, each in enumerate(entries(manifest.body, "spec", "metrics")):
        resource = mapping(each, "resource") or mapping(each, "containerResource")
        if resource.get("name") == "cpu":
            return ("spec", "metrics", index)
    return None


def on_cpu(manifest: Manifest, others: Manifests) -> Hits:
    """Find autoscalers that watch the CPU of pods whose work is done by accelerators."""
    at = _uses_cpu(manifest)
    for other in others if at else ():
        if targets(manifest, other) and any(pod.takes_accelerators for pod in pods_of(other)):
            assert at is not None
            yield Hit(
                at=at, what="it watches the CPU of pods that work on GPUs",
                hint="GPUs are full while the CPU idles at 10 %: scale on calls that wait, on KV "
                "cache used, on the time to the first token; `baseload render kubernetes` does",
            )  # fmt: skip


def no_request(manifest: Manifest, others: Manifests) -> Hits:
    """Find autoscalers on CPU use whose pods ask for no CPU, of which use would be a part."""
    at = _uses_cpu(manifest)
    for other in others if at else ():
        for pod in pods_of(other) if targets(manifest, other) else ():
            if any("cpu" not in asked(container) for _, container in pod.containers):
                assert at is not None
                yield Hit(
                    at=at, what=f"a container of {other.label} asks for no CPU",
                    hint="use is reckoned as a part of what is asked for; without that it is "
                    "unknown, and nothing is scaled",
                )  # fmt: skip


def replicas_too(manifest: Manifest, others: Manifests) -> Hits:
    """Find workloads whose number of pods is said twice."""
    said = whole(manifest.body, "spec", "replicas")
    for other in others if said is not None else ():
        if other.kind == _KIND and targets(other, manifest):
            yield Hit(
                at=("spec", "replicas"), what=f"{other.label} also says how many pods there are",
                hint="each apply sets it back to this number; leave `replicas` out",
            )  # fmt: skip


def no_target(manifest: Manifest, _: Manifests) -> Hits:
    """Find targets of autoscalers without the version of their API."""
    if manifest.kind == _KIND and text(manifest.body, "spec", "scaleTargetRef", "kind") in (
        "Deployment", "StatefulSet",
    ):  # fmt: skip
        at: Pointer = ("spec", "scaleTargetRef", "apiVersion")
        if text(manifest.body, *at) != "apps/v1":
            yield Hit(
                at=at, what="its target is not of apps/v1", hint="it would not be found",
                cure="it is apps/v1", edits=(Put(at=at, value="apps/v1"),),
            )  # fmt: skip


RULES: Final = (
    Rule(
        id="scaler-bounds", severity="refused", check=bounds,
        about="an autoscaler's maxReplicas is less than its minReplicas",
    ),
    Rule(
        id="scaler-target", severity="harmful", check=no_target,
        about="an autoscaler's target has no API version, or a removed one",
    ),
    Rule(
        id="scaler-orphan", severity="harmful", check=orphan, fixed="no",
        about="an autoscaler's target is not in the file",
    ),
    Rule(
        id="scaler-on-cpu", severity="harmful", check=on_cpu, fixed="no",
        about="an autoscaler watches the CPU of pods that work on GPUs",
    ),
    Rule(
        id="scaler-no-request", severity="harmful", check=no_request, fixed="no",
        about="an autoscaler watches CPU use of pods that ask for no CPU",
    ),
    Rule(
        id="scaler-and-replicas", severity="advice", check=replicas_too, fixed="no",
        about="both an autoscaler and the workload say how many pods there are",
    ),
)  # fmt: skip
