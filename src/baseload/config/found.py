"""A value together with the place in the file that it came from.

Fitting turns the tree into these, and the rules judge them: a rule that finds two values at odds
can then point at the one to mend. A value that already has a mistake is UNSOUND; its accessors
answer as if nothing were there, so a rule never builds on it.
"""

from dataclasses import dataclass
from typing import Any, Final


class Unsound:
    """The type of UNSOUND."""


UNSOUND: Final = Unsound()
"""Stands where a value would be that is missing or has a mistake, which has been noted."""

Place = tuple[int, int]
"""Line and column, from 1."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the file gave at a path, or the default where it gave nothing."""

    path: str
    place: Place
    value: Any
    """A dict or list of Found, text, a number, None or UNSOUND; a default may be a struct."""
    given: bool = True

    @property
    def is_set(self) -> bool:
        """Whether the file says something here other than null, be it sound or not."""
        return self.given and self.value is not None

    @property
    def text(self) -> str | None:
        """The text, if sound text is here."""
        return self.value if isinstance(self.value, str) else None

    @property
    def entries(self) -> dict[str, "Found"]:
        """The entries, if a mapping is here."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list["Found"]:
        """The items, if a list is here."""
        return self.value if isinstance(self.value, list) else []

    def plain(self) -> Any:
        """Return what the file gave, without places."""
        if isinstance(self.value, dict):
            return {name: one.plain() for name, one in self.value.items() if one.given}
        if isinstance(self.value, list):
            return [one.plain() for one in self.value]
        return self.value
