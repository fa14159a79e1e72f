"""How mistakes are gathered, so that a person hears of all of them at once and in file order.

Every stage of reading writes into one `Mistakes`: the tree, the fitting, the rules. None of them
stops at the first; each leaves out what is unsound and goes on. The words that a mistake quotes
from the file pass `shown`, so that a hostile file can neither flood nor steer a terminal.

It does not decide what is wrong.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from baseload.errors import FleetFileError, Mistake

MISTAKES_MAX: Final = 200
"""More than anyone reads; it also bounds the work that a hostile file can cause."""
SHOWN_CHARACTERS_MAX: Final = 64
"""Longest word of the file that a mistake repeats in full."""
KNOWN_SHOWN_MAX: Final = 16
"""How many known words a hint lists."""
COMPARED_MAX: Final = 500
"""How many known words a mistaken one is compared with, as comparing is slow."""


class Mistakes:
    """Everything wrong with one file so far."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Mistake] = []

    def add(self, line: int, column: int, path: str, what: str, hint: str = "") -> None:
        """Note one mistake at `line` and `column`, both from 1; 0 where there is no place.

        Raises FleetFileError once there are MISTAKES_MAX.
        """
        self.found.append(Mistake(self.file, line, column, path, what, hint))
        if len(self.found) >= MISTAKES_MAX:
            what = f"{MISTAKES_MAX} mistakes, the rest of the file is not looked at"
            self.found.append(Mistake(self.file, 0, 0, "", what))
            self.refuse()

    def refuse(self) -> None:
        """Raise FleetFileError with all mistakes in file order, if there are any."""
        if self.found:
            raise FleetFileError(sorted(self.found, key=lambda one: (one.line, one.column)))


def place_after(before: str) -> tuple[int, int]:
    """Return line and column, from 1, of what comes right after the text `before`."""
    lines = f"{before}.".splitlines()  # which breaks lines where YAML does
    return len(lines), len(lines[-1])


def printable(text: str) -> str:
    """Return `text` with everything escaped that could break a line or steer a terminal."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def shown(text: str) -> str:
    """Return `text` fit to be quoted in a mistake: printable, and cut if it is long."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
    return printable(cut)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names what `word` may have been meant to be, or all that is known."""
    names = sorted(known)
    if len(word) <= SHOWN_CHARACTERS_MAX:
        by_lower = {name.lower(): name for name in names[:COMPARED_MAX]}
        for match in get_close_matches(word.lower(), by_lower, n=1):
            return f"did you mean `{shown(by_lower[match])}`?"
    few = [f"`{shown(name)}`" for name in names[:KNOWN_SHOWN_MAX]]
    more = ", …" if len(names) > KNOWN_SHOWN_MAX else ""
    return f"known: {', '.join(few)}{more}" if few else ""
