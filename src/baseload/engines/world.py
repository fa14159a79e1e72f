"""What of the world a supervisor needs, as functions, so that a test can give it another one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from baseload.engines import outofmemory
from baseload.engines.hardware import looking
from baseload.engines.hardware.found import Hardware
from baseload.engines.kinds.launch import Launch
from baseload.engines.turns import Turns


def look() -> Hardware:
    """Look at what engines run on; disks are of no interest to them. Blocks."""
    return looking.look(disks=False)


async def nothing_more(_launch: Launch) -> Mapping[str, str]:
    """Add nothing to an engine's environment."""
    return {}


@dataclass(frozen=True, slots=True)
class World:
    """All engines of one process share one."""

    look: Callable[[], Hardware] = look
    free_bytes: Callable[[int], int | None] = looking.free_bytes
    """Of a GPU; None if that cannot be read. Blocks."""
    oom_kills: Callable[[], int | None] = outofmemory.oom_kills
    environment: Callable[[Launch], Awaitable[Mapping[str, str]]] = nothing_more
    """What must be in an engine's environment beside what its kind says, known before each start;
    raises EngineError if it must not be started."""
    turns: Turns = field(default_factory=Turns)
