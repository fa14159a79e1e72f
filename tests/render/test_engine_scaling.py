"""How engines in clusters are scaled."""

import re
import shutil
import subprocess

import pytest
import yaml

from baseload.render.kubernetes import adapter
from baseload.render.kubernetes.engine import external, scaling
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.timing import cold_start_s
from tests.needs import give_up
from tests.render.engine_objects import FULL, OTHERS, by_engine, each_engine, kinds, only, settled

HPA, KEDA = "HorizontalPodAutoscaler", "ScaledObject"


def _engine(path, name):
    return next(each for each in settled(path).engines if each.name == name)


def _triggers(name):
    found = only(by_engine(FULL)[name], KEDA)["spec"]["triggers"]
    return {each["name"]: each["metadata"] for each in found}


def test_who_scales_what():
    """By load, by CPU, or not at all; whatever is scaled has no number of its own."""
    scaled = {}
    for engine, objects in each_engine():
        (workload,) = (
            each for each in objects if each["kind"] in {"Deployment", "LeaderWorkerSet"}
        )
        (scaled[engine.name],) = kinds(objects) & {HPA, KEDA} or {None}
        assert ("replicas" in workload["spec"]) == (scaled[engine.name] is None)

    assert {
        "edge": KEDA, "small": None, "giant": None, "amd": HPA, "socket": None,
        "claimed": HPA, "wide": None, "spread": HPA, "narrow": None, "bare": HPA,
    } == scaled  # fmt: skip


def test_windows_respect_the_cold_start():
    """Up goes one in a cold start, and down one after more than two cold starts of calm."""
    start_s = cold_start_s(_engine(FULL, "edge"))
    spec = only(by_engine(FULL)["edge"], KEDA)["spec"]
    behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    (up,) = behaviour["scaleUp"]["policies"]

    assert ("Pods", 1) == (up["type"], up["value"])
    assert start_s <= up["periodSeconds"] <= 1800
    assert 2 * start_s < behaviour["scaleDown"]["stabilizationWindowSeconds"] <= 3600
    assert 2 * start_s < spec["cooldownPeriod"]


def test_an_engine_at_zero_is_woken_by_who_waits_and_kept_by_who_is_served():
    """Calls in the line of its models start it; calls in flight keep it; old figures do neither."""
    spec = only(by_engine(FULL)["edge"], KEDA)["spec"]
    active = {
        name for name, said in _triggers("edge").items() if said["activationThreshold"] == "0"
    }

    assert (0, 1, 4) == (spec["idleReplicaCount"], spec["minReplicaCount"], spec["maxReplicaCount"])
    assert {"queue", "in-flight", "waiting-calls"} == active
    assert (
        'sum(baseload_waiting_calls{namespace="llm",model=~"deepseek-chat"})'
        == _triggers("edge")["waiting-calls"]["query"]
    )
    assert (
        'sum(baseload_in_flight{namespace="llm",backend="edge"})'
        == _triggers("edge")["in-flight"]["query"]
    )


def test_another_installations_figures_are_not_an_engines_own():
    """Every figure is of the engine's namespace: names of backends and models are not unique."""
    found = _queries()

    assert [] == [query for query in found if 'namespace="' not in query and "vector(0)" != query]
    assert [] == [
        query for query in found
        for selector in re.findall(r"{[^}]*}", query) if 'namespace="' not in selector
    ]  # fmt: skip
    assert "%s" not in "".join(found)
    assert r"a\\x25s" == scaling.exactly("a%s")


def test_without_prometheus_what_runs_goes_on():
    """A monitoring that is away takes no engine away."""
    fallback = only(by_engine(FULL)["edge"], KEDA)["spec"]["fallback"]

    assert {"failureThreshold": 4, "replicas": 1, "behavior": "currentReplicasIfHigher"} == fallback
    assert {"false"} == {said["ignoreNullValues"] for said in _triggers("edge").values()}


def test_thresholds_come_from_what_fits_and_what_is_promised():
    """Waiting and flying calls are parts of those that fit; first tokens are what is promised."""
    found = {name: said["threshold"] for name, said in _triggers("edge").items()}

    assert 18 == _engine(FULL, "edge").sequences
    assert {
        "queue": "2", "kv-cache": "0.8", "first-token": "4", "in-flight": "14",
        "waiting-calls": "14",
    } == found  # fmt: skip


def test_scaling_by_cpu_says_what_it_is():
    """The article's HPA is there for who wants it, and tells that it seldom scales GPUs."""
    hpa = only(by_engine(FULL)["amd"], HPA)
    (metric,) = hpa["spec"]["metrics"]

    assert {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}} == metric[
        "resource"
    ]
    assert "GPUs are full at about 10 % CPU" in hpa["metadata"]["annotations"]["baseload.dev/note"]


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("claimed", {"queue", "kv_cache", "first_token", "in_flight"}),
        ("bare", {"first_token", "in_flight"}),
    ],
)
def test_hpa_asks_for_what_the_adapter_serves(name, signals):
    """Each external metric of an HPA is one of the adapter's rules."""
    objects = by_engine(OTHERS)[name]
    asked = {each["external"]["metric"]["name"] for each in only(objects, HPA)["spec"]["metrics"]}
    about = About(settled(OTHERS), _engine(OTHERS, name))
    served = {rule["name"]["as"] for rule in external.rules(about)}

    assert asked == served
    assert {f"baseload_scale_{name}_{signal}" for signal in signals} == asked


def _queries():
    found = [said["query"] for said in _triggers("edge").values()]
    rules = adapter.external_rules(settled(OTHERS))
    return found + [rule["metricsQuery"] for rule in rules]


def _promtool(queries, folder):
    program = shutil.which("promtool") or give_up("prometheus (promtool)")
    rules = [{"record": f"q{index}", "expr": query} for index, query in enumerate(queries)]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": rules}]}))
    return subprocess.run(
        [program, "check", "rules", file], capture_output=True, check=False
    ).returncode


def test_prometheus_understands_what_scalers_ask(tmp_path):
    """Every query is PromQL, by Prometheus' own tool, which refuses one that is not."""
    queries = _queries()

    assert 15 == len(queries)
    assert 0 == _promtool(queries, tmp_path)
    assert 0 != _promtool([*queries, "sum(a{b=})"], tmp_path)
