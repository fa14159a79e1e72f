"""Who calls, and what may they do here?

Without keys everybody may, and callers are told apart by a short hash of what they show, salted
anew in every process: it is equal for equal keys and says nothing else. With keys, whoever shows
none of them is nobody.
"""

import os
from hashlib import blake2s
from math import inf

from baseload.core.facts import INTERACTIVE
from baseload.core.quota import Scope

REMEMBERED_MAX = 1024
"""Headers that are remembered with whom they belong to, so that a call costs a look-up."""
HEADER_BYTES_MAX = 512
"""A longer header is remembered by its hash alone: a thousand of them would be much."""
NAME_BYTES = 8


class Tenant:
    """A caller, as far as calls need to know."""

    __slots__ = ("expires_at", "label", "models", "name", "priority", "scopes")

    def __init__(
        self,
        name: str,
        label: str,
        priority: int = INTERACTIVE,
        models: frozenset[str] | None = None,
        expires_at: float = inf,
    ) -> None:
        self.name = name
        """What fairness tells callers apart by."""
        self.label = label
        """What stands in the ledger: the key's name, or nothing."""
        self.priority = priority
        """The most urgent class that its calls may have."""
        self.models = models
        """Models that it may use; None: all."""
        self.expires_at = expires_at
        """In seconds since 1970."""
        self.scopes: dict[str, tuple[Scope, ...]] = {}
        """What limits its calls, by model; a model without any is absent."""


class Tenants:
    """All callers who may come in."""

    def __init__(self) -> None:
        self._salt = os.urandom(8)
        self._known: dict[bytes, Tenant] = {b"": Tenant("", "")}

    def named(self, label: str) -> Tenant | None:
        """Give whose key has this name; None if there is no such key any more."""
        return None if label else self._known[b""]

    def find(self, authorization: bytes) -> Tenant | None:
        """Give whoever sent this header; None if nobody here has such a key."""
        found = self._known.get(authorization)
        if found is None:
            if len(self._known) >= REMEMBERED_MAX:
                self._known = {b"": Tenant("", "")}
            if len(authorization) > HEADER_BYTES_MAX:
                authorization = blake2s(authorization).digest()
            token = authorization.rpartition(b" ")[2]
            name = blake2s(token, digest_size=NAME_BYTES, salt=self._salt).hexdigest()
            found = self._known[authorization] = Tenant(name, "")
        return found
