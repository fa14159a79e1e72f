"""By which command is an engine started, and in which image?

Flags are those of vLLM 0.24.0 and SGLang 0.5.15, read in their own argument tables. Everything
that was settled about the model is said outright (split, context, calls at once, memory), so that
an engine cannot choose otherwise on another day. Prefix caching is on: SGLang has it by default.

`leader` and `rank` stand for what only the place knows: in a cluster `$(LWS_LEADER_ADDRESS)`.

Not here: `llama.cpp`, which runs in the gateway's own image from a fleet file of its own
(`kubernetes.engine.socket`); where weights come from (`stage`).
"""

from typing import Final

import msgspec

from baseload.render.picture import PORT, Engine

IMAGES: Final = {
    ("vllm", "NVIDIA"): "vllm/vllm-openai:v0.24.0",
    ("vllm", "AMD"): "vllm/vllm-openai-rocm:v0.24.0",
    ("sglang", "NVIDIA"): "lmsysorg/sglang:v0.5.15",
}
"""Usual images by engine and maker of the GPU. SGLang's for AMD has a tag for each ROCm and GPU, so
the file has to name one."""
SEQUENCES_MAX: Final = 256
"""Calls at once of each copy of attention, however many fit: vLLM's own default, and the most that
its graphs were measured with in the planner."""
MASTER_PORT: Final = 29501
"""Where vLLM's machines meet: its default."""
MEETING_PORT: Final = 20000
"""Where SGLang's machines meet: what its documents use."""
HALF: Final = frozenset({"t4", "v100-32"})
"""Accelerators without BF16: 16 bits are FP16 there."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What a command needs to know of the place in which it runs."""

    model: str
    """The folder of the weights."""
    leader: str = ""
    """Address of the first machine; empty with one machine."""
    rank: str = "0"
    """Which machine this is; the first is 0."""
    is_worker: bool = False
    """Whether it is another machine than the first, which serves no calls."""
    api_key: str = ""
    """What callers must show; SGLang takes it as an argument, vLLM from VLLM_API_KEY."""


def image_of(engine: Engine, gateway_image: str) -> str:
    """Give an engine's image; empty where none is usual and the file has to name one."""
    if engine.said.image:
        return engine.said.image
    if engine.said.engine == "llama.cpp":
        return gateway_image
    return IMAGES.get((engine.said.engine, engine.accelerator.vendor), "")


def command_of(engine: Engine, where: Where) -> tuple[str, ...]:
    """Give the command line, each argument for itself; of vLLM or SGLang."""
    return _vllm(engine, where) if engine.said.engine == "vllm" else _sglang(engine, where)


def sequences_of(engine: Engine) -> int:
    """Calls at once of the whole replica: those that fit with a full context each."""
    return max(1, min(engine.sequences, SEQUENCES_MAX * engine.layout.dp))


def _vllm(engine: Engine, where: Where) -> tuple[str, ...]:
    layout = engine.layout
    found = [
        "vllm", "serve", where.model,
        "--served-model-name", *engine.served,
        "--host=0.0.0.0", f"--port={PORT}",
        f"--tensor-parallel-size={layout.tp}",
        f"--pipeline-parallel-size={layout.pp}",
        f"--max-model-len={engine.said.context}",
        f"--max-num-seqs={max(1, sequences_of(engine) // layout.dp)}",
        f"--gpu-memory-utilization={engine.utilisation:.3g}",
        "--enable-prefix-caching",
        f"--shutdown-timeout={round(engine.answer_max_s)}",
        *_precision(engine),
    ]  # fmt: skip
    if layout.dp > 1:
        found.append(f"--data-parallel-size={layout.dp}")
    if layout.ep > 1:
        found.append("--enable-expert-parallel")
    if engine.said.sharing != "none":
        # Two that start at once on one GPU would each take the other's memory for their own while
        # they measure; a cache of a stated size is not measured.
        found.append(f"--kv-cache-memory-bytes={int(engine.room.kv_free_bytes)}")
    if layout.machines > 1:
        found += [
            "--distributed-executor-backend=mp",
            f"--nnodes={layout.machines}", f"--node-rank={where.rank}",
            f"--master-addr={where.leader}", f"--master-port={MASTER_PORT}",
            *(("--headless",) if where.is_worker else ()),
        ]  # fmt: skip
    return tuple(found)


def _sglang(engine: Engine, where: Where) -> tuple[str, ...]:
    layout, room = engine.layout, engine.room
    # Its --tp-size counts all accelerators of a stage, copies of attention included.
    is_spread = layout.dp > 1 and engine.shape.moe is not None
    static = (room.weights_bytes + room.kv_free_bytes) / engine.accelerator.memory_bytes
    found = [
        "python3", "-m", "sglang.launch_server",
        f"--model-path={where.model}",
        # It has one name; what callers ask for is not held against it.
        f"--served-model-name={engine.served[0]}",
        "--host=0.0.0.0", f"--port={PORT}",
        f"--tp-size={layout.tp * layout.dp if is_spread else layout.tp}",
        f"--pp-size={layout.pp}",
        f"--context-length={engine.said.context}",
        f"--max-running-requests={sequences_of(engine)}",
        f"--mem-fraction-static={static:.3g}",
        "--enable-metrics",
        *_precision(engine),
    ]  # fmt: skip
    if layout.dp > 1:
        found.append(f"--dp-size={layout.dp}")
    if is_spread:
        found.append("--enable-dp-attention")
    if layout.ep > 1:
        found.append(f"--ep-size={layout.ep}")
    if where.api_key:
        found.append(f"--api-key={where.api_key}")
    if layout.machines > 1:
        found += [
            f"--nnodes={layout.machines}", f"--node-rank={where.rank}",
            f"--dist-init-addr={where.leader}:{MEETING_PORT}",
        ]  # fmt: skip
    return tuple(found)


def _precision(engine: Engine) -> tuple[str, ...]:
    """Say in which precision; what the weights are published in is read from themselves.

    FP8 is made of wider weights while they load. INT8, INT4 and FP4 are not: weights must come so,
    and then say so in their `config.json`.
    """
    precision, native = engine.precision, engine.shape.native
    if precision == "fp8" and native != "fp8":
        return ("--quantization=fp8",)
    if precision == "bf16" and engine.accelerator.name in HALF:
        return ("--dtype=half",)
    return {"bf16": ("--dtype=bfloat16",), "fp32": ("--dtype=float32",)}.get(precision, ())
