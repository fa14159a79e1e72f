"""The checks of objects for Kubernetes: what they let pass, and what they catch."""

from copy import deepcopy

import pytest

from tests.render.kinds import KINDS
from tests.render.kubernetes_tools import MINORS, SCHEMAS, Object, invalid, read, run, schema_of
from tests.render.pictures import DATA

OBJECTS = read((DATA / "objects.yaml").read_text())
PLANTED = {
    "Deployment": (("spec", "replicas"), "two"),
    "ConfigMap": (("data", "number"), 7),
    "PriorityClass": (("valeu",), 1),
    "ResourceClaimTemplate": (
        ("spec", "spec", "devices", "config", 0, "opaque", "parameters", "sharing", "mpsConfg"),
        {},
    ),
    "HTTPRoute": (("spec", "rules", 0, "timeouts", "request"), "10 minutes"),
    "ScaledObject": (("spec", "triggers", 0, "metadata", "threshold"), 2),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "workerTemplate", "spec", "containers", 0, "imgae"),
        "x",
    ),
    "ServiceMonitor": (("spec", "endpoints", 0, "intervall"), "15s"),
    "PodMonitor": (("spec", "podMetricsEndpoints", 0, "interval"), "often"),
    "PrometheusRule": (("spec", "groups", 0, "rules", 0, "for"), 60),
}


def _with(kind: str, way: tuple[str | int, ...], value: object) -> Object:
    made: Object = deepcopy(next(each for each in OBJECTS if each["kind"] == kind))
    at = made
    for step in way[:-1]:
        at = at[step]
    at[way[-1]] = value
    return made


@pytest.mark.parametrize("minor", MINORS)
def test_good_objects_pass(minor: str):
    """Objects as people write them are valid in each of the three newest versions."""
    assert len(MINORS) == 3
    assert [] == invalid(OBJECTS, minor)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_mistake_is_caught(kind: str):
    """One wrong field is found in each sort of object, custom resources included."""
    way, value = PLANTED[kind]

    found = invalid([_with(kind, way, value)], MINORS[0])

    assert len(found) == 1
    assert str(value) in found[0] or str(way[-1]) in found[0]


def test_every_custom_schema_has_a_planted_mistake():
    """No schema lies here that nothing shows to catch anything."""
    kinds = {path.name.split("_")[1] for path in SCHEMAS.glob("*.json")} - {"GpuConfig"}

    assert kinds <= PLANTED.keys()


def test_a_kind_without_a_schema_is_refused():
    """What nobody can check does not pass, neither as an object nor as a driver's parameters."""
    unknown = {"apiVersion": "example.com/v1", "kind": "Unheard", "metadata": {"name": "x"}}
    way = ("spec", "spec", "devices", "config", 0, "opaque", "parameters", "kind")

    assert ["Unheard/x"] == [each.split(":")[0] for each in invalid([unknown], MINORS[0])]
    assert ["ResourceClaimTemplate/shared-gpu"] == [
        each.split(":")[0]
        for each in invalid([_with("ResourceClaimTemplate", way, "Other")], MINORS[0])
    ]


def test_the_double_serves_nothing_that_cannot_be_checked():
    """Every kind of the API server's double has a schema."""
    assert [] == [each.kind for each in KINDS if not schema_of(each.api, each.kind)]


def test_helm_finds_a_value_of_a_wrong_type(tmp_path):
    """`helm lint` and `helm template` hold values against the chart's schema."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text(
        "apiVersion: v2\nname: c\nversion: 0.1.0\nicon: https://x.example/a.png\n"
    )
    (tmp_path / "templates/c.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {n: '{{ .Values.n }}'}\n"
    )
    (tmp_path / "values.yaml").write_text("n: 1\n")
    (tmp_path / "values.schema.json").write_text('{"properties": {"n": {"type": "integer"}}}')

    assert 0 == run("helm", "lint", "--strict", tmp_path).returncode
    assert 0 != run("helm", "lint", "--strict", tmp_path, "--set", "n=one").returncode
    assert 0 != run("helm", "template", tmp_path, "--set", "n=one").returncode
