"""How does a value become YAML that every reader takes for the same?

Python's, Go's and Kubernetes' readers differ in which bare words are numbers or truth values (`y`,
`1e3`, `0o7`), so whatever could be taken for one of them is quoted. Lines are never folded, and
texts of several lines stay readable.

Not here: which files there are, and their heads (`files`).
"""

import re
from typing import Any, Final

import yaml

_DOUBTFUL: Final = re.compile(r"[-+.]*[0-9].*|[yn]|~|=|<<", re.IGNORECASE | re.DOTALL)

_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
"""Ends of lines for some readers only."""


class _Dumper(yaml.SafeDumper):
    """Safe YAML without anchors: whoever reads an object need not look elsewhere in the file."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    is_doubtful = _DOUBTFUL.fullmatch(text) or _BREAKS.search(text)
    style = '"' if is_doubtful else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """Give a value as YAML, in its own order."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True,
        default_flow_style=False,
    )  # fmt: skip
