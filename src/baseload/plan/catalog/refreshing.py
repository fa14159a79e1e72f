"""What changes when newer prices come in?

A newer file is one of the catalogue's own form, or a price list of SkyPilot's. What it says is
compared with the catalogue as it stands, a user's own file included, and merged into that file.
Rows whose prices are confirmed are written, too: they were seen anew.

Prices of nothing or less are refused by whoever reads them. A price that has become twenty times
as high or low is more likely a slipped comma than news, and is marked.

Not here: fetching and writing files (the command line).
"""

from datetime import date
from typing import Any

import msgspec

from baseload.config.mistakes import Mistakes
from baseload.plan.catalog.checking import CatalogueError, Fields, Raw, Rows, parse
from baseload.plan.catalog.reading import Catalogue, overlay, rows_of
from baseload.plan.catalog.rows import Row
from baseload.plan.catalog.skypilot import is_skypilot, read
from baseload.plan.catalog.writing import toml_of

JUMP_MAX = 20.0
"""How many times as high or low a price may become without a second look."""
HEAD = (
    "Rows that override those of the catalogue, field by field. Written by\n"
    "`baseload catalog refresh`, which keeps what stands here, but not comments."
)
_TOLD = (
    "source", "seen", "verified", "note", "spot_source", "spot_seen", "reserved_source",
    "reserved_seen",
)  # fmt: skip
"""Fields that say where the others are from."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One field that is different now."""

    kind: str
    name: str
    field: str
    old: Any
    """None for a row that is new, or a field that was not set."""
    new: Any

    @property
    def ratio(self) -> float | None:
        """New over old; None where that says nothing."""
        old, new = _number(self.old), _number(self.new)
        return new / old if old and new is not None else None

    @property
    def is_jump(self) -> bool:
        """Whether it is a price that went up or down by more than can be believed."""
        if "usd" not in self.field or self.ratio is None:
            return False
        return not 1 / JUMP_MAX < self.ratio < JUMP_MAX


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a newer file leads to."""

    raw: Raw
    """A user's own file, as it is to be written."""
    changes: tuple[Change, ...]
    rows: int
    """How many rows the newer file has for the catalogue."""
    left_out: tuple[str, ...] = ()


def refresh(
    text: str, file: str, catalogue: Catalogue, own: Raw, seen: date,
    *, cloud: str = "", region: str = "",
) -> Refreshed:  # fmt: skip
    """Give what a newer file changes. `seen` is the day on which its figures were so.

    `catalogue` includes `own`, the user's file, into which the newer rows are merged. Raises
    CatalogueError if the newer file is not sound.
    """
    before = rows_of(catalogue)
    left_out: tuple[str, ...] = ()
    if is_skypilot(text):
        found = read(text, file, before["instance"], cloud=cloud, region=region)
        newer: Raw = {"instance": found.instances} if found.instances else {}
        left_out = found.left_out
    else:
        newer = parse(text, file)
        _no_free_machines(newer, file)
    told = {"source": file, "seen": seen.isoformat(), "verified": True}
    newer = {
        kind: {name: {**told, **fields} for name, fields in named.items()}
        for kind, named in newer.items()
    }
    after = _checked(newer, text, file, before, seen)
    return Refreshed(
        raw=_merged(own, newer), changes=tuple(_changes(before, after)),
        rows=sum(len(named) for named in newer.values()), left_out=left_out,
    )  # fmt: skip


def _checked(newer: Raw, text: str, file: str, before: Rows, seen: date) -> Rows:
    """Read rows as they will be read from the user's file, over the catalogue."""
    rows = {kind: dict(named) for kind, named in before.items()}
    return overlay(rows, toml_of(newer) if is_skypilot(text) else text, file, seen)


def _no_free_machines(newer: Raw, file: str) -> None:
    """Refuse machines that cost nothing: a list that says so has lost its prices."""
    mistakes = Mistakes(file)
    for name, fields in newer.get("instance", {}).items():
        for field, value in fields.items():
            if "usd" in field and _number(value) == 0:
                mistakes.add(0, 0, f"instance.{name}.{field}", "0 is no price", "leave it out")
    if mistakes.found:
        raise CatalogueError(mistakes.found)


def _merged(own: Raw, newer: Raw) -> Raw:
    merged: Raw = {kind: dict(named) for kind, named in own.items()}
    for kind, named in newer.items():
        rows = merged.setdefault(kind, {})
        for name, fields in named.items():
            rows[name] = _over(rows.get(name, {}), fields)
    return merged


def _over(old: Fields, new: Fields) -> Fields:
    """Put fields over others; small tables, as of operations by precision, one by one."""
    return old | {
        field: old[field] | value if isinstance(value, dict) and field in old else value
        for field, value in new.items()
    }


def _changes(before: Rows, after: Rows) -> list[Change]:
    return [
        Change(kind=kind, name=name, field=field, old=old, new=new)
        for kind, named in after.items()
        for name, row in named.items()
        for field, new in msgspec.structs.asdict(row).items()
        if field not in _TOLD and field != "name"
        for old in (_old(before.get(kind, {}).get(name), field),)
        if old != new and not (old is None and new in ("", 0, {}))
    ]


def _old(row: Row | None, field: str) -> Any:
    return getattr(row, field) if row is not None else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
