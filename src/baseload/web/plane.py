"""What the operator's port asks for: of the data plane, and of what is kept in a store.

This room knows neither gateways nor tables. Whoever joins the rooms (`cli/plane`) hands in a
`Plane`, whose methods may be awaited in the operator's thread, and an `Office`, whose methods block
and are run in threads. What goes in and out is plain data, and what can go wrong is one of the few
errors below, each of which has one status (`web/problem`).

Not here: how long anything may take. The API bounds every wait itself.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from baseload.config.tenancy import Class, Count, Day, Key, Limits, Usd
from baseload.errors import BaseloadError
from baseload.store.audit import Change

Action = Literal["enable", "drain", "disable"]
KEY_NAME = "^[^\\x00-\\x1f\\x7f]{1,64}$"
MODELS_MAX = 1000
LABELS_MAX = 64

Text = Annotated[str, Meta(min_length=1, max_length=200)]
KeyName = Annotated[
    str, Meta(pattern=KEY_NAME, description="Whom the key belongs to, in at most 64 signs.")
]
Models = Annotated[
    tuple[Text, ...], Meta(max_length=MODELS_MAX, description="Models it may use; empty: all.")
]
Labels = Annotated[
    dict[Text, Annotated[str, Meta(max_length=200)]],
    Meta(max_length=LABELS_MAX, description="Notes of your own; nothing reads them."),
]
PerModel = Annotated[
    dict[Text, Limits], Meta(max_length=MODELS_MAX, description="Limits for single models.")
]


# -- what can go wrong -------------------------------------------------------------------------


class UnknownBackendError(BaseloadError):
    """There is no such backend."""


class NotBuiltError(BaseloadError):
    """What was asked for is no part of this baseload."""


# -- the data plane ----------------------------------------------------------------------------


class Status(Protocol):
    """Anything that can say how things stand; encoded as JSON."""

    @property
    def is_ready(self) -> bool:
        """Whether to send callers."""

    @property
    def backends(self) -> Sequence[object]:
        """The backends, as they stand."""


class Shapes(msgspec.Struct, frozen=True):
    """The types of what a plane answers with, for the API's description."""

    status: type
    backend: type
    live: type


class Moved(msgspec.Struct, frozen=True):
    """A backend was enabled, drained or disabled; `was` and `is_now` are such words."""

    backend: str
    was: str
    is_now: str


class Reloaded(msgspec.Struct, frozen=True):
    """What became of reading the fleet file again. With mistakes, nothing was changed."""

    changed: list[str] = []
    """What is different now, by its path in the file."""
    needs_restart: list[str] = []
    """What is different in the file and takes effect at the next start."""
    mistakes: list[str] = []


class Plane(Protocol):
    """The data plane, as it may be asked from another thread."""

    shapes: Shapes

    def status(self) -> Awaitable[Status]:
        """Take a snapshot."""

    def live(self, since: int) -> Awaitable[object]:
        """Give what the page shows; `since` is the tick of what it has already."""

    def operate(self, backend: str, action: Action) -> Awaitable[Moved]:
        """Enable, drain or disable a backend; raises `UnknownBackendError`."""

    def reload(self) -> Awaitable[Reloaded]:
        """Read the fleet file again; a bad one changes nothing."""

    def drain(self) -> Awaitable[None]:
        """Begin to stop, as on SIGTERM."""


# -- the store ---------------------------------------------------------------------------------


class NewKey(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key is to be."""

    name: KeyName
    priority: Annotated[Class, Meta(description="The most urgent class its calls may have.")] = (
        "default"
    )
    models: Models = ()
    expires: (
        Annotated[Day, Meta(description="The first day (UTC) on which it is refused.")] | None
    ) = None
    labels: Labels = field(default_factory=dict)
    per_model: PerModel = field(default_factory=dict)


class KeyChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a key: absent stays as it is, null is unlimited or never."""

    priority: Class | UnsetType = UNSET
    models: Models | UnsetType = UNSET
    expires: Day | UnsetType | None = UNSET
    labels: Labels | UnsetType = UNSET
    per_model: PerModel | UnsetType = UNSET
    rpm: Count | UnsetType | None = UNSET
    tpm: Count | UnsetType | None = UNSET
    concurrency: Count | UnsetType | None = UNSET
    usd_day: Usd | UnsetType | None = UNSET
    usd_month: Usd | UnsetType | None = UNSET


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a key is to get a new secret."""

    grace_s: Annotated[
        float, Meta(ge=0, le=2_592_000, description="Seconds for which the old one stays valid.")
    ] = 0.0


class SecretShown(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of a key, without itself: how it begins and from when to when it is valid."""

    shown: str
    created_at: float
    ends_at: float | None = None


class KeyShown(Limits, frozen=True, kw_only=True):
    """A key as operators see it: neither the key nor its hash. Times are seconds since 1970."""

    name: str
    kept: Literal["file", "store"] = "store"
    """Keys of the fleet file are shown here, and changed there."""
    priority: Class = "default"
    models: tuple[str, ...] = ()
    expires: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    per_model: dict[str, Limits] = field(default_factory=dict)
    created_at: float | None = None
    revoked_at: float | None = None
    secrets: tuple[SecretShown, ...] = ()


class Keys(Protocol):
    """Keys in a store. Blocks; raises `BaseloadError`s. What it gives has `KeyShown`'s fields."""

    def list(self) -> Sequence[object]:
        """Give all that are not revoked."""

    def get(self, name: str) -> object:
        """Give one."""

    def create(self, name: str, /, **terms: object) -> tuple[object, str]:
        """Make a key; give it and its secret, which is shown this once."""

    def update(self, name: str, /, **changes: object) -> object:
        """Change some of a key's terms; None takes a limit away."""

    def rotate(self, name: str, grace_s: float = 0.0) -> tuple[object, str]:
        """Make a new secret; the old ones end when the grace is over."""

    def revoke(self, name: str) -> object:
        """End a key."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of one group took."""

    by: dict[str, str]
    """What they have in common; times are UTC."""
    calls: int
    failed: int
    """Those that did not end as a whole answer, callers who left among them."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    """Of the calls whose price is known; null if it is of none."""
    unpriced: int
    """Calls whose price is not known, or only that of a part."""
    estimated: int
    """Calls whose tokens were counted or estimated here."""
    energy_j: float | None = None
    """Of the calls of which it is known, in joules, an estimate; null if it is of none."""


class Usage(Protocol):
    """What was used and what it cost. Blocks. What it gives has `UsageRow`'s fields."""

    def totals(self, by: tuple[str, ...], since: float, until: float) -> Sequence[object]:
        """Give one row for each combination of `by`; times are seconds since 1970."""


class Audit(Protocol):
    """The log of changes. Blocks; raises the store's errors."""

    def write(self, change: Change) -> None:
        """Add a row, once."""

    def newest(self, limit: int, before: float | None = None) -> list[Change]:
        """Give rows, newest first."""


def _no_keys() -> Sequence[Key]:
    return ()


class Office(msgspec.Struct, frozen=True):
    """All that is kept in a store; what is None, this baseload does not have."""

    audit: Audit
    keys: Keys | None = None
    usage: Usage | None = None
    file_keys: Callable[[], Sequence[Key]] = _no_keys
    """The keys that stand in the fleet file now."""
    statuses: dict[type[BaseloadError], int] = {}
    """The HTTP status of each error that the store's things raise; 503 for others."""
