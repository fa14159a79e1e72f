"""Every change is written down before it is answered, and a failing store stops none."""

import sqlite3
import threading
from pathlib import Path

import pytest

from baseload.store.audit import AuditLog, Change
from baseload.store.database import Database, DatabaseError
from baseload.web import backroom, journal
from baseload.web.routes import ROUTES, Route
from tests.web.doubles import TOKEN, Port, served

ROWS = {
    "enable_backend": ("edge", "enabled", "enabled"),
    "drain_backend": ("edge", "enabled", "draining"),
    "disable_backend": ("edge", "enabled", "disabled"),
    "create_key": ("new", "", 'rpm 9, priority "batch"'),
    "change_key": ("made", "rpm 5", "rpm 7"),
    "revoke_key": ("made", "rpm 5", "revoked"),
    "rotate_key": ("made", "", "a new secret; the old one ends in 60 s"),
    "reload": ("", "", "models.m.stall_s"),
    "drain": ("", "serving", "draining"),
}
BODIES = {
    "create_key": {"name": "new", "rpm": 9, "priority": "batch"},
    "change_key": {"rpm": 7},
    "rotate_key": {"grace_s": 60},
}
CHANGES = [route for route in ROUTES if route.is_change]


def ask(port: Port, route: Route):
    """Make one change."""
    path = route.path.format(name="edge" if route.noun == "backend" else "made")
    return port.client.request(
        route.method, path, json=BODIES.get(route.name, {}), headers={"x-request-id": "r-1"}
    )


@pytest.mark.parametrize("route", CHANGES, ids=lambda route: route.name)
def test_every_change_is_in_the_log_when_it_is_answered(route: Route, tmp_path: Path):
    """One row: who, from where, what, on what, what was and is, and that it was done."""
    with served(tmp_path) as port:
        port.keys.create("made", rpm=5)
        answer = ask(port, route)
        (row,) = port.audit.newest(10)

    assert answer.is_success
    assert "x-baseload-warning" not in answer.headers
    assert ("token", "127.0.0.1", "r-1", "done") == (
        row.who,
        row.address,
        row.request_id,
        row.result,
    )
    assert (route.name, *ROWS[route.name]) == (row.action, row.target, row.was, row.became)


@pytest.mark.parametrize(
    "route", [route for route in CHANGES if route.noun], ids=lambda route: route.name
)
def test_a_change_that_failed_is_in_the_log_too(route: Route, tmp_path: Path):
    """What was tried on something that is not there is written down with its problem."""
    with served(tmp_path, token=None) as port:
        path = route.path.format(name="nobody")
        answer = port.client.request(route.method, path, json=BODIES.get(route.name, {}))
        (row,) = port.audit.newest(10)

    assert 404 == answer.status_code
    assert ("loopback", route.name, "nobody") == (row.who, row.action, row.target)
    assert row.result.startswith("404: nobody: there is no such")


def test_reading_leaves_no_row(tmp_path: Path):
    """The log holds changes, not looks."""
    with served(tmp_path) as port:
        for route in ROUTES:
            if not route.is_change:
                port.client.get(route.path.format(name="from-file"))

        assert [] == port.audit.newest(10)


def test_neither_token_nor_secret_gets_into_log_or_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """After all changes, no byte of the database and no line of the log holds a secret."""
    caplog.set_level("INFO")
    with served(tmp_path) as port:
        port.keys.create("made", rpm=5)
        secrets = {
            answer.json()["secret"] for route in CHANGES if "secret" in (answer := ask(port, route)).text
            and answer.is_success and "secret" in answer.json()
        }  # fmt: skip
        port.client.get("/status", headers={"authorization": "Bearer wrong-wrong-wrong"})
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("audit.db*"))

    assert len(secrets) == 1
    for secret in (*secrets, TOKEN, "wrong-wrong-wrong"):
        assert secret.encode() not in kept
        assert secret not in caplog.text


class _Failing:
    """A double of an audit log whose store fails as long as it is told to."""

    def __init__(self, log: AuditLog) -> None:
        self.log, self.is_failing = log, True

    def write(self, change: Change) -> None:
        if self.is_failing:
            raise DatabaseError("audit.db: database or disk is full\r\nx: y")
        self.log.write(change)

    def newest(self, limit: int, before: float | None = None) -> list[Change]:
        return self.log.newest(limit, before)


def test_a_failing_store_stops_no_change_and_nothing_is_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """The backend is drained, answer and log warn, and the row follows with the next change."""
    database = Database(f"sqlite:///{tmp_path}/late.db")
    failing = _Failing(AuditLog(database))
    with served(tmp_path, audit=failing) as port:
        drained = port.client.post("/api/v1/backends/edge/drain", json={})
        missing = failing.newest(10)
        failing.is_failing = False
        enabled = port.client.post("/api/v1/backends/edge/enable", json={})
    rows = [row.action for row in failing.newest(10)]
    database.close()

    assert (200, "draining") == (drained.status_code, drained.json()["is_now"])
    assert "disk is full x: y" in drained.headers["x-baseload-warning"]
    assert "not written yet: operator (token, 127.0.0.1) drain_backend, edge" in caplog.text
    assert [] == missing
    assert "x-baseload-warning" not in enabled.headers
    assert ["enable_backend", "drain_backend"] == rows


def test_on_a_full_disk_a_backend_is_drained_all_the_same(tmp_path: Path):
    """SQLite itself refuses to grow; when there is room again, the row is written."""
    database = Database(f"sqlite:///{tmp_path}/full.db")
    log = AuditLog(database)
    database.run("CREATE TABLE filler (text TEXT)")
    pages = database.run("PRAGMA page_count")[0][0]
    database.run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatabaseError, match="full"):
        database.run_many("INSERT INTO filler VALUES (?)", [("x" * 100,)] * 10_000)
    with served(tmp_path, audit=log) as port:
        answers = [
            port.client.post(f"/api/v1/backends/{'e' * number}/drain", json={})
            for number in range(1, 64)
        ]
        drained = port.client.post("/api/v1/backends/edge/drain", json={})
        database.run("PRAGMA max_page_count = 1000000")
        enabled = port.client.post("/api/v1/backends/edge/enable", json={})
        rows = [row.target for row in reversed(log.newest(1000))]
    database.close()

    assert {404} == {answer.status_code for answer in answers}
    assert (200, "draining") == (drained.status_code, drained.json()["is_now"])
    assert "database or disk is full" in drained.headers["x-baseload-warning"]
    assert "x-baseload-warning" not in enabled.headers
    assert ["e" * number for number in range(1, 64)] + ["edge", "edge"] == rows


def test_what_waits_for_a_store_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of too many rows the oldest go; the log has them."""
    monkeypatch.setattr(journal, "WAITING_MAX", 3)
    database = Database(f"sqlite:///{tmp_path}/late.db")
    failing = _Failing(AuditLog(database))
    with served(tmp_path, audit=failing) as port:
        for _ in range(5):
            port.client.post("/api/v1/backends/edge/drain", json={})
        failing.is_failing = False
        port.client.post("/api/v1/backends/edge/enable", json={})
    rows = [row.action for row in failing.newest(10)]
    database.close()

    assert ["enable_backend", "drain_backend", "drain_backend"] == rows


def test_a_locked_database_is_waited_for_so_long_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another process holds the file: changes are made with a warning, reading is a 503."""
    monkeypatch.setattr(backroom, "WAIT_S", 0.2)
    with served(tmp_path) as port:
        with sqlite3.connect(tmp_path / "audit.db", isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            drained = port.client.post("/api/v1/backends/edge/drain", json={})
            other.execute("ROLLBACK")
        other.close()

    assert 200 == drained.status_code
    assert "has not answered for 0.2 s" in drained.headers["x-baseload-warning"]


class _Hanging(_Failing):
    """A double of an audit log whose store never answers, until it is let go."""

    def __init__(self, log: AuditLog) -> None:
        super().__init__(log)
        self.let_go = threading.Event()

    def newest(self, limit: int, before: float | None = None) -> list[Change]:
        self.let_go.wait(30)
        return []


def test_a_store_that_hangs_holds_up_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those who ask the store get a 503; status and changes go on, and what waits is bounded."""
    monkeypatch.setattr(backroom, "WAIT_S", 0.05)
    monkeypatch.setattr(backroom, "QUEUE_MAX", 1)
    database = Database(f"sqlite:///{tmp_path}/late.db")
    hanging = _Hanging(AuditLog(database))
    with served(tmp_path, audit=hanging) as port:
        asked = [port.client.get("/api/v1/audit") for _ in range(5)]
        status = port.client.get("/status")
        drained = port.client.post("/api/v1/backends/edge/drain", json={})
        hanging.let_go.set()
    database.close()

    assert {503} == {answer.status_code for answer in asked}
    assert "too much waits for it" in asked[-1].json()["detail"]
    assert [200, 200] == [status.status_code, drained.status_code]
    assert "x-baseload-warning" in drained.headers
