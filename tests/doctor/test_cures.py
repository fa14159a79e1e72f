"""Cures that take more than one edit: shares of GPUs, moved fields, names that are referred to."""

import pytest
import yaml

from baseload.doctor import examine
from baseload.doctor.examining import mend
from baseload.doctor.manifests import Manifest
from baseload.doctor.quantities import meant, parse
from tests.doctor.mistakes import BOX, GPU, SOUND, again, at, spoiled

RES = (*at(BOX), "resources")


def wanting(request, limit=1, label="Deployment"):
    """Give the changes that make the Deployment ask for so much of a GPU."""
    return [(label, (*RES, "requests", GPU), request), (label, (*RES, "limits", GPU), limit)]


def mended(changes, manifests=SOUND):
    """Give the bodies of mended objects."""
    return [each.body for each in mend(spoiled(changes, manifests)).manifests]


def config(bodies):
    """Give the device plugin's configurations."""
    found = [body for body in bodies if body["kind"] == "ConfigMap"]
    assert len(found) == 1
    assert found[0]["metadata"] == {
        "name": "baseload-gpu-sharing",
        "namespace": "nvidia-device-plugin",
    }
    return {key: yaml.safe_load(value) for key, value in found[0]["data"].items()}


@pytest.mark.parametrize(
    ("request_", "limit", "share"), [(0.5, 1, 2), ("500m", 1, 2), (0.25, 0.25, 4), ("0.3", 1, 3)]
)
def test_part_of_a_gpu_becomes_a_share(request_, limit, share):
    """A part of a GPU is 1 of as many shares as such parts fit, on nodes that are configured so."""
    bodies = mended(wanting(request_, limit))
    pod = bodies[0]["spec"]["template"]

    assert {GPU: 1} == {GPU: pod["spec"]["containers"][0]["resources"]["requests"][GPU]}
    assert 1 == pod["spec"]["containers"][0]["resources"]["limits"][GPU]
    assert {"nvidia.com/device-plugin.config": f"mps-{share}"} == pod["spec"]["nodeSelector"]
    assert {
        "default": {"version": "v1"},
        f"mps-{share}": {"version": "v1", "sharing": {"mps": {"resources": [{"name": GPU, "replicas": share}]}}},
    } == config(bodies)  # fmt: skip


@pytest.mark.parametrize(("name", "wanted", "whole"), [
    (GPU, 1.5, 2), (GPU, 0.7, 1), ("nvidia.com/mig-1g.5gb", 0.5, 1), ("amd.com/gpu", "2500m", 3),
])  # fmt: skip
def test_other_parts_become_whole(name, wanted, whole):
    """More than half a GPU, and parts of what MPS cannot share, are rounded up to whole devices."""
    changes = [("Deployment", (*RES, side, name), wanted) for side in ("requests", "limits")]
    bodies = mended(changes)
    resources = bodies[0]["spec"]["template"]["spec"]["containers"][0]["resources"]

    assert [whole, whole] == [resources[side][name] for side in ("requests", "limits")]
    assert not [body for body in bodies if body["kind"] == "ConfigMap"]


def test_two_shares_are_two_configurations():
    """Workloads with unlike shares get one ConfigMap with a configuration for each."""
    second = again("Deployment", "model", metadata__name="second")
    changes = [second, *wanting(0.5), *wanting(0.25, label="Deployment/second")]
    found = config(mended(changes))

    assert {"default", "mps-2", "mps-4"} == set(found)


def test_an_old_ingress_is_moved():
    """An Ingress of v1beta1 has its backends in the form of v1."""
    old = {
        "apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "i"},
        "spec": {
            "backend": {"serviceName": "d", "servicePort": "http"},
            "rules": [{"http": {"paths": [{"backend": {"serviceName": "m", "servicePort": 80}}]}}],
        },
    }  # fmt: skip
    result = mend((Manifest(body=old),))

    assert {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"},
        "spec": {
            "defaultBackend": {"service": {"name": "d", "port": {"name": "http"}}},
            "rules": [{"http": {"paths": [{
                "backend": {"service": {"name": "m", "port": {"number": 80}}},
                "pathType": "ImplementationSpecific",
            }]}}],
        },
    } == result.manifests[0].body  # fmt: skip
    assert () == result.remaining


def test_an_old_scaler_is_moved():
    """Targets of v2beta1's metrics have the form of v2."""
    old = {
        "apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"}, "spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "m"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 60}}],
        },
    }  # fmt: skip
    result = mend((Manifest(body=old),))

    assert "autoscaling/v2" == result.manifests[0].body["apiVersion"]
    assert [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    ] == result.manifests[0].body["spec"]["metrics"]  # fmt: skip
    assert () == result.remaining


def test_a_name_is_mended_where_it_is_referred_to():
    """Who refers to an object by its bad name refers to it by the mended one."""
    bodies = mended([
        ("Service", "metadata.name", "My_Svc"),
        ("Ingress", "spec.rules.0.http.paths.0.backend.service.name", "My_Svc"),
        ("Ingress", "metadata.labels", {"name": "My_Svc"}),
    ])  # fmt: skip
    ingress = next(body for body in bodies if body["kind"] == "Ingress")

    assert "my-svc" == bodies[1]["metadata"]["name"]
    assert "my-svc" == ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"]
    assert {"name": "My_Svc"} == ingress["metadata"]["labels"]


def test_a_service_finds_the_only_workload():
    """With one workload in the file, a service that selects nobody selects its pods."""
    bodies = mended([("Service", "spec.selector.app", "nobody")], SOUND[:3])

    assert {"app": "model"} == bodies[1]["spec"]["selector"]


def test_text_stays_as_it_was_written():
    """What has to be text is what stands in the file, not what YAML takes it for."""
    written = """
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {a: yes, b: 0644, c: 1.10, d: 12:30, e: 2026-11-26, f: y, g: 1e3}
"""
    report = examine(written, "c.yaml")

    assert ["data.a", "data.b", "data.c"] == [each.path for each in report.findings]
    assert {
        "a": "yes", "b": "0644", "c": "1.10", "d": "12:30", "e": "2026-11-26", "f": "y", "g": "1e3",
    } == yaml.safe_load(report.fixed)["data"]  # fmt: skip
    # Readers that take `y` for true and 1e3 for a number see them quoted.
    assert "f: 'y'" in report.fixed
    assert "g: '1e3'" in report.fixed


def test_secrets_are_not_repeated():
    """A secret's value is in no finding and not in the corrected file; a reference is."""
    env = ("Deployment", f"{BOX}.env.0", {"name": "DB_PASSWORD", "value": "hunter2-hunter2"})
    written = yaml.safe_dump_all([each.body for each in spoiled([env])])
    report = examine(written, "x.yaml")

    assert "hunter2" in written
    assert "hunter2" not in repr(report)
    assert "secretKeyRef" in report.fixed
    assert ["secret-in-env"] == [each.rule for each in report.findings]


def test_a_key_that_is_there_twice():
    """A key that is there twice is told at its second place, and the last one is kept."""
    written = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: x\n  a: z\n"
    report = examine(written, "c.yaml")

    assert [("duplicate-key", 6, 3, True)] == [
        (each.rule, each.line, each.column, each.fixed) for each in report.findings
    ]  # fmt: skip
    assert {"a": "z"} == yaml.safe_load(report.fixed)["data"]


@pytest.mark.parametrize(("said", "better"), [
    ("64GB", "64G"), ("32 Gi", "32Gi"), ("512MB", "512M"), ("1gb", "1G"), ("2 cores", "2"),
    ("0,5", "0.5"), ("64GiB", "64Gi"), ("lots", None), ("-1", None), ("1Q", None),
])  # fmt: skip
def test_what_was_meant(said, better):
    """Units that people write become those that Kubernetes has; what nobody can know is left."""
    assert better == meant(said)
    assert better is None or parse(better) is not None


@pytest.mark.parametrize(("said", "amount"), [
    ("1Ki", 1024), ("500m", 0.5), (0.5, 0.5), (".5", 0.5), ("1e3", 1000), ("1E", 10**18), ("64GB", None),
    ("", None), (True, None), (float("nan"), None), ("9" * 50, None), ("1e999", None), ([], None),
])  # fmt: skip
def test_amounts(said, amount):
    """Amounts are what the API server takes them for."""
    assert amount == parse(said)


PLAIN = """
apiVersion: apps/v1beta2
kind: {kind}
metadata: {{name: web}}
spec:
  replica: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: "web:1", {more}}}
"""


def cured(kind, more):
    """Give the mended spec of the pods of a plain web server, and the rules that found something."""
    report = examine(PLAIN.format(kind=kind, more=more), "w.yaml")
    body = next(yaml.safe_load_all(report.fixed))
    return body["spec"]["template"]["spec"], {each.rule for each in report.findings}


def test_objects_of_old_versions_are_looked_at_whole():
    """What else is wrong with an object of a removed version is told at once, not after mending."""
    _, rules = cured("Deployment", 'ports: [{containerPort: "80"}]')

    assert {"api-removed", "unknown-field", "wrong-type"} < rules


def test_ports_of_people_are_kept():
    """A port that is written as text is mended and asked; none is made up beside it."""
    spec, rules = cured("Deployment", 'ports: [{containerPort: "80"}]')

    assert "readiness-missing" in rules
    assert [{"containerPort": 80}] == spec["containers"][0]["ports"]
    assert {"port": 80} == spec["containers"][0]["readinessProbe"]["tcpSocket"]


def test_workers_are_not_asked():
    """What is no model server and names no port may be a worker: it gets no probe and no port."""
    spec, rules = cured("Deployment", "command: [work]")

    assert "readiness-missing" not in rules
    assert "ports" not in spec["containers"][0]


def test_what_is_a_nodes_own_keeps_its_rights():
    """A DaemonSet's rights are for a person to judge: told, and left."""
    spec, rules = cured("DaemonSet", "securityContext: {privileged: true}")

    assert "privileged" in rules
    assert True is spec["containers"][0]["securityContext"]["privileged"]
    assert "securityContext" not in spec
