"""What an engine says, kept for people: in one file, bounded, and free of what callers wrote.

Engines talk while they load, and that is worth keeping whole. Once they serve, almost anything
they print may quote a caller: malformed JSON, a grammar, an answer that would not parse, and some
of it is printed whatever the log level. So from then on only lines that tell of a crash are kept,
and the others are merely counted. vLLM and SGLang put who speaks before each line; that is looked
past.

The file never holds more than LOG_MAX_BYTES, and one older file beside it (`.1`) as much again.
"""

import re
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from baseload.engines.kinds.ladder import Sign
from baseload.engines.outofmemory import sign_in

LOG_MAX_BYTES = 1_000_000
LINES_KEPT = 64
LINE_MAX_CHARS = 500

_SPEAKER = re.compile(
    r"^(?:\([\w -]{1,64}pid=\d+\) ?)*"  # vLLM: (EngineCore_DP0 pid=271)
    r"(?:[A-Z]{4,8} \d\d-\d\d [\d:.]{8,15} \[[\w./-]{1,80}:\d+\] ?)?"  # ERROR 11-26 … [core.py:7]
    r"(?:\[\d{4}-\d\d-\d\d [\d:]{8}(?: \w+)*\] ?)?"  # SGLang: [2026-11-26 10:00:00 TP0]
)
_CRASH = re.compile(
    r"^\S+/\S+\.(?:c|cc|cpp|cu|h|hpp|m):\d+: (?:GGML_ASSERT|CUDA error|fatal error)"
    r"|^terminate called|^Fatal Python error|^\w+: failed to allocate"
    r"|^torch\.(?:\w+\.)?\w+Error: (?:CUDA|HIP)|^RuntimeError: (?:CUDA|HIP|NCCL) error"
    r"|^EngineCore encountered a fatal error|^Engine core proc \S+ died"
    r"|^Scheduler hit an exception|^std::bad_alloc"
)
_RAISED = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception): ")
_KV_TOKENS = re.compile(r"GPU KV cache size: ([\d,]{1,16}) tokens|max_total_num_tokens=(\d{1,12})")
_ERROR = re.compile(r"^[\d.]+ E ")  # llama.cpp's time since start, then the level.


class Journal:
    """The log of one engine across all its lives. Failing to write it never stops the engine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.withheld = 0
        """Lines of this life that were not kept because they may quote a caller."""
        self.sign: Sign | None = None
        """That memory ran short in this life, by the first line that said so."""
        self.kv_tokens: int | None = None
        """What the engine said that its KV cache holds."""
        self._raised = ""
        """The first exception that vLLM or SGLang told of, or the first word of a crash; what comes
        later is its echo, or the hundred lines that a debugger has to say of it."""
        self._is_serving = False
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)

    def begin(self, what: str) -> None:
        """Open the chapter of a new life; `what` says which."""
        self._lines.clear()
        self._is_serving = False
        self.sign, self.kv_tokens, self._raised = None, None, ""
        self.withheld = 0
        self._append(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {what}")

    def serving(self) -> None:
        """From here on the engine works for callers, and only tells of crashes."""
        self._is_serving = True
        self.sign, self._raised = None, ""  # What it said while loading is not why it dies later.
        self._lines.clear()

    def hear(self, line: str) -> None:
        """Take one line that the engine printed."""
        speaker, said = _parted(line.rstrip())
        line = (speaker + said)[:LINE_MAX_CHARS]
        said = line[len(speaker) :]
        if not line:
            return
        if self._is_serving and not _CRASH.search(said):
            self.withheld += 1
            return
        self._understand(said, has_speaker=bool(speaker))
        self._lines.append(line)
        self._append(line)

    def _understand(self, said: str, *, has_speaker: bool) -> None:
        self.sign = self.sign or sign_in(said)
        if self.kv_tokens is None and (found := _KV_TOKENS.search(said)):
            self.kv_tokens = int((found[1] or found[2]).replace(",", "")) or None
        if not self._raised and (_CRASH.search(said) or (has_speaker and _RAISED.match(said))):
            self._raised = said

    def end(self, reason: str) -> None:
        """Close the chapter with the reason of the death."""
        withheld = f"; {self.withheld} lines that may quote callers not kept" * bool(self.withheld)
        self._append(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {reason}{withheld}")

    def cause(self) -> str:
        """Return the line of this life that best tells why it ended, or an empty string.

        The first word of a crash, the first exception of vLLM and SGLang or the first error of
        llama.cpp is the cause, and later ones only its echo. Anything else, such as a Python
        traceback, tells it in the last line.
        """
        if self._raised:
            return self._raised
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


def _parted(line: str) -> tuple[str, str]:
    """Give who speaks, if anybody is named, and what is said.

    Of a progress bar, which overwrites itself by carriage returns, only its last state.
    """
    found = _SPEAKER.match(line)
    speaker = found[0] if found else ""
    return speaker, line[len(speaker) :].rpartition("\r")[2]
