"""What is wrong with a fleet that cannot be rendered, with the line that says so?

A complaint names a dotted path of the file (`deploy.engines.edge.accelerator`); its place is looked
up, or that of the nearest value around it. All complaints are gathered before anything is refused.
"""

from baseload.config.mistakes import Mistakes
from baseload.config.references import Places


class Complaints:
    """Everything that keeps a fleet from being rendered."""

    def __init__(self, places: Places, mistakes: Mistakes) -> None:
        self._places, self._mistakes = places, mistakes

    def add(self, path: str, what: str, hint: str = "") -> None:
        """Note that what stands at `path` cannot be rendered."""
        at = path
        while at and at not in self._places:
            at = at.rpartition(".")[0]
        self._mistakes.add(*self._places.get(at, (0, 0)), path, what, hint)

    def refuse(self) -> None:
        """Raise FleetFileError with all of them, if there are any."""
        self._mistakes.refuse()

    def __len__(self) -> int:
        return len(self._mistakes.found)
