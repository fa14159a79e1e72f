"""How word of a changed key comes from a real database to a gateway."""

import queue
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from baseload.gateway.keywatch import KeyWatch
from baseload.store.database import Database, DatabaseError
from baseload.store.keys import KeyStore, Pass
from tests.store.postgres import postgres

HEARD_S_MAX = 20.0
"""Longest wait for what must come; it comes within a second on an idle machine."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/keys.db"


@pytest.fixture
def store(url: str) -> Iterator[KeyStore]:
    with closing(Database(url)) as database:
        yield KeyStore(database)


class Ear:
    """Keeps what is heard, until it is asked for."""

    def __init__(self) -> None:
        self.heard: queue.Queue[tuple[Pass, ...]] = queue.Queue()

    def names(self) -> list[str]:
        """Wait for the next word; give the names of keys that are not revoked."""
        passes = self.heard.get(timeout=HEARD_S_MAX)
        return [one.key.name for one in passes if not one.is_revoked]


@pytest.fixture
def ear(url: str) -> Iterator[Ear]:
    """Give what a running watch tells."""
    ear, watch = Ear(), KeyWatch(url)
    watch.start(ear.heard.put)
    yield ear
    watch.stop()


def test_a_look_tells_of_changes_alone(url: str, store: KeyStore):
    """The first look gives all keys, the next ones nothing until something has changed."""
    store.create("a")
    watch = KeyWatch(url)
    looks = [watch.look(), watch.look()]
    store.revoke("a")
    looks += [watch.look(), watch.look()]
    watch.stop()

    assert [1, None, 1, None] == [look and len(look) for look in looks]
    assert [False, True] == [look[0].is_revoked for look in looks if look]


def test_a_file_that_nobody_made_is_waited_for(tmp_path: Path, url: str, ear: Ear):
    """It is not made by looking; when the first key is, that is heard."""
    watch = KeyWatch(url)
    assert watch.look() is None
    assert not list(tmp_path.iterdir())
    watch.stop()
    with closing(Database(url)) as database:
        KeyStore(database).create("a")

    while not (names := ear.names()):  # The empty tables may be seen first.
        pass
    assert ["a"] == names


def test_changes_are_heard_while_it_runs(store: KeyStore, ear: Ear):
    """Made, made anew and revoked elsewhere: each is heard without being asked for."""
    assert [] == ear.names()
    store.create("a")
    assert ["a"] == ear.names()
    store.rotate("a", 60)
    assert ["a", "a"] == ear.names()
    store.revoke("a")
    assert [] == ear.names()


def test_a_word_from_this_process_is_acted_upon_at_once(url: str, store: KeyStore, monkeypatch):
    """However long the pause between two looks is, `wake` ends it."""
    monkeypatch.setattr("baseload.gateway.keywatch.POLL_S", 3600.0)
    ear, watch = Ear(), KeyWatch(url)
    watch.start(ear.heard.put)
    heard = [ear.names()]
    store.create("a")
    watch.wake()
    heard.append(ear.names())
    watch.stop()

    assert [[], ["a"]] == heard


def test_a_database_that_fails_changes_nothing(url: str, store: KeyStore, ear: Ear, caplog):
    """The keys known so far hold, it is said once, and what comes after it is heard."""
    store.create("a")
    while ear.names() != ["a"]:
        pass
    with closing(Database(url)) as database:
        database.run("ALTER TABLE key_changes RENAME TO away")
        while "keys cannot be looked up, those known so far hold" not in caplog.text:
            assert ear.heard.empty()
            time.sleep(0.005)
        database.run("ALTER TABLE away RENAME TO key_changes")
    store.create("b")
    while ear.names() != ["a", "b"]:
        pass

    assert 1 == caplog.text.count("keys cannot be looked up")


def test_a_first_look_says_what_is_wrong(tmp_path: Path):
    """At the start there is nothing to hold on to: that is for the caller to judge."""
    file = tmp_path / "no.db"
    file.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        KeyWatch(f"sqlite:///{file}").look()
    with pytest.raises(DatabaseError, match="not `sqlite:///FILE`"):
        KeyWatch("mysql://x").look()


def test_a_server_that_drops_its_connections_is_asked_anew():
    """A PostgreSQL that went away and is back: the next change is heard as ever."""
    with postgres() as url, closing(Database(url)) as database:
        store, ear, watch = KeyStore(database), Ear(), KeyWatch(url)
        watch.start(ear.heard.put)
        assert [] == ear.names()
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ended = database.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        )
        store.create("a")
        while ear.names() != ["a"]:
            pass
        watch.stop()

    assert [(True,)] == ended
