"""What can go wrong in a way that a person must hear about.

Only operating errors live here: a fleet file with mistakes, an engine that cannot start.
What befalls a single call (shed, broken, gone) is a fact of `core`, never an exception.
"""

from dataclasses import dataclass


class BaseloadError(Exception):
    """Base of every error that a command line turns into one sentence and exit code 1."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with a file, at the place where a person can mend it.

    `line` and `column` count from 1; both are 0 when the mistake has no place in the file.
    `path` is the dotted way to the value (`backends.edge.url`), empty for the file itself.
    """

    file: str
    line: int
    column: int
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{path} {self.what}{hint}"


class FleetFileError(BaseloadError):
    """The fleet file cannot be used; `mistakes` holds everything wrong with it, in file order."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class EngineError(BaseloadError):
    """A model server that baseload starts itself cannot be started, and trying again is no use."""
