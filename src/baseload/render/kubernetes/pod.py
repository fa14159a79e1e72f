"""How does one gateway run: its container, its folders, how it starts, and how it goes away?

A pod that is to go first stays in service for a few seconds, until everybody has heard that it
goes. Then it takes no more calls and finishes the answers that it has, however long they take. So
nobody's answer is cut by a roll-out, and a node that is emptied waits for minutes.

Not here: how many there are (`scaling`), who may reach them (`network`).
"""

from typing import Any, Final

from baseload.render.kubernetes import config
from baseload.render.kubernetes.identity import (
    chosen,
    marks,
    metadata,
    priority_class,
    pull_secrets,
    secret,
)
from baseload.render.kubernetes.objects import CORES, Object, Param
from baseload.render.picture import Picture, whole_s

USER: Final = 65532
"""Who the process is: nobody that any image or node knows by name."""
LEAVE_S: Final = 15
"""From the order to go until every proxy and balancer has heard of it (assumed)."""
SPARE_S: Final = 30
"""Over the longest answer, for what is written at the end."""
START_S: Final = 330
"""The longest that a gateway may take to begin, engines that it starts itself included."""
_PROBE_S: Final = 5


def deployment(picture: Picture) -> Object:
    """Give the Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(picture),
        "spec": {
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": chosen(picture)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {
                    "labels": marks(picture),
                    "annotations": {"baseload.dev/config": configuration(picture, is_digest=True)},
                },
                "spec": _pod(picture),
            },
        },
    }


def configuration(picture: Picture, *, is_digest: bool = False) -> Param:
    """Give the fleet file in the cluster, or its digest, by which a change replaces the pods."""
    about = "The fleet file as the gateway reads it in the cluster."
    return Param(
        path=("gateway", "config"), value=config.text(picture), about=about, is_digest=is_digest
    )


def grace_s(picture: Picture) -> int:
    """Give how long a pod that is told to go may take."""
    return LEAVE_S + whole_s(config.drain_s(picture)) + SPARE_S


def _pod(picture: Picture) -> Object:
    return {
        "serviceAccountName": picture.deploy.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": priority_class(picture, "gateway"),
        "imagePullSecrets": pull_secrets(),
        "terminationGracePeriodSeconds": grace_s(picture),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            _spread(picture, "kubernetes.io/hostname"),
            _spread(picture, "topology.kubernetes.io/zone"),
        ],
        "containers": [_container(picture)],
        "volumes": _volumes(picture),
    }  # fmt: skip


def _spread(picture: Picture, over: str) -> Object:
    """Spread pods; where that cannot be, one more gateway is worth more than evenness."""
    return {
        "maxSkew": 1,
        "topologyKey": over,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": chosen(picture)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _container(picture: Picture) -> Object:
    said = picture.deploy.gateway
    memory = Param(
        path=("gateway", "memory"), value=f"{said.memory_mb}M",
        about="Memory, asked for and at most.",
    )  # fmt: skip
    return {
        "name": "gateway",
        "image": Param(
            path=("gateway", "image"), value=said.image, about="The gateway's image, with a tag.",
            schema={"minLength": 1},
        ),
        "imagePullPolicy": "IfNotPresent",
        "args": ["up", "-c", f"{config.FOLDER}/baseload.yaml", *_workers(said.cpu)],
        "workingDir": config.STATE,
        "env": [_variable(picture, name) for name in config.variables(picture)],
        "ports": [
            {"name": "http", "containerPort": config.HTTP, "protocol": "TCP"},
            {"name": "admin", "containerPort": config.ADMIN, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/healthz", failures=START_S // _PROBE_S),
        "readinessProbe": _probe("/readyz", failures=2),
        "livenessProbe": _probe("/healthz", failures=6, timeout_s=6, period_s=10),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_S}}},
        # No limit on cores: a gateway that is throttled is late with everybody's tokens.
        "resources": {
            "requests": {
                "cpu": Param(
                    path=("gateway", "cpu"), value=_cores(said.cpu),
                    about="Cores that are asked for.", schema=CORES,
                ),
                "memory": memory,
            },
            "limits": {"memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(picture),
    }  # fmt: skip


def _cores(cpu: float) -> str:
    return str(int(cpu)) if cpu.is_integer() else f"{max(1, round(cpu * 1000))}m"


def _workers(cpu: float) -> list[str]:
    """One process uses one core."""
    return ["--workers", str(int(cpu))] if cpu >= 2 else []


def _variable(picture: Picture, name: str) -> Object:
    kept = {"name": secret(picture), "key": name}
    return {"name": name, "valueFrom": {"secretKeyRef": kept}}


def _probe(path: str, failures: int, timeout_s: int = 2, period_s: int = _PROBE_S) -> Object:
    return {
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }


def _mounts(picture: Picture) -> list[Any]:
    found = [
        {"name": "config", "mountPath": config.FOLDER, "readOnly": True},
        {"name": "state", "mountPath": config.STATE},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # a volume of the pod's own
    ]
    if picture.fleet.tls:
        found.append({"name": "tls", "mountPath": config.TLS, "readOnly": True})
    if config.authorities(picture):
        found.append({"name": "ca", "mountPath": config.AUTHORITIES, "readOnly": True})
    return found


def _volumes(picture: Picture) -> list[Any]:
    name = picture.deploy.name
    # A ledger of the pod's own grows with its calls; a bound would evict the pod.
    state = {} if config.is_alone(picture.fleet) else {"sizeLimit": "1Gi"}
    found: list[Any] = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "state", "emptyDir": state},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    if picture.fleet.tls:
        found.append({"name": "tls", "secret": {"secretName": f"{name}-tls", "defaultMode": 0o440}})
    if config.authorities(picture):
        found.append({"name": "ca", "configMap": {"name": f"{name}-ca"}})
    return found
