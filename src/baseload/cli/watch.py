"""Has the fleet file changed, and has whoever writes it finished?

It is looked at once in a second: when it was written, how large it is, which file it is. Editors
write in two steps, or put another file in its place; so a change counts only once the next look has
found the file as the last one did.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

LOOK_S = 1.0

Sign = tuple[int, int, int] | None


class Watch:
    """Looks at one file. Make it before the file is read: what is written meanwhile counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._last = self._sign()

    def has_changed(self) -> bool:
        """Look; say whether it is another file now, and has been since the last look."""
        sign, before = self._sign(), self._last
        self._last = sign
        if sign is None or sign != before or sign == self._known:
            return False
        self._known = sign
        return True

    async def look(self, then: Callable[[], Awaitable[object]]) -> None:
        """Look until cancelled; do something after each change."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self.has_changed():
                await then()

    def _sign(self) -> Sign:
        try:
            found = self._path.stat()
        except OSError:
            return None  # Between two steps of an editor there may be no file.
        return found.st_mtime_ns, found.st_size, found.st_ino
