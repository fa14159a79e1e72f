"""What an engine says, kept for people: in one file, bounded, and free of what callers wrote.

Engines talk while they load, and that is worth keeping whole. Once they serve, almost anything
they print may quote a caller: malformed JSON, a grammar, an answer that would not parse, and some
of it is printed whatever the log level. So from then on only lines that tell of a crash are kept,
and the others are merely counted.

The file never holds more than LOG_MAX_BYTES, and one older file beside it (`.1`) as much again.
"""

import re
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

LOG_MAX_BYTES = 1_000_000
LINES_KEPT = 64
LINE_MAX_CHARS = 500

_CRASH = re.compile(
    r"^\S+/\S+\.(?:c|cc|cpp|cu|h|hpp|m):\d+: (?:GGML_ASSERT|CUDA error|fatal error)"
    r"|^terminate called|^Fatal Python error|^\w+: failed to allocate"
)
_ERROR = re.compile(r"^[\d.]+ E ")  # llama.cpp's time since start, then the level.


class Journal:
    """The log of one engine across all its lives. Failing to write it never stops the engine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.withheld = 0
        """Lines of this life that were not kept because they may quote a caller."""
        self._is_serving = False
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)

    def begin(self, what: str) -> None:
        """Open the chapter of a new life; `what` says which."""
        self._lines.clear()
        self._is_serving = False
        self.withheld = 0
        self._append(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {what}")

    def serving(self) -> None:
        """From here on the engine works for callers, and only tells of crashes."""
        self._is_serving = True
        self._lines.clear()  # What it said while loading is not why it dies later.

    def hear(self, line: str) -> None:
        """Take one line that the engine printed."""
        line = line.rstrip()[:LINE_MAX_CHARS]
        if not line:
            return
        if self._is_serving and not _CRASH.search(line):
            self.withheld += 1
            return
        self._lines.append(line)
        self._append(line)

    def end(self, reason: str) -> None:
        """Close the chapter with the reason of the death."""
        withheld = f"; {self.withheld} lines that may quote callers not kept" * bool(self.withheld)
        self._append(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {reason}{withheld}")

    def cause(self) -> str:
        """Return the line of this life that best tells why it ended, or an empty string.

        llama.cpp's first error is the cause and later ones only its echo. Anything else, such as
        a Python traceback or an assertion, tells it in the last line.
        """
        errors = (line for line in self._lines if _ERROR.match(line))
        last = self._lines[-1] if self._lines else ""
        return _ERROR.sub("", next(errors, last)).strip()

    def _append(self, line: str) -> None:
        data = f"{line}\n".encode(errors="replace")
        try:
            self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size + len(data) > LOG_MAX_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            with self.path.open("ab") as file:
                file.write(data)
        except OSError:
            return  # A full disk is no reason to lose a working engine.
