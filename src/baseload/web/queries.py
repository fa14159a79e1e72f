"""What may stand in a query, and what the answers look like that are not the plane's own.

The names and bounds here are the API's description as well: `openapi` reads them.
"""

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from baseload.store.audit import Change
from baseload.web.plane import KeyShown, UsageRow
from baseload.web.problem import ProblemError

TIME_MAX = 1e11
"""Seconds since 1970 that are taken for a time: some thousand years."""
TICK_MAX = 10**15
"""More ticks than any process lives."""
DIMENSIONS = ("key", "model", "served", "backend", "api", "outcome", "day", "hour")
_ONE = f"({'|'.join(DIMENSIONS)})"
_TIME = "^(now|[0-9]{1,5}[mhd]|[0-9]{4}-[0-9]{2}-[0-9]{2})$"
_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}


class LiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page has already."""

    since: Annotated[
        int, Meta(ge=0, le=TICK_MAX, description="Tick of the last data; 0: all there is.")
    ] = 0


class UsageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls to add up, and by what."""

    by: Annotated[
        str,
        Meta(
            pattern=f"^{_ONE}(,{_ONE}){{0,{len(DIMENSIONS) - 1}}}$",
            description=f"Some of {', '.join(DIMENSIONS)}, separated by commas.",
        ),
    ] = "key"
    since: Annotated[
        str, Meta(pattern=_TIME, description="A day (UTC), or so long ago: 30m, 24h, 7d.")
    ] = "7d"
    until: Annotated[str, Meta(pattern=_TIME, description="The same; not included.")] = "now"


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the log to show."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Rows at most.")] = 100
    before: (
        Annotated[
            float, Meta(ge=0, le=TIME_MAX, description="Only rows of an earlier time (`at`).")
        ]
        | UnsetType
    ) = UNSET


class KeysAnswer(msgspec.Struct, frozen=True):
    """All keys that are not revoked."""

    keys: list[KeyShown]


class KeyMade(msgspec.Struct, frozen=True):
    """A key and its secret, which is shown this once and kept nowhere."""

    key: KeyShown
    secret: str


class UsageAnswer(msgspec.Struct, frozen=True):
    """What was used."""

    by: list[str]
    since: float
    until: float
    rows: list[UsageRow]


class AuditAnswer(msgspec.Struct, frozen=True):
    """Changes, newest first."""

    changes: list[Change]


class Draining(msgspec.Struct, frozen=True):
    """The drain has begun."""

    state: str


def dimensions(text: str) -> tuple[str, ...]:
    """Give each word of `by` once."""
    words = tuple(dict.fromkeys(text.split(",")))
    if not set(words) <= set(DIMENSIONS):
        raise ProblemError(400, f"one of {', '.join(DIMENSIONS)} is meant", field="by")
    return words


def instant(text: str, now: float) -> float:
    """Give the time of `now`, `7d` (so long ago) or a day's begin, in seconds since 1970."""
    if text == "now":
        return now
    if match := re.fullmatch("([0-9]+)([mhd])", text):
        return now - int(match[1]) * _UNITS_S[match[2]]
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ProblemError(422, f"{text} is no day of any calendar") from None
