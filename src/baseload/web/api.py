"""What is done for each operation of the admin API: ask the plane or the office, say what changed.

Every operation takes what was asked and gives what to answer; a change also says on what, and what
was and is, in words short enough for one line of the audit log.

Not here: paths and methods (`routes`), tokens (`guard`), bytes (`asked`), the log (`journal`).
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from baseload.config.tenancy import Key, Limits
from baseload.errors import BaseloadError
from baseload.web.asked import Asked
from baseload.web.backroom import Backroom
from baseload.web.plane import (
    Action,
    Keys,
    KeyShown,
    Moved,
    NotBuiltError,
    Office,
    Plane,
    Status,
    UsageRow,
)
from baseload.web.problem import ProblemError, problem_of
from baseload.web.queries import (
    AuditQuery,
    KeysAnswer,
    LiveQuery,
    UsageAnswer,
    UsageQuery,
    dimensions,
    instant,
)

LOOP_WAIT_S = 5.0
"""Longest time the data plane's loop may take to answer before it counts as stuck."""
_T = TypeVar("_T")


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an operation. `target`, `was` and `became` are for the audit log."""

    body: object
    target: str = ""
    was: str = ""
    became: str = ""


class Api:
    """The operations over one plane and one office; one method each."""

    def __init__(self, plane: Plane, office: Office, backroom: Backroom) -> None:
        self._plane = plane
        self._office = office
        self._run = backroom.run
        self.description: dict[str, object] = {}
        """The API's own; set by whoever hangs the doors."""

    async def waited(self, asking: Awaitable[_T]) -> _T:
        """Wait for the data plane, for so long; raises a 503 if it is stuck."""
        try:
            async with asyncio.timeout(LOOP_WAIT_S):
                return await asking
        except TimeoutError:
            text = f"the data plane has not answered for {LOOP_WAIT_S:g} s"
            raise ProblemError(503, text) from None

    def problem_of(self, error: BaseloadError) -> ProblemError:
        """Turn an error of plane or office into what an operator is told."""
        return problem_of(error, self._office.statuses)

    # -- how things stand --------------------------------------------------------------------

    async def describe(self, _asked: Asked) -> Done:
        """Give the description of all this."""
        return Done(body=self.description)

    async def status(self, _asked: Asked) -> Done:
        """Say how things stand."""
        return Done(body=await self.now())

    async def live(self, asked: Asked) -> Done:
        """Give what the page shows."""
        query: LiveQuery = asked.query
        return Done(body=await self.waited(self._plane.live(query.since)))

    async def backends(self, _asked: Asked) -> Done:
        """Say how the backends stand."""
        return Done(body={"backends": (await self.now()).backends})

    async def usage(self, asked: Asked) -> Done:
        """Add up what was used."""
        if self._office.usage is None:
            raise NotBuiltError("this baseload keeps no ledger that could be asked")
        query: UsageQuery = asked.query
        now = time.time()
        since, until = instant(query.since, now), instant(query.until, now)
        by = dimensions(query.by)
        found = await self._run(self._office.usage.totals, by, since, until)
        rows = [msgspec.convert(row, UsageRow, from_attributes=True) for row in found]
        return Done(body=UsageAnswer(list(by), since, until, rows))

    async def audit(self, asked: Asked) -> Done:
        """Give the newest changes."""
        query: AuditQuery = asked.query
        before = None if query.before is msgspec.UNSET else query.before
        return Done(
            body={"changes": await self._run(self._office.audit.newest, query.limit, before)}
        )

    async def now(self) -> Status:
        """Take a snapshot of the data plane."""
        return await self.waited(self._plane.status())

    # -- the data plane changes --------------------------------------------------------------

    async def enable(self, asked: Asked) -> Done:
        """Send calls to a backend again."""
        return await self._operate(asked, "enable")

    async def drain_backend(self, asked: Asked) -> Done:
        """Send no new calls to a backend."""
        return await self._operate(asked, "drain")

    async def disable(self, asked: Asked) -> Done:
        """Send no calls to a backend; those that it has move if they can."""
        return await self._operate(asked, "disable")

    async def _operate(self, asked: Asked, action: Action) -> Done:
        moved: Moved = await self.waited(self._plane.operate(asked.name, action))
        return Done(body=moved, target=moved.backend, was=moved.was, became=moved.is_now)

    async def reload(self, _asked: Asked) -> Done:
        """Read the fleet file again."""
        report = await self.waited(self._plane.reload())
        if report.mistakes:
            what = "the fleet file has mistakes; nothing was changed"
            raise ProblemError(422, what, errors=list(report.mistakes))
        changed = ", ".join(report.changed) or "nothing"
        later = ", ".join(report.needs_restart)
        return Done(
            body=report, became=changed + (f"; at the next start: {later}" if later else "")
        )

    async def drain(self, _asked: Asked) -> Done:
        """Begin to stop."""
        was = getattr(await self.now(), "state", "")
        await self.waited(self._plane.drain())
        return Done(body={"state": "draining"}, was=was, became="draining")

    # -- keys --------------------------------------------------------------------------------

    async def keys(self, _asked: Asked) -> Done:
        """List the keys of file and store."""
        found = [_of_file(key) for key in self._office.file_keys()]
        if self._office.keys is not None:
            found += [_shown(key) for key in await self._run(self._office.keys.list)]
        return Done(body=KeysAnswer(found))

    async def key(self, asked: Asked) -> Done:
        """Show one key."""
        for key in self._office.file_keys():
            if key.name == asked.name:
                return Done(body=_of_file(key))
        return Done(body=_shown(await self._run(self._keys().get, asked.name)))

    async def create_key(self, asked: Asked) -> Done:
        """Make a key."""
        terms = msgspec.structs.asdict(asked.body)
        name = terms.pop("name")
        self._not_of_file(name)
        made, secret = await self._run(self._keys().create, name, **terms)
        key = _shown(made)
        return Done(body={"key": key, "secret": secret}, target=name, became=_terms(key))

    async def change_key(self, asked: Asked) -> Done:
        """Change a key's terms."""
        self._not_of_file(asked.name)
        changes = {
            field: value
            for field, value in msgspec.structs.asdict(asked.body).items()
            if value is not msgspec.UNSET
        }
        was = _shown(await self._run(self._keys().get, asked.name))
        key = _shown(await self._run(self._keys().update, asked.name, **changes))
        return Done(body=key, target=asked.name, was=_terms(was), became=_terms(key))

    async def rotate_key(self, asked: Asked) -> Done:
        """Give a key a new secret."""
        self._not_of_file(asked.name)
        made, secret = await self._run(self._keys().rotate, asked.name, asked.body.grace_s)
        key = _shown(made)
        became = f"a new secret; the old one ends in {asked.body.grace_s:g} s"
        return Done(body={"key": key, "secret": secret}, target=asked.name, became=became)

    async def revoke_key(self, asked: Asked) -> Done:
        """End a key."""
        self._not_of_file(asked.name)
        key = _shown(await self._run(self._keys().revoke, asked.name))
        return Done(body=key, target=asked.name, was=_terms(key), became="revoked")

    def _keys(self) -> Keys:
        if self._office.keys is None:
            raise NotBuiltError("this baseload has no store for keys")
        return self._office.keys

    def _not_of_file(self, name: str) -> None:
        if any(key.name == name for key in self._office.file_keys()):
            what = "this key is in the fleet file: change it there, and reload"
            raise ProblemError(409, what)


def _of_file(key: Key) -> KeyShown:
    shown = KeyShown.__struct_fields__
    fields = {name: getattr(key, name) for name in Key.__struct_fields__ if name in shown}
    return KeyShown(**fields, kept="file")


def _shown(record: object) -> KeyShown:
    return msgspec.convert(record, KeyShown, from_attributes=True)


def _terms(key: KeyShown) -> str:
    """Say in one line what a key's holder may do; what is as by default goes without saying."""
    plain: dict[str, Any] = msgspec.to_builtins(key)
    usual: dict[str, Any] = msgspec.to_builtins(KeyShown(name=""))
    limits = msgspec.to_builtins(Limits())
    said = [
        f"{field} {msgspec.json.encode(plain[field]).decode()}"
        for field in (*limits, "priority", "models", "expires", "labels", "per_model")
        if plain[field] != usual[field]
    ]
    return ", ".join(said) or "unlimited"
