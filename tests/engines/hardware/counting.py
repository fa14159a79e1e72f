"""A double of a processor's counter of joules: a file that a thread moves on, as by 20 W.

It has the kernel's names and units; that a processor counts, and how well, is not proved by it.
"""

import threading
from contextlib import contextmanager
from pathlib import Path

from tests.engines.hardware.machines import rapl

WATTS = 20
STEP_S = 0.1


@contextmanager
def counting(root: Path):
    """Move a double of a package's counter on for as long as the block runs."""
    rapl(root, 0)
    file, stop = root / "sys/class/powercap/intel-rapl:0/energy_uj", threading.Event()

    def move():
        joules = 0.0
        while not stop.wait(STEP_S):
            joules += WATTS * STEP_S
            fresh = file.with_name("fresh")
            fresh.write_text(f"{joules * 1e6:.0f}\n")
            fresh.replace(file)  # Nobody reads half of it.

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
