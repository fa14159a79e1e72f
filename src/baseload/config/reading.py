"""How a fleet file becomes a `Fleet`, or a list of everything that is wrong with it.

Text becomes a tree (`tree.py`), the tree is fitted to the structs (`fitting.py`), the rules between
values are checked (`rules.py`), and only a file without any mistake is turned into structs. Each
stage notes its mistakes and goes on with what is sound, so that a person mends a file once.

Nothing is read beyond the file and the environment that is handed in, and no network is touched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from baseload.config.fitting import Fitter
from baseload.config.fleet import Fleet
from baseload.config.found import Found
from baseload.config.mistakes import Mistakes, place_after, printable
from baseload.config.references import (
    Places,
    References,
    explained,
    places_of,
    refuse_secrets,
)
from baseload.config.rules import check_rules
from baseload.config.tree import NULL, compose
from baseload.errors import FleetFileError

FILE_MAX_BYTES: Final = 1024 * 1024
"""Largest fleet file; a thousand models take a quarter of it."""
_BYTE_ORDER_MARK: Final = "\ufeff"


def read_fleet(path: Path, env: Mapping[str, str]) -> Fleet:
    """Read and check the file at `path`.

    Raises FleetFileError with every mistake, which includes a file that cannot be read at all.
    """
    mistakes = Mistakes(printable(str(path)))
    return _parse(_text(path, mistakes), mistakes, env)[0]


def read_referring(path: Path) -> tuple[Fleet, Places, Mistakes, tuple[str, ...]]:
    """Read the file at `path` with its variables left as they are.

    Gives the fleet, where each value stands, what later stages add their complaints to, and the
    names of the variables. Files that it names need not be there: it is served elsewhere.

    Raises FleetFileError with every mistake; a secret in clear text is one.
    """
    mistakes = Mistakes(printable(str(path)))
    text = _text(path, mistakes)
    references = References(text)
    try:
        fleet, found = _parse(text, mistakes, references, is_here=False)
    except FleetFileError as error:
        raise FleetFileError([explained(one, text) for one in error.mistakes]) from None
    refuse_secrets(found, mistakes)
    mistakes.refuse()
    return fleet, places_of(found), mistakes, tuple(references)


def _text(path: Path, mistakes: Mistakes) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        mistakes.add(0, 0, "", "no such file", "`baseload init` writes one")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        mistakes.add(0, 0, "", f"cannot be read: {reason}")
    mistakes.refuse()
    if len(data) > FILE_MAX_BYTES:
        mistakes.add(0, 0, "", f"larger than {FILE_MAX_BYTES} bytes", "is this a fleet file?")
        mistakes.refuse()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        place = place_after(data[: error.start].decode())
        mistakes.add(*place, "", "not UTF-8 from here on", "save the file as UTF-8")
        mistakes.refuse()
    raise AssertionError


def parse_fleet(text: str, file: str, env: Mapping[str, str]) -> Fleet:
    """Check `text` and return the fleet that it says; `file` is its name in mistakes.

    Raises FleetFileError with every mistake.
    """
    return _parse(text, Mistakes(file), env)[0]


def _parse(
    text: str, mistakes: Mistakes, env: Mapping[str, str], *, is_here: bool = True
) -> tuple[Fleet, Found]:
    if len(text) > FILE_MAX_BYTES:
        mistakes.add(0, 0, "", f"larger than {FILE_MAX_BYTES} bytes", "is this a fleet file?")
        mistakes.refuse()
    root = compose(text.removeprefix(_BYTE_ORDER_MARK), mistakes)
    if root is None or root.tag == NULL:
        mistakes.refuse()
        mistakes.add(0, 0, "", "empty", "`baseload init` writes a file to start from")
        mistakes.refuse()
    assert root is not None
    found = Fitter(env, mistakes).fleet(root)
    check_rules(found, mistakes, is_here=is_here)
    mistakes.refuse()
    return msgspec.convert(found.plain(), Fleet), found
