"""How is a fleet file read by somebody who must not know its secrets?

`${NAME}` stands for itself, so that what is made of the file refers to the variable as the file
does. A variable that has a default is read as its default: what is rendered is settled. Secrets
that are written out in the file are found here, since nothing that is rendered may repeat them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import inspect

from baseload.config.fleet import Fleet
from baseload.config.found import Found, Place
from baseload.config.mistakes import Mistakes
from baseload.config.wishes import Wish, fields, wish
from baseload.errors import Mistake

_NAMED: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ADDRESS: Final = re.compile(r"[^@\s:/]+@[A-Za-z0-9.-]+")
_DEFAULTED: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*):-")
_VALUE: Final = re.compile(r"""["']?[^"',\s]*""")


class References(Mapping[str, str]):
    """An environment in which every variable is a reference to itself."""

    def __init__(self, text: str) -> None:
        """`text` is the file's: what has a default there is absent here, so the default holds."""
        defaulted = set(_DEFAULTED.findall(text))
        self.names = {name: None for name in _NAMED.findall(text) if name not in defaulted}

    def __getitem__(self, name: str) -> str:
        if name not in self.names:
            raise KeyError(name)
        return f"${{{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def variables_in(text: str) -> tuple[str, ...]:
    """Give the names of variables that a text refers to, in the order in which they come."""
    return tuple(dict.fromkeys(_NAMED.findall(text)))


def is_reference(text: str) -> bool:
    """Say whether a text is made of nothing but references."""
    return not _NAMED.sub("", text)


def explained(mistake: Mistake, text: str) -> Mistake:
    """Give a mistake with a better hint where it is a variable that does not fit."""
    lines = text.splitlines()
    if not 0 < mistake.line <= len(lines):
        return mistake
    value = _VALUE.match(lines[mistake.line - 1], max(0, mistake.column - 1))
    names = variables_in(value[0]) if value else ()
    if not names or "variable" in mistake.hint:
        return mistake
    hint = "its value is not known when this is rendered: write it out, or give a default, "
    return replace(mistake, hint=f"{hint}`${{{names[0]}:-…}}`")


def refuse_secrets(found: Found, mistakes: Mistakes) -> None:
    """Note each secret that stands in the file in clear text, and each password in a URL."""
    for one in _secrets(found, wish(inspect.type_info(Fleet))):
        what = "a secret in clear text; what is rendered is kept and shared, so it is refused"
        mistakes.add(*one.place, one.path, what, "put it into a variable: `${NAME}`")


def _secrets(found: Found, wanted: Wish) -> Iterator[Found]:
    """Go through values and their types side by side; give those that hold a secret's text."""
    if not found.given:
        return
    if isinstance(found.value, str):
        text = found.value if wanted.is_secret else _password(found.value)
        if not is_reference(text) and not (wanted.may_be_address and _ADDRESS.fullmatch(text)):
            yield found
    for name, child in found.entries.items():
        yield from _secrets(child, _below(wanted, name))
    for child in found.items:
        yield from _secrets(child, _below(wanted, ""))


def _below(wanted: Wish, name: str) -> Wish:
    kind: Any = wanted.type
    if isinstance(kind, inspect.StructType):
        return fields(kind)[name]
    if isinstance(kind, inspect.DictType):
        return wish(kind.value_type)
    return wish(kind.item_type)


def _password(url: str) -> str:
    try:
        return (urlsplit(url).password or "") if "://" in url else ""
    except ValueError:
        return ""


Places = Mapping[str, Place]
"""Where each value of the file stands, by its dotted path."""


def places_of(found: Found) -> dict[str, Place]:
    """Give the place of every value."""
    here = {found.path: found.place}
    for child in (*found.entries.values(), *found.items):
        here |= places_of(child)
    return here
