"""Tapes of simulated runs, whole and damaged on purpose."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from baseload.config.fleet import Model, Queue, Target
from baseload.core.gate import Gate
from baseload.core.records import Ended, Line
from baseload.core.setup import Setup
from baseload.core.tape import (
    BLOCK_BYTES_MAX,
    BLOCK_HEAD_BYTES,
    CLOSED,
    HEAD_BYTES_MAX,
    TITLE,
    Head,
    Packer,
    block,
    block_length,
    read_block,
    read_head,
)
from baseload.sim.driver import Driver
from baseload.sim.kernel import Kernel
from tests.sim.worlds import World, announcements, arrivals, sights

STEPS_MAX = 1_000_000
END = block([Ended(CLOSED)])


def _tier(**shares: int) -> dict[str, Target]:
    return {
        name: Target(backend=name, model=f"at-{name}", share=share, weights="w")
        for name, share in shares.items()
    }


SETUP = Setup(
    models={
        "m": Model(name="m", tiers=(_tier(good=70, bad=30), _tier(other=100)), hedge=0.2),
        "n": Model(name="n", tiers=(_tier(other=1, twin=1, last=2),)),
    },
    concurrency={"good": 3, "bad": 3, "other": 2, "twin": 2, "last": 1},
    ceilings={"good": 6},
    accounts={"other": "shared", "last": "shared"},
    queue=Queue(size=6, wait_s=2.0),
    seed=99,
)
HEAD = Head("0.1.0", 1_700_000_000.0, 0.0, SETUP)


def run(seed: int, per_s: float, number: int, tape: Packer | None = None) -> Driver:
    """Run a few backends that fail, queue, come and go; give the driver as it is at the end."""
    kernel = Kernel()
    driver = Driver(kernel, Gate(SETUP, Random(SETUP.seed)), World(seed, kernel))
    driver.tape = tape
    plan = arrivals(seed, number, per_s)
    for when, call, leaves in plan:
        kernel.at(when, lambda call=call: driver.start(call))
        if leaves is not None:
            kernel.at(leaves, lambda call=call: driver.cancel(call))
    for when, backend, is_up in announcements(seed, plan[-1][0]):
        kernel.at(when, lambda b=backend, u=is_up: driver.announce(b, is_up=u))
    for backend, sight in sights(seed, plan[-1][0]):
        kernel.at(sight.at, lambda b=backend, s=sight: driver.observe(b, s))
    kernel.run(STEPS_MAX)
    return driver


def record(seed: int, per_s: float, number: int) -> tuple[bytes, Driver]:
    """Give the tape of a run, closed, and the driver."""
    packer = Packer(HEAD)
    driver = run(seed, per_s, number, packer)
    return packer.take() + END, driver


def taken_apart(data: bytes) -> tuple[Head, list[Line]]:
    """Give a tape's head and all its lines."""
    at, parts = len(TITLE), []
    while at < len(data):
        head = data[at : at + BLOCK_HEAD_BYTES]
        at += BLOCK_HEAD_BYTES
        length = block_length(head, BLOCK_BYTES_MAX if parts else HEAD_BYTES_MAX)
        parts.append((head, data[at : at + length]))
        at += length
    return read_head(*parts[0]), [line for one in parts[1:] for line in read_block(*one)]


def put_together(head: Head, lines: list[Line]) -> bytes:
    """Make a tape of a head and lines, a hundred of them a block."""
    groups = (lines[at : at + 100] for at in range(0, len(lines), 100))
    return TITLE + block([head]) + b"".join(block(group) for group in groups)


def change(data: bytes, alter: Callable[[Head, list[Line]], Head | None]) -> bytes:
    """Give a tape whose lines were altered in place, and its head if `alter` gives another."""
    head, lines = taken_apart(data)
    return put_together(alter(head, lines) or head, lines)


def write(path: Path, data: bytes) -> Path:
    """Write a tape; give its path."""
    path.write_bytes(data)
    return path
