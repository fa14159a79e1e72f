"""Tests of who is of an engine, by real processes."""

import os
import subprocess
import sys
from pathlib import Path

from baseload.engines import processes
from tests.engines.engine_kit import WAIT_MAX_S, until

NOBODY = -1
"""No session's leader."""


def test_who_is_of_a_life_is_remembered_until_it_is_gone():
    """One that has lost its mark, as the dying do, counts as there, and is ended."""
    script = "import os; input(); os.execve('/bin/sleep', ['sleep', '60'], {})"
    own = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, start_new_session=True,
        env=os.environ | {processes.MARK: "m"},
    )  # fmt: skip
    life = processes.Life(NOBODY, "m")
    until(lambda: life.members() == [own.pid])
    own.stdin.write(b"\n")
    own.stdin.close()
    until(lambda: b"sleep" in Path(f"/proc/{own.pid}/cmdline").read_bytes()[:5])

    assert [] == processes.Life(NOBODY, "m").members()
    assert [own.pid] == life.kill()
    own.wait(WAIT_MAX_S)
    assert [] == life.members()
