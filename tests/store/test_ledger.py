"""The ledger: rows go in at no cost and come to stand in the database, once, whatever it does."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread
from time import time

import pytest

from baseload.store import ledger as module
from baseload.store import migrations
from baseload.store.database import Database, DatabaseError
from baseload.store.ledger import Ledger
from tests.store.rows import ENTRY, entry, ids, until
from tests.store.servers import Postgres

MANY = 3 * module.APPEND_MAX + 7


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Try again soon: nothing here is to be seen in the time between two tries."""
    monkeypatch.setattr(module, "RETRY_S", 0.02)


OLD = (
    1.0, "old", "team-a", "chat/completions", "m", "m-1", "b0", "done", 1, 1, 0, 0, 1, 0.001, 0.2,
    1.0, 10, 4, 7, 2, 0, 0.5,
)  # fmt: skip
"""A row as the first four migrations have it."""


def _columns(url: str) -> list[tuple[object, ...]]:
    with closing(Database(url)) as database:
        return database.run("SELECT * FROM calls ORDER BY at")


# -- when all is well ----------------------------------------------------------------------------


def test_a_row_is_written_soon(url):
    """Nobody has to ask for it, and all of its fields are there, in the order of the columns."""
    ledger = Ledger(url)
    ledger.enter(entry(1, is_hedged=True, first_token_s=None, cost_usd=None, energy_j=2.5))
    until(lambda: ledger.written == 1)
    ledger.close()

    assert [
        (
            1000.0, "r1", "team-a", "chat/completions", "m", "m-1", "b0", "done", 1, 1, 0, 1, 1,
            0.001, None, 1.0, 10, 4, 7, 2, 0, None, 2.5,
        )
    ] == _columns(url)  # fmt: skip


def test_closing_writes_everything(url):
    """However much waits: all of it is there, in order, and once."""
    ledger = Ledger(url)
    for number in range(MANY):
        ledger.enter(entry(number, at=float(number)))
    ledger.close()

    assert [f"r{number}" for number in range(MANY)] == ids(url)
    assert (MANY, 0, 0, None) == (ledger.written, ledger.lost, ledger.waiting, ledger.alarm)


def test_rows_that_come_while_others_are_written_are_not_forgotten(url):
    """The list is filled at one end while it is emptied at the other."""
    ledger = Ledger(url)
    steps = 200
    for step in range(steps):
        for number in range(50):
            ledger.enter(entry(step * 50 + number))
        if step % 20 == 0:
            until(lambda: ledger.written > 0)
    ledger.close()

    assert {f"r{number}" for number in range(50 * steps)} == set(ids(url))
    assert 50 * steps == ledger.written


def test_several_processes_may_write_one_ledger(url):
    """Here: several ledgers with a connection and a thread each."""
    ledgers = [Ledger(url) for _ in range(4)]
    for number in range(400):
        ledgers[number % 4].enter(entry(number))
    for ledger in ledgers:
        ledger.close()

    assert sorted(f"r{number}" for number in range(400)) == sorted(ids(url))


def test_a_database_that_cannot_be_opened_is_an_error_at_the_start(tmp_path):
    """Before any call is taken."""
    with pytest.raises(DatabaseError, match="unable to open"):
        Ledger(f"sqlite:///{tmp_path}")


# -- when it is not ------------------------------------------------------------------------------


def test_what_does_not_fit_is_counted(url, monkeypatch, caplog):
    """The buffer has a bound; what is beyond it is lost, and what is in it is not."""
    monkeypatch.setattr(module, "ROWS_MAX", 10)
    monkeypatch.setattr(module, "WRITE_S", 60.0)
    ledger = Ledger(url)
    for number in range(15):
        ledger.enter(entry(number))

    assert (10, 5) == (ledger.waiting, ledger.lost)
    assert "more rows come than it takes" in ledger.alarm.reason
    ledger.close()
    assert (10, 5) == (len(ids(url)), ledger.lost)


def test_a_row_that_the_database_refuses_takes_no_other_with_it(url, caplog):
    """It alone is lost, with one line in the log; those before and after it are written."""
    ledger = Ledger(url)
    for number in range(20):
        ledger.enter(entry(number, at=float(number), prompt_tokens=1 << (70 if number == 7 else 3)))
    ledger.close()

    assert [f"r{number}" for number in range(20) if number != 7] == ids(url)
    assert (19, 1) == (ledger.written, ledger.lost)
    assert ["a row is lost"] == [record.message.partition(":")[0] for record in caplog.records]


def test_a_locked_file_raises_an_alarm_and_loses_nothing(tmp_path, caplog, monkeypatch):
    """Another process holds it for a while: one line when it begins, one when it ends."""
    monkeypatch.setattr("baseload.store.database.BUSY_S", 0.05)
    path = tmp_path / "ledger.db"
    began = time()
    ledger = Ledger(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(10):
            ledger.enter(entry(number, at=float(number)))
        until(lambda: ledger.alarm is not None)
        alarm = ledger.alarm
        ledger.enter(entry(10, at=10.0))
        other.execute("COMMIT")
    until(lambda: ledger.written == 11)
    until(lambda: ledger.alarm is None)
    ledger.close()

    assert [f"r{number}" for number in range(11)] == ids(f"sqlite:///{path}")
    assert "database is locked; another process holds it" in alarm.reason
    assert began <= alarm.since <= time()
    messages = [record.message for record in caplog.records]
    assert ["the ledger cannot be written", "the ledger is written again"] == [
        message[: message.index(":" if "cannot" in message else ",")] for message in messages
    ]


def test_a_file_that_vanishes_is_begun_anew(tmp_path):
    """Rows that come later are in a new file of that name, not in one that nobody can see."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    ledger.enter(entry(1))
    until(lambda: ledger.written == 1)
    path.unlink()
    ledger.enter(entry(2))
    ledger.close()

    assert ["r2"] == ids(f"sqlite:///{path}")
    assert (2, 0) == (ledger.written, ledger.lost)


def test_a_folder_that_vanishes_is_waited_for(tmp_path):
    """A disk that comes back has all rows."""
    folder = tmp_path / "disk"
    ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    folder.rename(tmp_path / "elsewhere")
    ledger.enter(entry(1))
    until(lambda: ledger.alarm is not None)
    (tmp_path / "elsewhere").rename(folder)
    until(lambda: ledger.alarm is None)
    ledger.close()

    assert ["r1"] == ids(f"sqlite:///{folder}/ledger.db")


def test_closing_waits_no_longer_than_it_is_told(tmp_path, caplog):
    """What cannot be written by then is counted and told."""
    folder = tmp_path / "disk"
    ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    folder.rename(tmp_path / "elsewhere")
    for number in range(3):
        ledger.enter(entry(number))
    ledger.close(wait_s=0.2)

    assert (0, 3) == (ledger.written, ledger.lost)
    assert "the ledger is closed and 3 rows are lost" in caplog.text


def test_a_defect_of_ours_does_not_end_the_thread(url, monkeypatch, caplog):
    """It is an alarm like any other, and rows are written once it is over."""
    ledger = Ledger(url)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_row", lambda _: 1 / 0)
        ledger.enter(entry(1))
        until(lambda: ledger.alarm is not None)
        assert "ZeroDivisionError" in ledger.alarm.reason
    until(lambda: ledger.written == 1)
    ledger.close()

    assert ["r1"] == ids(url)


def test_a_ledger_from_before_energy_goes_on(url, monkeypatch):
    """Rows that stand there already keep all that they have, and have no energy."""
    with monkeypatch.context() as before:
        known = list(migrations._files())
        before.setattr(migrations, "_files", lambda: iter(known[:4]))
        old = Database(url)
        old.run("INSERT INTO calls VALUES (" + ", ".join(["?"] * 22) + ")", *OLD)
        old.close()
    ledger = Ledger(url)
    ledger.enter(entry(2, energy_j=1.5))
    ledger.close()

    assert [(*OLD, None), (1000.0, "r2", 1.5)] == [
        row if row[1] == "old" else (row[0], row[1], row[-1]) for row in sorted(_columns(url))
    ]


# -- once, and not twice -------------------------------------------------------------------------


@pytest.mark.parametrize("is_done", [True, False])
def test_a_commit_whose_answer_was_lost_is_not_repeated(url, monkeypatch, is_done):
    """The connection breaks while a batch is written, and nobody knows whether it was heard."""
    ledger = Ledger(url)
    whole, breaks = Database.append, iter([True])

    def append(self: Database, *words: object) -> None:
        if not next(breaks, False):
            whole(self, *words)
            return
        if is_done:
            whole(self, *words)
        raise DatabaseError("the connection broke")

    monkeypatch.setattr(Database, "append", append)
    for number in range(5):
        ledger.enter(entry(number, at=float(number)))
    until(lambda: ledger.written == 5)
    ledger.enter(entry(5, at=5.0))
    ledger.close()

    assert [f"r{number}" for number in range(6)] == ids(url)
    assert (6, 0) == (ledger.written, ledger.lost)


def test_a_server_that_is_down_for_a_while(postgres: Postgres, caplog):
    """PostgreSQL is killed under load and comes back: every row is there once, none is lost."""
    url = postgres.new()
    ledger = Ledger(url)
    numbers = iter(range(100_000))

    def enter(count: int) -> None:
        for _ in range(count):
            ledger.enter(entry(next(numbers)))

    for _ in range(3):
        enter(2000)
        killer = Thread(target=postgres.kill)
        killer.start()
        while killer.is_alive():
            enter(5)
            killer.join(0.002)
        enter(500)
        until(lambda: ledger.alarm is not None)
        assert "postgresql://postgres@" in ledger.alarm.reason
        postgres.start()
        until(lambda: ledger.alarm is None)
    enter(100)
    ledger.close()

    count = next(numbers)
    found = ids(url)
    assert (count, 0) == (ledger.written, ledger.lost)
    assert sorted(f"r{number}" for number in range(count)) == sorted(found)
    assert 3 == caplog.text.count("the ledger cannot be written")
    assert 3 == caplog.text.count("the ledger is written again")


def test_a_server_that_answers_nothing_is_an_alarm(postgres: Postgres, monkeypatch):
    """It hangs, entering goes on, and closing is bounded; once it goes on all rows are there."""
    monkeypatch.setattr(module, "STUCK_S", 0.1)
    url = postgres.new()
    ledger = Ledger(url)
    postgres.pause()
    try:
        ledger.enter(ENTRY)
        until(lambda: ledger.alarm is not None)
        ledger.enter(ENTRY)
        reason = ledger.alarm.reason
    finally:
        postgres.resume()
    until(lambda: ledger.written == 2)
    ledger.close()

    assert "no answer for" in reason
    assert ["r", "r"] == ids(url)


# -- old rows ------------------------------------------------------------------------------------


def test_old_rows_are_deleted_in_small_pieces(url, monkeypatch):
    """As many as the setting says are kept, and no transaction is long."""
    monkeypatch.setattr(module, "PRUNE_ROWS", 10)
    old, now = 100, time()
    first = Ledger(url)
    for number in range(old):
        first.enter(entry(number, at=now - 8 * 86_400 + number // 3))
    for number in range(old, old + 5):
        first.enter(entry(number, at=now - 6 * 86_400 + number))
    first.close()
    second = Ledger(url, keep_days=7)
    until(lambda: second.pruned == old)
    second.close()

    assert [f"r{number}" for number in range(old, old + 5)] == ids(url)


def test_without_a_bound_everything_is_kept(url):
    """0 days: for ever."""
    ledger = Ledger(url, keep_days=0)
    ledger.enter(entry(at=0.0))
    ledger.close()

    assert (["r0"], 0) == (ids(url), ledger.pruned)


def test_the_default_path_is_where_baseload_is_started(tmp_path: Path, monkeypatch):
    """A relative URL means the folder of the process."""
    monkeypatch.chdir(tmp_path)
    Ledger("sqlite:///baseload.db").close()

    assert (tmp_path / "baseload.db").is_file()
