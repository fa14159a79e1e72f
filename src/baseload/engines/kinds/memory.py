"""Over how many GPUs is a model spread, and what is left there for calls? Arithmetic only.

The engine measures for itself and has the last word. What is reckoned here has to be near enough
that a model which cannot fit is refused before it has loaded for minutes, and that the number of
GPUs is right; what is a little too much shows as out of memory, and is answered (`ladder`).
"""

import msgspec

from baseload.config.serving import Serve
from baseload.engines.hardware.found import Gpu, Hardware
from baseload.engines.kinds.facts import BYTES, Facts
from baseload.errors import EngineError

GIB = 1024**3

SHARE = 0.9
"""Part of each GPU's memory that an engine alone on it takes: what vLLM takes by itself."""
SHARE_MIN = 0.05
FREE_SPARE_BYTES = GIB // 2
"""Left of what is free when others are on the GPU: the driver's own for one more process."""
RUNTIME_BYTES = 2 * GIB
"""Of each GPU for activations, graphs and kernels. An allowance, not a measurement."""
KV_PART = 0.2
"""Part of the room that should be left for the KV cache: with less, few calls fit at once."""
CALLS_MIN = 4
"""Calls of full length that should fit at once; the context is made shorter for their sake."""
CONTEXT_MIN = 2048
CONTEXT_UNKNOWN = 0
"""No flag: the engine takes what the model was made for."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A model on GPUs."""

    gpus: tuple[Gpu, ...]
    tensor: int
    pipeline: int
    share: float
    kv_bytes: float
    """For the KV cache, on all of these GPUs together; 0: not known."""
    why: str
    share_why: str


def spread(facts: Facts, precision: str, serve: Serve, hardware: Hardware) -> Spread:
    """Choose GPUs and split; raises EngineError, with the numbers, if the model does not fit."""
    gpus = _candidates(serve, hardware)
    resident = resident_bytes(facts, precision)
    least = facts.kv_bytes_token(serve.kv) * (serve.context or CONTEXT_MIN)
    is_stated = bool(serve.tensor_parallel or serve.pipeline_parallel)
    counts = _counts(len(gpus), serve)
    for part in (KV_PART, 0.0):
        for count in counts:
            chosen = tuple(sorted(gpus[:count], key=lambda gpu: gpu.index))
            split = _split(count, facts, serve)
            share, share_why = _share(chosen, serve)
            room = sum(share * gpu.memory_bytes - RUNTIME_BYTES for gpu in chosen)
            if split is not None and resident + max(least, part * room) <= room:
                kv_bytes = room - resident if resident else 0.0
                return Spread(
                    gpus=chosen, tensor=split[0], pipeline=split[1], share=share,
                    kv_bytes=kv_bytes, share_why=share_why,
                    why=_why(resident, chosen, is_stated=is_stated),
                )  # fmt: skip
    most = counts[-1] if counts else 0
    share, _ = _share(gpus[:most] or gpus, serve)
    room = sum(share * gpu.memory_bytes - RUNTIME_BYTES for gpu in gpus[:most])
    raise EngineError(
        f"the model does not fit: {_gib(resident)} of weights and {_gib(least)} of KV cache for "
        f"one call need more than the {_gib(max(0, room))} that {most} of {len(gpus)} GPUs have; "
        "use a smaller precision or model, or more GPUs (serve.gpus, serve.tensor_parallel)"
    )


def _why(resident: float, chosen: tuple[Gpu, ...], *, is_stated: bool) -> str:
    if is_stated:
        return "stated"
    if not resident:
        return "how large the weights are is not known here: say serve.tensor_parallel"
    return f"{_gib(resident)} of weights fit {len(chosen)} x {_gib(chosen[0].memory_bytes)}"


def resident_bytes(facts: Facts, precision: str) -> float:
    """Bytes of the weights as the engine holds them; the file's own where nothing is converted."""
    if precision == "auto" or not facts.native or precision == facts.native:
        return facts.weights_bytes
    return facts.weights_bytes * BYTES[precision] / BYTES[facts.native]


def fit_context(facts: Facts, said: int | None, kv: str, kv_bytes: float) -> tuple[int, str]:
    """Give the tokens of one call, and why so many."""
    if said is not None:
        if facts.context_max and said > facts.context_max:
            return said, f"stated; the model was made for {facts.context_max}"
        return said, "stated"
    per_token = facts.kv_bytes_token(kv)
    if not facts.context_max or not per_token or not kv_bytes:
        return CONTEXT_UNKNOWN, "as the engine reads it from the model"
    context = facts.context_max
    while context > CONTEXT_MIN and context * CALLS_MIN * per_token > kv_bytes:
        context //= 2
    if context == facts.context_max:
        return context, "what the model was made for"
    return context, f"so that {CALLS_MIN} calls of full length fit the KV cache"


def kv_tokens(facts: Facts, kv: str, kv_bytes: float) -> int | None:
    """Tokens that a KV cache of so many bytes holds; None if that is not known."""
    per_token = facts.kv_bytes_token(kv)
    return int(kv_bytes / per_token) if per_token and kv_bytes > 0 else None


def _candidates(serve: Serve, hardware: Hardware) -> list[Gpu]:
    """Give the GPUs that may be used, those with most room first."""
    by_index = {gpu.index: gpu for gpu in hardware.gpus}
    if not by_index:
        raise EngineError(
            "it needs a GPU, and none was found" + "".join(f"; {note}" for note in hardware.notes)
        )
    if serve.gpus:
        if lacking := [index for index in serve.gpus if index not in by_index]:
            raise EngineError(
                f"serve.gpus: there is no GPU {lacking[0]}; found: "
                + ", ".join(f"{gpu.index} ({gpu.name})" for gpu in hardware.gpus)
            )
        return [by_index[index] for index in dict.fromkeys(serve.gpus)]
    return sorted(hardware.gpus, key=lambda gpu: (-gpu.free_bytes, gpu.index))


def _counts(gpus: int, serve: Serve) -> list[int]:
    """How many GPUs are tried, fewest first: those that are stated, or powers of two."""
    if serve.tensor_parallel or serve.pipeline_parallel:
        wanted = (serve.tensor_parallel or 1) * (serve.pipeline_parallel or 1)
        if wanted > gpus:
            raise EngineError(f"serve asks for {wanted} GPUs, and {gpus} can be used")
        return [wanted]
    powers = [2**n for n in range(gpus.bit_length()) if 2**n <= gpus]
    return powers if powers[-1] == gpus else [*powers, gpus]


def _split(count: int, facts: Facts, serve: Serve) -> tuple[int, int] | None:
    """Split by heads as far as they divide, and the rest by layers; None if that cannot be."""
    heads = facts.heads
    if serve.tensor_parallel or serve.pipeline_parallel:
        tensor, pipeline = serve.tensor_parallel or 1, serve.pipeline_parallel or 1
        if heads and heads % tensor:
            raise EngineError(
                f"serve.tensor_parallel: {heads} heads of attention cannot be split by {tensor}"
            )
        return tensor, pipeline
    tensor = next(
        n for n in range(count, 0, -1) if count % n == 0 and (not heads or heads % n == 0)
    )
    pipeline = count // tensor
    return (tensor, pipeline) if not facts.layers or pipeline <= facts.layers else None


def _share(gpus: tuple[Gpu, ...] | list[Gpu], serve: Serve) -> tuple[float, str]:
    if serve.gpu_memory is not None:
        return serve.gpu_memory, "stated"
    free = min((gpu.free_bytes - FREE_SPARE_BYTES) / gpu.memory_bytes for gpu in gpus)
    if free >= SHARE:
        return SHARE, "alone on its GPUs"
    return max(SHARE_MIN, int(free * 100) / 100), "as much as others have left free"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
