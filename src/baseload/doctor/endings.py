"""Can a pod of a model server end without cutting answers short, and begin without being given up?

A streamed answer takes minutes. When a pod is told to end, it stays in the lists of who is asked
for some seconds; so it should wait a little (preStop), and then have as long as its longest answer.
"""

from collections.abc import Iterator
from typing import Any, Final

from baseload.doctor.assuming import assume
from baseload.doctor.edits import Put
from baseload.doctor.manifests import Manifest, Manifests, Pointer, get, mapping, whole
from baseload.doctor.pods import Pod, pods_of, serves_a_model
from baseload.doctor.probes import budget_s
from baseload.doctor.rules import Hit, Hits, Rule

ANSWER_S: Final = 300
"""The longest answer, where nobody says."""
GRACE_S_MIN: Final = 120
LEAVE_S: Final = 15
"""Until every proxy has heard that a pod is leaving."""
DEADLINE_S: Final = 600
"""What a Deployment gives a rollout by default."""


def _servers(manifest: Manifest) -> Iterator[Pod]:
    return (pod for pod in pods_of(manifest) if pod.serves_a_model)


def short_grace(manifest: Manifest, _: Manifests) -> Hits:
    """Find model servers that are killed in the middle of answers."""
    for pod in _servers(manifest):
        said = whole(pod.spec, "terminationGracePeriodSeconds")
        grace_s = 30 if said is None else said
        if grace_s < GRACE_S_MIN:
            enough = ANSWER_S + 2 * LEAVE_S
            why = (
                f"{enough} s to end: the longest answer, taken as {ANSWER_S} s, and {2 * LEAVE_S} s"
            )
            yield Hit(
                at=(*pod.here, "terminationGracePeriodSeconds"),
                what=f"it is killed {grace_s} s after it is told to end",
                hint="streamed answers take minutes; all that are under way are cut",
                cure=f"it has {enough} s",
                edits=(
                    Put(at=(*pod.here, "terminationGracePeriodSeconds"), value=enough),
                    *assume(manifest.body, "grace", why),
                ),
            )  # fmt: skip


def no_pre_stop(manifest: Manifest, _: Manifests) -> Hits:
    """Find model servers that stop listening while they are still sent calls.

    Of a group over several machines only the leader is sent any.
    """
    pods = list(_servers(manifest))
    for pod in [each for each in pods if each.leads] or pods:
        for at, container in pod.containers:
            if serves_a_model(container) and not mapping(container, "lifecycle", "preStop"):
                yield Hit(
                    at=at, what="it has no preStop hook",
                    hint="it stops listening at once, and proxies go on sending calls for seconds",
                    cure=f"it waits {LEAVE_S} s first",
                    edits=(Put(
                        at=(*at, "lifecycle", "preStop"), value={"sleep": {"seconds": LEAVE_S}},
                    ),),
                )  # fmt: skip


def short_deadline(manifest: Manifest, _: Manifests) -> Hits:
    """Find rollouts that are called failed while the model still loads."""
    if manifest.kind != "Deployment":
        return
    said = whole(manifest.body, "spec", "progressDeadlineSeconds")
    deadline_s = DEADLINE_S if said is None else said
    for pod in _servers(manifest):
        start_s = max((_start_s(each) for _, each in pod.containers), default=0)
        if start_s >= deadline_s:
            at: Pointer = ("spec", "progressDeadlineSeconds")
            yield Hit(
                at=at,
                what=f"a rollout counts as failed after {deadline_s} s, and a pod may take "
                f"{start_s} s to start",
                hint="pipelines roll back what was about to work",
                cure=f"it has {start_s + DEADLINE_S} s",
                edits=(Put(at=at, value=start_s + DEADLINE_S),),
            )  # fmt: skip


def _start_s(container: dict[str, Any]) -> int:
    probe = get(container, "startupProbe")
    return budget_s(probe) if isinstance(probe, dict) else 0


RULES: Final = (
    Rule(
        id="grace-short", severity="harmful", check=short_grace,
        about=f"a model server has less than {GRACE_S_MIN} s to end its answers",
    ),
    Rule(
        id="prestop-missing", severity="harmful", check=no_pre_stop,
        about="a model server stops listening before proxies have heard that it leaves",
    ),
    Rule(
        id="deadline-short", severity="harmful", check=short_deadline,
        about="a rollout counts as failed before the startup probe gives up",
    ),
)  # fmt: skip
