"""How is llama.cpp started: as a child that runs it from `xllamacpp`, for one GGUF file?

Each slot owns its part of the context, so slots times context is what memory must hold. The number
of slots that a file asks for is kept as far as memory allows; without a wish there are few, because
a processor has soon enough to do.
"""

import importlib.util
import sys
from pathlib import Path

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.kinds.facts import Facts
from baseload.engines.kinds.launch import Flags, Kind, Launch, Order, Size
from baseload.engines.kinds.serving import load_s
from baseload.engines.weights import served_name
from baseload.errors import EngineError

CHILD_MODULE = "baseload.engines.llamacpp_child"

SLOTS = 4
SLOTS_MAX = 16
"""Without `serve.slots` or `batch`. Each slot costs memory for its own context: 94 MB with
SmolLM2-135M."""
SLOTS_BOUND = 128
"""More sequences than that make llama.cpp's batches no fuller; its own bound is 256."""

CONTEXT_TOKENS = 4096
"""Prompt and answer of one call together."""

MEMORY_SHARE = 0.8
"""Part of the machine's memory, or of a GPU's, that weights and contexts may fill."""
PROMPT_CACHE_BYTES = 256 * 1024 * 1024
"""What the child keeps of past prompts, at most."""

ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
"""How often one of llama.cpp's threads looks for the others before it sleeps. The default is
nearly for ever: on two cores that other programs kept busy too, answers came at 3 tokens/s. With
1000 they come at 15 to 20, and as fast as before on an idle machine. The user's own value wins."""


def slots_of(backend: Backend) -> int:
    """Calls at once: as stated, or those of `concurrency` within what is usual."""
    if backend.serve.slots or backend.batch:
        wanted = backend.serve.slots or (backend.batch.max if backend.batch else SLOTS)
        return min(wanted, backend.concurrency or wanted, SLOTS_BOUND)
    return min(backend.concurrency or SLOTS, SLOTS_MAX)


def launch(order: Order) -> Launch:
    """Decide how it is started; raises EngineError if the model or a wish cannot be."""
    backend, serve, facts = order.backend, order.backend.serve, order.facts
    _check(serve, facts)
    size, slots_why = (
        (order.size, "less than before, which ran out of memory") if order.size else _size(order)
    )
    gpus = _gpus(order)
    name = served_name(backend.model or "")
    flags = Flags()
    # -P: a file in the working directory must not take the place of an installed module.
    program = serve.program or (sys.executable, "-P", "-m", CHILD_MODULE)
    flags.add(*program, why="serve.program" if serve.program else "llama.cpp, from xllamacpp")
    flags.add("--model", facts.path, why="where the weights are")
    flags.add("--alias", name, why="what answers call the model")
    flags.add("--slots", str(size.slots), why=slots_why)
    context_why = "stated" if serve.context else "of each slot, as is usual"
    flags.add("--context-tokens", str(size.context), why=context_why)
    if size.kv != "fp16":
        why = "serve.kv" if serve.kv != "auto" else "ran out of memory with 16 bits"
        flags.add("--kv", size.kv, why=why)
    if not serve.prefix_cache:
        flags.add("--no-prefix-cache", why="serve.prefix_cache")
    if serve.draft:
        flags.add("--draft", str(Path(serve.draft).expanduser()), why="serve.draft")
        flags.add("--draft-tokens", str(serve.draft_tokens), why="serve.draft_tokens")
    if gpus:
        flags.add("--gpu", why="all layers on the GPU, if this build of llama.cpp can")
    elif len(order.hardware.cpu.numa) > 1:
        flags.add("--numa", why=f"{len(order.hardware.cpu.numa)} NUMA nodes: spread over them")
    flags.add("--threads", str(order.hardware.cpu.cores), why="cores that may be kept busy")
    flags.said(serve.arguments)
    visible = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
    return Launch(
        kind="llama.cpp",
        served_model=name,
        argv=tuple(flags.argv),
        environment={**(visible if gpus else {}), **serve.environment},
        defaults=ENVIRONMENT,
        secrets={"BASELOAD_ENGINE_KEY": backend.api_key} if backend.api_key else {},
        size=size,
        gpus=gpus,
        kv_tokens=size.slots * size.context,
        load_s=load_s(order),
        reasons=tuple(flags.reasons),
    )


def _check(serve: Serve, facts: Facts) -> None:
    if facts.form != "gguf":
        raise EngineError(f"llama.cpp reads GGUF files, and {facts.path} is none")
    if serve.precision != "auto":
        raise EngineError(
            f"serve.precision: a GGUF file has the precision it was made in; for {serve.precision} "
            "name another file (`baseload quantize` makes one)"
        )
    if serve.kv == "fp8":
        raise EngineError("serve.kv: llama.cpp has fp16, q8_0 and q4_0")
    if (serve.tensor_parallel or 1) > 1 or (serve.pipeline_parallel or 1) > 1:
        raise EngineError(
            "serve: llama.cpp splits models by itself; remove tensor_ and pipeline_parallel"
        )


def _size(order: Order) -> tuple[Size, str]:
    """Reckon how many slots memory has room for."""
    backend, facts = order.backend, order.facts
    kv = "fp16" if backend.serve.kv == "auto" else backend.serve.kv
    context = backend.serve.context or min(CONTEXT_TOKENS, facts.context_max or CONTEXT_TOKENS)
    wanted = slots_of(backend)
    slot_bytes = facts.kv_bytes_token(kv) * context
    room = _memory_bytes(order) - facts.weights_bytes - PROMPT_CACHE_BYTES
    if room < slot_bytes:
        raise EngineError(
            f"the model does not fit: {facts.weights_bytes >> 20} MiB of weights and "
            f"{int(slot_bytes) >> 20} MiB for one call's context are more than memory has for them"
        )
    slots = min(wanted, int(room // slot_bytes)) if slot_bytes else wanted
    why = (
        f"{int(slot_bytes) >> 20} MiB each" if slots == wanted else "as many as memory has room for"
    )
    return Size(slots=slots, context=context, kv=kv), why


def _memory_bytes(order: Order) -> float:
    gpus = [gpu for gpu in order.hardware.gpus if gpu.index in _gpus(order)]
    if gpus:
        share = order.backend.serve.gpu_memory or MEMORY_SHARE
        return sum(share * gpu.memory_bytes for gpu in gpus)
    return MEMORY_SHARE * order.hardware.cpu.memory_bytes


def _gpus(order: Order) -> tuple[int, ...]:
    found = tuple(gpu.index for gpu in order.hardware.gpus)
    said = tuple(dict.fromkeys(order.backend.serve.gpus))
    if lacking := [index for index in said if index not in found]:
        raise EngineError(f"serve.gpus: there is no GPU {lacking[0]}; found: {len(found)}")
    return said or found


def missing(_backend: Backend) -> str | None:
    """Say what has to be installed; None if llama.cpp is there."""
    if importlib.util.find_spec("xllamacpp") is not None:
        return None
    return "llama.cpp is not installed: run `pip install 'baseload[llamacpp]'`"


LLAMACPP = Kind(
    name="llama.cpp",
    launch=launch,
    slots=slots_of,
    missing=missing,
    announces=True,
    needs_gpu=False,
    ready_max_s=300.0,
)
