"""Grafana's dashboards: as the SDK makes them, as Grafana's types want them, and with data in them.

No Grafana runs here. Its published types say whether the JSON is a dashboard; a real Prometheus
that scrapes a real gateway and a real llama.cpp engine under load says whether panels have data.
How they look is not proved by that.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from dashboards.__main__ import texts

from baseload.render.monitoring import rules
from baseload.render.monitoring.boards import boards
from tests.needs import give_up
from tests.render.pictures import picture
from tests.render.scraped import Scraped, scraped

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "src/baseload/render/monitoring/dashboards"
GRAFANA = Path(__file__).parent / "grafana"
TYPES = ROOT / ".venv/grafana/node_modules"
SETTINGS = {"$__rate_interval": "10s", "$__range": "1m", "$model": ".*"}
BACKENDS = ("edge", "closed", "paged", "own")
"""A board of one backend is asked about each: none of them has failures, tokens and a full cache."""


WITHOUT_GPU = {"GPUs at work"}
"""Panels that have no data on a machine without a GPU; that engines on GPUs fill them is tried with
a double of NVML, in tests/engines/test_power.py and tests/cli/test_metrics_table.py."""
UNTOLD = {"backend:engine_preemptions:rate5m"}
"""llama.cpp preempts nobody, so it does not count it."""
EXCUSED = {
    "CallsWaitInLine",
    "CallsNeedManyAttempts",
    "KeysReachTheirLimits",
    "EventLoopIsLate",
    "AlertsAreNotSent",
}
"""There are six callers for three places, one of them over its limit, each call is first tried at
the closed backend until its breaker opens, and the machine is busy, for seconds where alerts wait
for minutes; and there is no Alertmanager."""


def panels(text):
    """Give the title and queries of each panel of a dashboard's JSON."""
    found = json.loads(text)["panels"]
    return [
        (panel["title"], [target["expr"] for target in panel["targets"]])
        for panel in found
        if panel["type"] != "row"
    ]


def test_what_is_shipped_is_what_the_sdk_makes():
    """The JSON in the package is what `make dashboards` writes, byte by byte."""
    assert {path.name: path.read_text() for path in SHIPPED.iterdir()} == texts()


def test_a_rendered_board_says_where_it_came_from():
    """Each file names the fleet file, keeps its panels, and is the same every time."""
    files = boards(("fleet.yaml",))

    assert files == boards(("fleet.yaml",))
    assert ["backend", "cost", "engines", "overview"] == sorted(
        Path(file.path).stem for file in files
    )
    for file in files:
        assert "from fleet.yaml" in json.loads(file.text)["description"]
        assert panels(file.text) == panels((SHIPPED / Path(file.path).name).read_text())


def test_every_panel_explains_itself():
    """Each panel has a title of its own and a description, and lies within the board's width."""
    for text in texts().values():
        board = json.loads(text)
        shown = [panel for panel in board["panels"] if panel["type"] != "row"]
        assert len(shown) == len({(panel["title"], panel["type"]) for panel in shown})
        assert all(len(panel["description"]) > 10 for panel in shown)
        assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in board["panels"])


def check_types(folder, boards_by_name):
    """Have TypeScript hold dashboards against Grafana's types; give what it says."""
    if not TYPES.is_dir() or shutil.which("node") is None:
        give_up("@grafana/schema and typescript, by `make .venv/grafana/made`")
    (folder / "node_modules").symlink_to(TYPES)
    for name in ("package.json", "tsconfig.json", "plain.ts"):
        shutil.copy(GRAFANA / name, folder)
    for name, text in boards_by_name.items():
        head = (
            "import type { Dashboard } from '@grafana/schema';\n"
            "import type { Plain } from './plain.js';\n"
            "export const board: Plain<Dashboard> = "
        )
        (folder / f"{Path(name).stem}.ts").write_text(f"{head}{text};\n")
    command = ["node", "node_modules/typescript/bin/tsc", "-p", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


def test_grafanas_own_types_take_them(tmp_path):
    """Strict TypeScript accepts every dashboard as Grafana's `Dashboard`, and refuses wrong ones."""
    good = texts()
    overview = good["overview.json"]
    bad = {
        "a-word-for-a-number": overview.replace('"graphTooltip": 1', '"graphTooltip": 7'),
        "an-unknown-field": overview.replace('"uid": "baseload', '"uidd": "x", "uid": "baseload'),
        "a-wrong-mode": overview.replace('"mode": "absolute"', '"mode": "absolut"'),
    }
    assert all(text != overview for text in bad.values())

    said = check_types(tmp_path, good | bad)

    files = {line.partition("(")[0] for line in said.splitlines() if ": error" in line}
    assert {f"{name}.ts" for name in bad} == files


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """Give a Prometheus that has scraped a gateway and an engine under load."""
    with scraped(tmp_path_factory.mktemp("scraped")) as found:
        yield found


def asked(query):
    """Give a panel's query as Grafana asks it, for each backend."""
    for name, value in SETTINGS.items():
        query = query.replace(name, value)
    return [query.replace("$backend", backend) for backend in BACKENDS]


@pytest.mark.parametrize("name", sorted(texts()))
def test_every_query_has_data(prometheus: Scraped, name):
    """Each query of each panel returns at least one series with a number in it."""
    empty = [
        (title, query)
        for title, queries in panels(texts()[name])
        for query in queries
        if not any(prometheus.numbers(each) for each in asked(query))
    ]

    assert WITHOUT_GPU >= {title for title, _ in empty}, empty


def test_every_recorded_series_is_there(prometheus: Scraped):
    """Each recording rule of this fleet gives data, but for what no engine here tells."""
    groups = rules.groups(picture(prometheus.file))
    recorded = [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]

    assert len(recorded) > 40
    assert UNTOLD == {name for name in recorded if not prometheus.numbers(name)}
    assert [] == prometheus.numbers("prometheus_rule_evaluation_failures_total > 0")


def test_only_what_is_wrong_is_told(prometheus: Scraped):
    """Under load, with one backend closed, no alert fires that should not."""
    fired = prometheus.labels('ALERTS{alertstate="firing"}', "alertname")
    out = prometheus.labels('ALERTS{alertname="BackendIsOut"}', "backend")

    assert {"closed"} == out
    assert {"Watchdog", "BackendIsOut"} <= fired <= {"Watchdog", "BackendIsOut"} | EXCUSED


def test_a_wrong_query_has_none(prometheus: Scraped):
    """The check can fail: a metric that nobody has gives nothing, and a broken query raises."""
    assert [] == prometheus.numbers("sum(baseload_calls_totl)")
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.numbers("sum(baseload_calls_total")
