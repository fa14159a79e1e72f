"""Can an accelerator work in a precision, and in which arithmetic does it then calculate?

Weights of 4 bits, and of 8 where the hardware lacks them, are widened to 16 bits before each
multiplication ("weight only"): memory and bandwidth are saved, arithmetic is not. FP8 weights are
refused where FP8 is missing: engines' way around it does not hold for all models (users of A100
are told to take BF16: github.com/deepseek-ai/DeepSeek-R1/issues/354, seen 2026-11-26). `bf16` is
any 16-bit float, so it is FP16 on GPUs that lack BF16 (V100, T4).

Not here: whether the bytes fit (`memory`).
"""

from baseload.plan.catalog.rows import Accelerator

WIDE = ("fp32", "bf16")
EIGHT = ("fp8", "int8")


def arithmetic(accelerator: Accelerator, precision: str) -> str | None:
    """Give the precision of arithmetic for weights of one, or None if it cannot be done."""
    has = accelerator.flops
    if precision in has:
        return precision
    half = "bf16" if "bf16" in has else None
    if precision == "fp32":
        return half and "fp32"
    if precision in ("int8", "int4"):
        return half
    if precision == "fp4" and any(eight in has for eight in EIGHT):
        return half
    return None


def refusal(accelerator: Accelerator, precision: str, kv_precision: str) -> str:
    """Say why weights or cache cannot be kept so on an accelerator; empty if they can."""
    if arithmetic(accelerator, precision) is None:
        can = [each for each in ("bf16", "int8", "int4") if arithmetic(accelerator, each)]
        hint = f"; it can do {', '.join(can)}" if can else ""
        return f"{accelerator.name} cannot calculate with {precision} weights{hint}"
    has_eight = any(eight in accelerator.flops for eight in EIGHT)
    if kv_precision in WIDE or kv_precision in accelerator.flops:
        return ""
    if kv_precision in EIGHT and has_eight:
        return ""
    return f"{accelerator.name} cannot keep its KV cache in {kv_precision}; bf16 does"
