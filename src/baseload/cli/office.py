"""How does the operator's port come by what is kept in the store?

Each thing is made from a database that is opened when it is first needed, in the thread that needs
it. A store that cannot be had stops no gateway, and is tried again with the next question; so is a
connection that was lost.

Not here: the tables (`store`), and what operators may ask (`web/plane`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Generic, Protocol, TypeVar

from baseload.store.audit import AuditLog, Change
from baseload.store.database import Database, DatabaseError
from baseload.web.plane import Keys

_T = TypeVar("_T")


class Late(Generic[_T]):
    """Something made from a database, when it is first needed."""

    def __init__(self, url: str, make: Callable[[Database], _T]) -> None:
        self._url = url
        self._make = make
        self._lock = Lock()
        self._database: Database | None = None
        self._made: _T | None = None

    @contextmanager
    def use(self) -> Iterator[_T]:
        """Give it; raises `DatabaseError`, and begins anew after one."""
        with self._lock:
            if self._made is None:
                self._database = Database(self._url)
                self._made = self._make(self._database)
            made = self._made
        try:
            yield made
        except DatabaseError:
            self.close()
            raise

    def close(self) -> None:
        """Close the database, if it is open."""
        with self._lock:
            if self._database is not None:
                with suppress(DatabaseError):
                    self._database.close()
            self._database = self._made = None


class LateAudit(Late[AuditLog]):
    """The audit log."""

    def __init__(self, url: str) -> None:
        super().__init__(url, AuditLog)

    def write(self, change: Change) -> None:
        """Add a row, once."""
        with self.use() as log:
            log.write(change)

    def newest(self, limit: int, before: float | None = None) -> list[Change]:
        """Give rows, newest first."""
        with self.use() as log:
            return log.newest(limit, before)


class LateKeys(Late[Keys]):
    """A store of keys; `make` is its class, and `tell` is called after each change."""

    def __init__(
        self, url: str, make: Callable[[Database], Keys], tell: Callable[[], None]
    ) -> None:
        super().__init__(url, make)
        self._tell = tell

    def list(self) -> Sequence[object]:
        """Give all that are not revoked."""
        with self.use() as keys:
            return keys.list()

    def get(self, name: str) -> object:
        """Give one."""
        with self.use() as keys:
            return keys.get(name)

    def create(self, name: str, /, **terms: object) -> tuple[object, str]:
        """Make a key; give it and its secret."""
        with self._changing() as keys:
            return keys.create(name, **terms)

    def update(self, name: str, /, **changes: object) -> object:
        """Change some of a key's terms."""
        with self._changing() as keys:
            return keys.update(name, **changes)

    def rotate(self, name: str, grace_s: float = 0.0) -> tuple[object, str]:
        """Make a new secret."""
        with self._changing() as keys:
            return keys.rotate(name, grace_s)

    def revoke(self, name: str) -> object:
        """End a key."""
        with self._changing() as keys:
            return keys.revoke(name)

    @contextmanager
    def _changing(self) -> Iterator[Keys]:
        with self.use() as keys:
            yield keys
        self._tell()


class AddUp(Protocol):
    """Adds up what is in the ledger."""

    def __call__(
        self, database: Database, by: Sequence[str], *, since: float, until: float | None
    ) -> Sequence[object]:
        """Give one row for each combination of `by`."""


class LateUsage(Late[Database]):
    """What was used, as the ledger has it; `add_up` asks it."""

    def __init__(self, url: str, add_up: AddUp) -> None:
        super().__init__(url, _itself)
        self._add_up = add_up

    def totals(self, by: tuple[str, ...], since: float, until: float) -> Sequence[object]:
        """Give one row for each combination of `by`."""
        with self.use() as database:
            return self._add_up(database, by, since=since, until=until)


def _itself(database: Database) -> Database:
    return database
