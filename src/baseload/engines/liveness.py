"""Is a ready engine still alive, and does it still compute?

Alive means that its health's path answers, which all engines do from a thread or a process of their
own: so a stopped process or a dead server is noticed. A computation that hangs is not, because
vLLM's server goes on answering while a core of it waits for ever, on a lost GPU or on another
core. So where an engine counts tokens while it makes them, its counters are looked at, too. If they
stand still, it is asked for a few tokens; if those do not come, and the counters have not moved
until then, it hangs.

An engine that counts an answer only when it ends cannot be told from a hanging one (llama.cpp), or
makes a token for its health itself (SGLang): `Kind.counts_live` says which do better.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from baseload.engines.asking import chat_fault, is_healthy
from baseload.engines.idling import work_of
from baseload.engines.kinds.launch import Kind
from baseload.engines.speaking import Speaker
from baseload.engines.state import Patience

STILL_PART = 1 / 3
"""Of `stall_max_s` the counters must have stood still before it is asked; the rest it may take."""
LOOKS = 6
"""At the counters, within that time."""


async def until_dead(
    speaker: Speaker,
    kind: Kind,
    patience: Patience,
    stall_max_s: float,
    on_own: Callable[[float], None],
) -> str:
    """Return why the engine has to be given up, once it has.

    `stall_max_s` is the longest time without a token though it is asked for some; 0: never judged.
    `on_own` hears what these questions have moved its counters by: that was no call.
    """
    ways = [_until_silent(speaker, kind, patience)]
    if kind.counts_live and stall_max_s > 0:
        ways.append(_until_stalled(speaker, kind, stall_max_s, on_own))
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return str(done.pop().result())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _until_silent(speaker: Speaker, kind: Kind, patience: Patience) -> str:
    """Return when its health has not answered for `liveness_max_s`."""
    clock = asyncio.get_running_loop().time
    heard_at = clock()
    while clock() - heard_at < patience.liveness_max_s:
        await asyncio.sleep(patience.ping_every_s)
        if await is_healthy(speaker.address, patience.ping_max_s, speaker.access, kind.health):
            heard_at = clock()
    return f"no answer to {kind.health} for {patience.liveness_max_s:g} s"


async def _until_stalled(
    speaker: Speaker, kind: Kind, stall_max_s: float, on_own: Callable[[float], None]
) -> str:
    """Return when it has made no token for `stall_max_s`, though it was asked for some."""
    clock = asyncio.get_running_loop().time
    still_s = stall_max_s * STILL_PART
    work, moved_at = await _work(speaker, kind, still_s), clock()
    while True:
        await asyncio.sleep(still_s / LOOKS)
        found = await _work(speaker, kind, still_s)
        if found is None or found != work:  # None: it tells nothing, or its health is in question.
            work, moved_at = found, clock()
        elif clock() - moved_at >= still_s:
            is_answered = await _answers(speaker, stall_max_s - still_s)
            found = await _work(speaker, kind, still_s)
            if not is_answered and found == work:
                return f"it made no token for {stall_max_s:g} s, though it was asked for some"
            if is_answered and found is not None:
                on_own(found - work)
            work, moved_at = found, clock()


async def _work(speaker: Speaker, kind: Kind, wait_max_s: float) -> float | None:
    page = await speaker.page(kind.metrics, wait_max_s)
    return None if page is None else work_of(page)


async def _answers(speaker: Speaker, wait_max_s: float) -> bool:
    """Have it say a few tokens; whatever it answers, it does not hang."""
    try:
        await chat_fault(speaker.address, speaker.model, wait_max_s, speaker.access)
    except OSError:
        return False
    return True
