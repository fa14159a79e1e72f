"""From text to a tree of places: what a YAML file literally says, before anyone asks what it means.

YAML is a large language and a fleet file needs little of it. So the tree is put together here from
the parser's events, which are flat and cannot exhaust anything, and the dangerous parts end here:
tags are refused (nothing is ever constructed), nesting and the size that aliases expand to are
bounded while they grow, an alias cannot contain itself, and merge keys (`<<`) are resolved at once,
so that later stages see plain nodes. A part that was reported becomes a `BROKEN` scalar, which
later stages pass over in silence.

It knows nothing of fleets, and it keeps duplicate keys: only the fitting can name their path.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from baseload.config.mistakes import Mistakes, place_after

DEPTH_MAX: Final = 32
"""Deepest nesting; a fleet file needs six levels."""
VALUES_MAX: Final = 100_000
"""Most values in a file, aliases counted each time that they stand for something."""
BROKEN: Final = "broken"
"""Tag of a value that is reported already."""
MERGE: Final = "tag:yaml.org,2002:merge"
NULL: Final = "tag:yaml.org,2002:null"


class Bounds(NamedTuple):
    """How much a file may hold, and what kind of file it is, in the words of a mistake."""

    kind: str = "a fleet file"
    depth_max: int = DEPTH_MAX
    values_max: int = VALUES_MAX
    has_many: bool = False
    """Whether documents may follow the first."""


FLEET: Final = Bounds()

# The compiled parser where PyYAML has it: ten times as fast, and the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(slots=True)
class _Branch:
    """A list or mapping whose end has not been reached."""

    start: yaml.MappingStartEvent | yaml.SequenceStartEvent
    size: int = 1
    children: list[Node] = field(default_factory=list)


def compose(text: str, mistakes: Mistakes) -> Node | None:
    """Return the root of `text`, or None if the text is empty or its mistakes leave no tree."""
    roots = compose_all(text, mistakes, FLEET)
    return roots[0] if roots else None


def compose_all(text: str, mistakes: Mistakes, bounds: Bounds) -> list[Node]:
    """Return the root of each document of `text`; none if mistakes leave no tree."""
    if bad := _UNPRINTABLE.search(text):
        what = f"the sign U+{ord(bad.group()):04X} cannot be in a YAML file"
        mistakes.add(*place_after(text[: bad.start()]), "", what, "remove it")
        return []
    composer = _Composer(mistakes, bounds)
    loader = _Loader(text)
    try:
        while composer.goes_on and loader.check_event():
            composer.take(loader.get_event(), loader)
    except yaml.MarkedYAMLError as error:
        _report_syntax(error, text, mistakes)
        return []
    finally:
        loader.dispose()
    return composer.roots if composer.goes_on else []


class _Composer:
    """Puts nodes together from events; `goes_on` turns false when it is no use to continue."""

    def __init__(self, mistakes: Mistakes, bounds: Bounds) -> None:
        self.mistakes = mistakes
        self.bounds = bounds
        self.roots: list[Node] = []
        self.values = 0  # of documents that are complete
        self.goes_on = True
        self.branches: list[_Branch] = []
        self.anchors: dict[str, tuple[Node, int]] = {}

    def take(self, event: yaml.Event, loader: Any) -> None:
        """Take in the next event; the loader only resolves what kind a plain scalar is."""
        match event:
            case yaml.DocumentStartEvent() if self.roots and not self.bounds.has_many:
                hint = f"{self.bounds.kind} holds just one"
                self._stop(event, "a second document starts here", hint)
            case yaml.DocumentStartEvent():
                self.anchors = {}
            case yaml.AliasEvent():
                self._put(event, *self._meant_by(event))
            case yaml.ScalarEvent():
                tag = loader.resolve(ScalarNode, event.value, event.implicit)
                tag = BROKEN if self._is_tagged(event) else tag
                self._keep(event, ScalarNode(tag, event.value, *_marks(event), event.style), 1)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._is_tagged(event)
                self.branches.append(_Branch(event))
                if len(self.branches) > self.bounds.depth_max:
                    what = f"nested deeper than {self.bounds.depth_max} levels"
                    self._stop(event, what, "flatten it")
            case yaml.SequenceEndEvent():
                branch = self.branches.pop()
                node = SequenceNode("", branch.children, *_marks(branch.start))
                self._keep(branch.start, node, branch.size)
            case yaml.MappingEndEvent():
                branch = self.branches.pop()
                self._keep(branch.start, self._mapping(branch), branch.size)

    def _stop(self, event: yaml.Event, what: str, hint: str) -> None:
        self._report(event, what, hint)
        self.goes_on = False

    def _report(self, at: Any, what: str, hint: str) -> None:
        self.mistakes.add(at.start_mark.line + 1, at.start_mark.column + 1, "", what, hint)

    def _is_tagged(self, event: Any) -> bool:
        if event.tag is None:
            return False
        what = "a tag (`!` before a value) is not allowed; nothing is constructed from tags"
        self._report(event, what, "remove the tag, or put the value in quotes")
        return True

    def _keep(self, event: Any, node: Node, size: int) -> None:
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, size)
        self._put(event, node, size)

    def _put(self, event: yaml.Event, node: Node, size: int) -> None:
        if self.branches:
            branch = self.branches[-1]
            branch.children.append(node)
            branch.size += size
            size = branch.size
        else:
            self.roots.append(node)
            self.values += size
            size = 0
        if self.values + size > self.bounds.values_max:
            what = f"more than {self.bounds.values_max} values, counting what aliases stand for"
            self._stop(event, what, f"is this {self.bounds.kind}?")

    def _meant_by(self, event: Any) -> tuple[Node, int]:
        # The anchor's name is not repeated: someone may have written a secret that starts with `*`.
        if any(branch.start.anchor == event.anchor for branch in self.branches):
            self._report(event, "this alias stands for a value that contains it", "remove it")
        elif event.anchor in self.anchors:
            return self.anchors[event.anchor]
        else:
            what = "this alias (`*`) stands for an anchor (`&`) that is not defined above it"
            self._report(event, what, "put the value in quotes if it is text")
        return ScalarNode(BROKEN, "", *_marks(event)), 1

    def _mapping(self, branch: _Branch) -> MappingNode:
        """Pair keys with values, and bring in what `<<` merges, own keys first."""
        pairs = list(zip(branch.children[::2], branch.children[1::2], strict=True))
        own = [pair for pair in pairs if pair[0].tag != MERGE]
        taken = {_name(key) for key, _ in own}
        for _, merged in (pair for pair in pairs if pair[0].tag == MERGE):
            for source in merged.value if isinstance(merged, SequenceNode) else [merged]:
                if isinstance(source, MappingNode):
                    fresh = [pair for pair in source.value if _name(pair[0]) not in taken]
                    own += fresh
                    taken |= {_name(key) for key, _ in fresh}
                elif source.tag != BROKEN:
                    what = "`<<` merges mappings only, as `<<: *name`"
                    self._report(source, what, "put the key in quotes if it is a name")
        return MappingNode("", own, *_marks(branch.start))


def _name(key: Node) -> object:
    return key.value if isinstance(key, ScalarNode) else id(key)


def _marks(event: yaml.Event) -> tuple[Any, Any]:
    return event.start_mark, event.end_mark


_HINTS: Final = {
    "mapping values are not allowed": "put a value that contains `: ` in quotes",
    "could not find expected ':'": "write `key: value`",
    "node content": "put text that starts with a sign, as `[::1]:8080`, in quotes",
    "cannot start any token": "put text that starts with a sign, as `@` or `%`, in quotes",
    "unknown escape": "use single quotes for text with backslashes",
}


def _report_syntax(error: yaml.MarkedYAMLError, text: str, mistakes: Mistakes) -> None:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "it cannot be parsed"
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
    if mark is None:
        mistakes.add(0, 0, "", f"not valid YAML: {problem}", hint)
        return
    if text[mark.index : mark.index + 1] == "\t":
        problem, hint = "a tab where only spaces may be", "indent with spaces"
    elif not hint and error.context and error.context_mark:
        hint = f"{error.context} that begins in line {error.context_mark.line + 1}"
    line, column, lines = mark.line + 1, mark.column + 1, text.splitlines()
    if line > len(lines):  # the parser waited for more until the end: show where that is
        line, column = len(lines), len(lines[-1]) + 1
    mistakes.add(line, column, "", f"not valid YAML: {problem}", hint)
