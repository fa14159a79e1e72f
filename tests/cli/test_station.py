"""The operators' port of a real `baseload up`: token, audit log, drain."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from baseload.cli.plane import ServicePlane
from baseload.cli.service import Service
from baseload.config.reading import parse_fleet
from baseload.gateway.changing import Report
from baseload.store.audit import AuditLog
from baseload.store.database import Database
from baseload.web.plane import Moved, Reloaded, UnknownBackendError

TOKEN = "correct-horse-battery-staple"
FLEET = """\
listen: 127.0.0.1:0
admin: {admin}
drain_s: 5
store: {{ledger: "sqlite:///{folder}/store.db"}}
backends: {{edge: {{url: http://127.0.0.1:9/v1, probe_s: 0}}}}
models: {{m: {{tiers: [{{edge: {{model: m}}}}]}}}}
"""


def begin(folder: Path, more: str = "", admin: str = "127.0.0.1:0") -> subprocess.Popen[str]:
    """Start baseload on a fleet file."""
    file = folder / "fleet.yaml"
    file.write_text(FLEET.format(folder=folder, admin=admin) + more)
    return subprocess.Popen(
        [sys.executable, "-m", "baseload", "up", "-c", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A baseload with a token; gives the process and its operators' URL."""
    process = begin(tmp_path, f"admin_token: {TOKEN}\n")
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(r"Operators: (http://\S+)", line):
            break
    else:
        raise AssertionError("it never said where operators look")
    try:
        yield process, match[1]
    finally:
        process.kill()
        process.stdout.close()
        process.wait(10)


def test_operators_show_their_token_and_a_drain_ends_the_process(
    running: tuple[subprocess.Popen[str], str], tmp_path: Path
):
    """The real status is as described; the drain is in the audit log of the store that is named."""
    process, url = running
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as stranger:
        statuses = [stranger.get(path).status_code for path in ("/status", "/healthz", "/metrics")]
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=10) as client:
        status = client.get("/api/v1/status").json()
        described = client.get("/openapi.json").json()["components"]["schemas"]["Status"]
        drained = client.post("/api/v1/drain", json={})
    code = process.wait(30)
    database = Database(f"sqlite:///{tmp_path}/store.db")
    actions = [row.action for row in AuditLog(database).newest(9)]
    database.close()

    assert [401, 200, 200] == statuses
    assert set(described["properties"]) == set(status)
    assert ["edge"] == [backend["name"] for backend in status["backends"]]
    assert 202 == drained.status_code
    assert 0 == code
    assert ["drain"] == actions


def test_off_loopback_it_does_not_start_without_a_token(tmp_path: Path):
    """The message names the field and what to do; the exit code is 1."""
    process = begin(tmp_path, admin="0.0.0.0:0")
    told, _ = process.communicate(timeout=30)

    assert 1 == process.returncode
    assert "fleet.yaml:2:8: admin: can be reached from other machines" in told
    assert "no `admin_token` is set" in told


class Elsewhere:
    """A double of a service: a loop in a thread of its own, and the thread of each call."""

    ask = Service.ask

    def __init__(self) -> None:
        self.fleet = parse_fleet(FLEET.format(folder="/tmp", admin="127.0.0.1:0"), "f", {})
        self.orders: dict[str, str] = {}
        self.threads: set[threading.Thread] = set()
        self.is_stopping = False
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def live(self, since: int) -> int:
        self.threads.add(threading.current_thread())
        return since

    async def operate(self, backend: str, order: str) -> str:
        self.threads.add(threading.current_thread())
        self.orders[backend] = order
        return "" if order == "enable" else f"{order} by an operator"

    async def reload(self) -> Report:
        self.threads.add(threading.current_thread())
        return Report(is_applied=True, changes=["queue"], needs_restart=["listen"])

    def stop(self) -> None:
        self.threads.add(threading.current_thread())
        self.is_stopping = True


def test_the_plane_is_asked_in_the_services_own_thread():
    """Whatever is asked runs where the gateway lives; errors come back to the asker."""

    async def ask(plane: ServicePlane) -> tuple[object, ...]:
        with pytest.raises(UnknownBackendError, match="no backend `none`; there are: edge"):
            await plane.operate("none", "drain")
        await plane.drain()
        moved = [await plane.operate("edge", action) for action in ("drain", "disable", "enable")]
        return await plane.live(7), moved, await plane.reload()

    with Elsewhere() as service:
        told = asyncio.run(ask(ServicePlane(service)))  # type: ignore[arg-type]
    moved = [
        Moved("edge", "enabled", "drain by an operator"),
        Moved("edge", "drained", "disable by an operator"),
        Moved("edge", "disabled", "enabled"),
    ]

    assert (7, moved, Reloaded(changed=["queue"], needs_restart=["listen"])) == told
    assert {service.thread} == service.threads
    assert service.is_stopping
