"""How does a manifest's text become objects that know where each of their values stands?

The bounded tree of `config.tree` does the dangerous part. What plain words mean is what the tools
of Kubernetes take them for: `yes` is true, `0644` is octal, dates and `12:30` are text.

A chart's template is no manifest: it is recognised and refused, with the command that renders it.
"""

import re
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from baseload.config.mistakes import Mistakes, place_after, printable
from baseload.config.tree import BROKEN, Bounds, compose_all
from baseload.doctor.manifests import Manifest, Place, Pointer
from baseload.errors import FleetFileError

FILE_CHARACTERS_MAX: Final = 2 * 1024 * 1024
BOUNDS: Final = Bounds(
    kind="a Kubernetes manifest", depth_max=64, values_max=200_000, has_many=True
)
_NUMBER_CHARACTERS_MAX: Final = 40
_TEMPLATE = re.compile(r"\{\{-?\s*(\.|\$|(include|if|range|with|define|template|toYaml|end)\b)")
_TEMPLATED: Final = ("ConfigMap", "PrometheusRule")
"""Kinds that carry templates of others: an alert's text is Prometheus' own template."""
_TAG: Final = "tag:yaml.org,2002:"


def read(text: str, file: str) -> tuple[Manifest, ...]:
    """Give the objects of a file, in its order.

    Raises FleetFileError with everything that keeps it from being read.
    """
    mistakes = Mistakes(printable(file))
    if len(text) > FILE_CHARACTERS_MAX:
        mistakes.add(0, 0, "", f"larger than {FILE_CHARACTERS_MAX} characters", "split it")
        mistakes.refuse()
    try:
        roots = compose_all(text.removeprefix("\ufeff"), mistakes, BOUNDS)
        found = [each for root in roots for each in _objects(root, mistakes)]
        if not found and not mistakes.found:
            mistakes.add(0, 0, "", "no Kubernetes object is in it", "is it the right file?")
        mistakes.refuse()
    except FleetFileError:
        _refuse_template(text, "{{", mistakes.file)
        raise
    for each in found:
        if each.kind not in _TEMPLATED and _is_template(each.body):
            _refuse_template(text, _TEMPLATE, mistakes.file)
    return tuple(found)


def _refuse_template(text: str, sign: str | re.Pattern[str], file: str) -> None:
    match = re.search(re.escape(sign) if isinstance(sign, str) else sign, text)
    if match is not None:
        mistakes = Mistakes(file)
        what = "this is a template of a Helm chart, not yet a manifest"
        hint = "render it first: `helm template NAME CHART | baseload doctor -`"
        mistakes.add(*place_after(text[: match.start()]), "", what, hint)
        mistakes.refuse()


def _is_template(value: Any) -> bool:
    """Look into short text only: a long one is a file that a manifest carries."""
    if isinstance(value, dict):
        return any(_is_template(each) for each in value.values())
    if isinstance(value, list):
        return any(_is_template(each) for each in value)
    return isinstance(value, str) and "\n" not in value and bool(_TEMPLATE.search(value))


def _objects(root: Node, mistakes: Mistakes) -> list[Manifest]:
    """Give the objects of one document: none if it is empty, many if it is a list of them."""
    if isinstance(root, ScalarNode) and root.tag in (f"{_TAG}null", BROKEN):
        return []
    if not isinstance(root, MappingNode):
        mistakes.add(*_place(root), "", "not an object: it has no keys", "write `key: value`")
        return []
    fields = {key.value: child for key, child in root.value if isinstance(key, ScalarNode)}
    kind, items = fields.get("kind"), fields.get("items")
    if isinstance(kind, ScalarNode) and kind.value.endswith("List"):
        if isinstance(items, SequenceNode):
            return [each for item in items.value for each in _objects(item, mistakes)]
        if kind.value == "List":
            mistakes.add(*_place(root), "items", "a List without a list of items", "")
            return []
    return [_Reader(mistakes).manifest(root)]


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Reader:
    """Turns the tree of one object into plain data, and notes where things stand."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._places: dict[Pointer, Place] = {}
        self._raws: dict[Pointer, str] = {}
        self._repeated: list[tuple[Pointer, Place]] = []

    def manifest(self, root: MappingNode) -> Manifest:
        self._places[()] = _place(root)
        body = self._mapping(root, ())
        return Manifest(
            body=body, places=self._places, raws=self._raws, repeated=tuple(self._repeated)
        )

    def _value(self, node: Node, at: Pointer) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node, at)
        if isinstance(node, SequenceNode):
            for index, child in enumerate(node.value):
                self._places[*at, index] = _place(child)
            return [self._value(child, (*at, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        value = _scalar(node)
        if not isinstance(value, str):
            self._raws[at] = node.value
        return value

    def _mapping(self, node: MappingNode, at: Pointer) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                self._mistakes.add(*_place(key), "", "a key that is not text", "put it in quotes")
                continue
            here = (*at, key.value)
            if key.value in values:
                self._repeated.append((here, _place(key)))
            self._places[here] = _place(child if isinstance(child, ScalarNode) else key)
            values[key.value] = self._value(child, here)
        return values


def _scalar(node: ScalarNode) -> Any:
    """Give what a word stands for."""
    said: str = node.value
    match node.tag.removeprefix(_TAG):
        case "null" | "broken":
            return None
        case "bool":
            return said.lower() in ("yes", "true", "on")
        case "int" | "float" if ":" not in said and len(said) <= _NUMBER_CHARACTERS_MAX:
            return _number(said.replace("_", ""))
    return said


def _number(said: str) -> int | float | str:
    sign = said.lstrip("+-")
    try:
        if re.fullmatch("0[0-7]+", sign):
            return int(said, 8)
        if re.fullmatch("[0-9]+|0[xob].*", sign):
            return int(said, 0)
        return float(said.replace(".inf", "inf").replace(".nan", "nan").replace(".Inf", "inf"))
    except ValueError:
        return said
