"""Mistakes to make in the sound manifest of `data/`, each with the rule that has to find it.

A mistake is a list of changes: which object, where in it, and what is put there.
"""

from pathlib import Path

import yaml

from baseload.doctor.edits import Drop, Put, edited
from baseload.doctor.manifests import Manifest
from baseload.doctor.reading import read

DATA = Path(__file__).parent / "data"
GONE = object()
POD = "spec.template.spec"
BOX = f"{POD}.containers.0"
GPU = "nvidia.com/gpu"


def sound():
    """Give the objects of the sound manifest."""
    return read((DATA / "sound.yaml").read_text(), "sound.yaml")


SOUND = sound()


def at(path):
    """`spec/containers/0` as a pointer; dots and slashes both divide, `~` stands for neither."""
    if isinstance(path, tuple):
        return path
    return tuple(int(step) if step.isdigit() else step for step in path.split("."))


def spoiled(changes, manifests=SOUND):
    """Give objects with changes made: (`Kind/name` or `Kind`, path, value), or a whole object."""
    bodies = [manifest.body for manifest in manifests]
    for change in changes:
        if isinstance(change, dict):
            bodies.append(change)
            continue
        label, path, value = change
        for index, body in enumerate(bodies):
            if label in (body.get("kind"), f"{body.get('kind')}/{body['metadata'].get('name')}"):
                edit = Drop(at=at(path)) if value is GONE else Put(at=at(path), value=value)
                bodies[index] = edited(body, [edit])
                break
    return tuple(Manifest(body=body) for body in bodies)


def one(label, path, value):
    """Give a mistake of one change."""
    return [(label, path, value)]


def deployment(path, value):
    """Give a mistake in the Deployment."""
    return one("Deployment", path, value)


def box(path, value):
    """Give a mistake in the Deployment's container."""
    return deployment(f"{BOX}.{path}", value)


def again(kind, name, **changes):
    """Give another object like one of the sound ones."""
    body = next(each.body for each in SOUND if (each.kind, each.name) == (kind, name))
    return edited(
        body, [Put(at=at(key.replace("__", ".")), value=value) for key, value in changes.items()]
    )


RES = (*at(BOX), "resources")
ENV = {"name": "OPENAI_API_KEY", "value": "sk-very-secret"}

MISTAKES = {
    "kind-missing": one("Service", "apiVersion", GONE),
    "api-removed": one("PodDisruptionBudget", "apiVersion", "policy/v1beta1"),
    "api-wrong": deployment("apiVersion", "v1"),
    "selector-missing": deployment("spec.selector", GONE),
    "selector-mismatch": deployment(f"{POD[:-5]}.metadata", GONE),
    "selector-overlap": [again("Deployment", "model", metadata__name="second")],
    "name-missing": one("Job", "metadata.name", GONE),
    "bad-name": deployment("metadata.name", "My_Model"),
    "bad-part-name": box("name", "Model_Server"),
    "bad-port-name": box("ports.0.name", "http_port_of_the_server"),
    "bad-label": deployment("metadata.labels.app", "my model"),
    "containers-missing": one("Job", f"{POD}.containers", []),
    "image-missing": box("image", GONE),
    "duplicate-container": deployment(f"{POD}.initContainers", [{"name": "server", "image": "a:1"}]),
    "duplicate-port": box("ports", [{"name": "http", "containerPort": 8000}, {"name": "http", "containerPort": 1}]),
    "port-number": box("ports.0.containerPort", 80000),
    "env-two-values": box("env.1.value", "x"),
    "restart-policy": deployment(f"{POD}.restartPolicy", "Never"),
    "volume-missing": box("volumeMounts.0.name", "weights"),
    "duplicate-volume": deployment(f"{POD}.volumes", [{"name": "tmp"}, {"name": "tmp"}]),
    "volume-sources": deployment(f"{POD}.volumes.0.configMap", {"name": "x"}),
    "bad-quantity": deployment((*RES, "limits", "memory"), "64GB"),
    "request-over-limit": deployment((*RES, "requests", "memory"), "128Gi"),
    "device-fraction": deployment((*RES, "requests", GPU), 0.5),
    "device-unequal": deployment((*RES, "requests", GPU), 2),
    "gpu-unshared": deployment((*RES, "requests", GPU), "500m"),
    "probe-handlers": box("readinessProbe.tcpSocket", {"port": 8000}),
    "probe-numbers": box("livenessProbe.successThreshold", 2),
    "budget-both": one("PodDisruptionBudget", "spec.minAvailable", 1),
    "scaler-bounds": one("HorizontalPodAutoscaler", "spec.maxReplicas", 1),
    "service-ports-missing": one("Service", "spec.ports", GONE),
    "service-port-number": one("Service", "spec.ports.0.port", 0),
    "service-port-unnamed": one("Service", "spec.ports", [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": "http"}]),
    "service-port-duplicate": one("Service", "spec.ports", [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 80, "targetPort": "http"}]),
    "service-node-port": one("Service", "spec.ports.0.nodePort", 30000),
    "ingress-path-type": one("Ingress", "spec.rules.0.http.paths.0.pathType", GONE),
    "unknown-field": deployment("spec.replica", 2),
    "wrong-type": box("env.0.value", True),
    "bad-choice": box("imagePullPolicy", "ifNotPresent"),
    "missing-field": one("Ingress", "spec.rules.0.http.paths.0.backend", GONE),
    "suffix-mistaken": deployment((*RES, "limits", "memory"), "512m"),
    "memory-overcommit": deployment((*RES, "requests", "memory"), "32Gi"),
    "memory-unlimited": deployment((*RES, "limits", "memory"), GONE),
    "cpu-missing": deployment((*RES, "requests", "cpu"), GONE),
    "gpu-unconfigured": [
        ("Deployment", (*at(POD), "nodeSelector"), {"nvidia.com/device-plugin.config": "mps-2"}),
        ("Deployment", ("spec", "template", "metadata", "annotations"), {"baseload.dev/gpu-share": "2"}),
    ],
    "gpu-shares": [
        ("Deployment", (*at(POD), "nodeSelector"), {"nvidia.com/gpu.sharing-strategy": "mps"}),
        ("Deployment", (*RES, "requests", GPU), 2), ("Deployment", (*RES, "limits", GPU), 2),
    ],
    "readiness-missing": box("readinessProbe", GONE),
    "startup-missing": box("startupProbe", GONE),
    "liveness-strict": box("livenessProbe.failureThreshold", 1),
    "probe-port": box("readinessProbe.httpGet.port", "web"),
    "service-orphan": one("Service", "spec.selector.app", "nobody"),
    "service-target": one("Service", "spec.ports.0.targetPort", 9999),
    "budget-missing": one("PodDisruptionBudget", "metadata.namespace", "elsewhere"),
    "budget-blocks": one("PodDisruptionBudget", "spec.maxUnavailable", 0),
    "budget-orphan": one("PodDisruptionBudget", "spec.selector.matchLabels.app", "nobody"),
    "spread-missing": deployment(f"{POD}.topologySpreadConstraints", GONE),
    "recreate": deployment("spec.strategy", {"type": "Recreate"}),
    "surge": deployment("spec.strategy", GONE),
    "scaler-target": one("HorizontalPodAutoscaler", "spec.scaleTargetRef.apiVersion", "extensions/v1beta1"),
    "scaler-orphan": one("HorizontalPodAutoscaler", "spec.scaleTargetRef.name", "nobody"),
    "scaler-on-cpu": [
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.kind", "Deployment"),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.name", "model"),
        ("HorizontalPodAutoscaler", "spec.metrics", [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]),
    ],
    "scaler-no-request": [
        ("HorizontalPodAutoscaler", "spec.metrics", [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]),
        ("StatefulSet", f"{BOX}.resources.requests.cpu", GONE),
    ],
    "scaler-and-replicas": one("StatefulSet", "spec.replicas", 2),
    "privileged": box("securityContext.privileged", True),
    "root": [("Deployment", f"{POD}.securityContext", {"runAsUser": 0}), ("Deployment", f"{BOX}.securityContext", GONE)],
    "unconfined": box("securityContext.allowPrivilegeEscalation", GONE),
    "host-namespace": deployment(f"{POD}.hostNetwork", True),
    "host-path": deployment(f"{POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/data"}}),
    "secret-in-env": box("env.0", ENV),
    "image-untagged": box("image", "vllm/vllm-openai:latest"),
    "duplicate-env": box("env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
    "grace-short": deployment(f"{POD}.terminationGracePeriodSeconds", GONE),
    "prestop-missing": box("lifecycle", GONE),
    "deadline-short": deployment("spec.progressDeadlineSeconds", GONE),
    "duplicate-object": [again("Ingress", "model")],
}  # fmt: skip
"""By rule; `duplicate-key` is a matter of text, and has a test of its own."""

BY_HAND = {
    "memory-unlimited",
    "name-missing", "containers-missing", "image-missing", "port-number", "volume-missing",
    "duplicate-volume", "volume-sources", "service-ports-missing", "service-port-number",
    "missing-field", "selector-overlap", "gpu-shares", "budget-orphan", "recreate", "surge",
    "scaler-orphan", "scaler-on-cpu",
    "scaler-no-request", "scaler-and-replicas", "host-namespace", "host-path",     "image-untagged", "duplicate-object", "cpu-missing", "service-orphan",
}  # fmt: skip
"""What nothing mends but a person; of a service, because the file has two workloads."""


def text(manifests):
    """Give objects as a file."""
    return yaml.safe_dump_all([each.body for each in manifests], sort_keys=False)
