"""In which precision is each tensor of a GGUF model written?

The rules are llama.cpp's: only matrices are made smaller. Norms, biases and the few small matrices
that decide much (routers of experts, positions) stay in FP32: they are under 1 % of a model.

Pure: types are named as GGUF names them, shapes begin with the length of a row.
"""

from dataclasses import dataclass

BLOCK_WEIGHTS = 32
"""Weights that share a scale in Q8_0 and Q4_1; a row must be whole blocks."""

KEPT = ("_norm", "ffn_gate_inp", "position_embd", "token_types", "ssm_conv1d", "attn_rel_b")
"""Parts of names of matrices that stay in FP32, as in llama.cpp's `llama-quant.cpp`."""

VOCABULARY = ("token_embd.weight", "output.weight")
"""Read at every token and shared by all of them, so INT4 keeps them in 8 bits. llama.cpp takes
Q6_K where rows allow it, which Python's `gguf` cannot write."""

WHOLE = ("I8", "I16", "I32", "I64", "F64")
"""Types of tables that are no weights; copied as they are."""


@dataclass(frozen=True, slots=True)
class Target:
    """A precision that a whole model can be written in."""

    name: str
    ggml: str
    """GGUF's name of the type of its matrices."""
    file_type: int
    """GGUF's number for such a file (`general.file_type`)."""
    bits: float
    """Of a weight, scales included."""

    @property
    def is_blocked(self) -> bool:
        """Whether weights share scales."""
        return self.ggml.startswith("Q")


TARGETS = {
    target.name: target
    for target in (
        Target("fp32", "F32", 0, 32),
        Target("bf16", "BF16", 32, 16),
        Target("fp16", "F16", 1, 16),
        Target("int8", "Q8_0", 7, 8.5),
        Target("int4", "Q4_1", 3, 5),
    )
}
"""By the name that `--to` takes. Numbers of files are those of `llama_ftype` in `llama.h`."""


def stored_as(target: Target, name: str, shape: tuple[int, ...], kind: str) -> str:
    """Return the GGUF type in which `target` stores a tensor that the source has as `kind`."""
    if kind in WHOLE:
        return kind
    is_matrix = sum(length > 1 for length in shape) > 1 and name.endswith(".weight")
    if not is_matrix or any(part in name for part in KEPT):
        return "F32"
    if not target.is_blocked:
        return target.ggml
    if shape[0] % BLOCK_WEIGHTS:
        return "F16"
    return "Q8_0" if name in VOCABULARY and target.bits < 8 else target.ggml
