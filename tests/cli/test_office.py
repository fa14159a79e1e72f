"""What the operators' port has of the store: opened late, tried again, on real databases."""

from collections.abc import Sequence
from pathlib import Path
from threading import Semaphore

import pytest

from baseload.cli.office import LateAudit, LateKeys, LateUsage
from baseload.store.audit import Change
from baseload.store.database import Database, DatabaseError
from tests.store.postgres import postgres
from tests.web.doubles import DoubleKeys


def change(at: float) -> Change:
    """Make a row."""
    return Change(
        at=at, request_id="r", who="token", address="::1", action="reload", target="", result="done"
    )


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path):
    """A baseload whose operators change nothing leaves no file of theirs behind."""
    audit = LateAudit(f"sqlite:///{tmp_path}/late.db")
    before = list(tmp_path.iterdir())
    audit.write(change(1.0))
    audit.close()

    assert [] == before
    assert (tmp_path / "late.db").exists()


def test_a_store_that_could_not_be_had_is_tried_again(tmp_path: Path):
    """The first question fails, and the next one finds the store that came meanwhile."""
    (tmp_path / "store").write_text("a file where a folder should be")
    audit = LateAudit(f"sqlite:///{tmp_path}/store/late.db")
    with pytest.raises(DatabaseError):
        audit.write(change(1.0))
    (tmp_path / "store").unlink()
    audit.write(change(2.0))
    rows = audit.newest(10)
    audit.close()

    assert [change(2.0)] == rows


def test_a_connection_that_was_cut_is_made_anew():
    """PostgreSQL ends every connection: one question may fail, the next does not."""
    with postgres() as url:
        audit = LateAudit(url)
        audit.write(change(1.0))
        other = Database(url)
        other.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = ?",
            "client backend",
        )
        other.close()
        for _ in range(2):
            try:
                audit.write(change(2.0))
                break
            except DatabaseError:
                continue
        rows = audit.newest(10)
        audit.close()

    assert [change(2.0), change(1.0)] == rows


def test_keys_and_usage_are_asked_of_what_is_made(tmp_path: Path):
    """Each question goes to the store that was made of it, with all its words; changes are told."""
    url, kept, asked = f"sqlite:///{tmp_path}/late.db", DoubleKeys(), []
    told = Semaphore(0)

    def add_up(
        database: Database, by: Sequence[str], *, since: float, until: float | None
    ) -> list[object]:
        asked.append((database.kind, tuple(by), since, until))
        return ["row"]

    keys, usage = LateKeys(url, lambda _database: kept, told.release), LateUsage(url, add_up)
    made, secret = keys.create("a", rpm=1)
    changed = keys.update("a", rpm=2)
    rotated = keys.rotate("a", 5.0)
    listed, got, revoked = keys.list(), keys.get("a"), keys.revoke("a")
    rows = usage.totals(("key",), 1.0, 2.0)
    keys.close()
    usage.close()

    assert [True] * 4 + [False] == [told.acquire(blocking=False) for _ in range(5)]
    assert (1, 2, secret) == (made.rpm, changed.rpm, rotated[1])
    assert ([changed], changed, 2.0) == (listed, got, revoked.revoked_at)
    assert (["row"], [("sqlite", ("key",), 1.0, 2.0)]) == (rows, asked)
