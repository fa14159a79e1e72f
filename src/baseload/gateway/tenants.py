"""Who calls, and what may they do here?

Without keys everybody may, and callers are told apart by a short hash of what they show, salted
anew in every process: it is equal for equal keys and says nothing else. With keys, whoever shows
none of them is nobody. A gateway that has asked for keys goes on to ask for them: when the last one
is taken away, nobody may come in, and not everybody.

A caller who was let in is remembered by the whole header, so that each further call costs one
look-up. All of it is forgotten whenever a key changes or comes to its end; so nothing about time or
terms has to be looked at on the way.

Not here: how keys are made and kept (`store.keys`), and how word of a change comes (`keywatch`).
"""

import hmac
import logging
import os
import time
from collections.abc import Callable, Iterable
from hashlib import blake2s
from math import inf

from baseload.config.fleet import Fleet
from baseload.config.tenancy import Key
from baseload.core.facts import DEFAULT, INTERACTIVE, Priority
from baseload.core.quota import Scope, scopes_of
from baseload.store.keys import Pass, digest_of

REMEMBERED_MAX = 1024
"""Headers that are remembered with whom they belong to, so that a call costs a look-up."""
HEADER_BYTES_MAX = 512
"""A longer header is not remembered: a thousand of them would be much."""
TOKEN_BYTES_MAX = 4096
"""A longer token is nobody's, and not worth a hash."""
NAME_BYTES = 8

_NO_KEY = Key(name="", sha256="")
_NOTHING_SHOWN = (
    "You did not show an API key. Send it in the header `Authorization: Bearer KEY`, or in"
    " `x-api-key`."
)
_UNKNOWN = "Incorrect API key provided."
_EXPIRED = "This API key has expired."
_REPLACED = "This API key was replaced by a newer one."
_REVOKED = "This API key was revoked."

logger = logging.getLogger("baseload.gateway")


class Tenant:
    """A caller, as far as calls need to know."""

    __slots__ = ("label", "models", "name", "priority", "scopes", "usual")

    def __init__(
        self,
        name: str,
        label: str,
        priority: int = INTERACTIVE,
        models: frozenset[str] | None = None,
        usual: int = DEFAULT,
    ) -> None:
        self.name = name
        """What fairness tells callers apart by."""
        self.label = label
        """What stands in the ledger: the key's name, or nothing."""
        self.priority = priority
        """The most urgent class that its calls may have."""
        self.usual = usual
        """The class of its calls that ask for none."""
        self.models = models
        """Models that it may use; None: all."""
        self.scopes: dict[str, tuple[Scope, ...]] = {}
        """What limits its calls, by model; a model without any is absent."""

    def may_use(self, model: str) -> bool:
        """Whether it may use a model of this name, if there is one."""
        return self.models is None or model in self.models


class _Held:
    """One secret's hash with whose it is, and what its holder is told once it has ended."""

    __slots__ = ("ends_at", "farewell", "key")

    def __init__(self, key: Key, ends_at: float, farewell: str) -> None:
        self.key, self.ends_at, self.farewell = key, ends_at, farewell


class Tenants:
    """All callers who may come in. Belongs to the event loop's thread."""

    def __init__(self, fleet: Fleet, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self._fleet = fleet
        self._clock = clock
        self._salt = os.urandom(NAME_BYTES)
        self._stored: tuple[Pass, ...] = ()
        self._held: dict[str, _Held] = {}
        self.known: dict[bytes, Tenant] = {}
        """Callers who were let in, by their headers: whoever is here may come in at once."""
        self._next_end = inf
        self.is_open = True
        """Whether callers need no key."""
        self._refill()

    # -- what calls ask ----------------------------------------------------------------------

    def find(self, authorization: bytes) -> Tenant | None:
        """Give whoever sent this header; None if nobody here has such a key."""
        return self.known.get(authorization) or self._meet(authorization)

    def why_not(self, authorization: bytes) -> str:
        """Say to a caller who was not found what is wrong; nothing of the token is repeated."""
        token = _token(authorization)
        if not token:
            return _NOTHING_SHOWN
        held = self._holder(token)
        return _UNKNOWN if held is None else held.farewell

    def named(self, name: str) -> Tenant | None:
        """Give the tenant whose key has this name, if the key is still good; for work put off.

        The empty name is that of callers without keys, where none are asked for.
        """
        if not name:
            return self._stranger(b"") if self.is_open else None
        now = self._clock()
        for held in self._held.values():
            if held.key.name == name and held.ends_at > now:
                return self._tenant(held.key)
        return None

    # -- what changes ------------------------------------------------------------------------

    def replace(self, stored: Iterable[Pass]) -> None:
        """Hear which keys the store holds now; all of them, every time."""
        self._stored = tuple(stored)
        self._refill()

    def reload(self, fleet: Fleet) -> None:
        """Take keys, models and limits from another fleet file."""
        self._fleet = fleet
        self._refill()

    def tick(self) -> None:
        """Forget whom a key let in whose time is over; once a second is enough."""
        if self._clock() >= self._next_end:
            self._forget()

    # -- within ------------------------------------------------------------------------------

    def _refill(self) -> None:
        """Gather the keys of file and store. A name in the file is the file's alone."""
        held, in_file = {}, {key.name for key in self._fleet.keys}
        for stored in self._stored:
            key = stored.key
            if key.name in in_file:
                logger.warning("key %s: the fleet file has one of this name, which holds", key.name)
                continue
            at, farewell = key.expires_at, _EXPIRED
            if stored.ends_at is not None and stored.ends_at <= at:
                at, farewell = stored.ends_at, _REVOKED if stored.is_revoked else _REPLACED
            held[key.sha256] = _Held(key, at, farewell)
        for key in self._fleet.keys:
            held[key.sha256] = _Held(key, key.expires_at, _EXPIRED)
        self._held = held
        self._open_scopes = self._scopes(_NO_KEY, None)
        if in_file or any(not stored.is_revoked for stored in self._stored):
            self.is_open = False  # And never True again: see above.
        self._forget()

    def _forget(self) -> None:
        self.known = {}
        self._next_end = inf

    def _meet(self, authorization: bytes) -> Tenant | None:
        """Find out who this is; whoever may come in is remembered, and nobody else."""
        if self.is_open:
            found, ends_at = self._stranger(authorization), inf
        else:
            held = self._holder(_token(authorization))
            if held is None or held.ends_at <= self._clock():
                return None
            found, ends_at = self._tenant(held.key), held.ends_at
        if len(authorization) <= HEADER_BYTES_MAX:
            if len(self.known) >= REMEMBERED_MAX:
                self._forget()
            self.known[authorization] = found
            self._next_end = min(self._next_end, ends_at)
        return found

    def _holder(self, token: bytes) -> _Held | None:
        """Look a token up by its digest.

        How long that takes may tell how far a digest was alike. It leads nowhere: nobody can choose
        a token by its digest, so a caller learns nothing with which to make a better guess. The
        digests are compared in constant time all the same, so that no more than a look-up is left.
        """
        if not token or len(token) > TOKEN_BYTES_MAX:
            return None
        digest = digest_of(token)
        held = self._held.get(digest)
        if held is None or not hmac.compare_digest(held.key.sha256, digest):
            return None
        return held

    def _stranger(self, authorization: bytes) -> Tenant:
        """Make a tenant of a caller who needs no key, told apart from others by what it shows."""
        name = ""
        if authorization:
            token = authorization.rpartition(b" ")[2]
            name = blake2s(token, digest_size=NAME_BYTES, salt=self._salt).hexdigest()
        tenant = Tenant(name, "")
        tenant.scopes = self._open_scopes
        return tenant

    def _tenant(self, key: Key) -> Tenant:
        priority = Priority[key.priority.upper()]
        models = frozenset(key.models) if key.models else None
        tenant = Tenant(key.name, key.name, priority, models, priority)
        tenant.scopes = self._scopes(key, models)
        return tenant

    def _scopes(self, key: Key, models: frozenset[str] | None) -> dict[str, tuple[Scope, ...]]:
        """Give what limits a key, for each model that it may use and that is limited at all."""
        return {
            name: scopes
            for name, model in self._fleet.models.items()
            if (models is None or name in models) and (scopes := scopes_of(key, model))
        }


def _token(authorization: bytes) -> bytes:
    """Give what follows `Bearer`; nothing for any other scheme."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip(b" \t") if scheme.lower() == b"bearer" else b""
