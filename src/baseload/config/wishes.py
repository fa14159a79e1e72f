"""What may stand in each place of the fleet file, asked of the structs themselves.

msgspec describes a field as a nest of wrappers: null or not, bounds, descriptions, marks. Reader
and schema both need the same few answers, so the nest is opened here and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect


@dataclass(frozen=True, slots=True)
class Wish:
    """What a place may hold."""

    type: inspect.Type
    """The one type besides null."""
    can_be_null: bool
    description: str
    examples: list[Any]
    is_secret: bool
    may_be_address: bool
    """Whether a secret may be an e-mail address instead, which is none."""
    is_filled_in: bool
    """Whether the value comes from a mapping's key and cannot be written in the file."""
    default: object = NODEFAULT

    @property
    def example(self) -> str:
        """A hint that shows a value, or else says what the value is for."""
        if self.examples:
            return f"for example {msgspec.json.encode(self.examples[0]).decode()}"
        if isinstance(self.default, str | int | float):
            return f"for example {msgspec.json.encode(self.default).decode()}"
        return self.description


def wish(kind: inspect.Type, default: object = NODEFAULT) -> Wish:
    """Open the wrappers around `kind`."""
    can_be_null = False
    schema: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            schema = {**(kind.extra_json_schema or {}), **schema}
            marks |= kind.extra or {}
            kind = kind.type
        else:
            (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
            can_be_null = True
    return Wish(
        kind,
        can_be_null,
        schema.get("description", "").rstrip("."),
        schema.get("examples", []),
        bool(marks.get("secret")),
        bool(marks.get("address")),
        bool(marks.get("filled in")),
        default,
    )


def fields(kind: inspect.StructType) -> dict[str, Wish]:
    """Return the wishes of a struct's fields by name, filled-in ones included."""
    return {one.encode_name: wish(one.type, _default(one)) for one in kind.fields}


def _default(field: inspect.Field) -> object:
    """Give what stands for an absent value; msgspec keeps empty mappings as what makes them."""
    made = field.default_factory
    return field.default if made is NODEFAULT else made()
