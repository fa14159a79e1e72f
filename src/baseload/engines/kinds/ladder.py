"""What is tried next when an engine ran out of memory? A named ladder, with an end.

The same start would fail the same way, so each rung asks for less. Which thing first depends on
what was short: a GPU's memory as a whole, a GPU of which others have taken a part, room for one
long call in the KV cache or for any cache at all, or the machine's memory; if there was none even
for the weights, nothing smaller helps. A context that the fleet file states is never made shorter,
because calls of that length were promised.
"""

from typing import Literal

import msgspec

from baseload.config.serving import Serve
from baseload.engines.kinds.launch import Size

Shortage = Literal["gpu", "taken", "kv", "cache", "weights", "host"]


class Sign(msgspec.Struct, frozen=True):
    """Memory ran short: of which kind, and what the engine says would fit, if it does."""

    shortage: Shortage
    context_max: int = 0
    gpu_memory_max: float = 0.0
    """Part of the GPU that is free."""


RUNGS_MAX = 8
"""Steps down in one engine's life."""
GPU_MEMORY_STEP = 0.1
GPU_MEMORY_MIN = 0.2
GPU_MEMORY_SPARE = 0.01
"""Left of what is free: the next start finds a little less."""
CONTEXT_MIN = 1024
LADDERS: dict[Shortage, tuple[str, ...]] = {
    "gpu": ("gpu_memory", "gpu_memory", "slots", "slots", "context", "context"),
    "taken": ("gpu_memory",),
    "kv": ("context", "context", "context", "context"),
    "cache": ("slots", "slots"),
    "weights": (),
    "host": ("slots", "slots", "slots", "kv", "context", "context"),
}
"""What is made smaller, in turn; what cannot be is passed over."""


def smaller(size: Size, sign: Sign, serve: Serve) -> tuple[Size, str] | None:
    """Give the next smaller size and what was changed, in words; None at the end of the ladder."""
    if size.rung >= RUNGS_MAX:
        return None
    ladder = LADDERS[sign.shortage]
    for step in ladder[min(size.rung, max(0, len(ladder) - 1)) :]:
        found = _step(step, size, sign, serve)
        if found is not None:
            changed, words = found
            return msgspec.structs.replace(changed, rung=size.rung + 1), words
    return None


def _step(step: str, size: Size, sign: Sign, serve: Serve) -> tuple[Size, str] | None:
    replace = msgspec.structs.replace
    if step == "gpu_memory" and size.gpu_memory is not None:
        less = round(size.gpu_memory - GPU_MEMORY_STEP, 3)
        if sign.gpu_memory_max:
            less = min(round(sign.gpu_memory_max - GPU_MEMORY_SPARE, 3), size.gpu_memory - 0.001)
        if less >= GPU_MEMORY_MIN:
            return replace(size, gpu_memory=less), f"gpu_memory {size.gpu_memory:g} -> {less:g}"
    if step == "slots" and size.slots > 1:
        half = size.slots // 2
        return replace(size, slots=half), f"slots {size.slots} -> {half}"
    if step == "context" and serve.context is None and size.context > CONTEXT_MIN:
        half = max(CONTEXT_MIN, size.context // 2)
        less_context = min(sign.context_max, size.context - 1) if sign.context_max else half
        if less_context >= CONTEXT_MIN:
            words = f"context {size.context} -> {less_context}"
            return replace(size, context=less_context), words
    if step == "kv" and serve.kv == "auto" and size.kv == "fp16":
        return replace(size, kv="q8_0"), "kv fp16 -> q8_0"
    return None
