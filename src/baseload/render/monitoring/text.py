"""How do settings become YAML that people like to read?

In their own order, with expressions and texts of several lines as they are, and whatever another
reader could take for a number or a truth value in quotes.

Not here: what stands in the files.
"""

import re
from typing import Any, Final

import yaml

from baseload.render.files import File, header
from baseload.render.picture import Picture

_DOUBTFUL: Final = re.compile(r"[-+.]*[0-9].*|[yn]|~|=|<<", re.IGNORECASE | re.DOTALL)


class _Dumper(yaml.SafeDumper):
    """Safe YAML without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else '"' if _DOUBTFUL.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def settings(picture: Picture, path: str, value: Any, about: str = "") -> File:
    """Give a YAML file; `about` is said at its head."""
    body = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True,
        default_flow_style=False,
    )  # fmt: skip
    return File(path=path, text=header(path, picture.sources, about) + body)
