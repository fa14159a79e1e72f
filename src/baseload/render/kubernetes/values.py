"""What may be set in the chart: its values, what they are for, and what they may be?

Not here: the templates that they fill (`chart`).
"""

import json
import re
from typing import Any, Final

from baseload.render.files import File, header, made_by
from baseload.render.kubernetes.objects import NAMESPACE, Param, Part
from baseload.render.kubernetes.sites import Place, values_of
from baseload.render.picture import Picture
from baseload.render.text import dump

_TYPES: Final = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"),
                 (list, "array"), (dict, "object"))  # fmt: skip
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Tree = dict[str, Any]
"""Values by the steps of their paths; a leaf is a `Param`."""


def files(picture: Picture, parts: tuple[Part, ...], places: tuple[Place, ...]) -> list[File]:
    """Give the values, those of each site, and their schema."""
    found = [param for path, param in values_of(parts).items() if path != NAMESPACE]
    tree = _tree(sorted(found, key=lambda param: "\n" in str(param.value)))  # long ones last
    schema = {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "$comment": made_by(picture.sources),
        **_schema(tree),
    }
    schema["properties"]["global"] = {"type": "object"}
    return [
        _file("chart/values.yaml", picture, "\n".join(_lines(tree)) + "\n"),
        File(path="chart/values.schema.json", text=json.dumps(schema, indent=2) + "\n"),
        *(_site(picture, parts, place) for place in places),
    ]


def expression(param: Param) -> str:
    """Give the value of a `Param` as templates ask for it."""
    if param.path == NAMESPACE:
        return ".Release.Namespace"
    if all(_PLAIN.fullmatch(step) for step in param.path):
        return ".Values." + ".".join(param.path)
    return "(index .Values " + " ".join(json.dumps(step) for step in param.path) + ")"


def _file(path: str, picture: Picture, text: str, about: str = "") -> File:
    return File(path=path, text=header(path, picture.sources, about) + text)


def _site(picture: Picture, parts: tuple[Part, ...], place: Place) -> File:
    """Give what a site sets: values that differ, and what is not there."""
    path = f"chart/values-{place.name}.yaml"
    nested: dict[str, Any] = {}
    switches = {
        part.switch.path: False for part in parts if part.switch and part.name not in place.parts
    }
    for way, value in (switches | place.values).items():
        inside = nested
        for step in way[:-1]:
            inside = inside.setdefault(step, {})
        inside[way[-1]] = value
    about = f"helm upgrade --install ... -f {path}"
    return _file(path, picture, dump(nested), about)


def _tree(found: list[Param]) -> Tree:
    tree: Tree = {}
    for param in found:
        inside = tree
        for step in param.path[:-1]:
            inside = inside.setdefault(step, {})
        assert param.path[-1] not in inside, param.path
        inside[param.path[-1]] = param
    return tree


def _lines(tree: Tree, depth: int = 0) -> list[str]:
    found: list[str] = []
    for name, below in tree.items():
        if isinstance(below, Param):
            found += [f"# {line}" for line in below.about.splitlines()]
            found += dump({name: below.value}).removesuffix("\n").split("\n")
        else:
            found += [dump({name: 0}).removesuffix(" 0\n"), *_lines(below, 1)]
    return ["  " * depth + line if line else line for line in found]


def _schema(tree: Tree) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*tree],  # one that is set to null is missed, with its name
        "properties": {
            name: _leaf(below) if isinstance(below, Param) else _schema(below)
            for name, below in tree.items()
        },
    }


def _leaf(param: Param) -> dict[str, Any]:
    """Give what a value may be: of the same type, within its own bounds."""
    kind = next((name for type_, name in _TYPES if isinstance(param.value, type_)), None)
    found = {"type": kind} if kind else {}
    return ({"description": param.about} if param.about else {}) | found | param.schema
