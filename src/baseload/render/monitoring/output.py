"""Which files does the monitoring of a fleet consist of?

Not here: what stands in each (`rules`, `scrape`, `alertmanager`, `compose`, ...); writing them.
"""

from typing import Any

from baseload.render.files import File, header
from baseload.render.monitoring import alertmanager, compose, planted, readme, rules, scrape, stack
from baseload.render.monitoring.boards import boards
from baseload.render.picture import Picture
from baseload.render.text import dump

_TESTS = "Run them with: promtool test rules *.test.yml"


def render(picture: Picture) -> tuple[File, ...]:
    """Give all files."""
    return (
        *_prometheus(picture), _alertmanager(picture), *_grafana(picture), *_stack(picture),
        readme.file(picture),
    )  # fmt: skip


def _prometheus(picture: Picture) -> list[File]:
    files = [
        _settings(
            picture, "prometheus/prometheus.yml", scrape.cluster(picture),
            "For a Prometheus in the cluster, without an operator.",
        ),
        _settings(
            picture, "prometheus/local.yml", scrape.local(picture), "For the stack of compose.yaml."
        ),
    ]  # fmt: skip
    files += [
        _settings(picture, f"prometheus/rules/{name}.yml", {"groups": groups})
        for name, groups in rules.by_file(picture).items()
    ]
    files += [
        _settings(picture, f"prometheus/tests/{name}.test.yml", suite, _TESTS)
        for name, suite in planted.suites(picture).items()
    ]
    return files


def _alertmanager(picture: Picture) -> File:
    about = f"Secrets are read from files in {alertmanager.SECRETS}, named like their variables."
    path = "alertmanager/alertmanager.yml"
    return _settings(picture, path, alertmanager.config(picture), about)


def _grafana(picture: Picture) -> list[File]:
    source = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": "http://prometheus:9090",
        "isDefault": True,
        "editable": False,
        "jsonData": {"timeInterval": f"{picture.deploy.monitoring.interval_s}s"},
    }
    provider = {
        "name": "baseload",
        "folder": "Baseload",
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": "/var/lib/grafana/dashboards"},
    }
    folder = "grafana/provisioning"
    return [
        _settings(
            picture, f"{folder}/datasources/prometheus.yaml",
            {"apiVersion": 1, "datasources": [source]},
        ),
        _settings(
            picture, f"{folder}/dashboards/baseload.yaml",
            {"apiVersion": 1, "providers": [provider]},
        ),
        *boards(picture.sources),
    ]  # fmt: skip


def _stack(picture: Picture) -> list[File]:
    return [
        _settings(
            picture, "compose.yaml", compose.services(picture),
            "On loopback, for the people of one machine. README.md says how to begin.",
        ),
        _settings(
            picture, "fleet/cpu.yaml", stack.fleet(picture, has_gpu=False),
            "The stack's own fleet: the embedded engine answers for every model.",
        ),
        _settings(
            picture, "fleet/gpu.yaml", stack.fleet(picture, has_gpu=True),
            "The same, with vLLM on a GPU before it.",
        ),
        _text(
            picture, "gateway.env.example",
            "Copy it to gateway.env, and fill in. `openssl rand -hex 24` makes a good token.",
            f"{stack.TOKEN}=\n",
        ),
        _text(
            picture, "grafana.env.example", "Copy it to grafana.env, and fill in.",
            "GF_SECURITY_ADMIN_PASSWORD=\n",
        ),
        _text(
            picture, ".gitignore", "What holds secrets is kept by nobody.",
            "gateway.env\ngrafana.env\nsecrets/\n",
        ),
    ]  # fmt: skip


def _text(picture: Picture, path: str, about: str, body: str) -> File:
    return File(path=path, text=header(path, picture.sources, about) + body)


def _settings(picture: Picture, path: str, value: Any, about: str = "") -> File:
    """Give a YAML file; `about` is said at its head."""
    return File(path=path, text=header(path, picture.sources, about) + dump(value))
