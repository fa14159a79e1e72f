"""Who may use a fleet, how much of it, what that costs, and where it is written down.

These are parts of the fleet file like those of `fleet.py`, and stand beside them only because that
room was full. Limits are the same few fields wherever they are set: for a key, for one model of a
key, for a model and all of its callers together.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Usd = Annotated[float, Meta(ge=0, le=1e9)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=["2027-01-31"])]
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


class Key(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One caller's key. The key itself is never in the file, only its SHA-256 in hex."""

    name: Annotated[
        str,
        Meta(
            pattern="^[^\\x00-\\x1f\\x7f]{1,64}$",
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
    priority: Annotated[Class, Meta(description="The most urgent class its calls may have.")] = (
        "default"
    )
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


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend charges for a model from a day on, in US dollars for a million tokens."""

    backend: Annotated[str, Meta(description="The backend's name in this file.")]
    model: Annotated[str, Meta(description="The model's name at that backend.")]
    since: Annotated[Day, Meta(description="The first day (UTC) on which it holds.")]
    input_usd_mtok: Annotated[Usd, Meta(description="Prompt tokens.")]
    cached_usd_mtok: (
        Annotated[Usd, Meta(description="Prompt tokens that were in its cache.")] | None
    ) = None
    """As `input_usd_mtok` where absent."""
    output_usd_mtok: Annotated[Usd, Meta(description="Tokens of the answer, reasoning included.")]


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
            description="Calls, keys, batches: a database.",
            examples=["sqlite:///baseload.db", "postgresql://baseload@db/baseload"],
        ),
    ] = "sqlite:///baseload.db"
    counters: Annotated[
        str,
        Meta(
            description="Where limits are counted: here, or where replicas share them.",
            examples=["memory://", "redis://127.0.0.1:6379/0"],
        ),
    ] = "memory://"
