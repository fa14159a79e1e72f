"""The rules that no schema has: each catches the mistake that it is there for."""

from decimal import Decimal

import pytest

from tests.render.kubernetes_tools import MINORS, Object, invalid, read
from tests.render.pictures import DATA
from tests.render.references import dangling
from tests.render.rules import quantity, refused

TEXT = (DATA / "objects.yaml").read_text()
OUTSIDE = ("ConfigMap/config",)
BOX = "spec.template.spec.containers.0"
PLANTED = [
    ("Deployment", "metadata.name", "Gate_way"),
    ("Deployment", "metadata.labels.app", "no spaces"),
    ("Deployment", "spec.selector.matchLabels.app", "other"),
    ("Deployment", "spec.template.spec.containers.1.name", "gateway"),
    ("Deployment", "spec.template.spec.volumes.0.emptyDir", {}),
    ("Deployment", f"{BOX}.volumeMounts.0.name", "conf"),
    ("Deployment", f"{BOX}.env.0.name", "1-ONE"),
    ("Deployment", f"{BOX}.ports.0.name", "a-name-that-is-long"),
    ("Deployment", f"{BOX}.ports.1.containerPort", 8080),
    ("Deployment", f"{BOX}.resources.requests.memory", "1Gi"),
    ("Deployment", f"{BOX}.resources.requests.cpu", "half"),
    ("Deployment", f"{BOX}.resources.limits", {"nvidia.com/gpu": "0.5"}),
    ("Deployment", f"{BOX}.resources.requests", {"nvidia.com/gpu": 1}),
    ("Deployment", f"{BOX}.resources.claims", [{"name": "gpu"}]),
    ("Deployment", f"{BOX}.livenessProbe", {"httpGet": {"port": "web"}}),
    ("Deployment", f"{BOX}.livenessProbe", {"periodSeconds": 5}),
    ("Deployment", f"{BOX}.startupProbe", {"successThreshold": 2, "tcpSocket": {"port": 1}}),
    ("Deployment", f"{BOX}.lifecycle", {"preStop": {"sleep": {"seconds": 31}}}),
    ("Deployment", f"{BOX}.securityContext", {"runAsNonRoot": True, "runAsUser": 0}),
    ("ConfigMap", "data.a/b", "x"),
    ("ScaledObject", "spec.minReplicaCount", 4),
    ("ScaledObject", "spec.idleReplicaCount", 1),
    ("LeaderWorkerSet", "metadata.name", "gi.ant"),
]
APART = [
    ("Deployment", "spec.template.spec.volumes.0.configMap.name", "gone"),
    ("Deployment", "spec.template.spec.serviceAccountName", "nobody"),
    ("ScaledObject", "spec.scaleTargetRef.name", "other"),
    ("HTTPRoute", "spec.rules.0.backendRefs.0.port", 80),
    ("Service", "spec.selector.app", "other"),
    ("Service", "spec.ports.0.targetPort", "web"),
    ("ServiceMonitor", "spec.endpoints.0.port", "metrics"),
    ("PodMonitor", "spec.selector.matchLabels.app", "other"),
    ("ConfigMap", "data.urls", "http://engine-gone:8000/v1"),
]


def _objects() -> list[Object]:
    return read(TEXT)


def _planted(objects: list[Object], kind: str, way: str, value: object) -> Object:
    made: Object = next(each for each in objects if each["kind"] == kind)
    at, steps = made, [int(step) if step.isdigit() else step for step in way.split(".")]
    for step in steps[:-1]:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    at[steps[-1]] = value
    return made


def test_good_objects_pass():
    """Nothing is said of objects that hold together."""
    assert [] == [what for each in _objects() for what in refused(each)]
    assert [] == dangling(_objects())


@pytest.mark.parametrize(("kind", "way", "value"), PLANTED)
def test_a_mistake_that_the_schema_allows_is_caught(kind: str, way: str, value: object):
    """One mistake is found, once, and the schema alone would not have found it."""
    made = _planted(_objects(), kind, way, value)

    assert [] == invalid([made], MINORS[-1])
    assert 1 == len(refused(made))


@pytest.mark.parametrize(("kind", "way", "value"), APART)
def test_a_reference_that_leads_nowhere_is_caught(kind: str, way: str, value: object):
    """One object that names what is not there, or selects nothing, is found."""
    objects = _objects()
    _planted(objects, kind, way, value)

    assert [] == [
        what for each in objects for what in (*invalid([each], MINORS[-1]), *refused(each))
    ]
    assert 1 == len(dangling(objects))


def test_what_others_make_is_no_mistake():
    """A reference to what is outside the rendering is passed over where it is named."""
    objects = [each for each in _objects() if each["kind"] != "ConfigMap"]

    assert ["Deployment/gateway: there is no ConfigMap/config"] == dangling(objects)
    assert [] == dangling(objects, OUTSIDE)


@pytest.mark.parametrize(
    ("text", "number"), [("500m", Decimal("0.5")), ("20Gi", 20 * 2**30), ("1e3", 1000), ("x", None)]
)
def test_quantities_are_read(text: str, number: Decimal | None):
    """A quantity is a number with a unit, decimal or binary."""
    assert number == quantity(text)
