"""One database behind one URL: opening, breaking, and what people are told."""

import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from baseload.errors import BaseloadError
from baseload.store import migrations
from baseload.store.database import Database, DatabaseError, RefusedError
from baseload.store.urls import shown
from tests.store.servers import Postgres

NOTES = "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, number BIGINT, at FLOAT)"
OPEN = "import sys; from baseload.store.database import Database; Database(sys.argv[1]).close()"


def _refusal(url: str, **options: bool) -> str:
    with pytest.raises(DatabaseError) as caught:
        Database(url, **options)
    return str(caught.value)


def _open(url: str) -> Database:
    """Open a database with a table to play with."""
    database = Database(url)
    database.run(NOTES)
    return database


# -- opening -------------------------------------------------------------------------------------


def test_tables_are_made_once(url):
    """The second to open a database finds it as the first left it."""
    first = _open(url)
    first.run("INSERT INTO notes VALUES (?, ?, ?)", "w", 1, 2.0)
    first.close()
    second = Database(url)

    assert [("w", 1)] == second.run("SELECT name, number FROM notes")
    second.close()


def test_many_threads_may_open_a_new_database_together(url):
    """Each waits for its turn, and none meets half a table."""
    with ThreadPoolExecutor(12) as pool:
        databases = list(pool.map(Database, [url] * 12))

    numbers = [database.run("SELECT COUNT(*) FROM migrations") for database in databases]
    assert 1 == len({str(number) for number in numbers})
    for database in databases:
        database.close()


def test_many_processes_may_open_a_new_database_together(url):
    """The same for processes, as workers that start at once."""
    command = [sys.executable, "-c", OPEN, url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]

    assert [(0, "")] * 6 == [(one.wait(60), one.communicate()[1]) for one in started]


def test_a_newer_database_is_refused(url):
    """Its tables may mean something else; the error says what to do."""
    database = Database(url)
    database.run("INSERT INTO migrations VALUES (?)", 9999)
    database.close()

    assert "it was made by a newer baseload (migration 9999); run that one" in _refusal(url)


def test_a_migration_that_fails_leaves_nothing(url, monkeypatch):
    """All that are missing come in one transaction."""
    monkeypatch.setattr(
        migrations, "_files", lambda: iter([(1, "CREATE TABLE x (a TEXT)"), (2, "CREATE NONSENSE")])
    )
    assert "syntax error" in _refusal(url)
    monkeypatch.undo()
    database = Database(url)

    with pytest.raises(DatabaseError):
        database.run("SELECT * FROM x")
    assert [(1,)] == database.run("SELECT number FROM migrations WHERE number = 1")
    database.close()


def test_a_folder_is_made_and_a_reader_makes_nothing(tmp_path):
    """Whoever only asks is told that there is nothing, and leaves nothing behind."""
    url = f"sqlite:///{tmp_path}/some/folder/ledger.db"

    assert "there is no such file; `baseload up` makes it" in _refusal(url, must_exist=True)
    assert not (tmp_path / "some").exists()
    Database(url).close()
    Database(url, must_exist=True).close()


def test_nobody_else_may_read_what_is_made(tmp_path):
    """File, folder and SQLite's own files beside it are their owner's alone."""
    before = os.umask(0)
    try:
        database = Database(f"sqlite:///{tmp_path}/new/calls.db")
        database.run("DELETE FROM calls")
        found = [tmp_path / "new", *(tmp_path / "new").iterdir()]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in found}
        database.close()
    finally:
        os.umask(before)

    assert {"new": 0o700, "calls.db": 0o600, "calls.db-wal": 0o600, "calls.db-shm": 0o600} == modes


def test_what_is_no_database_is_told(tmp_path):
    """A file with something else in it, a folder, a place where none can be made."""
    (tmp_path / "text.db").write_text("no database at all" * 100)
    (tmp_path / "folder").mkdir()

    assert "file is not a database; move the file away" in _refusal(f"sqlite:///{tmp_path}/text.db")
    assert "unable to open database file" in _refusal(f"sqlite:///{tmp_path}/folder")
    assert f"exists: {tmp_path}/text.db" in _refusal(f"sqlite:///{tmp_path}/text.db/x.db")


def test_a_damaged_file_is_told(tmp_path):
    """A file whose pages are overwritten is refused with what to do, and no traceback."""
    path = tmp_path / "ledger.db"
    Database(f"sqlite:///{path}").close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8000)

    assert "malformed; move the file away" in _refusal(f"sqlite:///{path}")


def test_a_folder_that_may_not_be_written_is_told():
    """The error names the database and hints at the folder; nobody may write into this one."""
    assert "may it be written?" in _refusal("sqlite:////proc/self/ledger.db")


# -- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:s3cret@h/d", "mysql://u:***@h/d: not `sqlite:///FILE`"),
        ("nonsense", "nonsense: not `sqlite:///FILE`"),
        ("sqlite://ledger.db", "sqlite:///baseload.db, sqlite:////var/lib/baseload.db"),
        ("postgresql://u:s3@cret@h/d", "write it as %40"),
        ("postgresql://u:s3cret@127.0.0.1:1/d", "postgresql://u:***@127.0.0.1:1/d: "),
        ("postgresql://u@127.0.0.1:1/d?password=s3cret", "d?password=***: "),
        ("postgresql://u:s3cret@127.0.0.1:port/d", 'invalid integer value "port"'),
        ("postgresql://u:s3cret@127.0.0.1:1/d?nonsense=s3cret", "nonsense"),
    ],
)
def test_a_url_that_is_no_use_is_told_without_its_password(url, says):
    """Whatever is wrong, and whoever says so."""
    text = _refusal(url)

    assert says in text
    assert "s3cret" not in text.replace("nonsense=s3cret", "")
    assert "cret" not in text.replace("nonsense=s3cret", "")


def test_a_password_is_not_shown():
    """Wherever in the URL it stands, and whatever signs it has."""
    for url in ("postgresql://u:p/w:x@h/d", "postgresql://u:pw@h/d?sslpassword=pw&x=1"):
        assert "pw" not in shown(url).replace("sslpassword", "")
        assert "w:x" not in shown(url)
    assert "postgresql://u@h/d" == shown("postgresql://u@h/d")


def test_database_errors_are_errors_that_people_are_told():
    """The command line shows them as one sentence."""
    assert issubclass(RefusedError, DatabaseError)
    assert issubclass(DatabaseError, BaseloadError)


# -- transactions, and what breaks ---------------------------------------------------------------


def test_a_transaction_is_all_or_nothing(url):
    """What fails in the middle leaves nothing, and the next one works."""
    database = _open(url)
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.run("INSERT INTO notes VALUES (?, ?, ?)", "w", 1, 2.0)
        raise ZeroDivisionError
    with pytest.raises(RefusedError), database.transaction():
        for _ in range(2):
            database.run("INSERT INTO notes VALUES (?, ?, ?)", "w", 1, 2.0)
    with database.transaction():
        database.run("INSERT INTO notes VALUES (?, ?, ?)", "v", 1, 2.0)

    assert [("v",)] == database.run("SELECT name FROM notes")
    database.close()


def test_values_that_do_not_fit_are_told_apart_from_a_database_that_does_not_work(url):
    """Numbers beyond 64 bits and lone surrogates are the row's fault."""
    database = _open(url)
    for value in (1 << 70, "\ud800"):
        with pytest.raises(RefusedError):
            database.run("INSERT INTO notes VALUES (?, ?, ?)", f"{value!r}", value, 2.0)
    with pytest.raises(DatabaseError) as caught:
        database.run("SELECT nothing FROM nowhere")

    assert not isinstance(caught.value, RefusedError)
    database.close()


def test_a_file_that_was_removed_is_begun_anew(tmp_path):
    """What is written next is in a file that others can see."""
    path = tmp_path / "ledger.db"
    database = Database(f"sqlite:///{path}")
    path.unlink()
    database.run(NOTES)
    database.run("INSERT INTO notes VALUES (?, ?, ?)", "w", 1, 2.0)
    database.close()
    with sqlite3.connect(path) as other:
        found = other.execute("SELECT name FROM notes").fetchall()
    other.close()

    assert [("w",)] == found


def test_a_folder_that_was_removed_is_not_made_again(tmp_path):
    """It may be a disk that is not mounted at the moment."""
    folder = tmp_path / "disk"
    database = Database(f"sqlite:///{folder}/ledger.db")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(DatabaseError, match="is there such a folder"):
        database.run("SELECT 1")
    (tmp_path / "elsewhere").rename(folder)

    assert [(1,)] == database.run("SELECT 1")
    database.close()


def test_a_server_that_was_restarted_is_reached_again(postgres: Postgres):
    """A question is asked again on a new connection; within a transaction nothing is."""
    database = Database(postgres.new())
    postgres.kill()
    with pytest.raises(DatabaseError):
        database.run("SELECT 1")
    postgres.start()

    assert [(1,)] == database.run("SELECT 1")
    postgres.kill()
    postgres.start()
    with database.transaction():
        assert [(1,)] == database.run("SELECT 1")
    postgres.kill()
    postgres.start()
    with pytest.raises(DatabaseError), database.transaction():
        database._connection.close()
        database.run("SELECT 1")
    assert [(1,)] == database.run("SELECT 1")
    database.close()
