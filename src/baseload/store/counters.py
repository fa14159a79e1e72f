"""Where are limits counted? Here, in this process; or where a URL says.

Counting in memory is the default and enough for one process. It forgets with the process: minutes
and calls in flight are of no use to the next one, and the money that was spent today and this month
is handed in at the start, from the ledger.

Not here: counts that replicas share (`shared_counters`), and how anything is counted
(`core.quota`).
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, time
from typing import Protocol

from baseload.core.past import Spent
from baseload.core.quota import WINDOW_S, Hold, Quota, Verdict
from baseload.errors import BaseloadError
from baseload.store.database import Database
from baseload.store.urls import shown
from baseload.store.usage import spent

Then = Callable[[Verdict], None]
SCHEME_CHARACTERS_MAX = 16
"""A longer one is not repeated: who knows what it is."""


class CountersError(BaseloadError):
    """The counters cannot be had as they are asked for."""


class Counters(Protocol):
    """Where limits are counted, as calls need it: in this process, or for all replicas."""

    quota: Quota
    """What this process has granted, and what was spent in it."""

    def reserve(self, hold: Hold, then: Then) -> Verdict | None:
        """Set aside; give the verdict, or None and then call with it later, soon and surely."""

    def grant(self, hold: Hold) -> Verdict | None:
        """Set aside, if that can be granted without waiting; else nothing has happened."""

    def settle(self, hold: Hold, tokens: int, usd: float) -> None:
        """Give back what was not used. Legal once, at any time after `reserve` was called."""


class OpenCounters(Counters, Protocol):
    """The same, as whoever opened them for a URL begins and ends them."""

    async def start(self) -> None:
        """Begin; what is not there yet is not waited for."""

    async def close(self) -> None:
        """End; no call is in flight any more."""


class LocalCounters:
    """Counts in this process. `spent` is what the ledger knows of today and this month."""

    def __init__(self, spent: Spent | None = None, window_s: float = WINDOW_S) -> None:
        self.quota = Quota(window_s, spent, time())

    def reserve(self, hold: Hold, then: Then) -> Verdict | None:
        """Set aside; the verdict is there at once."""
        return self.quota.reserve(hold, monotonic(), time())

    def grant(self, hold: Hold) -> Verdict | None:
        """Set aside if there is room; who finds none asks again in due form, and is told why."""
        return self.quota.grant(hold, monotonic(), time())

    def settle(self, hold: Hold, tokens: int, usd: float) -> None:
        """Give back what was not used."""
        self.quota.settle(hold, tokens, usd, time())

    async def start(self) -> None:
        """Begin: there is nothing to do."""

    async def close(self) -> None:
        """End: there is nothing to do."""


def open_counters(url: str, spent: Spent | None = None, replicas: int = 1) -> OpenCounters:
    """Give the counters that a URL names; `replicas` share them until more of them are seen.

    Raises `CountersError`. Nothing is connected before `start`, and `start` fails for no server
    that is away: then every replica counts its own share.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "memory":
        return LocalCounters(spent)
    if scheme in {"redis", "rediss", "unix"}:
        try:
            from redis.exceptions import RedisError  # noqa: PLC0415 - an extra

            from baseload.store.redis_wire import RedisWire  # noqa: PLC0415 - an extra
            from baseload.store.shared_counters import SharedCounters  # noqa: PLC0415
        except ImportError as error:
            raise CountersError(
                "store.counters: for redis:// the package `redis` is needed: "
                "pip install 'baseload[redis]'"
            ) from error
        where = shown(url)
        try:
            wire = RedisWire(url, f"{os.getpid()}-{os.urandom(4).hex()}")
        except (ValueError, TypeError, RedisError):
            # Its words may repeat a part of the password, so they are not repeated here.
            raise CountersError(
                f"store.counters: {where}: this is no URL; it is written redis://:PASSWORD@HOST:"
                "6379/0, with %2F for `/`, %23 for `#` and %40 for `@` in a password"
            ) from None
        return SharedCounters(wire, where, spent, replicas)
    known = scheme if scheme.isalnum() and len(scheme) <= SCHEME_CHARACTERS_MAX else "?"
    raise CountersError(
        f"store.counters: `{known}://` is not known; it can be memory:// or redis://HOST:PORT/0"
    )


def spent_so_far(ledger: str, now: float) -> Spent:
    """Give what each scope has spent today and this month (UTC); raises `DatabaseError`.

    It blocks, and sums up a month's rows: once, before anything is served.
    """
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    database = Database(ledger)
    try:
        day, month = (spent(database, since.timestamp()) for since in (today, today.replace(day=1)))
    finally:
        database.close()
    found: dict[str, tuple[float, float]] = {}
    for key, usd in month.by_key.items():
        found[f"key:{key}"] = (day.by_key.get(key, 0.0), usd)
    for (key, model), usd in month.by_key_and_model.items():
        found[f"key:{key}/model:{model}"] = (day.by_key_and_model.get((key, model), 0.0), usd)
    for model, usd in month.by_model.items():
        found[f"model:{model}"] = (day.by_model.get(model, 0.0), usd)
    return found
