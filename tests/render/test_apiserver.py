"""Real clients against the double of the API server: what it takes, and what it refuses."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.codecs import load_all_yaml
from lightkube.resources.apps_v1 import Deployment
from lightkube.types import PatchType

from tests.render.apiserver import ApiServer, serving
from tests.render.kinds import know_custom_kinds
from tests.render.kubernetes_tools import Kubectl, watching
from tests.render.pictures import DATA

OBJECTS = (DATA / "objects.yaml").read_text()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def kubectl(server: ApiServer) -> Kubectl:
    return Kubectl(server.config)


def test_kubectl_applies_what_changed_only(server: ApiServer, kubectl: Kubectl):
    """What is applied first is created, again unchanged, and changed configured, lists by key."""
    changed = OBJECTS.replace("replicas: 2", "replicas: 3").replace("{name: ONE, ", "{name: NEW, ")

    assert {"created"} == {*kubectl.apply("-f", "-", stdin=OBJECTS).values()}
    assert {"unchanged"} == {*kubectl.apply("-f", "-", stdin=OBJECTS).values()}
    done = kubectl.apply("-f", "-", stdin=changed)
    assert ["deployment.apps/gateway"] == [
        name for name, what in done.items() if what == "configured"
    ]

    made = server.store.objects["apps/v1", "deployments", "llm", "gateway"]
    first, second = made["spec"]["template"]["spec"]["containers"]
    assert (3, ["NEW", "TWO"]) == (
        made["spec"]["replicas"],
        [each["name"] for each in first["env"]],
    )
    assert ("gateway", "beside") == (first["name"], second["name"])


def test_kubectl_shows_a_difference_without_making_it(server: ApiServer, kubectl: Kubectl):
    """`kubectl diff` asks the server to try, and the server keeps nothing of it."""
    kubectl.apply("-f", "-", stdin=OBJECTS)
    before = server.store.version

    code, lines, _ = kubectl("diff", "-f", "-", stdin=OBJECTS.replace("replicas: 2", "replicas: 3"))

    assert 1 == code
    assert {"-  replicas: 2", "+  replicas: 3"} <= set(lines)
    assert before == server.store.version


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("replicas: 2", "replicas: two", "'two' is not of type 'integer'"),
        ("replicas: 2", "replica: 2", "'replica' was unexpected"),
        ("minReplicaCount: 1", "minReplicas: 1", "'minReplicas' was unexpected"),
        ("kind: Namespace\nmetadata: {name: llm}", "kind: Namespace\nmetadata: {name: o}", "llm"),
    ],
)  # fmt: skip
def test_kubectl_is_told_what_is_wrong(kubectl: Kubectl, before: str, after: str, said: str):
    """A write that breaks a schema, or goes into no namespace, is refused with the reason."""
    assert before in OBJECTS

    code, _, errors = kubectl("apply", "-f", "-", stdin=OBJECTS.replace(before, after))

    assert 1 == code
    assert said in errors


def test_kubectl_scales_watches_and_deletes(server: ApiServer, kubectl: Kubectl):
    """A scale goes through its subresource; who watches sees it, and sees the end."""
    kubectl.apply("-f", "-", stdin=OBJECTS)
    shown = "jsonpath={.spec.replicas}{'\\n'}"
    options = (*kubectl.options, "-n", "llm")
    with watching("kubectl", *options, "get", "deployments", "gateway", "-w", "-o", shown) as seen:
        assert seen.stdout is not None
        assert "2\n" == seen.stdout.readline()
        assert 0 == kubectl("-n", "llm", "scale", "deployments/gateway", "--replicas=7")[0]
        assert "7\n" == seen.stdout.readline()
        seen.terminate()

    assert 0 == kubectl("-n", "llm", "delete", "deployments/gateway")[0]
    assert "Deployment/llm/gateway" not in server.names()


def test_lightkube_applies_patches_and_watches(server: ApiServer):
    """A program applies all objects, patches one, and sees its change; a stale write is refused."""
    know_custom_kinds()
    with closing(Client(KubeConfig.from_file(server.config).get(), field_manager="t")) as client:
        for made in load_all_yaml(OBJECTS):
            client.apply(made)
        stale = client.get(Deployment, "gateway", namespace="llm")
        start = str(server.store.version)
        with closing(client.watch(Deployment, namespace="llm", resource_version=start)) as events:
            more = {"spec": {"replicas": 5}}
            client.patch(Deployment, "gateway", more, namespace="llm", patch_type=PatchType.MERGE)
            event, seen = next(events)
        with pytest.raises(ApiError) as refused:
            client.replace(stale)

    assert ("MODIFIED", 5) == (event, seen.spec.replicas)
    assert 409 == refused.value.status.code
    assert len(load_all_yaml(OBJECTS)) == len(server.names())
