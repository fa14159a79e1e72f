"""The audit log, on real SQLite and real PostgreSQL."""

from pathlib import Path

import pytest

from baseload.store import audit
from baseload.store.audit import AuditLog, Change
from baseload.store.database import Database
from tests.store.postgres import postgres


def change(at: float, **more: str) -> Change:
    """Make a row."""
    kept = {"who": "token", "address": "::1", "action": "reload", "target": "", "result": "done"}
    return Change(at=at, request_id=f"r-{at}", **(kept | more))


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server for all tests of this module."""
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path):
    """An empty log in each kind of database."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/audit.db")
    else:
        database = Database(request.getfixturevalue("server"))
        database.run("DELETE FROM audit")
    yield AuditLog(database)
    database.close()


def test_rows_come_back_newest_first(log: AuditLog):
    """All of a row comes back; `before` and `limit` page through the log."""
    rows = [change(at, was="enabled", became="draining") for at in (1.0, 3.0, 2.0)]
    for row in rows:
        log.write(row)

    assert [rows[1], rows[2], rows[0]] == log.newest(10)
    assert [rows[1]] == log.newest(1)
    assert [rows[2], rows[0]] == log.newest(10, before=3.0)


def test_a_row_that_is_handed_over_twice_is_written_once(log: AuditLog):
    """Whoever does not know whether a write succeeded may repeat it."""
    for row in (change(1.0), change(1.0), change(2.0)):
        log.write(row)

    assert [change(2.0), change(1.0)] == log.newest(10)


def test_values_are_kept_short_and_harmless(log: AuditLog):
    """Long texts are cut, and no value can be SQL or a sign that PostgreSQL refuses."""
    nasty = "'); DROP TABLE audit; --\x00"
    log.write(change(1.0, target=nasty, became="x" * 10_000))
    (row,) = log.newest(10)

    assert nasty.replace("\x00", "\N{REPLACEMENT CHARACTER}") == row.target
    assert audit.CHARACTERS_MAX == len(row.became)


def test_the_oldest_rows_go(log: AuditLog, monkeypatch: pytest.MonkeyPatch):
    """The table keeps so many rows, and at most as many more as are written between two looks."""
    monkeypatch.setattr(audit, "ROWS_MAX", 10)
    monkeypatch.setattr(audit, "PRUNE_EVERY", 5)
    for at in range(101):
        log.write(change(float(at)))
    ats = [row.at for row in log.newest(1000)]

    assert [float(at) for at in range(100, 90, -1)] == ats
