"""Which keys were given out, what may their holders do, and which of them still open the door?

A key is a *name* with terms (limits, models, a class) and one or more *secrets*. Limits, ledger and
fairness go by the name, so that a secret can be replaced (*rotated*) without anything else being
touched; the old one may stay valid for a while (its grace). A name that was revoked may be given
anew: that is another key, and the old secrets stay dead.

A secret is shown once, when it is made, and stored as its SHA-256 alone. Passwords need a slow hash
because people choose them, and whoever steals the hashes can try what people choose. A secret here
is 256 random bits: there is nothing to try but all of them, which no hash has to make slower, and a
slow one would be paid for at the door by every call.

Not here: keys that stand in the fleet file, and the door itself (`gateway.tenants`).
"""

import logging
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from baseload.config.tenancy import NAME_PATTERN, Key, Terms
from baseload.errors import BaseloadError
from baseload.store.database import Database, Row, kind_of, sqlite_path

SECRET_BYTES = 32
SECRET_PREFIX = "bl-"  # noqa: S105 - what secrets begin with, for scanners that look for lost ones
SHOWN_CHARACTERS = 8
"""What is kept of a secret to recognise it by: five random signs, 30 of its 256 bits."""
KEYS_MAX = 10_000
"""Keys in one store, lately revoked ones included: a gateway holds them all."""
SECRETS_MAX = 8
"""Secrets of one key that are valid at once."""
GRACE_S_MAX = 30 * 86400.0
KEPT_S = 90 * 86400.0
"""How long what was revoked or replaced is remembered, so that its holder is told so."""
TERMS_BYTES_MAX = 16 * 1024
"""The terms of one key as JSON, labels included."""

logger = logging.getLogger("baseload.store")

_TERMS = frozenset(Terms.__struct_fields__)
_SELECT = "SELECT id, name, terms, created_at, revoked_at FROM keys"
_SECRETS = "SELECT key_id, shown, created_at, ends_at FROM key_secrets"
_NEWEST_FIRST = "created_at DESC, ends_at IS NULL DESC, ends_at DESC"


class KeyStoreError(BaseloadError):
    """What was asked of the store cannot be done."""


class UnknownKeyError(KeyStoreError):
    """No key has this name."""


class KeyExistsError(KeyStoreError):
    """A key has this name already."""


class KeyTermsError(KeyStoreError):
    """A name or terms that make no sense, or more than the store will hold."""


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of a key, without itself: how it begins and from when to when it is valid."""

    shown: str
    created_at: float
    ends_at: float | None


class KeyRecord(Terms, frozen=True, kw_only=True):
    """A key as it may be shown to operators. Times are seconds since 1970."""

    name: str
    created_at: float
    revoked_at: float | None
    secrets: tuple[Secret, ...]
    """Newest first; those that ended long ago are left out."""

    @property
    def terms(self) -> dict[str, Any]:
        """What its holder may do, as plain data."""
        return {field: getattr(self, field) for field in Terms.__struct_fields__}


class Pass(msgspec.Struct, frozen=True):
    """One secret's hash, and whom it lets in until when. Those that ended lately are told apart."""

    key: Key
    ends_at: float | None = None
    is_revoked: bool = False


class KeyStore:
    """The keys in one database. May be used from several threads; raises `KeyStoreError`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # -- what operators do -------------------------------------------------------------------

    def create(self, name: str, /, **terms: object) -> tuple[KeyRecord, str]:
        """Make a key; `terms` are fields of `Terms`. Give it with its secret, shown only now."""
        _check_name(name)
        judged = _judge(terms)
        with self._changing() as now:
            if self._row(name) is not None:
                raise KeyExistsError(f"{name}: a key has this name already; revoke or rotate it")
            if self._database.run("SELECT count(*) FROM keys")[0][0] >= KEYS_MAX:
                raise KeyTermsError(f"there are {KEYS_MAX} keys already, lately revoked ones too")
            id_ = secrets.token_hex(8)
            self._database.run(
                "INSERT INTO keys (id, name, terms, created_at) VALUES (?, ?, ?, ?)",
                id_, name, judged, now,
            )  # fmt: skip
            secret = self._add_secret(id_, now)
            return self.get(name), secret

    def list(self, *, with_revoked: bool = False) -> tuple[KeyRecord, ...]:
        """Give all keys by name; with the lately revoked ones if wanted."""
        rows = self._database.run(f"{_SELECT} ORDER BY name, created_at")
        by_key: dict[str, list[Row]] = {}
        for id_, *secret in self._database.run(f"{_SECRETS} ORDER BY {_NEWEST_FIRST}"):
            by_key.setdefault(id_, []).append(tuple(secret))
        return tuple(
            _record(row, by_key.get(row[0], ())) for row in rows if with_revoked or row[4] is None
        )

    def get(self, name: str) -> KeyRecord:
        """Give one key that is not revoked."""
        row = self._needed(name)
        return _record(row, self._secrets(row[0]))

    def rotate(self, name: str, grace_s: float = 0.0) -> tuple[KeyRecord, str]:
        """Make a new secret; the old ones end when `grace_s` is over, or sooner if they would."""
        if not 0 <= grace_s <= GRACE_S_MAX:
            raise KeyTermsError(f"the grace must be between 0 and {GRACE_S_MAX / 86400:g} days")
        with self._changing() as now:
            id_ = self._needed(name)[0]
            self._end_secrets(id_, now + grace_s)
            alive = "SELECT count(*) FROM key_secrets WHERE key_id = ? AND ends_at > ?"
            if self._database.run(alive, id_, now)[0][0] >= SECRETS_MAX:
                what = f"{name}: {SECRETS_MAX} old secrets are still valid"
                raise KeyTermsError(f"{what}; rotating with a grace of 0 ends them all")
            secret = self._add_secret(id_, now)
            return self.get(name), secret

    def revoke(self, name: str) -> KeyRecord:
        """End a key and all of its secrets, now; its name is free again."""
        with self._changing() as now:
            id_ = self._needed(name)[0]
            self._end_secrets(id_, now)
            self._database.run("UPDATE keys SET revoked_at = ? WHERE id = ?", now, id_)
            row = self._database.run(f"{_SELECT} WHERE id = ?", id_)[0]
            return _record(row, self._secrets(id_))

    def update(self, name: str, /, **changes: object) -> KeyRecord:
        """Change some of a key's terms; None takes a limit away."""
        with self._changing():
            judged = _judge(self.get(name).terms | changes)
            self._database.run(
                "UPDATE keys SET terms = ? WHERE id = ?", judged, self._needed(name)[0]
            )
            return self.get(name)

    # -- what the door asks ------------------------------------------------------------------

    def version(self) -> int:
        """Give a number that grows with every change: whether to look again, for one row's cost."""
        number: int = self._database.run("SELECT number FROM key_changes")[0][0]
        return number

    def passes(self) -> tuple[Pass, ...]:
        """Give every secret's hash that opens the door, or did until lately."""
        rows = self._database.run(
            "SELECT s.sha256, s.ends_at, k.name, k.terms, k.revoked_at"
            " FROM key_secrets s JOIN keys k ON k.id = s.key_id ORDER BY s.created_at"
        )
        passes = []
        for digest, ends_at, name, terms, revoked_at in rows:
            try:
                key = Key(name=name, sha256=digest, **_fields(terms))
            except KeyTermsError as error:
                logger.warning("%s; it lets nobody in", error)
                continue
            passes.append(Pass(key, ends_at, revoked_at is not None))
        return tuple(passes)

    # -- within ------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[float]:
        """Do all of it or nothing, one writer at a time: all of them begin at the same row."""
        now = self._clock()
        with self._database.transaction():
            self._database.run("UPDATE key_changes SET number = number + 1")
            yield now
            old = now - KEPT_S
            self._database.run("DELETE FROM key_secrets WHERE ends_at < ?", old)
            self._database.run("DELETE FROM keys WHERE revoked_at < ?", old)

    def _row(self, name: str) -> Row | None:
        rows = self._database.run(f"{_SELECT} WHERE name = ? AND revoked_at IS NULL", name)
        return rows[0] if rows else None

    def _needed(self, name: str) -> Row:
        row = self._row(name) if _is_name(name) else None
        if row is None:
            raise UnknownKeyError(f"{_shown(name)}: there is no such key in the store")
        return row

    def _add_secret(self, id_: str, now: float) -> str:
        secret = new_secret()
        self._database.run(
            "INSERT INTO key_secrets (sha256, key_id, shown, created_at) VALUES (?, ?, ?, ?)",
            digest_of(secret.encode()), id_, secret[:SHOWN_CHARACTERS], now,
        )  # fmt: skip
        return secret

    def _end_secrets(self, id_: str, at: float) -> None:
        self._database.run(
            "UPDATE key_secrets SET ends_at = ?"
            " WHERE key_id = ? AND (ends_at IS NULL OR ends_at > ?)",
            at, id_, at,
        )  # fmt: skip

    def _secrets(self, id_: str) -> Iterable[Row]:
        sql = f"{_SECRETS} WHERE key_id = ? ORDER BY {_NEWEST_FIRST}"
        return [tuple(row[1:]) for row in self._database.run(sql, id_)]


def _record(row: Row, found: Iterable[Row]) -> KeyRecord:
    _, name, terms, created_at, revoked_at = row
    return KeyRecord(
        name=name,
        created_at=created_at,
        revoked_at=revoked_at,
        secrets=tuple(Secret(shown=s, created_at=c, ends_at=e) for s, c, e in found),
        **_fields(terms),
    )


def new_secret() -> str:
    """Make a secret: `bl-` and 43 signs that need no quoting anywhere."""
    random = urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=")
    return SECRET_PREFIX + random.decode()


def digest_of(secret: bytes) -> str:
    """Give the form in which secrets are kept."""
    return sha256(secret).hexdigest()


def is_there(url: str) -> bool:
    """Whether there can be keys at this URL: a SQLite file that nobody has made has none."""
    if kind_of(url) != "sqlite":
        return True
    path = sqlite_path(url)
    return bool(path) and Path(path).expanduser().exists()


def _judge(terms: dict[str, Any]) -> str:
    """Give terms as they are stored; raises `KeyTermsError` with what is wrong with them."""
    for field in terms:
        if field not in _TERMS:
            raise KeyTermsError(f"{_shown(field)}: a key has no such field")
    try:
        judged = msgspec.convert(msgspec.to_builtins(terms), Terms)
        stored = msgspec.json.encode(judged)
    except (msgspec.ValidationError, UnicodeError, TypeError) as error:
        raise KeyTermsError(f"these terms make no sense: {error}") from error
    if len(stored) > TERMS_BYTES_MAX:
        raise KeyTermsError(f"these terms are longer than {TERMS_BYTES_MAX} bytes of JSON")
    try:
        judged.expires_at  # noqa: B018 - it raises
    except ValueError:
        raise KeyTermsError(f"expires: {judged.expires} is no day of any calendar") from None
    return stored.decode()


def _fields(stored: str) -> dict[str, Any]:
    try:
        terms = msgspec.json.decode(stored, type=Terms)
        terms.expires_at  # noqa: B018 - it raises
    except ValueError as error:
        raise KeyTermsError(f"a key's terms in the store cannot be read: {error}") from error
    return {field: getattr(terms, field) for field in Terms.__struct_fields__}


def _is_name(name: str) -> bool:
    try:
        name.encode()
    except UnicodeError:
        return False
    return re.fullmatch(NAME_PATTERN, name) is not None and not name.endswith("\n")


def _check_name(name: str) -> None:
    if not _is_name(name):
        raise KeyTermsError(f"{_shown(name)}: a name has 1 to 64 signs, all of them printable")


def _shown(word: str) -> str:
    return ascii(word[:64])[1:-1]
