"""The store of keys, on a real SQLite file and on a real PostgreSQL."""

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from math import inf, nan
from pathlib import Path

import msgspec
import pytest

from baseload.config.tenancy import Limits
from baseload.store.database import Database
from baseload.store.keys import (
    GRACE_S_MAX,
    KEPT_S,
    SECRETS_MAX,
    KeyExistsError,
    KeyStore,
    KeyTermsError,
    UnknownKeyError,
    digest_of,
    is_there,
    new_secret,
)
from tests.store.postgres import postgres

NUMBERS = count()


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database, of one kind and then the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/keys.db"
    base = request.getfixturevalue("server")
    name = f"keys{next(NUMBERS)}"
    with closing(Database(base)) as database:
        database.run(f"CREATE DATABASE {name}")
    return base.removesuffix("postgres") + name


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[KeyStore]:
    with closing(Database(url)) as database:
        yield KeyStore(database, clock)


def alive(store: KeyStore, now: float) -> set[str]:
    """Give the hashes that open the door."""
    return {one.key.sha256 for one in store.passes() if one.ends_at is None or one.ends_at > now}


def test_a_secret_is_256_random_bits_in_plain_signs():
    """It is `bl-` and 43 signs that are safe in a URL, a header and a shell; no two are equal."""
    made = {new_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"bl-[A-Za-z0-9_-]{43}", secret) for secret in made)
    assert {32} == {len(base64.urlsafe_b64decode(secret[3:] + "=")) for secret in made}


def test_a_key_is_kept_without_its_secret(store: KeyStore, url: str, clock: Clock):
    """The secret is given once; what is kept is its hash, how it begins, and the terms."""
    record, secret = store.create(
        "team-a", rpm=600, usd_day=1.5, priority="batch", models=("m",), expires="2027-01-31",
        labels={"mail": "a@b"}, per_model={"m": Limits(tpm=7)},
    )  # fmt: skip

    assert record == store.get("team-a") == store.list()[0]
    assert (600, 1.5, "batch", ("m",)) == (
        record.rpm, record.usd_day, record.priority, record.models,
    )  # fmt: skip
    assert (clock.now, None) == (record.created_at, record.revoked_at)
    assert [secret[:8]] == [one.shown for one in record.secrets]
    (one,) = store.passes()
    assert hashlib.sha256(secret.encode()).hexdigest() == one.key.sha256
    assert ("team-a", Limits(tpm=7), False) == (
        one.key.name, one.key.per_model["m"], one.is_revoked,
    )  # fmt: skip
    assert secret not in repr((record, store.passes()))
    assert secret.encode() not in msgspec.json.encode(record)
    with closing(Database(url)) as database:
        for table in ("keys", "key_secrets", "key_changes"):
            assert secret not in repr(database.run(f"SELECT * FROM {table}"))


def test_a_name_is_given_once_until_it_is_revoked(store: KeyStore, clock: Clock):
    """A second key of a name is refused; after a revocation it is another key, the old one dead."""
    _, first = store.create("a")
    with pytest.raises(KeyExistsError, match="a: a key has this name already"):
        store.create("a")
    clock.now += 10
    revoked = store.revoke("a")
    clock.now += 10
    _, second = store.create("a", rpm=1)

    assert clock.now - 10 == revoked.revoked_at == revoked.secrets[0].ends_at
    assert {digest_of(second.encode())} == alive(store, clock.now)
    assert {digest_of(first.encode()): True, digest_of(second.encode()): False} == {
        one.key.sha256: one.is_revoked for one in store.passes()
    }
    assert [1] == [record.rpm for record in store.list()]
    assert [None, 1] == [record.rpm for record in store.list(with_revoked=True)]


def test_rotation_keeps_the_old_secret_for_its_grace(store: KeyStore, clock: Clock):
    """Both are good for as long as the grace lasts, then the new one alone; the name stays."""
    _, old = store.create("a", rpm=5)
    record, new = store.rotate("a", 60)

    assert {digest_of(old.encode()), digest_of(new.encode())} == alive(store, clock.now)
    assert {digest_of(new.encode())} == alive(store, clock.now + 60)
    assert (5, [(new[:8], None), (old[:8], clock.now + 60)]) == (
        record.rpm, [(one.shown, one.ends_at) for one in record.secrets],
    )  # fmt: skip


def test_rotation_without_grace_ends_all_old_secrets(store: KeyStore, clock: Clock):
    """That is what is done when a secret has leaked: graces that were given before end, too."""
    store.create("a")
    store.rotate("a", 3600)
    clock.now += 1
    _, new = store.rotate("a")

    assert {digest_of(new.encode())} == alive(store, clock.now)


def test_a_later_grace_does_not_lengthen_an_earlier_one(store: KeyStore, clock: Clock):
    """A secret that was to end in a minute does so, though the next one gets an hour."""
    _, first = store.create("a")
    store.rotate("a", 60)
    store.rotate("a", 3600)

    assert 2 == len(alive(store, clock.now + 61))
    assert digest_of(first.encode()) not in alive(store, clock.now + 61)


def test_secrets_of_one_key_are_bounded(store: KeyStore, clock: Clock):
    """Rotating on and on with a grace comes to an end; one without any is always possible."""
    store.create("a")
    for _ in range(SECRETS_MAX - 1):
        store.rotate("a", 60)
    before = store.passes()
    with pytest.raises(KeyTermsError, match="8 old secrets are still valid"):
        store.rotate("a", 60)

    assert before == store.passes()
    store.rotate("a")
    assert 1 == len(alive(store, clock.now))


def test_terms_change_and_are_lifted(store: KeyStore):
    """What is not named stays; None takes a limit away; the secret stays valid."""
    _, secret = store.create("a", rpm=1, tpm=2, labels={"k": "v"})
    record = store.update("a", rpm=None, concurrency=3)

    assert (None, 2, 3, {"k": "v"}) == (
        record.rpm, record.tpm, record.concurrency, record.labels,
    )  # fmt: skip
    assert [(digest_of(secret.encode()), 3)] == [
        (one.key.sha256, one.key.concurrency) for one in store.passes()
    ]


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"rpm": 0}, "rpm"),
        ({"rpm": -1}, "rpm"),
        ({"rpm": "many"}, "rpm"),
        ({"usd_day": nan}, "usd_day"),
        ({"usd_day": inf}, "usd_day"),
        ({"priority": "urgent"}, "priority"),
        ({"expires": "2027-02-30"}, "no day of any calendar"),
        ({"expires": "tomorrow"}, "expires"),
        ({"models": "m"}, "models"),
        ({"per_model": {"m": {"rpm": 0}}}, "rpm"),
        ({"per_model": {"m": {"x": 1}}}, "x"),
        ({"labels": {"k": 1}}, "labels"),
        ({"labels": {"k": "v" * 20_000}}, "longer than"),
        ({"labels": {"k": "\udc80"}}, "make no sense"),
        ({"labels": {"k": object()}}, "make no sense"),
        ({"name": "b"}, "name: a key has no such field"),
        ({"self": "b"}, "self: a key has no such field"),
        ({"sha256": "00"}, "sha256: a key has no such field"),
    ],
)
def test_terms_without_sense_change_nothing(store: KeyStore, terms: dict, said: str):
    """Made or changed with them, a key is as it was; the error names what is wrong."""
    record, _ = store.create("a")
    version = store.version()
    for act in (lambda: store.create("b", **terms), lambda: store.update("a", **terms)):
        with pytest.raises(KeyTermsError, match=said):
            act()

    assert ((record,), version) == (store.list(), store.version())


@pytest.mark.parametrize("name", ["", "a\n", "a\x00b", "\x1b[2J", "x" * 65, "\udc80", "a\x7f"])
def test_names_without_sense(store: KeyStore, name: str):
    """Such a name makes no key and finds none, and nothing of it reaches a terminal unescaped."""
    with pytest.raises(KeyTermsError) as made:
        store.create(name)
    with pytest.raises(UnknownKeyError) as asked:
        store.rotate(name)

    assert str(made.value).isprintable()
    assert str(asked.value).isprintable()


@pytest.mark.parametrize("name", ["ä", "team a", "'; DROP TABLE keys; --", "%s?", "[red]", "日本"])
def test_names_of_any_kind(store: KeyStore, name: str):
    """Whatever can be printed is a name like any other."""
    store.create(name)
    store.update(name, rpm=1)
    store.rotate(name)

    assert name == store.get(name).name
    assert name == store.revoke(name).name
    with pytest.raises(UnknownKeyError):
        store.get(name)


def test_what_is_unknown(store: KeyStore):
    """Every act upon a key that is not there says so, and an impossible grace is refused."""
    store.create("a")
    for act in (store.get, store.rotate, store.revoke, store.update):
        with pytest.raises(UnknownKeyError, match="b: there is no such key"):
            act("b")
    for grace_s in (-1.0, nan, inf, GRACE_S_MAX + 1):
        with pytest.raises(KeyTermsError, match="the grace must be"):
            store.rotate("a", grace_s)


def test_the_version_tells_of_every_change(store: KeyStore, url: str):
    """It grows with each one, whoever made it, and stays as long as there is none."""
    seen = [store.version()]
    store.create("a")
    seen.append(store.version())
    with closing(Database(url)) as database:
        other = KeyStore(database)
        other.update("a", rpm=1)
        seen.append(store.version())
        other.rotate("a")
        seen.append(store.version())
        other.revoke("a")
        seen += [store.version(), other.version()]

    assert [0, 1, 2, 3, 4, 4] == seen


def test_what_ended_long_ago_is_forgotten(store: KeyStore, clock: Clock):
    """Its holder is told for a while; then the next change takes it out of the database."""
    store.create("gone")
    store.create("kept")
    store.revoke("gone")
    store.rotate("kept")
    clock.now += KEPT_S + 1
    assert 4 - 1 == len(store.passes())
    store.update("kept", rpm=1)

    assert 1 == len(store.passes())
    assert ["kept"] == [record.name for record in store.list(with_revoked=True)]


def test_one_of_many_makers_wins(store: KeyStore, url: str):
    """Of 16 who make a key of one name at once, one does, and the others hear that it is there."""
    ends: list[str] = []
    together = threading.Barrier(16)

    def make() -> None:
        with closing(Database(url)) as database:
            together.wait()
            try:
                KeyStore(database).create("a")
                ends.append("made")
            except KeyExistsError:
                ends.append("there")

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ["made"] + ["there"] * 15 == sorted(ends)
    assert 1 == len(store.list())


def test_a_row_that_cannot_be_read_lets_nobody_in(store: KeyStore, url: str, caplog):
    """The others do; the log says so, and names no secret."""
    store.create("good")
    store.create("bad")
    with closing(Database(url)) as database:
        database.run("UPDATE keys SET terms = ? WHERE name = ?", '{"later": 1}', "bad")

    assert ["good"] == [one.key.name for one in store.passes()]
    assert "a key's terms in the store cannot be read" in caplog.text


def test_a_database_that_nobody_made_holds_no_keys(tmp_path: Path):
    """Looking does not make it; a server is asked in any case."""
    file = tmp_path / "new.db"

    assert not is_there(f"sqlite:///{file}")
    assert not is_there("sqlite:///")
    assert not file.exists()
    with closing(Database(f"sqlite:///{file}")):
        assert is_there(f"sqlite:///{file}")
    assert is_there("postgresql://nowhere/x")
