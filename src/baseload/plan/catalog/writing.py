"""How is a catalogue file written?

As TOML that a person can go on with: one table a row, one line a field. Only what such files hold
is known here: text, numbers, truth values, pairs and small tables.

Not here: which rows are written (`refreshing`).
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from baseload.plan.catalog.checking import KINDS, Raw

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(raw: Raw, head: str = "") -> str:
    """Give the text of a file with these rows, after a comment."""
    parts = [f"# {line}".rstrip() for line in head.splitlines()]
    for kind in KINDS:
        for name, fields in raw.get(kind, {}).items():
            parts += ["", f"[{kind}.{_key(name)}]"]
            parts += [f"{_key(field)} = {_value(value)}" for field, value in fields.items()]
    return "\n".join(parts).lstrip("\n") + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = msgspec.json.encode(value).decode()  # JSON's escapes are among TOML's
        return text.replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(name))} = {_value(part)}" for name, part in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(part) for part in value)}]"
    return repr(value)
