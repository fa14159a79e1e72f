"""The gateway's objects, and those that a cluster has once."""

import re
from pathlib import Path

import pytest
import yaml

from baseload.render.kubernetes import cluster, engines, gateway, output, watching
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
    found = k8s.objects(gateway.part(k8s.of(k8s.FILE + more, tmp_path)))["NetworkPolicy"]
    names, data, same, watch, outside = found["spec"]["egress"]

    assert [53, 53] == [one["port"] for one in names["ports"]]
    assert "data" == _namespace(data)
    assert [6432] == [one["port"] for one in data["ports"]]
    assert [{"podSelector": {}}] == same["to"]
    assert [6379] == [one["port"] for one in same["ports"]]
    assert "watch" == _namespace(watch)
    assert [443, 5432] == [one["port"] for one in outside["ports"]]
    assert "169.254.169.254/32" in outside["to"][0]["ipBlock"]["except"]


def _namespace(rule):
    return rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]


def test_engines_that_run_elsewhere_are_let_out_to():
    """A site without an engine asks it where the file says, and its policy lets that out."""
    home, branch = _policies("home"), _policies("branch")

    assert [] == home
    assert [[{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 8000}]] == branch


def _policies(site):
    patches = k8s.overlay(k8s.rendered(picture()), site).get("patches", [])
    return [
        order["value"]
        for one in patches if one["target"]["kind"] == "NetworkPolicy"
        for order in yaml.safe_load(one["patch"])
    ]  # fmt: skip


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


def test_gateways_go_before_engines_and_engines_before_staging():
    """Priorities are in this order, and what is staged puts nobody out."""
    (sheet, *_) = cluster.part(picture()).sheets
    values = {one["metadata"]["name"]: one["value"] for one in sheet.objects}

    ranked = ["baseload-gateway", "baseload-engine", "baseload-staging"]
    assert ranked == sorted(values, key=lambda name: -values[name])
    assert "Never" == sheet.objects[-1]["preemptionPolicy"]


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
        "create configmap gate-ca --from-file=deepseek.pem=ca.pem",
        "Each gateway has a ledger of its own",
        "kubectl apply -k overlays/one",
    ):
        assert wanted in text
