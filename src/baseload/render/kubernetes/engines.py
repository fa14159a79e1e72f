"""Which objects does each engine in a cluster take?

One part for each, which can be switched off as a whole: what serves (a Deployment, or a
LeaderWorkerSet where one replica takes several machines), how it is reached and by whom, what keeps
it up, how it is scaled, how its weights come.

Not here: what a cluster has once for all engines (`kubernetes.cluster`), what watches them
(`kubernetes.watching`).
"""

from baseload.render.kubernetes.engine import (
    external,
    guarding,
    scaling,
    sharing,
    socket,
    staging,
    timing,
)
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.pods import template
from baseload.render.kubernetes.engine.volumes import volumes_of
from baseload.render.kubernetes.objects import Object, Part, Sheet
from baseload.render.picture import Engine, Picture


def parts(picture: Picture) -> tuple[Part, ...]:
    """Give a part for each engine that runs in clusters, in the file's order."""
    return tuple(part(picture, engine) for engine in picture.in_clusters)


def part(picture: Picture, engine: Engine) -> Part:
    """Give one engine's part."""
    about = About(picture, engine)
    sheets = (
        _sheet("serviceaccount", guarding.account(about)),
        _sheet("configmap", staging.config(about), socket.config(about), about=CONFIG),
        _sheet("resourceclaim", _claim(about), about=CLAIM),
        _workload(about),
        _sheet("service", guarding.service(about)),
        _sheet("networkpolicy", guarding.policy(about), about=POLICY),
        _sheet("poddisruptionbudget", guarding.disruption(about)),
        _scaler(about),
    )
    return Part(
        name=about.name,
        sheets=tuple(sheet for sheet in sheets if sheet.objects),
        switch=about.param(
            "enabled", value=True, about=f"Whether the engine `{engine.name}` runs."
        ),
    )


CONFIG = "What runs before the engine: weights are fetched and held against their digests."
CLAIM = """\
One GPU, which all pods of the engine share through MPS: they name the same claim.
Kubernetes 1.34 and newer; NVIDIA's driver needs its feature gate MPSSupport."""
POLICY = "Only the gateway, and what scrapes metrics, may reach the engine."
SCARCE = "GPUs are scarce: an old pod goes before a new one comes, one at a time."
UPDATE = {"maxSurge": 0, "maxUnavailable": 1}


def _sheet(name: str, *objects: Object | None, about: str = "") -> Sheet:
    found = tuple(each for each in objects if each is not None)
    return Sheet(file=f"{name}.yaml", objects=found, about=about)


def _claim(about: About) -> Object | None:
    return sharing.claim(about) if about.engine.said.sharing == "dra" else None


def _workload(about: About) -> Sheet:
    engine = about.engine
    longest = f"the longest answer takes {engine.answer_max_s:.0f} s"
    why = [
        f"{engine.shape.name} in {engine.precision} on {_split(engine)}.",
        f"{engine.sequences} calls of {engine.said.context} tokens each fit at once.",
        timing.startup_reason(about),
        f"Its end may take {timing.grace_s(engine)} s: {longest}.",
        SCARCE,
    ]
    # What scales it owns the number; a number here would be put back at each `apply`.
    fixed = {} if scaling.is_scaled(engine) else {"replicas": scaling.replicas(about)}
    if about.is_group:
        why.append("Its machines talk over the pods' network: RDMA is not assumed.")
        found = _sheet("leaderworkerset", _group(about, fixed), about="\n".join(why))
    else:
        found = _sheet("deployment", _deployment(about, fixed), about="\n".join(why))
    return found


def _split(engine: Engine) -> str:
    """Say over what it is split, in words."""
    layout = engine.layout
    words = {"tensor": layout.tp, "pipeline": layout.pp, "data": layout.dp, "expert": layout.ep}
    said = [f"{kind} {count}" for kind, count in words.items() if count > 1]
    where = f"{layout.accelerators} {engine.accelerator.name}"
    return f"{where}, parallel by {', '.join(said)}" if said else where


def _deployment(about: About, fixed: Object) -> Object:
    return about.object(
        "apps/v1", "Deployment",
        spec={
            **fixed,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": timing.progress_s(about),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": UPDATE},
            "selector": {"matchLabels": about.selector},
            "template": template(about),
        },
    )  # fmt: skip


def _group(about: About, fixed: Object) -> Object:
    found: Object = {
        "size": about.engine.layout.machines,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "leaderTemplate": template(about),
        "workerTemplate": template(about, is_worker=True),
    }
    if claims := volumes_of(about).templates:
        found["volumeClaimTemplates"] = claims
        # A scaled-down group frees its disks; one that starts anew finds its weights.
        kept = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        found["persistentVolumeClaimRetentionPolicy"] = kept
    return about.object(
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", about.workload["name"],
        spec={
            **fixed,
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": UPDATE},
            "startupPolicy": "LeaderCreated",
            "leaderWorkerTemplate": found,
        },
    )  # fmt: skip


def _scaler(about: About) -> Sheet:
    engine, is_hpa = about.engine, about.picture.deploy.scaler == "hpa"
    if not scaling.is_scaled(engine):
        return _sheet("scaling")
    if engine.said.scale_on == "cpu":
        return _sheet("scaling", scaling.by_cpu(about), about=scaling.CPU_NOTE)
    why = (
        f"One step in {timing.step_s(engine)} s, the time of a cold start (a machine, the image,"
        f" weights, warm-up);\ndown after {timing.calm_s(engine)} s of calm."
    )
    found = external.by_metrics(about) if is_hpa else scaling.by_load(about)
    return _sheet("scaling", found, about=why)
