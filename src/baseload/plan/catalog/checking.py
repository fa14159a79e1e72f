"""Is a catalogue file sound, and which rows does it give?

A file is TOML with one table a row: `[instance."p5.48xlarge"]`. The same code reads the files that
come along and a user's own, whose rows may give only the fields that differ from a known row. All
mistakes of a file are gathered, each with its place and with what to do about it.

Not here: which files there are and how they come together (`reading`).
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from math import isfinite
from typing import Any, get_type_hints

import msgspec

from baseload.config.mistakes import Mistakes, nearest, printable, shown
from baseload.errors import BaseloadError, FleetFileError, Mistake
from baseload.plan.catalog.rows import (
    BITS,
    Accelerator,
    ApiPrice,
    Instance,
    Link,
    Row,
    Serverless,
    Storage,
)

KINDS: dict[str, type[Row]] = {
    "accelerator": Accelerator, "link": Link, "storage": Storage, "instance": Instance,
    "serverless": Serverless, "api": ApiPrice,
}  # fmt: skip
"""Tables of a file, and what a row of each is."""
NAME_CHARACTERS_MAX = 100
POSITIVE = frozenset(
    {"memory_bytes", "bandwidth_bytes_s", "bytes_s", "read_bytes_s", "count", "run_max_s"}
)
"""Fields that divide something, or of which none makes no sense."""
PARTS = frozenset({"peak_share"})
"""Fields that are a part of something: at most 1."""
_HEADER = re.compile(
    r"""\s*\[\s*(\w+)\s*\.\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*(?:\.\s*(\w+)\s*)?\]"""
)
_FIELD = re.compile(r"\s*(\w+)\s*[.=]")

Fields = dict[str, Any]
Raw = dict[str, dict[str, Fields]]
"""A file as it stands: kind to name to fields."""
Rows = dict[str, dict[str, Row]]
"""Kind to name to row."""
Wrong = tuple[str, str] | None
"""What is wrong with a value, and a hint."""


class CatalogueError(BaseloadError):
    """A catalogue file cannot be used; `mistakes` holds everything wrong with it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


def parse(text: str, file: str) -> Raw:
    """Give a file's tables, not yet looked into; raises CatalogueError."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        what = f"not TOML: {printable(str(error))}"
        raise CatalogueError([Mistake(file, 0, 0, "", what)]) from None
    mistakes = Mistakes(file)
    raw: Raw = {}
    for kind, rows in found.items():
        if kind not in KINDS:
            mistakes.add(0, 0, "", f"`{shown(kind)}`: no such table", nearest(kind, KINDS))
        elif not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            hint = f'a row is a table of its own: [{kind}."its name"]'
            mistakes.add(0, 0, kind, "not a table of rows", hint)
        else:
            raw[kind] = rows
    _raise(mistakes)
    return raw


def fit(
    raw: Raw, file: str, text: str = "", *,
    known: Mapping[str, Mapping[str, Row]] | None = None, defaults: Fields | None = None,
) -> Rows:  # fmt: skip
    """Make rows of a file's tables.

    A row whose name is among `known` of its kind starts from that one; others must be complete.
    `defaults` are fields that a row has where it does not say otherwise. Raises CatalogueError.
    """
    mistakes, places = Mistakes(file), _places(text)
    rows: Rows = {}
    try:
        for kind, named in raw.items():
            others = (known or {}).get(kind, {})
            for name, fields in named.items():
                at = _Place(mistakes, places, kind, name)
                row = _row(at, fields, others, defaults or {})
                if row is not None:
                    rows.setdefault(kind, {})[name] = row
    except FleetFileError as error:  # there were more than anyone reads
        raise CatalogueError(error.mistakes) from None
    _raise(mistakes)
    return rows


def cross(rows: Rows, all_rows: Mapping[str, Mapping[str, Row]], file: str, text: str = "") -> None:
    """Check that what rows name exists, theirs or known; raises CatalogueError."""
    mistakes, places = Mistakes(file), _places(text)
    accelerators = all_rows.get("accelerator", {})
    for kind in ("instance", "serverless"):
        for name, row in rows.get(kind, {}).items():
            wanted = getattr(row, "accelerator", None)
            if wanted is not None and wanted not in accelerators:
                at = _Place(mistakes, places, kind, name)
                what = f"`{shown(wanted)}` is not among the accelerators"
                at.wrong("accelerator", what, nearest(wanted, accelerators))
    _raise(mistakes)


# -- one row -------------------------------------------------------------------------------------


class _Place:
    """Where a row stands, so that mistakes of its fields can be told."""

    def __init__(
        self, mistakes: Mistakes, places: dict[tuple[str, ...], int], kind: str, name: str
    ) -> None:
        self._mistakes, self._places = mistakes, places
        self.kind, self.name = kind, name

    def wrong(self, field: str, what: str, hint: str = "") -> None:
        """Note a mistake; an empty field means the row."""
        line = self._places.get((self.kind, self.name, field), 0)
        line = line or self._places.get((self.kind, self.name, ""), 0)
        path = f"{self.kind}.{shown(self.name)}" + (f".{shown(field)}" if field else "")
        self._mistakes.add(line, 1 if line else 0, path, what, hint)


def _row(at: _Place, fields: Fields, others: Mapping[str, Row], defaults: Fields) -> Row | None:
    """Make one row; None if something is wrong with it, which is then noted."""
    kind = KINDS[at.kind]
    types = _types(kind)
    sound = _is_name(at)
    base = others.get(at.name)
    values: Fields = {} if base is None else msgspec.structs.asdict(base)
    values |= defaults | {"name": at.name}
    for field, value in fields.items():
        if field == "name" or field not in types:
            known = types.keys() - {"name"}
            hint = "the table's header names the row" if field == "name" else nearest(field, known)
            at.wrong(field, "no such field", hint)
            sound = False
            continue
        try:
            fitted = msgspec.convert(value, types[field])
        except msgspec.ValidationError as error:
            at.wrong(field, _sentence(error))
            sound = False
            continue
        if wrong := _nonsense(field, fitted, types):
            at.wrong(field, *wrong)
            sound = False
        is_merged = isinstance(fitted, dict) and field in values
        values[field] = {**values[field], **fitted} if is_merged else fitted
    return kind(**values) if _is_complete(at, kind, values, others) and sound else None


def _is_name(at: _Place) -> bool:
    if at.name.strip() and at.name.isprintable() and len(at.name) <= NAME_CHARACTERS_MAX:
        return True
    at.wrong("", f"a name has 1 to {NAME_CHARACTERS_MAX} signs that can be printed")
    return False


def _is_complete(at: _Place, kind: type[Row], values: Fields, others: Mapping[str, Row]) -> bool:
    missing = [
        field.name for field in msgspec.structs.fields(kind)
        if field.required and field.name not in values
    ]  # fmt: skip
    if not missing:
        return True
    hint = "a row that is new to the catalogue must be complete"
    if (near := nearest(at.name, others)).startswith("did you mean"):
        hint += f"; or {near}"
    at.wrong("", f"{', '.join(f'`{name}`' for name in missing)}: missing", hint)
    return False


@cache
def _types(kind: type[Row]) -> dict[str, Any]:
    return get_type_hints(kind)


# -- one value -----------------------------------------------------------------------------------


def _nonsense(field: str, value: object, types: Mapping[str, Any]) -> Wrong:
    """Give what is wrong with a value of the right type, and a hint; None if nothing is."""
    for number in _numbers(value):
        if wrong := _odd_number(field, number):
            return wrong, ""
    for low, high in _pairs(value):
        if low > high:
            return f"{low:g} to {high:g}: the lower end comes first", ""
    if field in ("flops", "range") and isinstance(value, dict):
        allowed = set(BITS)
        if field == "range":
            allowed = {*types, *(f"flops.{precision}" for precision in BITS)}
        return _odd_key(value, allowed)
    return _odd_text(field, value)


def _odd_number(field: str, number: float) -> str:
    if not isfinite(number):
        return "must be a finite number"
    if number < 0:
        return "must not be negative"
    if number == 0 and field in POSITIVE:
        return "must be more than 0"
    return "is a part of a whole: at most 1" if number > 1 and field in PARTS else ""


def _odd_key(value: Fields, allowed: set[str]) -> Wrong:
    if not (odd := value.keys() - allowed):
        return None
    return f"`{shown(min(odd))}`: no such name", nearest(min(odd), allowed)


def _odd_text(field: str, value: object) -> Wrong:
    if field.endswith("seen") and value and not _is_day(str(value)):
        return f"`{shown(str(value))}` is no day", "write it as 2026-11-26"
    if field == "source" and not str(value).strip():
        return "is empty", "say where the figures were read"
    return None


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _pairs(value: object) -> Iterator[tuple[float, float]]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _pairs(part)
    elif isinstance(value, tuple) and len(value) == 2:
        yield value


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _sentence(error: msgspec.ValidationError) -> str:
    text = printable(str(error))
    return text[:1].lower() + text[1:]


# -- places --------------------------------------------------------------------------------------


def _places(text: str) -> dict[tuple[str, ...], int]:
    """Give lines, from 1, of rows and their fields, where they are written in the usual way."""
    found: dict[tuple[str, ...], int] = {}
    row: tuple[str, str] | None = None
    is_row = False
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            row = (header[1], header[2] or header[3] or header[4] or "")
            is_row = header[5] is None
            found.setdefault((*row, header[5] or ""), number)
        elif row is not None and is_row and (field := _FIELD.match(line)):
            found.setdefault((*row, field[1]), number)
    return found


def _raise(mistakes: Mistakes) -> None:
    try:
        mistakes.refuse()
    except FleetFileError as error:
        raise CatalogueError(error.mistakes) from None
