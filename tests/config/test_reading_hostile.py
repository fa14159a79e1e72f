"""Whatever the text, reading gives a fleet or mistakes with a sane place, and nothing else."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from baseload.config.default import init_text
from baseload.config.fleet import Fleet
from baseload.config.reading import parse_fleet
from baseload.config.wishes import wish
from baseload.errors import FleetFileError

ENV = {"DEEPSEEK_API_KEY": "sk-1"}
SIGNS = "abk019 \n\t:-,.[]{}&*!|>'\"#%@`?~<=$_/\\\r\x00\x85\ufeff\u2028é😀"
NASTY = [
    "\n", "\t", "  ", ": ", "- ", "{", "}", "[", "]", "&a ", "*a", "<<: *a", "!!python/name:os ",
    "!!binary ", "null", "~", "yes", "off", "0x1F", "010", "1:30", "-1", "1e999", ".nan", ".inf",
    "9" * 5000, "2026-01-01", "'", '"', "|\n", ">-\n", "? ", "${", "${NOPE}", "$${", "---\n",
    "...\n", "%YAML 1.1\n", "\x00", "\ud800", "\ufeff", "listen: [::1]:80\n", "share: 0",
    "url: http://[\n", "listen: 127.0.0.1:9090\n", 'tls: {cert: "\\0", key: /}\n', "=", "models:",
]  # fmt: skip


def check(text: str) -> None:
    """Read `text`; any exception but FleetFileError fails the test."""
    try:
        fleet = parse_fleet(text, "f", ENV)
    except FleetFileError as error:
        mistakes = error.mistakes
    else:
        assert isinstance(fleet, Fleet)
        return
    lines = text.splitlines() or [""]
    longest = max(map(len, lines))
    for one in mistakes:
        has_no_place = (one.line, one.column) == (0, 0)
        assert has_no_place or 1 <= one.line <= len(lines)
        assert has_no_place or 1 <= one.column <= longest + 1
        assert one.what
        assert str(one).isprintable()
    places = [(one.line, one.column) for one in mistakes]
    assert mistakes
    assert sorted(places) == places


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=200), st.text(alphabet=SIGNS, max_size=80)))
@example("\ud800")
@example("a: &a {<<: *a}")
@example("? {<<: 1}\n: x")
@example("&a ? *a\n: *a")
@example("{: }")
@example("<<: {1: 2}\nbackends: {~: ~}")
@example("backends: {a: [], b: ''}\nmodels: {m: {tiers: [[], '', {a: }]}}")
def test_any_text(text):
    """Any text gives a fleet or mistakes."""
    check(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_mutated_files(data):
    """A good file with a few hostile edits gives a fleet or mistakes."""
    text = init_text(with_deepseek=data.draw(st.booleans()))
    text = re.sub(r" +#.*", "", text)
    for _ in range(data.draw(st.integers(1, 4))):
        words = [*re.finditer(r"[^\s:]+|\n|: ?", text)]
        word = data.draw(st.sampled_from(words)) if words else re.match("", text)
        nasty = data.draw(st.sampled_from(["", *NASTY]))
        text = text[: word.start()] + nasty + text[word.end() :]

    check(text)


def test_every_bound_is_enforced():
    """The structs use no kind of bound that the reader does not check."""
    seen: set[str] = set()

    def collect(kind: inspect.Type) -> None:
        inner = wish(kind).type
        match inner:
            case inspect.StructType():
                for one in inner.fields:
                    collect(one.type)
            case inspect.DictType():
                collect(inner.key_type)
                collect(inner.value_type)
            case inspect.VarTupleType():
                collect(inner.item_type)
        bounds = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")
        seen.update(name for name in bounds if getattr(inner, name, None) is not None)

    collect(inspect.type_info(Fleet))

    assert seen <= {"gt", "ge", "lt", "le", "min_length", "pattern"}
