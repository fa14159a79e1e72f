"""How is one step taken on a Redis server: which bytes go there, and what comes back?

All steps are one Lua script (`lua/step.lua`), sent by its hash, and once in full to a server that
does not know it. All keys begin with one hash tag, so a cluster keeps them on one node; whoever is
told that they moved goes there. One connection is used, and nothing is repeated: what became of a
step that was not answered is made good by later ones.

Not here: which steps are taken and when (`shared_counters`).
"""

from hashlib import sha1
from importlib import resources
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError, RedisError

from baseload.core.card import PLACE_WAIT_S, SPAN
from baseload.core.quota import (
    Hold,
    Shortage,
    Standing,
    Verdict,
    day_left_s,
    grant_of,
    month_left_s,
    verdict_of,
)

PREFIX = "{baseload}:"
CONNECT_S = 1.0
"""How long a connection may take: no call waits for it."""
TROUBLES = (RedisError, OSError, TimeoutError, msgspec.MsgspecError)
"""All that can become of a step but its answer."""

_SCRIPT = resources.files("baseload.store").joinpath("lua/step.lua").read_bytes()
_DIGEST = sha1(_SCRIPT, usedforsecurity=False).hexdigest()


class Short(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A limit that a call does not fit in: whose, which, what is used, and when enough is free."""

    scope: int
    kind: int
    used: float
    last_slice: int


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How a scope stands, the call counted if it was granted."""

    requests: int
    tokens: int
    in_flight: int
    usd_day: float
    usd_month: float
    last_slice: int


class Result(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What came of one ask: granted if nothing was short; a row for each of its scopes."""

    shorts: list[Short]
    rows: list[Row]


class Answer(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a step came to. Without replicas it came too late to be taken."""

    now_us: float
    replicas: int
    slice: int
    results: list[Result]


_decode = msgspec.msgpack.Decoder(Answer, strict=False).decode
_encode = msgspec.msgpack.Encoder().encode


class RedisWire:
    """One connection to one server; `replica` is a name that no other process has."""

    def __init__(self, url: str, replica: str) -> None:
        self._replica = replica
        self._keys = [f"{PREFIX}replicas", f"{PREFIX}replica:{replica}"]
        self._client = Redis.from_url(
            url,
            socket_timeout=None,  # Whoever takes a step minds the clock.
            socket_connect_timeout=CONNECT_S,
            retry=Retry(NoBackoff(), 0),
        )

    async def step(self, scopes: list[str], payload: list[Any]) -> Answer:
        """Take a step; raises one of `TROUBLES`. The payload is that of the script, as it is."""
        keys = [*self._keys, *(f"{PREFIX}{name}" for name in scopes)]
        try:
            answer = await self._run(_DIGEST, keys, _encode(payload))
        except MovedError as error:
            self._client.connection_pool.connection_kwargs |= {
                "host": error.host,
                "port": error.port,
            }
            await self._forget()
            raise
        found = _decode(answer)
        if not found.replicas:
            raise TimeoutError("the step came too late to be taken")
        return found

    async def _run(self, digest: str, keys: list[str], payload: bytes) -> bytes:
        run = cast("Any", self._client.evalsha)
        try:
            answer = await run(digest, len(keys), *keys, self._replica, payload)
        except NoScriptError:
            run = cast("Any", self._client.eval)
            answer = await run(_SCRIPT, len(keys), *keys, self._replica, payload)
        return cast("bytes", answer)

    async def leave(self) -> None:
        """Give up this replica's lease."""
        await cast("Any", self._client.zrem)(self._keys[0], self._replica)

    async def _forget(self) -> None:
        """Drop the connection, and where it led to; the next step makes a new one."""
        pool = self._client.connection_pool
        await pool.disconnect(inuse_connections=True)
        cast("Any", pool).reset()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()


def verdict_of_result(
    hold: Hold, result: Result, names: list[str], at: float, slice_s: float
) -> Verdict:
    """Give the verdict that a result stands for; `names` are the step's scopes, in order."""
    standings = [
        Standing(scope, row.requests, row.tokens, _until_gone(row.last_slice, at, slice_s))
        for scope, row in zip(hold.scopes, result.rows, strict=True)
    ]
    if not result.shorts:
        return grant_of(standings)
    by_name = {scope.name: scope for scope in hold.scopes}
    waits = {2: PLACE_WAIT_S, 3: day_left_s(at), 4: month_left_s(at)}
    shortages = [
        Shortage(
            by_name[names[short.scope - 1]], short.kind, short.used,
            waits.get(short.kind) or _until_gone(short.last_slice, at, slice_s),
        )
        for short in result.shorts
    ]  # fmt: skip
    return verdict_of(hold, shortages, standings)


def _until_gone(index: int, at: float, slice_s: float) -> float:
    """Give after how long a slice has expired."""
    return 0.0 if index < 0 else max((index + SPAN) * slice_s - at, slice_s)
