"""What is in an engine's pod?

One container that serves, and before it one that stages weights. Ready is who answers `/health`;
alive is asked slowly and many times, since an engine that is busy is not dead, and starting anew
costs minutes. A pod that ends is first taken out of the Service (`preStop`), then finishes its
answers: vLLM by `--shutdown-timeout`, SGLang and the gateway by themselves. Machines behind a
group's leader end once the leader is gone, since it answers with their help.

Images of vLLM and SGLang run as root, and so do they here: without any capability, without
privileges to gain, under the default seccomp profile. The gateway's image runs as a user, on a
read-only root. No pod has a token of the API server.

Not here: nodes and sizes (`placing`), mounts (`volumes`).
"""

from hashlib import sha256
from typing import Final

from baseload.config.references import is_reference, variables_in
from baseload.render.command import Where, command_of, image_of
from baseload.render.kubernetes.engine import placing, sharing, socket, staging, timing
from baseload.render.kubernetes.engine.names import LEADER, About
from baseload.render.kubernetes.engine.volumes import Volumes, volumes_of
from baseload.render.kubernetes.identity import priority_class, pull_secrets
from baseload.render.kubernetes.objects import Object, Param
from baseload.render.picture import PORT

USER: Final = 65532
"""Whom the gateway's image runs as."""
DIGEST: Final = "baseload.dev/files"
KEY_VARIABLE: Final = {"vllm": "VLLM_API_KEY", "sglang": "ENGINE_API_KEY"}
WORKER_ENDS: Final = (
    "while python3 -c 'import os, socket; "
    f'socket.create_connection((os.environ["LWS_LEADER_ADDRESS"], {PORT}), 2)\' 2>/dev/null; '
    "do sleep 5; done"
)
OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""Weights are here, and the NetworkPolicy lets an engine ask nobody."""


def template(about: About, *, is_worker: bool = False) -> Object:
    """Give a pod's template; of a group, that of its leader or of its other machines."""
    found = volumes_of(about)
    image = about.param(
        "image", value=image_of(about.engine, about.picture.deploy.gateway.image),
        about="The model server's image.", minLength=1,
    )  # fmt: skip
    before = staging.container(about, image, _security(about))
    volumes = [*found.volumes, *([staging.volume(about)] if before else [])]
    if about.engine.said.engine == "llama.cpp":
        volumes += socket.volumes(about)
    spec: Object = {
        "automountServiceAccountToken": False,
        "serviceAccountName": about.name,
        "priorityClassName": priority_class(about.picture, "engine"),
        "terminationGracePeriodSeconds": timing.grace_s(about.engine),
        "enableServiceLinks": False,
        "imagePullSecrets": pull_secrets(),
        "securityContext": _pod_security(about),
        "nodeSelector": placing.node_selector(about),
        "tolerations": placing.tolerations(about),
        "topologySpreadConstraints": placing.spread(about),
        "initContainers": [before] if before else [],
        "containers": [_container(about, image, found, is_worker=is_worker)],
        "volumes": volumes,
    }
    if about.engine.said.sharing == "dra":
        spec["resourceClaims"] = [{"name": "gpu", "resourceClaimName": sharing.claim_name(about)}]
    digest = _digest(about)
    return {
        "metadata": {
            "labels": about.pod_labels,
            **({"annotations": {DIGEST: digest}} if digest else {}),
        },
        "spec": {key: value for key, value in spec.items() if value not in ([], {})},
    }


def _digest(about: About) -> str:
    """Give what replaces the pods when a file changes that they read once, at their start."""
    read = [each for each in (staging.config(about), socket.config(about)) if each is not None]
    texts = "".join(text for each in read for text in each["data"].values())
    return sha256(texts.encode()).hexdigest()[:16] if texts else ""


def _container(about: About, image: Param, found: Volumes, *, is_worker: bool) -> Object:
    ended = (
        {"exec": {"command": ["sh", "-c", WORKER_ENDS]}}
        if is_worker
        else {"sleep": {"seconds": timing.ENDPOINTS_S}}
    )
    resources = placing.resources(about)
    if found.disk is not None:
        requests = {**resources["requests"], "ephemeral-storage": found.disk}
        resources = {**resources, "requests": requests}
    is_own = about.engine.said.engine == "llama.cpp"
    ports = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    return {
        "name": "engine",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(_command(about, is_worker=is_worker)),
        **({"env": env} if (env := _env(about)) else {}),
        **({} if is_worker else {"ports": ports, **_probes(about)}),
        "lifecycle": {"preStop": ended},
        "resources": resources,
        "securityContext": _security(about),
        "volumeMounts": [*found.mounts, *(socket.mounts() if is_own else [])],
    }


def _command(about: About, *, is_worker: bool) -> tuple[str, ...]:
    engine = about.engine
    if engine.said.engine == "llama.cpp":
        return socket.command()
    return command_of(engine, Where(
        model=about.folder, leader="$(LWS_LEADER_ADDRESS)", is_worker=is_worker,
        rank="$(LWS_WORKER_INDEX)" if is_worker else "0",
        api_key="$(ENGINE_API_KEY)" if key_of(about) else "",
    ))  # fmt: skip


def key_of(about: About) -> str:
    """Give the variable that callers' key is in; empty where none is asked for."""
    key = about.picture.fleet.backends[about.engine.name].api_key or ""
    names = variables_in(key)
    return names[0] if len(names) == 1 and is_reference(key) else ""


def _env(about: About) -> list[Object]:
    said = about.engine.said.engine
    if said == "llama.cpp":
        return [{"name": "HOME", "value": socket.STATE}]
    found: list[Object] = [{"name": name, "value": value} for name, value in OFFLINE.items()]
    if about.is_group and said == "vllm":
        found.append(
            {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        )
    if key := key_of(about):
        source = {"secretKeyRef": {"name": about.secret, "key": key}}
        found.append({"name": KEY_VARIABLE[said], "valueFrom": source})
    return found


def _probes(about: About) -> Object:
    is_own = about.engine.said.engine == "llama.cpp"
    asked: Object = {"httpGet": {"path": "/health", "port": "http"}}
    ready, alive = (socket.probe("readyz"), socket.probe("healthz")) if is_own else (asked, asked)
    return {
        "startupProbe": {
            **ready, "periodSeconds": timing.PERIOD_S, "timeoutSeconds": 10,
            "failureThreshold": timing.startup_failures(about),
        },
        "readinessProbe": {
            **ready, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 3,
        },
        "livenessProbe": {
            **alive, "periodSeconds": 30, "timeoutSeconds": 20, "failureThreshold": 10,
        },
    }  # fmt: skip


def _pod_security(about: About) -> Object:
    found: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if about.engine.said.engine == "llama.cpp":
        found |= {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
        }  # fmt: skip
    return found


def _security(about: About) -> Object:
    found: Object = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if about.engine.said.engine == "llama.cpp":
        found["readOnlyRootFilesystem"] = True
    return found


def serving(about: About) -> dict[str, str]:
    """Give the labels of pods that serve calls: of a group, its leader alone."""
    return about.selector | (LEADER if about.is_group else {})
