"""`baseload up` and the counters that its fleet file names."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

END_S_MAX = 30.0


def _up(folder: Path, counters: str) -> subprocess.Popen[str]:
    file = folder / "fleet.yaml"
    file.write_text(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        f"state_dir: {folder}\n"
        f"store: {{ledger: 'sqlite:///{folder}/b.db', counters: '{counters}'}}\n"
        "backends:\n  b: {url: 'http://127.0.0.1:9/v1', probe_s: 0}\n"
        "models:\n  m:\n    tiers:\n      - b: {model: m}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "baseload", "up", "-c", str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip


def _lines_until(process: subprocess.Popen[str], *patterns: str) -> str:
    """Read until all have come, in any order: log lines are written by a thread of their own."""
    assert process.stdout is not None
    too_late = threading.Timer(END_S_MAX, process.kill)
    too_late.start()
    found = ""
    for line in process.stdout:
        found += line
        if all(re.search(pattern, found) for pattern in patterns):
            break
    too_late.cancel()
    return found


def test_a_redis_that_is_away_is_a_warning_and_not_an_end(tmp_path: Path):
    """The gateway serves, says that each replica counts its own share, and drains as ever."""
    process = _up(tmp_path, "redis://127.0.0.1:9/0")
    said = _lines_until(process, "Operators:", "counts its own share")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=END_S_MAX)

    assert "counters at redis://127.0.0.1:9/0" in said
    assert "counts its own share" in said
    assert (0, True) == (process.returncode, "Drained." in rest)


def test_counters_of_an_unknown_kind_end_the_start(tmp_path: Path):
    """The message names field and line, and what it could be."""
    process = _up(tmp_path, "memcached://x")
    said, _ = process.communicate(timeout=END_S_MAX)

    assert process.returncode != 0
    assert "fleet.yaml:4:" in said
    assert "store.counters: does not have the form that is wanted" in said
    assert "redis://" in said
