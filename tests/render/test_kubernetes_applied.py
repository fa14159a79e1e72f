"""What is rendered for Kubernetes, held against real tools: schemas, kustomize, Helm, clients."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from lightkube import Client, KubeConfig
from lightkube.codecs import from_dict

from tests.render.apiserver import serving
from tests.render.kinds import BY_PATH, know_custom_kinds
from tests.render.kubernetes_tools import MINORS, Kubectl, Object, invalid, read, run
from tests.render.references import dangling
from tests.render.rendered import CHANGES, FULL, Rendering
from tests.render.rules import refused


def _named(objects: Iterable[Object]) -> dict[str, Object]:
    found: dict[str, Object] = {}
    for each in objects:
        meta = each["metadata"]
        name = f"{each['kind']}/{meta.get('namespace', '')}/{meta['name']}"
        assert name not in found
        found[name] = each
    return found


@pytest.fixture(scope="module", params=CHANGES)
def rendering(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Rendering:
    return Rendering(tmp_path_factory.mktemp("fleet"), CHANGES[request.param])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Rendering:
    return Rendering(tmp_path_factory.mktemp("full"), FULL)


def test_every_object_is_valid(rendering: Rendering):
    """What a site gets passes the schemas of the three newest versions, with no field unknown."""
    for site in rendering.sites:
        assert len(rendering.objects(site)) > 5
        for minor in MINORS:
            assert [] == invalid(rendering.objects(site), minor)
        assert [] == [what for each in rendering.objects(site) for what in refused(each)]


def test_what_objects_say_of_each_other_holds(rendering: Rendering):
    """Selectors select, routes and scalers lead somewhere, and what pods name is there."""
    outside = ("Secret/baseload-env", "PersistentVolumeClaim/weights")
    for site in rendering.sites:
        others = [*outside, *(["StorageClass/topolvm"] if site == "branch" else [])]
        assert [] == dangling(rendering.objects(site), others)


def test_no_secret_is_rendered(rendering: Rendering):
    """Secrets are referred to; none is an object, and no variable was filled in."""
    for site in rendering.sites:
        assert [] == [each for each in rendering.objects(site) if each["kind"] == "Secret"]


def test_helm_and_kustomize_give_the_same(rendering: Rendering, tmp_path: Path):
    """The chart gives what the overlay of a site gives, object by object, and the same base."""
    for site in rendering.sites:
        assert _named(rendering.objects(site)) == _named(rendering.chart(f"values-{site}.yaml"))
    assert _named(rendering.base(tmp_path)) == _named(rendering.chart())


def test_another_sites_values_give_something_else(full: Rendering):
    """The comparison above tells sites apart, so it can fail."""
    assert _named(full.objects("home")) != _named(full.chart("values-branch.yaml"))


def test_helm_finds_the_chart_good(rendering: Rendering):
    """`helm lint --strict` has nothing against the chart with any site's values."""
    for site in rendering.sites:
        chart = rendering.folder / "chart"
        done = run("helm", "lint", "--strict", chart, "-f", chart / f"values-{site}.yaml")
        assert 0 == done.returncode, done.stdout


def _leaves(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if "properties" not in schema:
        yield at
    for name, below in schema.get("properties", {}).items():
        yield from _leaves(below, (*at, name))


def _set(values: Any, at: tuple[str, ...], value: Any) -> Any:
    if not at:
        return value
    return {**values, at[0]: _set(values.get(at[0], {}), at[1:], value)}


def test_every_value_has_a_type(rendering: Rendering):
    """A value of a wrong type is refused wherever it stands, and so is one with an unknown name."""
    chart = rendering.folder / "chart"
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    checker = Draft7Validator(schema)
    leaves = [at for at in _leaves(schema) if at != ("global",)]  # Helm's own
    wrong = {"neither": ["of", 1]}

    assert len(leaves) > 10
    assert checker.is_valid(values)
    assert [] == [at for at in leaves if checker.is_valid(_set(values, at, wrong))]
    assert [] == [at for at in leaves if checker.is_valid(_set(values, (*at[:-1], "x"), 1))]


def test_helm_refuses_a_wrong_value(full: Rendering):
    """Helm itself holds values against the chart's schema, in lint and in template."""
    options = (full.folder / "chart", "--set", "gateway.replicas=many")

    assert "gateway" in run("helm", "lint", "--strict", *options).stdout
    assert 0 != run("helm", "lint", "--strict", *options).returncode
    assert 0 != run("helm", "template", "any", *options).returncode


def test_kubectl_applies_each_site(full: Rendering, tmp_path: Path):
    """A site is created whole, applied again it stays, by Helm's text too; a change is one change."""
    for site in full.sites:
        (tmp_path / site).mkdir()
        objects, overlay = full.objects(site), full.folder / "overlays" / site
        with serving(tmp_path / site) as server:
            kubectl = Kubectl(server.config)
            kubectl.apply("-f", "-", stdin=_spaces(objects))

            assert {"created"} == {*kubectl.apply("-k", overlay).values()}
            assert {*_named([*objects, *read(_spaces(objects))])} == server.names()
            before = server.store.version
            helm = yaml.safe_dump_all(full.chart(f"values-{site}.yaml"))
            assert set() == _changed(kubectl.apply("-k", overlay))
            assert set() == _changed(kubectl.apply("-f", "-", stdin=helm))
            assert before == server.store.version

            text = yaml.safe_dump_all(objects)
            assert "maxReplicaCount: 12" in text
            more = text.replace("maxReplicaCount: 12", "maxReplicaCount: 13")
            done = kubectl.apply("-f", "-", stdin=more)
            assert {"scaledobject.keda.sh/baseload"} == _changed(done)


def test_lightkube_applies_a_site(full: Rendering, tmp_path: Path):
    """A program applies what is rendered, and reads it back as it was."""
    know_custom_kinds()
    objects = full.objects("home")
    with (
        serving(tmp_path) as server,
        closing(Client(KubeConfig.from_file(server.config).get(), field_manager="t")) as client,
    ):
        Kubectl(server.config).apply("-f", "-", stdin=_spaces(objects))
        for each in objects:
            client.apply(from_dict(each))

        kept = {(BY_PATH[key[:2]].kind, key[3]): each for key, each in server.store.objects.items()}
        for each in objects:
            found = kept[each["kind"], each["metadata"]["name"]]
            assert each.get("spec") == found.get("spec")
            assert each.get("data") == found.get("data")


def _changed(done: dict[str, str]) -> set[str]:
    """Give what kubectl changed. It sends the selector of a disruption budget every time."""
    return {
        name
        for name, what in done.items()
        if what != "unchanged" and not name.startswith("poddisruptionbudget.policy/")
    }


def _spaces(objects: Iterable[Object]) -> str:
    """Give the namespaces that must be there first, as YAML."""
    names = {each["metadata"]["namespace"] for each in objects if "namespace" in each["metadata"]}
    return yaml.safe_dump_all(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted(names)
    )
