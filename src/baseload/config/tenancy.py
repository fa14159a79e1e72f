"""Who may use a fleet, how much of it, what that costs, and where it is written down.

These are parts of the fleet file like those of `fleet.py`, and stand beside them only because that
room was full. Limits are the same few fields wherever they are set: for a key, for one model of a
key, for a model and all of its callers together.
"""

from datetime import UTC, datetime
from math import inf
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

NAME_PATTERN: Final = "^[^\\x00-\\x1f\\x7f]{1,64}$"

Count = Annotated[int, Meta(ge=1)]
Usd = Annotated[float, Meta(ge=0, le=1e9)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=["2027-01-31"])]
Since = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?$", examples=["2027-01-31", "2027-01-31T16:00"]
    ),
]
Hours = Annotated[
    str,
    Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-4]):[0-5]\d$", examples=["01:00-04:00"]),
]
Class = Literal["interactive", "default", "batch"]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be used in a time. Days and months are those of UTC; absent means unlimited."""

    rpm: Annotated[Count, Meta(description="Calls in any minute.")] | None = None
    tpm: Annotated[Count, Meta(description="Tokens in any minute, prompts included.")] | None = None
    concurrency: Annotated[Count, Meta(description="Calls at once.")] | None = None
    usd_day: Annotated[Usd, Meta(description="US dollars a day (UTC).")] | None = None
    usd_month: Annotated[Usd, Meta(description="US dollars a calendar month (UTC).")] | None = None

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return all(
            value is None
            for value in (self.rpm, self.tpm, self.concurrency, self.usd_day, self.usd_month)
        )


class Terms(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the holder of a key may do, wherever the key is kept: in the file, or in the store."""

    priority: Annotated[
        Class, Meta(description="The class of its calls, and the most urgent they may ask for.")
    ] = "default"
    models: Annotated[
        tuple[str, ...], Meta(description="Models it may use; empty: all.", examples=[["m"]])
    ] = ()
    expires: (
        Annotated[Day, Meta(description="The first day (UTC) on which it is refused.")] | None
    ) = None
    labels: Annotated[
        dict[str, str], Meta(description="Notes of your own; nothing reads them.")
    ] = {}
    per_model: Annotated[
        dict[str, Limits], Meta(description="Limits of this key for single models.")
    ] = {}

    @property
    def expires_at(self) -> float:
        """In seconds since 1970; infinite if never."""
        return inf if self.expires is None else begin_of(self.expires)


class Key(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One caller's key. The key itself is never in the file, only its SHA-256 in hex."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME_PATTERN,
            description="Whom the key belongs to, in at most 64 signs.",
            examples=["team-a"],
        ),
    ]
    sha256: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{64}$",
            description="SHA-256 of the key: 64 hexadecimal digits in lower case.",
        ),
    ]


class Peak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours in which a backend charges more."""

    hours: Annotated[tuple[Hours, ...], Meta(min_length=1, description="From and to, in UTC.")]
    factor: Annotated[
        float, Meta(gt=0, le=1000, description="What prices are multiplied by in these hours.")
    ] = 2.0
    weekdays_only: Annotated[
        bool, Meta(description="Saturdays and Sundays (UTC) have no such hours.")
    ] = False
    off_days: Annotated[
        tuple[Day, ...], Meta(description="Further days (UTC) that have none: public holidays.")
    ] = ()


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend charges for a model from a day on, in US dollars for a million tokens."""

    backend: Annotated[str, Meta(description="The backend's name in this file.")]
    model: Annotated[str, Meta(description="The model's name at that backend.")]
    since: Annotated[Since, Meta(description="The day (UTC), or minute, from which it holds.")]
    input_usd_mtok: Annotated[Usd, Meta(description="Prompt tokens.")]
    cached_usd_mtok: (
        Annotated[Usd, Meta(description="Prompt tokens that were in its cache.")] | None
    ) = None
    """As `input_usd_mtok` where absent."""
    output_usd_mtok: Annotated[Usd, Meta(description="Tokens of the answer, reasoning included.")]
    peak: Annotated[Peak, Meta(description="Hours in which it charges more.")] | None = None


class Jobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What batches may take, and how long they and their files are kept."""

    concurrency: Annotated[Count, Meta(description="Requests of batches at once, at most.")] = 32
    keep_days: Annotated[int, Meta(ge=1, le=3650, description="Days until they are deleted.")] = 30
    storage_mb: Annotated[int, Meta(ge=1, description="What one key may keep in files.")] = 1024


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where what must outlive a process is kept, as URLs."""

    ledger: Annotated[
        str,
        Meta(
            pattern="^(sqlite:///|postgres(ql)?://).*$",
            description="A database for calls, keys, batches: sqlite:///FILE or postgresql://…",
            examples=["sqlite:///baseload.db", "postgresql://baseload@db/baseload"],
        ),
    ] = "sqlite:///baseload.db"
    keep_days: Annotated[
        int,
        Meta(ge=0, le=36_500, description="Days after which calls are deleted; 0: never."),
    ] = 400
    counters: Annotated[
        str,
        Meta(
            pattern="^(memory://|(rediss?|unix)://.+)$",
            description="Where limits are counted: memory://, or redis://… for replicas.",
            examples=["memory://", "redis://127.0.0.1:6379/0"],
        ),
    ] = "memory://"


def begin_of(day: str) -> float:
    """Give when a day begins, in seconds since 1970; raises ValueError if there is no such day."""
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ValueError("no day of the calendar") from None
