"""The house rules that no linter knows, as tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCH = sorted((ROOT / "bench").rglob("*.py"))
DASHBOARDS = sorted((ROOT / "dashboards").rglob("*.py"))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
LINE_CHARACTERS_MAX = 100
BANNED_IN_SOURCES = {
    r"(?<![.\w])print\(": "logging speaks to operators, rich's console to people",
    r"\brandom\.(random|choice|randint|shuffle|uniform)\(": "randomness comes from an rng",
    r"\btime\.sleep\(": "nothing in the house may block",
}
PURE = ("core", "apis")
BANNED_IN_PURE = {
    r"\bmonotonic\b": "time enters as `now`",
    r"\btime\.time\(": "time enters as `now`",
    r"\bopen\(": "files are read elsewhere",
    r"\bos\.environ\b": "the environment is read elsewhere",
    r"\basync def\b": "deciding is synchronous",
}
LEFTOVERS = re.compile(r"\b(issue #?\d+|TODO|FIXME|XXX)\b")


def _python() -> list[Path]:
    return [*SOURCES, *TESTS, *BENCH, *DASHBOARDS]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _matches(paths: list[Path], banned: dict[str, str]) -> list[str]:
    return [
        f"{_name(path)}:{number}: {why}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for pattern, why in banned.items()
        if re.search(pattern, line.split("#")[0])
    ]


def test_the_rules_look_at_something():
    """There are sources and tests to look at, so the rules below cannot pass on nothing."""
    assert len(SOURCES) > 30
    assert len(TESTS) > 10


def test_modules_are_short():
    """No module has more than 400 lines."""
    lengths = {_name(path): len(path.read_text().splitlines()) for path in _python()}

    assert {} == {name: n for name, n in lengths.items() if n > MODULE_LINES_MAX}


def test_functions_are_short():
    """No function has more than 50 lines, its docstring and decorators included."""
    long = [
        f"{_name(path)}:{node.lineno} {node.name}"
        for path in _python()
        for node in _functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert [] == long


def test_lines_are_short():
    """No line of code has more than 100 characters, unless it is a name that cannot be broken."""
    long = [
        f"{_name(path)}:{number}"
        for path in [*SOURCES, *BENCH, *DASHBOARDS]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX and len(line.split()) > 2
    ]

    assert [] == long


def test_nothing_banned_is_called():
    """Sources neither print, block, nor draw from a global random generator."""
    assert [] == _matches(SOURCES, BANNED_IN_SOURCES)


def test_pure_rooms_are_pure():
    """`core` and `apis` know no clock, no files, no environment and nothing asynchronous."""
    pure = [path for path in SOURCES if path.relative_to(ROOT / "src/baseload").parts[0] in PURE]

    assert len(pure) > 8
    assert [] == _matches(pure, BANNED_IN_PURE)


def test_modules_open_with_prose():
    """Every module of the house says in its docstring what it is for."""
    bare = [_name(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]

    assert [] == bare


def test_tests_say_what_they_show():
    """Every test has a docstring that states the behaviour."""
    bare = [
        f"{_name(path)}:{node.lineno} {node.name}"
        for path in TESTS
        for node in _functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert [] == bare


def test_nothing_is_left_for_later_in_the_code():
    """No file holds a note to oneself; what is left to do is not kept in comments."""
    others = [path for path in _python() if path != Path(__file__)]

    assert [] == [_name(path) for path in others if LEFTOVERS.search(path.read_text())]


def test_the_readmes_are_in_step():
    """Both READMEs have the same sections and the same commands."""

    def shape(name: str) -> tuple[list[int], list[str]]:
        text = (ROOT / name).read_text()
        code = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        heads = re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
        return [len(head) for head in heads], code

    assert shape("README.md") == shape("README.zh-CN.md")
