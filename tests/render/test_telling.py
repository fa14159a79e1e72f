"""Who is told, and the local stack, by the real tools that read their files.

They are amtool and Alertmanager (0.28) and Docker Compose (2.26), all from Debian 13. No container is
started: that the images start, and find what is mounted, is not proved by this.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time

import httpx
import pytest
import yaml
from msgspec.structs import replace

from baseload.config.deploying import Receiver, Smtp
from baseload.config.reading import read_fleet
from baseload.errors import FleetFileError
from baseload.render.monitoring import alertmanager
from baseload.render.monitoring.output import render
from tests.render.pictures import picture
from tests.render.test_rules import changed
from tests.render.watchtools import newer, said, written

READY_S_MAX = 20.0
KINDS = {
    "webhook": Receiver(kind="webhook", to="${HOOK_URL}"),
    "slack": Receiver(kind="slack", to="${SLACK_URL}"),
    "pagerduty": Receiver(kind="pagerduty", to="${PAGERDUTY_KEY}"),
    "email": Receiver(kind="email", to="oncall@example.com"),
}
SMTP = Smtp(
    host="smtp.example.com:587", sender="alerts@example.com", user="alerts",
    password="${SMTP_PASSWORD}",
)  # fmt: skip


def told_by(page, ticket):
    """Give the full fleet with other receivers."""
    plain = picture()
    monitoring = replace(plain.deploy.monitoring, page=page, ticket=ticket, smtp=SMTP)
    return replace(plain, deploy=replace(plain.deploy, monitoring=monitoring))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The monitoring of the full fleet, written."""
    return written(picture(), tmp_path_factory.mktemp("monitoring"))


def test_alertmanager_takes_every_kind_of_receiver(tmp_path):
    """Amtool reads routes with each kind, for pages and tickets; an unknown field is refused."""
    kinds = list(KINDS.values())
    for number, (page, ticket) in enumerate([kinds[:2], kinds[2:], (None, None)]):
        found = alertmanager.config(told_by(page, ticket))
        (tmp_path / f"{number}.yml").write_text(yaml.safe_dump(found))
    found["route"]["reciever"] = "page"
    (tmp_path / "bad.yml").write_text(yaml.safe_dump(found))

    check = (newer("amtool"), "check-config")
    code, text = said(*check, "0.yml", "1.yml", "2.yml", folder=tmp_path)

    assert 0 == code, text
    assert 3 == text.count("SUCCESS")
    assert 0 != said(*check, "bad.yml", folder=tmp_path)[0]


def test_no_secret_is_in_any_file():
    """A secret is the path of a file named like its variable, and in the stack a file, too."""
    found = told_by(KINDS["webhook"], KINDS["email"])
    files = {file.path: file.text for file in render(found)}
    stack = yaml.safe_load(files["compose.yaml"])

    assert ("HOOK_URL", "SMTP_PASSWORD") == alertmanager.secrets(found)
    assert "url_file: /run/secrets/HOOK_URL" in files["alertmanager/alertmanager.yml"]
    assert (
        "smtp_auth_password_file: /run/secrets/SMTP_PASSWORD"
        in files["alertmanager/alertmanager.yml"]
    )
    assert ["HOOK_URL", "SMTP_PASSWORD"] == stack["services"]["alertmanager"]["secrets"]
    assert {"HOOK_URL", "SMTP_PASSWORD"} == set(stack["secrets"])
    assert not any("${HOOK_URL}" in text for text in files.values())


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=CallersGetErrors", "severity=page"), "page"),
        (("alertname=CallersGetErrors", "severity=ticket"), "ticket"),
        (("alertname=Watchdog", "severity=none"), "watchdog"),
        (("alertname=Another", "severity=none"), "nobody"),
    ],
)
def test_each_severity_has_its_way(folder, labels, receiver):
    """Amtool routes alerts by severity, and the one that always fires to a receiver of its own."""
    code, text = said(
        newer("amtool"), "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml",
        f"--verify.receivers={receiver}", *labels, folder=folder,
    )  # fmt: skip

    assert 0 == code, text


@contextlib.contextmanager
def running(config, folder):
    """Run a real Alertmanager; give its URL."""
    (folder / "am.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [newer("prometheus-alertmanager"), "--config.file=am.yml", "--storage.path=data",
             f"--web.listen-address={address}", "--cluster.listen-address="],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        end = time.monotonic() + READY_S_MAX
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://{address}/-/ready").status_code == 200:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def test_what_is_told_only_once(tmp_path):
    """A real Alertmanager silences a ticket beside its page, and all but one when none answers."""
    with running(alertmanager.config(told_by(None, None)), tmp_path) as url:
        page = {"alertname": "CallersGetErrors", "severity": "page", "model": "a", "window": "1h"}
        ticket = page | {"severity": "ticket", "window": "3d"}
        other = ticket | {"model": "b"}
        watchdog = {"alertname": "Watchdog", "severity": "none"}
        down = {"alertname": "GatewaysAreDown", "severity": "page"}

        assert ["active", "suppressed", "active", "active"] == _states(
            url, page, ticket, other, watchdog
        )
        assert ["active", "suppressed", "suppressed", "active"] == _states(
            url, down, page, other, watchdog
        )


def _states(url, *alerts):
    """Tell Alertmanager of alerts; give the state of each."""
    httpx.post(
        f"{url}/api/v2/alerts", json=[{"labels": each} for each in alerts]
    ).raise_for_status()
    found = httpx.get(f"{url}/api/v2/alerts").json()
    states = {json.dumps(each["labels"], sort_keys=True): each["status"]["state"] for each in found}
    return [states[json.dumps(each, sort_keys=True)] for each in alerts]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('kind: slack, to: "${SLACK_URL}"', 'kind: slack, to: "${A}${B}"', "not one variable"),
        ('kind: slack, to: "${SLACK_URL}"', "kind: slack, to: a@example.com", "not one variable"),
        ('kind: slack, to: "${SLACK_URL}"', 'kind: email, to: "${MAIL}"', "from no variable"),
        ('kind: slack, to: "${SLACK_URL}"', "kind: email, to: a@example.com", "no server"),
        (
            "    ticket:",
            '    smtp: {host: "a:25", sender: a@b.c, user: x}\n    ticket:',
            "without a password",
        ),
    ],
)
def test_a_receiver_that_cannot_be_told_is_refused(tmp_path, old, new, what):
    """What Alertmanager could not read from a file, or send, is refused before it is written."""
    with pytest.raises(FleetFileError, match=what):
        changed(tmp_path, (old, new))


def compose(*command, folder, **env):
    """Run Docker Compose; give its exit status, and all that it said."""
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return said(newer("docker-compose"), *command, folder=folder, env=plain | env)


def test_compose_takes_the_stack(folder):
    """Real Compose resolves it: pinned images, loopback only, secrets from files, GPU on demand."""
    (folder / "gateway.env").write_text("BASELOAD_ADMIN_TOKEN=0123456789abcdef\n")
    (folder / "grafana.env").write_text("GF_SECURITY_ADMIN_PASSWORD=secret\n")
    code, text = compose("--profile", "gpu", "config", "--format", "json", folder=folder)

    assert 0 == code, text
    stack = json.loads(text)
    assert {"gateway", "engine", "prometheus", "alertmanager", "grafana"} == set(stack["services"])
    for name, service in stack["services"].items():
        assert ":" in service["image"]
        assert not service["image"].endswith(":latest")
        assert {"127.0.0.1"} >= {port["host_ip"] for port in service.get("ports", ())}
        assert "healthcheck" in service
        assert ["ALL"] == service["cap_drop"]
        assert service.get("read_only", False) or name == "engine"
        for mount in service.get("volumes", ()):
            if mount["type"] == "bind":
                assert mount["read_only"]
                assert (folder / mount["source"]).exists(), mount
    assert {"PAGERDUTY_KEY", "SLACK_URL"} == set(stack["secrets"])
    (device,) = stack["services"]["engine"]["deploy"]["resources"]["reservations"]["devices"]
    assert ("nvidia", 2) == (device["driver"], device["count"])
    services = compose("config", "--services", folder=folder)[1].split()
    assert "engine" not in services


def test_compose_refuses_what_it_should(folder, tmp_path):
    """The same check notices an env file that is missing, and a field that there is not."""
    shutil.copytree(folder, tmp_path / "stack")
    stack = tmp_path / "stack/compose.yaml"
    (tmp_path / "stack/gateway.env").unlink(missing_ok=True)
    missing = compose("config", "-q", folder=stack.parent)
    stack.write_text(stack.read_text().replace("cap_drop:", "cap_drpo:"))
    misspelt = compose("config", "-q", folder=stack.parent)

    assert 0 != missing[0]
    assert "gateway.env" in missing[1]
    assert 0 != misspelt[0]
    assert "cap_drpo" in misspelt[1]


def test_the_stack_serves_the_models_of_the_fleet(folder):
    """Both fleet files of the stack are sound, and answer for every model of the fleet."""
    env = {"BASELOAD_ADMIN_TOKEN": "0123456789abcdef"}
    for name, backends in (("cpu", {"cpu"}), ("gpu", {"cpu", "engine"})):
        fleet = read_fleet(folder / f"fleet/{name}.yaml", env)
        assert set(picture().fleet.models) == set(fleet.models)
        assert backends == set(fleet.backends)
