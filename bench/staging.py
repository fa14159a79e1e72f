"""Measure staging against dd: python bench/staging.py [--size-mb 1024] [--from DIR] [--to DIR]

For a pair of folders, five rounds, interleaved so that what else the machine does meets all alike:

    dd          one process, O_DIRECT on both ends, fsync at the end: reads, then writes, in turn
    two dd      one reads, one writes, at once: what the two disks give beside each other
    raw         our workers and blocks without digests
    stage       `weights stage`'s own copy, digests included

Medians, and each round's ratio of stage to the best dd of that round. Results are JSON. On one disk
reading and writing share it; only two disks show what staging is for.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from baseload.engines.weights.copying import Task, copy
from baseload.engines.weights.hashing import digests_of
from baseload.engines.weights.store import FileRecord

ROUNDS = 5
BLOCK = "bs=4M"


def dd(source, target, *, direct=True):
    """Copy with dd; give seconds."""
    words = ["dd", f"if={source}", f"of={target}", BLOCK, "conv=fsync"]
    words += ["iflag=direct", "oflag=direct"] if direct else []
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


def two_dd(source, target, size):
    """Read with one dd and write with another; give the seconds until both are done."""
    read = ["dd", f"if={source}", "of=/dev/null", BLOCK, "iflag=direct"]
    write = ["dd", "if=/dev/zero", f"of={target}", BLOCK, "oflag=direct", "conv=fsync"]
    write.append(f"count={-(-size // (4 << 20))}")
    began = time.perf_counter()
    both = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for words in (read, write)]
    assert all(process.wait() == 0 for process in both)
    return time.perf_counter() - began


def ours(source, target, record, size):
    """Copy as staging does; give seconds and what bound it."""
    done = copy([Task(source, target, size, record)], clones=False)
    return done.seconds, done.spent.bound()


def measure(source, target, size):
    found = digests_of(source, "", size)
    record = FileRecord(path=source.name, size_bytes=size, sha256=found.sha256, chunks=found.chunks)
    seconds = {"dd": [], "two dd": [], "raw": [], "stage": []}
    bounds, ratios, raw_ratios = [], [], []
    for _ in range(ROUNDS):
        rounds = {
            "dd": lambda: dd(source, target),
            "two dd": lambda: two_dd(source, target, size),
            "raw": lambda: ours(source, target, None, size)[0],
        }
        for name, run in rounds.items():
            target.unlink(missing_ok=True)
            seconds[name].append(run())
        target.unlink(missing_ok=True)
        took, bound = ours(source, target, record, size)
        seconds["stage"].append(took)
        bounds.append(bound[0])
        ratios.append(min(seconds["dd"][-1], seconds["two dd"][-1]) / took)
        raw_ratios.append(seconds["raw"][-1] / took)
    target.unlink()
    rates = {name: round(size / statistics.median(all_) / 1e6) for name, all_ in seconds.items()}
    return {
        "mb_s": rates,
        "stage_to_dd": round(statistics.median(size / s for s in seconds["stage"]) / 1e6
                             / rates["dd"], 3),
        "stage_to_best_dd_of_round": round(statistics.median(ratios), 3),
        "stage_to_raw_of_round": round(statistics.median(raw_ratios), 3),
        "bound_by": statistics.mode(bounds),
        "rounds": {name: [round(s, 3) for s in all_] for name, all_ in seconds.items()},
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--from", dest="source", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--to", type=Path, default=Path("/var/tmp"))
    asked = parser.parse_args()
    size = asked.size_mb << 20
    source, target = asked.source / "staging.bench.in", asked.to / "staging.bench.out"
    block = os.urandom(1 << 20)
    try:
        with source.open("wb") as file:
            for number in range(asked.size_mb):
                file.write(number.to_bytes(8, "little") + block[8:])
            os.fsync(file.fileno())
        result = measure(source, target, size)
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
    told = {"from": str(asked.source), "to": str(asked.to), "bytes": size, "load": os.getloadavg()}
    print(json.dumps(told | result, indent=1))


if __name__ == "__main__":
    main()
