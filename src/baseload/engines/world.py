"""What of the world a supervisor needs, as functions, so that a test can give it another one."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from baseload.engines import hardware, outofmemory
from baseload.engines.cores import usable_cores
from baseload.engines.hardware.found import Cpu, Hardware
from baseload.engines.kinds.launch import Launch
from baseload.engines.turns import Turns


def look() -> Hardware:
    """Look at this machine; without what looks at GPUs there is at least the processor."""
    found = getattr(hardware, "look", None)
    if found is not None:
        seen: Hardware = found()
        return seen
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpu = Cpu(model="", cores=usable_cores(), features=(), memory_bytes=memory_bytes)
    return Hardware(gpus=(), cpu=cpu)


def free_bytes(gpu: int) -> int | None:
    """Bytes of a GPU's memory that nobody has; None if that cannot be read."""
    found = getattr(hardware, "free_bytes", None)
    if found is None:
        return None
    free: int | None = found(gpu)
    return free


async def nothing_more(_launch: Launch) -> Mapping[str, str]:
    """Add nothing to an engine's environment."""
    return {}


@dataclass(frozen=True, slots=True)
class World:
    """All engines of one process share one."""

    look: Callable[[], Hardware] = look
    free_bytes: Callable[[int], int | None] = free_bytes
    oom_kills: Callable[[], int | None] = outofmemory.oom_kills
    environment: Callable[[Launch], Awaitable[Mapping[str, str]]] = nothing_more
    """What must be in an engine's environment beside what its kind says, known before each start;
    raises EngineError if it must not be started."""
    turns: Turns = field(default_factory=Turns)
