"""How is a list of settings written in Terraform's language?

Modules are files that come along as they are; what a fleet says goes into variable files, which are
nothing but `name = value`. So this writes values, laid out as `terraform fmt` leaves them.

Not here: blocks, expressions, references. Who needs them writes them in a module.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

_ESCAPES: Final = {
    "\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "${": "$${", "%{": "%%{",
}  # fmt: skip
_INDENT: Final = "  "


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a variable file."""

    name: str
    value: Any
    """None, bool, int, float, str, or lists, tuples and dicts of them; dicts' keys are text."""
    about: str = ""
    """A comment above it."""


def settings_text(settings: Iterable[Setting]) -> str:
    """Write settings one below the other, each with its comment, a blank line before a comment."""
    lines: list[str] = []
    block: list[tuple[str, Any]] = []
    for setting in settings:
        if setting.about:
            lines += [*_assigned(block, ""), *([""] if block else [])]
            block = []
            lines += [f"# {line}" for line in setting.about.splitlines()]
        block.append((setting.name, setting.value))
    return "".join(f"{line}\n" for line in [*lines, *_assigned(block, "")])


def value_text(value: Any, indent: str = "") -> str:
    """Write a value; what holds more than one line begins at `indent`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) and value.is_integer() else repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        pairs = [(key_text(key), each) for key, each in value.items()]
        return _bracketed("{", _assigned(pairs, indent + _INDENT), "}", indent)
    lines = [f"{indent}{_INDENT}{value_text(each, indent + _INDENT)}," for each in value]
    return _bracketed("[", lines, "]", indent)


def key_text(key: str) -> str:
    """Write a key of an object: in quotes, unless it is a plain name."""
    return key if key.isidentifier() and key.isascii() else _quoted(key)


def _quoted(text: str) -> str:
    for sign, written in _ESCAPES.items():
        text = text.replace(sign, written)
    return f'"{text}"'


def _bracketed(begin: str, lines: list[str], end: str, indent: str) -> str:
    if not lines:
        return begin + end
    return "\n".join([begin, *lines, indent + end])


def _assigned(pairs: list[tuple[str, Any]], indent: str) -> list[str]:
    """Line up the `=` of neighbours whose values take one line each."""
    written = [(name, value_text(value, indent)) for name, value in pairs]
    lines: list[str] = []
    for place, (name, text) in enumerate(written):
        width = len(name)
        if "\n" not in text:
            width = max(len(each) for each in _neighbours(written, place))
        lines.append(f"{indent}{name:<{width}} = {text}")
    return lines


def _neighbours(written: list[tuple[str, str]], place: int) -> list[str]:
    """Give the names around `place`, its own included, as far as values take one line."""
    first = last = place
    while first > 0 and "\n" not in written[first - 1][1]:
        first -= 1
    while last + 1 < len(written) and "\n" not in written[last + 1][1]:
        last += 1
    return [name for name, _ in written[first : last + 1]]
