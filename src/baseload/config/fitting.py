"""Whether a tree fits the structs of `fleet.py`: the right keys, kinds, ranges and words.

There is no list of fields here. msgspec tells what each struct holds, and this module walks tree
and description side by side, as one would lay a form over a template. Out comes the same shape made
of `Found`, with defaults filled in, and UNSOUND wherever a mistake has been noted.

It does not know what a backend is: whatever takes two values to judge is in `rules.py`.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any, Final

from msgspec import NODEFAULT, inspect
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from baseload.config.fleet import Fleet
from baseload.config.found import UNSOUND, Found, Place
from baseload.config.mistakes import Mistakes, nearest, shown
from baseload.config.references import References
from baseload.config.tree import BROKEN, NULL
from baseload.config.variables import expand
from baseload.config.wishes import Wish, fields, wish

DIGITS_MAX: Final = 18
"""Longest whole number that is read; it fits 64 bits."""

# Octal, hexadecimal and sexagesimal numbers are left out: YAML 1.1 and 1.2 read them differently.
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WANTED: Final[dict[type[inspect.Type], str]] = {
    inspect.StructType: "a mapping",
    inspect.DictType: "a mapping",
    inspect.VarTupleType: "a list",
    inspect.StrType: "text",
    inspect.LiteralType: "a word",
    inspect.IntType: "a whole decimal number",
    inspect.FloatType: "a decimal number",
    inspect.BoolType: "true or false",
}
_SCALARS: Final = {"int": "number", "float": "number", "timestamp": "date", "bool": "yes/no value"}
_YES: Final = ("true", "yes", "on")
"""YAML 1.1 has three words for it, in any case."""
_BOUNDS: Final[tuple[tuple[str, Callable[[Any, Any], bool], str], ...]] = (
    ("gt", operator.gt, "more than"),
    ("ge", operator.ge, "at least"),
    ("lt", operator.lt, "less than"),
    ("le", operator.le, "at most"),
)


class Fitter:
    """Fits one file's tree; mistakes go to `mistakes`, variables are looked up in `env`."""

    def __init__(self, env: Mapping[str, str], mistakes: Mistakes) -> None:
        self.env = env
        self.mistakes = mistakes
        self.by_type: dict[type[inspect.Type], Callable[[Any, Wish, Found], Any]] = {
            inspect.StructType: self._struct,
            inspect.DictType: self._mapping,
            inspect.VarTupleType: self._list,
            inspect.StrType: self._text,
            inspect.LiteralType: self._word,
            inspect.IntType: self._whole,
            inspect.FloatType: self._number,
            inspect.BoolType: self._switch,
        }

    def fleet(self, root: Node) -> Found:
        """Fit the whole tree."""
        return self._fit(root, wish(inspect.type_info(Fleet)), "", _place(root))

    def _fit(self, node: Node, wanted: Wish, path: str, owner: Place) -> Found:
        """Fit one value; a list, mapping or nothing is reported at its `owner`, the key."""
        is_words = isinstance(node, ScalarNode) and bool(node.value)
        empty = Found(path, _place(node) if is_words else owner, UNSOUND)
        if node.tag == BROKEN:
            return empty
        if wanted.can_be_null and node.tag == NULL:
            return Found(path, empty.place, None)
        value = self.by_type[type(wanted.type)](node, wanted, empty)
        return Found(path, empty.place, value)

    def _struct(self, node: Node, wanted: Wish, here: Found) -> Any:
        if not isinstance(node, MappingNode):
            return self._wrong_kind(node, wanted, here)
        assert isinstance(wanted.type, inspect.StructType)
        wishes = fields(wanted.type)
        known = {name: one for name, one in wishes.items() if not one.is_filled_in}
        values: dict[str, Found] = {}
        for name, place, child in self._pairs(node, here.path):
            path = _join(here.path, name)
            if name not in known:
                is_key = "it is the key that all this stands under, so remove the line"
                hint = is_key if name in wishes else nearest(name, known)
                self.mistakes.add(*place, path, "unknown key", hint)
                continue
            found = self._fit(child, known[name], path, place)
            values.setdefault(name, found)
        for name, one in known.items():
            if name in values:
                continue
            path = _join(here.path, name)
            is_missing = one.default is NODEFAULT
            if is_missing:
                self.mistakes.add(*here.place, path, "missing", one.example)
            values[name] = Found(
                path, here.place, UNSOUND if is_missing else one.default, given=False
            )
        return values

    def _mapping(self, node: Node, wanted: Wish, here: Found) -> Any:
        if not isinstance(node, MappingNode):
            return self._wrong_kind(node, wanted, here)
        assert isinstance(wanted.type, inspect.DictType)
        name_wanted, value_wanted = wish(wanted.type.key_type), wish(wanted.type.value_type)
        filled_in = []
        if isinstance(value_wanted.type, inspect.StructType):
            filled_in = [n for n, one in fields(value_wanted.type).items() if one.is_filled_in]
        values: dict[str, Found] = {}
        for name, place, child in self._pairs(node, here.path):
            path = _join(here.path, name)
            self._fits_bounds(name, name_wanted, Found(path, place, UNSOUND))
            found = self._fit(child, value_wanted, path, place)
            if filled_in:
                found.entries.update({one: Found(path, place, name) for one in filled_in})
            values.setdefault(name, found)
        return values if self._fits_bounds(values, wanted, here) else UNSOUND

    def _pairs(self, node: MappingNode, path: str) -> Iterator[tuple[str, Place, Node]]:
        """Go through a mapping's keys; one written twice is noted and its values yielded too."""
        lines: dict[str, int] = {}
        for key, child in node.value:
            place = _place(key)
            if not isinstance(key, ScalarNode):
                self.mistakes.add(*place, path, "a key must be text, found a list or mapping")
            elif _short(key.tag) == "str":
                if key.value in lines:
                    what = f"written twice, first in line {lines[key.value]}"
                    self.mistakes.add(*place, _join(path, key.value), what, "remove one of them")
                lines.setdefault(key.value, place[0])
                yield key.value, place, child
            elif key.tag != BROKEN:
                what = "this key is not read as text"
                self.mistakes.add(*place, _join(path, key.value), what, "put it in quotes")

    def _list(self, node: Node, wanted: Wish, here: Found) -> Any:
        if not isinstance(node, SequenceNode):
            return self._wrong_kind(node, wanted, here)
        assert isinstance(wanted.type, inspect.VarTupleType)
        each = wish(wanted.type.item_type)
        values = [
            self._fit(child, each, f"{here.path}[{index}]", _place(child))
            for index, child in enumerate(node.value)
        ]
        return values if self._fits_bounds(values, wanted, here) else UNSOUND

    def _text(self, node: Node, wanted: Wish, here: Found) -> Any:
        if not isinstance(node, ScalarNode) or not (
            _short(node.tag) == "str" or _is_wanted_date(node, wanted)
        ):
            return self._wrong_kind(node, wanted, here)
        text, wrong = self._expanded(node, here)
        return text if not wrong and self._fits_bounds(text, wanted, here) else UNSOUND

    def _expanded(self, node: ScalarNode, here: Found) -> tuple[str, list[tuple[str, str]]]:
        """Fill in variables. Those of `deploy` need not be set: no gateway has use for them."""
        text, wrong = expand(node.value, self.env)
        if wrong and here.path.startswith("deploy."):
            text, wrong = expand(node.value, References(node.value))
        for what, hint in wrong:
            self.mistakes.add(*here.place, here.path, what, hint)
        return text, wrong

    def _word(self, node: Node, wanted: Wish, here: Found) -> Any:
        assert isinstance(wanted.type, inspect.LiteralType)
        if not isinstance(node, ScalarNode) or node.tag == NULL:
            return self._wrong_kind(node, wanted, here)
        # As written, whatever YAML makes of it: a plain `off` would otherwise be a yes/no value.
        word, wrong = self._expanded(node, here)
        if wrong or word in wanted.type.values:
            return UNSOUND if wrong else word
        hint = nearest(word, map(str, wanted.type.values))
        self.mistakes.add(*here.place, here.path, f"unknown word `{shown(node.value)}`", hint)
        return UNSOUND

    def _switch(self, node: Node, wanted: Wish, here: Found) -> Any:
        if _short(node.tag) != "bool":
            return self._wrong_kind(node, wanted, here)
        return node.value.lower() in _YES

    def _whole(self, node: Node, wanted: Wish, here: Found) -> Any:
        return self._read_number(node, wanted, here, _WHOLE, int)

    def _number(self, node: Node, wanted: Wish, here: Found) -> Any:
        return self._read_number(node, wanted, here, _NUMBER, float)

    def _read_number(
        self, node: Node, wanted: Wish, here: Found, form: re.Pattern[str], read: type[int | float]
    ) -> Any:
        if _short(node.tag) not in ("int", "float") or not form.fullmatch(node.value):
            return self._wrong_kind(node, wanted, here)
        digits = node.value.replace("_", "")
        if len(digits) > DIGITS_MAX or not isfinite(value := read(digits)):
            self.mistakes.add(*here.place, here.path, "too long a number", wanted.example)
            return UNSOUND
        return value if self._fits_bounds(value, wanted, here) else UNSOUND

    def _fits_bounds(self, value: Any, wanted: Wish, here: Found) -> bool:
        """Hold a value against the bounds of its type, which msgspec keeps as attributes."""
        for name, holds, words in _BOUNDS:
            bound = getattr(wanted.type, name, None)
            if bound is not None and not holds(value, bound):
                what = f"must be {words} {bound}, found {value:.15g}"
                self.mistakes.add(*here.place, here.path, what, wanted.description)
                return False
        if (least := getattr(wanted.type, "min_length", None)) and len(value) < least:
            self.mistakes.add(*here.place, here.path, "must not be empty", wanted.example)
            return False
        form = getattr(wanted.type, "pattern", None)
        if form and not re.fullmatch(form, value):
            what = "does not have the form that is wanted"
            self.mistakes.add(*here.place, here.path, what, wanted.description)
            return False
        return True

    def _wrong_kind(self, node: Node, wanted: Wish, here: Found) -> Any:
        found, hint = "a list" if isinstance(node, SequenceNode) else "a mapping", wanted.example
        is_number = isinstance(wanted.type, inspect.IntType | inspect.FloatType)
        if node.tag == NULL:
            found, hint = "nothing", "give it a value or remove the line"
        elif isinstance(node, ScalarNode):
            noun = _SCALARS.get(_short(node.tag), "text")
            found = f"a {noun}" if wanted.is_secret else f"the {noun} `{shown(node.value)}`"
            if isinstance(wanted.type, inspect.StrType):
                hint = f"put text in quotes; {wanted.example}".removesuffix("; ")
            elif is_number and "${" in node.value:
                hint = "variables can stand for text only"
            elif is_number and node.style and _NUMBER.fullmatch(node.value):
                hint = "remove the quotes"
        what = f"wants {_WANTED[type(wanted.type)]}, found {found}"
        self.mistakes.add(*here.place, here.path, what, hint)
        return UNSOUND


def _join(path: str, name: str) -> str:
    return f"{path}.{shown(name)}" if path else shown(name)


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _is_wanted_date(node: ScalarNode, wanted: Wish) -> bool:
    """Say whether YAML has taken for a date what is text of the very form that is wanted."""
    form = getattr(wanted.type, "pattern", None)
    return _short(node.tag) == "timestamp" and bool(form and re.fullmatch(form, node.value))


def _short(tag: str) -> str:
    return tag.rpartition(":")[2]
