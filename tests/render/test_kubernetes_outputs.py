"""Kustomize and Helm: the same objects from both, by the real programs."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from baseload.render.kubernetes import chart, engines, plain, sites
from baseload.render.kubernetes.objects import ITEM, NAMESPACE, Param, Part, Sheet
from baseload.render.monitoring import rules
from tests.needs import give_up
from tests.render import kubernetes_pictures as k8s
from tests.render.pictures import picture

BIN = Path(__file__).parent.parent.parent / ".venv/k8s/bin"
DOUBTFUL = [
    "y", "No", "on", "~", "null", "1e3", "0o7", "0x1f", "1_000", "-.5", ".inf", "12:30", "2026-11-26",
    "=", "<<", "", " a", "a ", "a: b", "a #b", "{{ x }}", "%s", "- a", "line\n", "two\nlines",
    "trail \nx\n", "\ttab\n", "é", "\u2028", "a\u2028b\nc", "'", '"', "\\", "@x", "1.", "+1", "0.1.0", "true",
]  # fmt: skip


def _run(name, *arguments):
    program = BIN / name if (BIN / name).exists() else shutil.which(name)
    if program is None:
        give_up(f"{name}, in .venv/k8s/bin or on the path")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def _objects(done):
    assert 0 == done.returncode, done.stderr
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    named = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(found) == len(named)
    return named


def _helm(folder, *arguments, namespace="llm"):
    return _run("helm", "template", "any", folder / "chart", "-n", namespace, *arguments)


def _with(monkeypatch, parts=()):
    monkeypatch.setattr(engines, "parts", lambda picture: parts)
    monkeypatch.setattr(rules, "groups", lambda picture: k8s.GROUPS)


@pytest.mark.parametrize(("name", "sites"), [("full", ["home", "branch"]), ("strange", ["one"])])
def test_helm_and_kustomize_give_the_same_objects(name, sites, tmp_path, monkeypatch):
    """Each site's overlay and values make the same, texts with braces and odd words included."""
    _with(monkeypatch)
    made = picture() if name == "full" else k8s.strange(tmp_path)
    folder = k8s.written(k8s.rendered(made), tmp_path / "out")
    for site in sites:
        by_kustomize = _objects(_run("kubectl", "kustomize", folder / "overlays" / site))
        by_helm = _objects(_helm(folder, "-f", folder / f"chart/values-{site}.yaml"))

        assert by_kustomize == by_helm
    rule = by_helm["PrometheusRule", made.deploy.name]["spec"]["groups"][0]["rules"][0]
    assert "{{ $labels.backend }} is out" == rule["annotations"]["summary"]


def test_another_sites_values_make_other_objects(tmp_path, monkeypatch):
    """The comparison above is one that can fail: what differs between sites is seen."""
    _with(monkeypatch)
    folder = k8s.written(k8s.rendered(picture()), tmp_path)
    home = _objects(_run("kubectl", "kustomize", folder / "overlays/home"))
    branch = _objects(_helm(folder, "-f", folder / "chart/values-branch.yaml"))

    assert {
        ("StorageClass", "local-nvme"), ("ConfigMap", "baseload"), ("Deployment", "baseload"),
        ("ScaledObject", "baseload"), ("HTTPRoute", "baseload"), ("NetworkPolicy", "baseload-outside"),
    } == {name for name in home if home[name] != branch.get(name)}  # fmt: skip


def test_what_is_set_in_a_chart_goes_where_it_belongs(tmp_path, monkeypatch):
    """Another namespace is asked about, another file has another digest, a part can be left out."""
    _with(monkeypatch)
    folder = k8s.written(k8s.rendered(picture()), tmp_path)
    usual = _objects(_helm(folder))
    found = _objects(_helm(
        folder, "--set", "gateway.config=other", "--set", "cluster.enabled=false",
        "--set", "gateway.outside_ports={443,8443}", "--set", "gateway.in_flight=90",
        namespace="other",
    ))  # fmt: skip
    (trigger,) = found["ScaledObject", "baseload"]["spec"]["triggers"]
    outside = found["NetworkPolicy", "baseload-outside"]["spec"]["egress"]

    assert {"other"} == {
        one["metadata"]["namespace"] for one in found.values() if "namespace" in one["metadata"]
    }
    assert (
        'sum(baseload_in_flight{job="baseload",namespace="other"})'
        == (trigger["metadata"]["query"])
    )
    assert "90" == trigger["metadata"]["threshold"]
    assert [443, 8443] == [one["port"] for rule in outside for one in rule["ports"]]
    assert _digest(usual) != _digest(found)
    assert "PriorityClass" in {kind for kind, _ in usual}
    assert "PriorityClass" not in {kind for kind, _ in found}


def _digest(found):
    template = found["Deployment", "baseload"]["spec"]["template"]
    return template["metadata"]["annotations"]["baseload.dev/config"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("gateway.replica=4", "replica"),
        ("gateway.replicas=none", "replicas"),
        ("gateway.replicas=0", "replicas"),
        ("gateway.cpu=half", "cpu"),
        ("gateway.cpu=null", "cpu"),
        ("image_pull_secrets={registry}", "image_pull_secrets"),
        ("", ""),
    ],
)
def test_the_chart_refuses_values_that_it_does_not_know(wrong, said, tmp_path, monkeypatch):
    """A value that is spelt wrong, of another type or out of bounds; the usual ones pass."""
    _with(monkeypatch)
    folder = k8s.written(k8s.rendered(picture()), tmp_path)
    done = _run("helm", "lint", "--strict", folder / "chart", *(["--set", wrong] if wrong else []))

    assert bool(wrong) == (done.returncode != 0)
    assert said in done.stdout + done.stderr


def test_helm_gives_every_text_as_it_is(tmp_path, monkeypatch):
    """Words, braces and forms of values that are hard for templates come through the real Helm."""
    value = Param(path=("odd name", "a.b"), value=DOUBTFUL, about="Two\nlines: {{ x }}")
    spec = {
        "texts": DOUBTFUL, "value": value, "keys": dict.fromkeys(DOUBTFUL, 1),
        "around": Param(path=("text",), value='"q" {{', text='100% of "%s" {{ y }} \\ é'),
        "space": Param(path=NAMESPACE, value="llm", text="x.%s.svc"),
        "digest": Param(path=("text",), value='"q" {{', is_digest=True),
        "each": Param(path=("names",), value=["a", "{{"], each={"n": ITEM, "{{": ["y", ITEM]}),
        "none": Param(path=("names",), value=["a", "{{"], each="{{ z }}"),
        "numbers": [Param(path=("n",), value=10_000_000), Param(path=("f",), value=0.25)],
    }  # fmt: skip
    made = {"apiVersion": "v1", "kind": "Odd", "metadata": {"name": "{{ .Values.x }}"}, **spec}
    switch = Param(path=("odd name", "is-on"), value=True)
    part = Part(
        name="odd", switch=switch, sheets=(Sheet(file="o.yaml", objects=(made,), about="{{ ("),)
    )
    _with(monkeypatch, parts=(part,))
    folder = k8s.written(k8s.rendered(picture()), tmp_path)
    (found,) = [one for key, one in _objects(_helm(folder)).items() if key[0] == "Odd"]
    (same,) = yaml.safe_load_all((folder / "base/odd/o.yaml").read_text())

    assert plain.settled(made) == same == found
    off = _objects(_helm(folder, "--set", "odd name.is-on=false"))
    assert "Odd" not in {kind for kind, _ in off}


def test_braces_that_are_left_alone_would_be_seen(tmp_path, monkeypatch):
    """Without what writes braces for Helm, it fails on them or prints something else."""
    _with(monkeypatch)
    monkeypatch.setattr(chart, "escaped", lambda text: text)
    folder = k8s.written(k8s.rendered(k8s.strange(tmp_path)), tmp_path / "out")

    assert 0 != _helm(folder).returncode


def test_patches_change_what_differs_at_a_site_and_nothing_else():
    """The overlay takes the site's parts, and sets replicas, names and what follows from them."""
    files = k8s.rendered(picture())
    home, branch = k8s.overlay(files, "home"), k8s.overlay(files, "branch")
    orders = {
        (one["target"]["kind"], order["path"]): order["value"]
        for one in branch["patches"] if not one["target"]["name"].startswith("engine-")
        for order in yaml.safe_load(one["patch"])
    }  # fmt: skip

    assert "patches" not in home
    assert "../../base/storage" in home["resources"]
    assert "../../base/storage" not in branch["resources"]
    assert {
        ("Deployment", "/spec/template/metadata/annotations/baseload.dev~1config"),
        ("ConfigMap", "/data/baseload.yaml"),
        ("NetworkPolicy", "/spec/egress"),
        ("ScaledObject", "/spec/minReplicaCount"),
        ("HTTPRoute", "/spec/hostnames"),
    } == orders.keys()
    assert 2 == orders["ScaledObject", "/spec/minReplicaCount"]
    assert ["llm.branch.example.com"] == orders["HTTPRoute", "/spec/hostnames"]


def test_two_values_of_one_path_are_a_mistake():
    """A value that is set in one place cannot be two things at once."""
    one, other = (Param(path=("a",), value=value) for value in (1, 2))
    sheet = Sheet(file="x.yaml", objects=({"one": one, "other": other},))

    with pytest.raises(AssertionError, match="a"):
        sites.values_of((Part(name="x", sheets=(sheet,)),))


def test_doubtful_words_are_quoted():
    """What another reader of YAML takes for a number or a truth value stands in quotes."""
    assert DOUBTFUL == yaml.safe_load(plain.dump(DOUBTFUL))
    for word in ("y", "1e3", "0o7", "12:30", "0.1.0", "=", "~"):
        assert plain.dump([word]) in (f'- "{word}"\n', f"- '{word}'\n")
    assert "- |\n  two\n  lines\n" == plain.dump(["two\nlines\n"])
