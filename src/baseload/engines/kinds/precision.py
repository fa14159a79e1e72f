"""In which precision does an engine on a GPU work, and can that GPU do it?

By NVIDIA's compute capability: BF16 from 8.0 (Ampere), FP8 from 8.9 (Ada) on, as in the CUDA C++
Programming Guide's table of arithmetic by capability. Other makers' GPUs do not say, and the engine
has the last word there.
"""

from baseload.engines.hardware.found import Gpu
from baseload.engines.kinds.facts import Facts
from baseload.errors import EngineError

BF16_FROM = (8, 0)
FP8_FROM = (8, 9)
MADE_BEFORE = ("int8", "int4")
"""Engines do not make these while they load."""
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "half"}


def flags_of(precision: str, facts: Facts, gpus: tuple[Gpu, ...]) -> list[tuple[str, str]]:
    """Give flags that vLLM and SGLang share, each with its reason; raises EngineError."""
    compute = min((gpu.compute for gpu in gpus if gpu.compute is not None), default=None)
    able = f"compute capability {compute[0]}.{compute[1]}" if compute else ""
    wanted = facts.native if precision == "auto" else precision
    if wanted == "fp8" and compute is not None and compute < FP8_FROM:
        raise EngineError(
            f"FP8 needs compute capability 8.9 or more, and {gpus[0].name} has {able}"
        )
    if precision == "auto":
        if facts.native == "bf16" and compute is not None and compute < BF16_FROM:
            return [("--dtype=half", f"{able} has no BF16")]
        return []
    if precision == "bf16" and compute is not None and compute < BF16_FROM:
        raise EngineError(
            f"BF16 needs compute capability 8.0 or more, and {gpus[0].name} has {able}"
        )
    if precision in MADE_BEFORE and facts.native != precision:
        raise EngineError(
            f"serve.precision: {precision} weights must be made before, and these are "
            f"{facts.native or 'something else'}: `baseload quantize`"
        )
    if facts.native in MADE_BEFORE and precision != facts.native:
        raise EngineError(
            f"serve.precision: weights that are {facts.native} cannot be made {precision} again"
        )
    if precision == "fp8":
        made = [("--quantization=fp8", f"stated; made of {facts.native or 'wider'} weights")]
        return [] if facts.native == "fp8" else made
    return [(f"--dtype={DTYPES[precision]}", "stated")] if precision in DTYPES else []


def check_kv(kv: str, gpus: tuple[Gpu, ...]) -> None:
    """Raise EngineError if a KV cache of that kind cannot be on these GPUs."""
    if kv in ("q8_0", "q4_0"):
        raise EngineError(
            f"serve.kv: {kv} is llama.cpp's; on vLLM and SGLang there are fp16 and fp8"
        )
    compute = min((gpu.compute for gpu in gpus if gpu.compute is not None), default=None)
    if kv == "fp8" and compute is not None and compute < FP8_FROM:
        raise EngineError(f"serve.kv: fp8 needs compute capability 8.9 or more: {gpus[0].name}")
