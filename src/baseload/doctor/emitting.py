"""How do corrected objects become a file again?

Objects are written anew, in their order, with their keys as they were ordered. Comments of the old
file are not kept, and the head says so; above each object stands what was changed about it.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from baseload import __version__
from baseload.config.mistakes import printable
from baseload.doctor.manifests import Manifest

MARK: Final = "written by `baseload doctor`"
_WIDTH: Final = 10_000
_AMBIGUOUS = re.compile(r"[yYnN~=]|[-+]?[\d.][\d._eE+-]*|0[xob][\da-fA-F_]+")


class _Dumper(yaml.SafeDumper):
    """Writes what every reader of YAML takes for the same."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeat a value that is used twice: `*id001` helps no reader."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their key, as manifests have them."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if "\n" in value:
        style = "|"
    elif _AMBIGUOUS.fullmatch(value):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _ordered(value: Any) -> Any:
    """Put `metadata` before `spec`, where a cure has added it."""
    if isinstance(value, list):
        return [_ordered(each) for each in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if {"metadata", "spec"} <= value.keys() and keys.index("spec") < keys.index("metadata"):
        keys.remove("metadata")
        keys.insert(keys.index("spec"), "metadata")
    return {key: _ordered(value[key]) for key in keys}


def text(manifests: Sequence[Manifest], changes: Sequence[Sequence[str]], file: str) -> str:
    """Give the file; `changes` says of each object what was changed about it."""
    lines = [
        f"# baseload {__version__}: {printable(file)}, corrected; {MARK}.",
        "# Read what was changed, above each object, before you apply it. Comments of that file",
        "# are not kept.",
    ]
    for manifest, changed in zip(manifests, changes, strict=True):
        lines.append("---")
        if manifest.why:
            lines += ["# Added:", *(f"#   {line}".rstrip() for line in manifest.why.splitlines())]
        if changed:
            lines += ["# Changed:", *(f"# - {printable(change)}" for change in changed)]
        dumped: str = yaml.dump(
            _ordered(manifest.body), Dumper=_Dumper, sort_keys=False, allow_unicode=True,
            width=_WIDTH,
        )  # fmt: skip
        lines.append(dumped.rstrip("\n"))
    return "\n".join(lines) + "\n"
