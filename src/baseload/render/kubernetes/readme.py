"""What must a person know who installs this: what is where, what comes first, which commands?

Not here: how Baseload itself is run (its own docs).
"""

from collections.abc import Iterator
from typing import Any

from baseload.render.files import File, header
from baseload.render.kubernetes import config, image, pod
from baseload.render.kubernetes.cluster import kubernetes, storage_classes
from baseload.render.kubernetes.engine.names import GPU
from baseload.render.kubernetes.engine.placing import mps_config
from baseload.render.kubernetes.engine.sharing import mps_shares
from baseload.render.kubernetes.gateway import ALONE
from baseload.render.kubernetes.identity import secret
from baseload.render.kubernetes.objects import Object, Part
from baseload.render.kubernetes.sites import Place
from baseload.render.picture import Picture

_TEXT = """\
# {name} on Kubernetes

| path | what |
| --- | --- |
{paths}

The overlays and the chart give the same objects; use one of them.

## What the cluster must have

| what | how to see which version is there |
| --- | --- |
{needed}

## Install

The image is built in a checkout of Baseload, and pushed to where the cluster pulls from:

```sh
{image}
```

{variables}Then, in this folder:

```sh
kubectl create namespace {namespace}
{secrets}
kubectl apply -k overlays/{site}
```

or, with Helm, in place of the last line:

```sh
helm upgrade --install {name} chart -n {namespace} -f chart/values-{site}.yaml
```

Names are the same whatever the release is called, so one namespace has one installation. A second
one in the same cluster is installed with `{second}`: what they make is the cluster's.

## Good to know

{remarks}
"""


def file(picture: Picture, parts: tuple[Part, ...], places: tuple[Place, ...]) -> File:
    """Give the README."""
    paths = [
        *((f"`base/{part.name}/`", _about(part)) for part in parts),
        *((f"`overlays/{place.name}/`", f"what runs at `{place.name}`") for place in places),
        ("`chart/`", "the same as a Helm chart; `values.yaml` says what can be set"),
        ("`Containerfile`", "the gateway's image"),
    ]  # fmt: skip
    if picture.deploy.scaler == "hpa":
        paths.append(("`adapter-values.yaml`", "values for the Prometheus adapter's own chart"))
    kept = _kept(parts)
    text = _TEXT.format(
        name=picture.deploy.name, namespace=picture.deploy.namespace, site=places[0].name,
        paths="\n".join(_row(*one) for one in paths),
        needed="\n".join(_row(*one) for one in _needed(picture)),
        second=" ".join(_second(parts)), image=image.build(picture, "docker", "DIR/"),
        variables="".join(_variables(kept)), secrets="\n".join(_secrets(picture, kept)),
        remarks="\n".join(f"- {one}" for one in _remarks(picture)),
    )  # fmt: skip
    return File(path="README.md", text=header("README.md", picture.sources) + "\n" + text)


def _second(parts: tuple[Part, ...]) -> Iterator[str]:
    """Give how a second installation leaves out what the cluster has once."""
    for part in parts:
        if part.switch and part.name in {"cluster", "storage"}:
            yield f"--set {'.'.join(part.switch.path)}=false"


def _row(left: str, right: str) -> str:
    return f"| {left} | {right} |"


def _about(part: Part) -> str:
    if part.name.startswith("engine-"):
        return f"the engine of the backend `{part.name.removeprefix('engine-')}`"
    return {
        "gateway": "the gateway",
        "monitoring": "what the Prometheus operator reads",
        "cluster": "what a cluster has once: priority classes, the device plugin's configurations",
        "storage": "classes of local volumes",
    }.get(part.name, part.name)


def _needed(picture: Picture) -> Iterator[tuple[str, str]]:
    said = picture.deploy
    yield f"Kubernetes {kubernetes(picture)} or newer", "`kubectl version`"
    yield "a network plugin that holds NetworkPolicies", "its own documentation"
    if said.scaler == "keda":
        yield "KEDA 2.17 or newer", _kind("scaledobjects.keda.sh")
    else:
        what = "the Prometheus adapter, with `adapter-values.yaml`"
        yield what, "`kubectl get apiservice v1beta1.custom.metrics.k8s.io`"
    what = f"Prometheus at `{said.prometheus}`, with its operator"
    yield what, _kind("servicemonitors.monitoring.coreos.com")
    if said.gateway.expose == "gateway":
        yield "Gateway API 1.2 or newer", _kind("httproutes.gateway.networking.k8s.io")
        what = f"a Gateway `{said.gateway.parent}` that lets routes of this namespace in"
        yield what, "`kubectl get gateway -A`"
    if said.gateway.expose == "ingress":
        yield "an Ingress controller", "`kubectl get ingressclass`"
    yield from _needed_by_engines(picture)


def _needed_by_engines(picture: Picture) -> Iterator[tuple[str, str]]:
    engines = picture.in_clusters
    if any(each.layout.machines > 1 for each in engines):
        what = "LeaderWorkerSet 0.8 or newer, for engines over several machines"
        yield what, _kind("leaderworkersets.leaderworkerset.x-k8s.io")
    vendors = {each.accelerator.vendor for each in engines}
    for vendor, resource in GPU.items():
        if vendor in vendors:
            yield f"{vendor}'s device plugin", f"`kubectl describe nodes`: `{resource}`"
    for share in mps_shares(picture):
        label = f"nvidia.com/device-plugin.config={mps_config(share)}"
        what = f"nodes whose GPUs carry {share} engines each (device plugin 0.15 or newer, MPS)"
        yield what, f"`kubectl get nodes -l {label}`"
    if any(each.said.sharing == "dra" for each in engines):
        yield "NVIDIA's DRA driver", "`kubectl get deviceclasses`"
    for name in storage_classes(picture):
        yield f"a CSI driver for `{name}` (TopoLVM, for example)", "`kubectl get csidrivers`"


def _kind(name: str) -> str:
    return f"`kubectl describe crd {name}`: labels and annotations"


def _kept(parts: tuple[Part, ...]) -> dict[str, list[str]]:
    """Give the variables that pods take from Secrets, by the Secrets' names."""
    found: dict[str, list[str]] = {}
    for sheet in (sheet for part in parts for sheet in part.sheets):
        for one in _references(sheet.objects):
            names = found.setdefault(one["name"], [])
            names += [one["key"]] if one["key"] not in names else []
    return found


def _references(value: Any) -> Iterator[Object]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from [below] if key == "secretKeyRef" else _references(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _references(below)


def _variables(kept: dict[str, list[str]]) -> Iterator[str]:
    for name, keys in kept.items():
        yield f"Write `{name}.env`, with a line `NAME=value` for each of these, and keep it safe:\n"
        yield ", ".join(f"`{key}`" for key in keys) + ".\n\n"


def _secrets(picture: Picture, kept: dict[str, list[str]]) -> Iterator[str]:
    space = f"kubectl -n {picture.deploy.namespace} create"
    for name in kept:
        yield f"{space} secret generic {name} --from-env-file={name}.env"
    if picture.fleet.tls:
        yield f"{space} secret tls {picture.deploy.name}-tls --cert=cert.pem --key=key.pem"
    if names := config.authorities(picture):
        files = " ".join(f"--from-file={name}=ca.pem" for name in names)
        yield f"{space} configmap {picture.deploy.name}-ca {files}"


def _late(picture: Picture) -> Iterator[str]:
    """Say which calls end before an engine at zero can have come up for them."""
    backends = config.in_cluster(picture).backends
    for model in picture.fleet.models.values():
        for target in (name for tier in model.tiers for name in tier):
            start_s = backends[target].cold_start_s
            if start_s >= model.total_s:
                yield (
                    f"A call for `{model.name}` that has to wake `{target}` may end first: its "
                    f"`total_s` is {model.total_s:g} s, a cold start up to {start_s:g} s. Those "
                    "that come later find it awake."
                )


def _remarks(picture: Picture) -> Iterator[str]:
    name, grace_s = picture.deploy.name, pod.grace_s(picture)
    yield (
        f"The Secret `{secret(picture)}` is never rendered. After a change of it, "
        f"`kubectl -n {picture.deploy.namespace} rollout restart deployment {name}`; a change of "
        "the fleet file replaces the pods by itself."
    )
    yield (
        f"A pod that goes away may take {grace_s} s, as long as the longest answer. The emptying "
        "of a node waits for it; give `kubectl drain` as long a `--timeout`."
    )
    yield (
        "The Deployment names no number of replicas: the scaler keeps at least "
        f"{picture.deploy.gateway.replicas}. The first one is alone until it has begun."
    )
    yield from _late(picture)
    if config.is_alone(picture.fleet):
        yield ALONE.replace("\n", " ")
    if picture.fleet.store.counters.startswith("memory:"):
        yield "Limits are counted by each gateway alone: `store.counters: redis://...` shares them."
    if picture.fleet.tls:
        yield (
            f"The gateway speaks https itself, with the Secret `{name}-tls`. What stands in front "
            "must speak https to it (for a Gateway: a BackendTLSPolicy)."
        )
    models = [each.model or "" for each in picture.fleet.backends.values() if each.engine]
    if models:
        yield (
            "Engines that the gateway starts itself run in its pod: give it cores and memory for "
            f"them ({', '.join(models)}). A `.gguf` file must be in the image."
        )
    if not picture.fleet.keys and not picture.fleet.open_to_all:
        yield "There are no keys in the fleet file: gateways start once `store.ledger` has one."
