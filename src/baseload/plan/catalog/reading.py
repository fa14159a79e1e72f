"""What is in the catalogue today: rows that come along, and a user's own over them.

The files beside this one hold what was read in public sources, row by row with source and day. A
user's file has the same tables; a row with a known name overrides only the fields that it gives. It
is found as `baseload-catalog.toml` beside the fleet file.

Not here: what makes a row sound (`checking`), how newer prices get into a file (`refreshing`).
"""

import tomllib
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TypeVar

import msgspec

from baseload.config.mistakes import nearest
from baseload.errors import Mistake
from baseload.plan.catalog.checking import (
    KINDS,
    CatalogueError,
    Raw,
    Rows,
    cross,
    fit,
    parse,
)
from baseload.plan.catalog.rows import (
    Accelerator,
    ApiPrice,
    Instance,
    Link,
    Row,
    Serverless,
    Storage,
)
from baseload.plan.catalog.tariffs import api_prices

OWN = "baseload-catalog.toml"
"""A user's own file, beside the fleet file."""
FILES = (
    "accelerators.toml", "links.toml", "storage.toml", "instances.toml", "serverless.toml",
    "apis.toml",
)  # fmt: skip
FILE_BYTES_MAX = 16 * 1024 * 1024
"""The largest catalogue file that is read."""
PRICE_DAYS_MAX = 90
"""Prices seen longer ago are stale: clouds and providers change theirs a few times a year."""
SYSTEMS = {
    "a100_sxm": "a100-80", "a100_pcie": "a100-80-pcie", "b200_sxm": "b200", "b300_sxm": "b300",
    "gb200": "gb200", "gb300": "gb300", "h100_sxm": "h100", "h200_sxm": "h200", "l4": "l4",
    "l40s": "l40s",
}  # fmt: skip
"""How AIConfigurator, and what it measured, calls accelerators."""
_PRICES = {
    struct: tuple(
        field.name for field in msgspec.structs.fields(struct) if "usd" in field.name.split("_")
    )
    for struct in KINDS.values()
}
Kind = TypeVar("Kind", bound=Row)


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, by name."""

    accelerators: dict[str, Accelerator]
    links: dict[str, Link]
    storage: dict[str, Storage]
    instances: dict[str, Instance]
    serverless: dict[str, Serverless]
    apis: dict[str, ApiPrice]


def load(own: Path | None = None, *, today: date) -> Catalogue:
    """Give the catalogue as of a day, with a user's own file over it.

    Rows of that file say, where it does not: its name as source, `today` as the day, and that they
    are verified. Raises CatalogueError, with everything that is wrong with the file.
    """
    rows: Rows = {kind: dict(named) for kind, named in _shipped().items()}
    rows["api"] |= {row.name: row for row in api_prices(today)}
    if own is not None:
        overlay(rows, text_of(own), str(own), today)
    return Catalogue(
        accelerators=_only(rows, Accelerator), links=_only(rows, Link),
        storage=_only(rows, Storage), instances=_only(rows, Instance),
        serverless=_only(rows, Serverless), apis=_only(rows, ApiPrice),
    )  # fmt: skip


def overlay(rows: Rows, text: str, file: str, today: date) -> Rows:
    """Put the rows of a user's file over others, in place, and give them alone.

    Raises CatalogueError.
    """
    defaults = {"source": Path(file).name, "seen": today.isoformat(), "verified": True}
    own = fit(_dated(parse(text, file)), file, text, known=rows, defaults=defaults)
    for kind, named in own.items():
        rows[kind] = {**rows.get(kind, {}), **named}
    cross(own, rows, file, text)
    return own


def _dated(raw: Raw) -> Raw:
    """Have prices that a user gives seen when and where the user's row was, not when ours were."""
    for row in raw.get("instance", {}).values():
        for paid in ("spot", "reserved"):
            if any(field.startswith(paid) and "usd" in field for field in row):
                row.setdefault(f"{paid}_seen", "")
                row.setdefault(f"{paid}_source", "")
    return raw


def own_file(fleet: Path | None = None) -> Path | None:
    """Give a user's own catalogue file, beside the fleet file or in this folder; None if none."""
    path = (fleet.parent if fleet is not None else Path()) / OWN
    return path if path.is_file() else None


def text_of(path: Path) -> str:
    """Read a catalogue file; raises CatalogueError if that cannot be done."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise CatalogueError([_unread(path, f"larger than {FILE_BYTES_MAX:,} bytes")])
        return data.decode()
    except OSError as error:
        raise CatalogueError([_unread(path, error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError:
        raise CatalogueError([_unread(path, "not UTF-8 text")]) from None


def rows_of(catalogue: Catalogue) -> Rows:
    """Give all rows by kind and name, as tables of a file have them."""
    return {kind: dict(getattr(catalogue, field)) for kind, field in _FIELDS.items()}


def is_stale(row: Row, today: date) -> bool:
    """Say whether a row's prices were seen too long ago. What hardware can do never grows old."""
    if not any(getattr(row, field) for field in _PRICES[type(row)]):
        return False
    return (today - date.fromisoformat(row.seen)).days > PRICE_DAYS_MAX


def accelerator_of_system(system: str) -> str:
    """Give the accelerator that AIConfigurator's data call so, as `h200_sxm`.

    Raises CatalogueError if there is none.
    """
    if (name := SYSTEMS.get(system)) is None:
        what = f"system `{system}` is not known"
        raise CatalogueError([Mistake("the catalogue", 0, 0, "", what, nearest(system, SYSTEMS))])
    return name


_FIELDS = {
    "accelerator": "accelerators", "link": "links", "storage": "storage",
    "instance": "instances", "serverless": "serverless", "api": "apis",
}  # fmt: skip


@cache
def _shipped() -> Rows:
    folder = resources.files("baseload.plan.catalog")
    rows: Rows = {kind: {} for kind in KINDS}
    for file in FILES:
        text = folder.joinpath(file).read_text("utf-8")
        for kind, named in fit(tomllib.loads(text), file, text).items():
            rows[kind] |= named
    cross(rows, rows, "the catalogue")
    return rows


def _only(rows: Rows, struct: type[Kind]) -> dict[str, Kind]:
    """Give the rows that are of one struct."""
    return {
        name: row for named in rows.values() for name, row in named.items()
        if isinstance(row, struct)
    }  # fmt: skip


def _unread(path: Path, why: str) -> Mistake:
    return Mistake(str(path), 0, 0, "", why)
