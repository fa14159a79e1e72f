"""Rules and alerts, by real promtool: they are rules, and each alert fires when it should only.

promtool is 2.53, from Debian 13. It reads the cluster's configuration; that the cluster's pods are
found by it is not proved here.
"""

import re
from pathlib import Path

import pytest
import typer
import yaml
from msgspec.structs import replace
from typer.exceptions import TyperException

from baseload.cli import app
from baseload.config.fleet import Tls
from baseload.gateway.telemetry import EDGES_S
from baseload.render.monitoring import bursts, machinery, objectives, planted, rules
from baseload.render.monitoring.alerts import one_of, span, untemplated
from baseload.render.monitoring.output import render
from tests.render.goldens import same
from tests.render.pictures import FULL, picture
from tests.render.watchtools import newer, said, written

DOCS = Path(__file__).parent.parent.parent / "docs"
ELSEWHERE = {"baseload_backup_last_success_seconds"}
"""Metrics that rules ask for and that no gateway shows: who makes backups does."""


def changed(tmp_path, *changes):
    """Give the picture of the full fleet with parts of its text changed."""
    text = FULL.read_text()
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = tmp_path / "baseload.yaml"
    path.write_text(text)
    return picture(path)


@pytest.fixture(scope="module")
def full():
    """The full fleet with a certificate, so that there is every alert."""
    plain = picture()
    fleet = replace(plain.fleet, tls=Tls(cert="chain.pem", key="key.pem"))
    return replace(plain, fleet=fleet)


@pytest.fixture(scope="module")
def folder(full, tmp_path_factory):
    """Its monitoring, written."""
    return written(full, tmp_path_factory.mktemp("monitoring"))


def of(found, kind="alert"):
    """Give the rules of a picture that are alerts, or that record."""
    return [rule for group in rules.groups(found) for rule in group["rules"] if kind in rule]


def names(found):
    """Give the names of a picture's alerts."""
    return {rule["alert"] for rule in of(found)}


def test_what_was_rendered():
    """The rendering is what was read in review, file by file; boards have tests of their own."""
    files = [file for file in render(picture()) if "/dashboards/" not in file.path]

    same("monitoring", files)
    assert render(picture()) == render(picture())


def test_prometheus_takes_its_configuration(folder):
    """Promtool reads both configurations with all rules; a role that there is not is refused."""
    cluster = (folder / "prometheus/prometheus.yml").read_text()
    (folder / "prometheus/bad.yml").write_text(cluster.replace("role: pod", "role: pdo"))

    check = (newer("promtool"), "check", "config")
    code, text = said(*check, "prometheus.yml", "local.yml", folder=folder / "prometheus")

    assert 0 == code, text
    assert 8 == text.count("rules found")
    assert 0 != said(*check, "bad.yml", folder=folder / "prometheus")[0]


def test_each_alert_fires_when_it_should_and_only_then(folder, full):
    """The tests that go out with the rules pass, and each alert, by severity, is in one of them."""
    code, text = said(
        newer("promtool"), "test", "rules", *_suites(folder), folder=folder / "prometheus/tests"
    )

    assert 0 == code, text
    meant = {(rule["alert"], rule["labels"]["severity"]) for rule in of(full)}
    assert meant - {("Watchdog", "none")} == set(_fired(full))


def _suites(folder):
    return sorted(path.name for path in (folder / "prometheus/tests").glob("*.test.yml"))


def _fired(found):
    """Give the alerts and severities that the tests expect to fire."""
    text = yaml.safe_dump(planted.suites(found), width=1000)
    return re.findall(r'alertname="(\w+)", severity="(\w+)"', text)


def test_each_pair_of_windows_is_shown_to_fire(full):
    """Each pair of windows fires somewhere, for each promise."""
    text = yaml.safe_dump(bursts.suite(full), width=1000)

    for promise in objectives.promises(full):
        for burn in objectives.BURNS:
            assert f'alertname="{promise.alert}", severity="{burn.severity}", ' in text
            assert f'window="{span(burn.long_s)}"' in text.partition(promise.alert)[2]


def test_the_tests_notice_rules_that_sleep_and_bounds_that_move(folder, tmp_path):
    """Each trial fails where alerts never fire; and bounds that are lower fire too early."""
    asleep, lower = tmp_path / "asleep", tmp_path / "lower"
    for place, change in ((asleep, _asleep), (lower, _lower)):
        (place / "rules").mkdir(parents=True)
        (place / "tests").mkdir()
        for name in ("service", "gateway", "engines"):
            found = yaml.safe_load((folder / f"prometheus/rules/{name}.yml").read_text())
            for rule in (rule for group in found["groups"] for rule in group["rules"]):
                if "alert" in rule and rule["alert"] != "Watchdog":
                    rule["expr"] = change(rule["expr"])
            (place / f"rules/{name}.yml").write_text(yaml.safe_dump(found))
            suite = (folder / f"prometheus/tests/{name}.test.yml").read_text()
            (place / f"tests/{name}.test.yml").write_text(suite)
    trials = sum(
        len(yaml.safe_load((asleep / f"tests/{name}.test.yml").read_text())["tests"])
        for name in ("service", "gateway", "engines")
    )

    test = (
        newer("promtool"),
        "test",
        "rules",
        "service.test.yml",
        "gateway.test.yml",
        "engines.test.yml",
    )
    failures = said(*test, folder=asleep / "tests")[1].count("got:")
    bounded = ("ConnectionsAreNearTheirEnd", "EventLoopIsLate", "BudgetIsNearItsEnd")
    suite = yaml.safe_load((lower / "tests/gateway.test.yml").read_text())
    suite["tests"] = [test for test in suite["tests"] if test["name"].startswith(bounded)]
    (lower / "tests/gateway.test.yml").write_text(yaml.safe_dump(suite))
    early = said(*test[:3], "gateway.test.yml", folder=lower / "tests")[1]

    assert trials == failures
    for name in bounded:
        assert name in early


def _asleep(expr):
    return "vector(0) > 1"


def _lower(expr):
    return re.sub(r"> ([0-9.]+)$", lambda found: f"> {float(found[1]) * 0.85:.6g}", expr)


def test_what_alerts_say_has_numbers_in_it(folder, full, tmp_path):
    """Every summary and description is filled in by Prometheus, with nothing left over."""
    (tmp_path / "rules").symlink_to(folder / "prometheus/rules")
    (tmp_path / "tests").mkdir()
    suites = planted.suites(full)
    suites["objectives"]["tests"] = suites["objectives"]["tests"][:1]
    for name, suite in suites.items():
        for test in suite["tests"]:
            at = test["promql_expr_test"][-1]["eval_time"]
            test.pop("promql_expr_test")
            wanted = {name for name, _ in _fired_in(name, test, full)}
            test["alert_rule_test"] = [
                {"eval_time": at, "alertname": alert, "exp_alerts": []} for alert in wanted
            ]
        (tmp_path / f"tests/{name}.test.yml").write_text(yaml.safe_dump(suite))

    text = said(newer("promtool"), "test", "rules", *sorted(p.name for p in (tmp_path / "tests").iterdir()),
                folder=tmp_path / "tests")[1]  # fmt: skip
    told = re.findall(r'alertname="(\w+)"', text)
    descriptions = re.findall(r'description="((?:[^"\\]|\\.)*)"', text)

    assert names(full) - {"Watchdog"} <= set(told)
    assert len(descriptions) >= len(names(full)) - 1
    for text in descriptions:
        assert not re.search(r"\{\{|\}\}|error expanding|no value|NaN|%!", text), text


def _fired_in(file, test, found):
    if file == "objectives":
        return [(promise.alert, "") for promise in objectives.promises(found)]
    return [(test["name"].partition(",")[0], "")]


def test_only_what_a_fleet_has_is_watched(full, tmp_path):
    """No alerts about certificates, Redis, engines or replicas where there are none."""
    text = FULL.read_text()
    bare = tmp_path / "bare.yaml"
    bare.write_text(
        text[: text.index("deploy:")].replace("redis://redis.data.svc:6379/0", "memory://")
    )
    few = names(picture(bare))

    assert {"CertificateEnds", "LimitsAreNotShared", "EngineIsDown", "EngineCacheIsFull",
            "EnginePreempts", "EngineStaysAtZero"} == names(full) - few  # fmt: skip
    one = changed(tmp_path, ("replicas: 3", "replicas: 1"), ("      replicas: 2\n", ""))
    assert "GatewaysAreMissing" in names(full) - names(one)


def test_the_smallest_cluster_counts_gateways():
    """Gateways are missing below the number of the site that has the fewest."""
    assert 2 == machinery.gateways(picture())


def test_models_with_an_engine_at_zero_are_watched_with_patience(full, tmp_path):
    """They page when nobody serves them; but calls may wait for a cold start, first tokens too."""
    paged = [rule["labels"]["model"] for rule in of(full) if rule["alert"] == "ModelHasNoBackend"]
    waits = {rule["expr"]: rule["for"] for rule in of(full) if rule["alert"] == "CallsWaitInLine"}
    cold = changed(
        tmp_path, ("      - giant: {model: deepseek-r1}", "      - edge: {model: r1-32b}")
    )
    late = {
        rule["expr"].partition("\n")[0]
        for rule in of(cold)
        if rule["alert"] == "FirstTokensAreLate"
    }

    assert ["deepseek-chat", "deepseek-reasoner"] == paged
    assert {
        'sum by (model) (baseload_waiting_calls{model!~"deepseek-chat"}) > 0': "5m",
        'sum by (model) (baseload_waiting_calls{model="deepseek-chat"}) > 0': "19m",
    } == waits
    assert all('{model!~"deepseek-reasoner"} >' in expr for expr in late)


def test_a_cloud_that_is_meant_to_be_empty_is_not_down(full, tmp_path):
    """A group of no machines is asked, since somebody may add some, and nobody is told."""
    empty = changed(tmp_path, ("      replicas: 2\n      replicas_max: 6", "      replicas: 0"))

    for found, expr in (
        (full, 'up{job="engines"} == 0'),
        (empty, 'up{job="engines", backend!~"aws"} == 0'),
    ):
        assert [expr] == [rule["expr"] for rule in of(found) if rule["alert"] == "EngineIsDown"]


def test_every_metric_is_one_that_is_shown(full):
    """Rules ask for metrics that docs/metrics.md has, and for that of backups."""
    shown = set(re.findall(r"`(baseload_\w+)`", (DOCS / "metrics.md").read_text()))
    asked = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for rule in of(full) + of(full, "record")
        for name in re.findall(r"(?<![:\w])baseload_\w+", rule["expr"])
    }

    assert len(asked) > 20
    assert set() == asked - shown - ELSEWHERE


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(full):
    """Headings of docs/runbooks.md are the alerts, each once, and each entry says what to do."""
    text = (DOCS / "runbooks.md").read_text()
    entries = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))

    assert names(full) == set(entries)
    assert len(entries) == len(re.findall(r"^### ", text, re.MULTILINE))
    for name, entry in entries.items():
        for part in ("**Means.**", "**Felt.**", "**Look.**", "**Do.**", "**Afterwards.**"):
            assert part in entry, (name, part)
    for rule in of(full):
        assert f"docs/runbooks.md#{rule['alert'].lower()}" == rule["annotations"]["runbook_url"]


def commands(text):
    """Give the words of each command of Baseload that a text shows."""
    shown = re.findall(r"`baseload ([^`]+)`", text)
    shown += re.findall(r"(?:^|-- )baseload ([^`#\n]+)", text, re.MULTILINE)
    return [re.sub(r"\bN\b", "1", one).split() for one in shown]


def check_command(words):
    """Have the command line parse a command, and do nothing; raises where there is none such.

    What is named in passing lacks what it needs, and is let through.
    """
    command = typer.main.get_command(app)
    while words and hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(command.context_class(command), list(words))
    try:
        with command.make_context("baseload", list(words)):
            pass
    except TyperException as wrong:
        if not str(wrong).startswith("Missing"):
            raise


def test_commands_of_the_runbooks_are_there():
    """Each verb and option that somebody is told to type at night is one that there is."""
    shown = commands((DOCS / "runbooks.md").read_text())

    assert len(shown) > 20
    for words in shown:
        check_command([word if word != "FILE" else str(FULL) for word in words])
    for wrong in ("backends drian x", "usage --per key", "auditt"):
        with pytest.raises(TyperException):
            check_command(wrong.split())


@pytest.mark.parametrize(
    ("promised_s", "edge"), [(4, "4.096"), (3.9, "2.048"), (10, "8.192"), (0.0005, "0.001"), (524, "524.288")]
)  # fmt: skip
def test_a_promise_is_judged_at_an_edge_that_the_gateway_counts(promised_s, edge):
    """A promise about seconds is held against an edge of the histogram, written as it is there."""
    assert edge == str(objectives.edge_s(promised_s))
    assert edge in [str(each) for each in EDGES_S]


def test_a_lenient_promise_has_bounds_that_can_be_reached(tmp_path):
    """No share of calls is above 0.9, so the fastest windows can fire whatever is promised."""
    loose = changed(tmp_path, ("    page:", "    first_token_share: 0.6\n    page:"))
    (_, promise) = objectives.promises(loose)

    assert [0.9, 0.9, 0.9, 0.4] == [round(b.threshold(promise.budget), 6) for b in objectives.BURNS]


def test_names_are_taken_as_they_are():
    """Names with signs that PromQL, regular expressions or templates know match only themselves."""
    assert '"r1[.]5|a[+]b"' == one_of(["r1.5", "a+b"])
    assert r'"a\"b\\\\c"' == one_of(['a"b\\c'])
    assert '{{ "{{" }}x}}' == untemplated("{{x}}")
    assert ["5m", "90s", "3d", "2h"] == [span(each) for each in (300, 90, 259_200, 7_200)]
