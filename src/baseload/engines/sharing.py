"""Which engines share a GPU, in which parts, and can the parts hold their models?

Two processes on one GPU take turns unless NVIDIA's Multi-Process Service (MPS) lets their kernels
run side by side. Memory is shared either way, and nothing but arithmetic keeps one engine from
finding that the other has taken it. So the sum is done here, before anything is started.

Pure: fleet and hardware in, errors and variables out. The daemon is in `mps`.
Sources of the variables: docs.nvidia.com/deploy/mps, appendix "Environment Variables".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.hardware.found import Gpu
from baseload.engines.kinds.launch import Launch
from baseload.errors import EngineError

HEADROOM_BYTES = 1 << 30
"""What an engine needs on each GPU beside its weights: CUDA's own memory, room to compute in, and
the smallest KV cache that is of use. Those of large models are larger; that shows when they start.
"""
LIMIT_SLACK_BYTES = 1 << 30
"""How far MPS's limit lies above the part. Of a limit of 1 GB, CUDA left 952 MiB in a published
measurement, and an engine that finds less free than it is to take refuses to start."""
COMPUTE_MIN = (7, 0)
"""Volta: parts of threads and memory do not exist before."""
SUM_SLACK = 1e-9
"""For parts such as 0.1, which have no exact binary form."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's part of each of its GPUs."""

    name: str
    gpus: tuple[int, ...] = ()
    """By number; empty: all that are found."""
    threads: int | None = None
    """In percent; None: it does not go by MPS."""
    memory: float | None = None
    """Of each GPU, 0 to 1; None: as much as the engine likes."""
    weights_bytes: int | None = None
    """Of the whole model; None: not known yet."""

    def is_on(self, gpu: int) -> bool:
        """Tell whether it uses the GPU of this number."""
        return not self.gpus or gpu in self.gpus


def shares_of(
    backends: Iterable[Backend], weights_bytes: Callable[[str], int | None]
) -> list[Share]:
    """Give the parts of all engines that use GPUs, as a fleet file says them.

    vLLM and SGLang always do; llama.cpp, if the file speaks of GPUs. `weights_bytes` says how large
    a model is.
    """
    return [
        share_of(backend, weights_bytes)
        for backend in backends
        if backend.engine in ("vllm", "sglang")
        or (backend.engine == "llama.cpp" and _speaks_of_gpus(backend.serve))
    ]


def share_of(
    backend: Backend, weights_bytes: Callable[[str], int | None], launch: Launch | None = None
) -> Share:
    """Give the part of one engine: the file's, or with `launch` that of a start.

    A start has chosen its GPUs, and takes less of them after a lack of memory.
    """
    part = launch.size.gpu_memory if launch else None
    return Share(
        name=backend.name,
        gpus=launch.gpus if launch else backend.serve.gpus,
        threads=backend.serve.mps_threads,
        memory=backend.serve.gpu_memory if part is None else part,
        weights_bytes=weights_bytes(backend.model or ""),
    )


def _speaks_of_gpus(serve: Serve) -> bool:
    return bool(serve.gpus or serve.gpu_memory or serve.mps_threads)


def faults(shares: Sequence[Share], gpus: Sequence[Gpu]) -> list[EngineError]:
    """Say why these engines cannot run together on these GPUs; empty if nothing is against it.

    `shares` are of engines that use GPUs at all. One that is alone on its GPUs may leave out its
    part of the memory; one that shares may not, because what it takes then is all.
    """
    found = [fault for share in shares for fault in _misplaced(share, gpus)]
    for gpu in gpus:
        there = [share for share in shares if share.is_on(gpu.index)]
        found += _crowded(there, gpu)
        found += [fault for share in there for fault in _too_large(share, gpu, gpus)]
    return [EngineError(text) for text in dict.fromkeys(found)]


def environment(share: Share, gpus: Sequence[Gpu], places: Mapping[str, str]) -> dict[str, str]:
    """Give the variables of an engine that shares; `places` are the daemon's own (`mps`).

    Which GPUs it sees is said elsewhere (`kinds`), by numbers, for vLLM takes no UUIDs. MPS's limit
    of memory goes by the numbers that the engine itself counts: from 0, in the order of those.
    """
    own = seen_by([share], gpus)
    variables = dict(places)
    if share.threads is not None:
        variables["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(share.threads)
    if share.memory is not None:
        variables["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = ",".join(
            f"{at}={_limit_bytes(share.memory, gpu) >> 20}M" for at, gpu in enumerate(own)
        )
    return variables


def seen_by(shares: Iterable[Share], gpus: Sequence[Gpu]) -> list[Gpu]:
    """Give the GPUs that any of these engines uses, in the order of their numbers."""
    shares = list(shares)
    used = [gpu for gpu in gpus if any(share.is_on(gpu.index) for share in shares)]
    return sorted(used, key=lambda gpu: gpu.index)


def _limit_bytes(memory: float, gpu: Gpu) -> int:
    return min(gpu.memory_bytes, int(memory * gpu.memory_bytes) + LIMIT_SLACK_BYTES)


def _misplaced(share: Share, gpus: Sequence[Gpu]) -> Iterable[str]:
    numbers = {gpu.index for gpu in gpus}
    for number in share.gpus:
        if number not in numbers:
            yield f"backends.{share.name}.serve.gpus: there is no GPU {number} here"
    if share.threads is None:
        return
    if not gpus:
        yield f"backends.{share.name}.serve.mps_threads: no GPU was found here; remove it"
    for gpu in seen_by([share], gpus):
        if gpu.vendor != "NVIDIA":
            what = f"GPU {gpu.index} is {gpu.vendor}'s, and MPS is NVIDIA's"
            yield f"backends.{share.name}.serve.mps_threads: {what}; remove it"
        elif gpu.compute is not None and gpu.compute < COMPUTE_MIN:
            what = f"GPU {gpu.index} ({gpu.name}) is older than Volta, whose MPS has no parts"
            yield f"backends.{share.name}.serve.mps_threads: {what}; remove it"


def _crowded(there: Sequence[Share], gpu: Gpu) -> Iterable[str]:
    if len(there) < 2:
        return
    for share in there:
        if share.memory is None:
            others = ", ".join(one.name for one in there if one is not share)
            what = f"needed, because it shares GPU {gpu.index} with {others}"
            yield f"backends.{share.name}.serve.gpu_memory: {what}; set its part, such as 0.4"
    parts = [share.memory for share in there if share.memory is not None]
    if sum(parts) > 1 + SUM_SLACK:
        said = " + ".join(f"{share.name} {share.memory:g}" for share in there if share.memory)
        yield (
            f"GPU {gpu.index} ({gpu.name}): the parts of its memory come to {sum(parts):g} "
            f"({said}); make `serve.gpu_memory` smaller, or use another GPU"
        )


def _too_large(share: Share, gpu: Gpu, gpus: Sequence[Gpu]) -> Iterable[str]:
    if share.memory is None or share.weights_bytes is None:
        return
    weights_bytes = -(-share.weights_bytes // max(1, len(seen_by([share], gpus))))
    has_bytes = int(share.memory * gpu.memory_bytes)
    if weights_bytes + HEADROOM_BYTES > has_bytes:
        yield (
            f"backends.{share.name}.serve.gpu_memory: {share.memory:g} of GPU {gpu.index} is "
            f"{_gib(has_bytes)}, and its weights take {_gib(weights_bytes)} there, with "
            f"{_gib(HEADROOM_BYTES)} for all else; give it a larger part or a smaller model"
        )


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
