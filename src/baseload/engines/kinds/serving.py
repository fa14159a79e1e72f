"""What is alike in vLLM's and SGLang's starts: size, GPUs, environment, and who may call."""

import shutil
from collections.abc import Mapping

import msgspec

from baseload.config.fleet import Backend
from baseload.config.serving import Batch
from baseload.engines.kinds import memory, precision
from baseload.engines.kinds.launch import Flags, Launch, Order, Size
from baseload.engines.weights import served_name

LOAD_BYTES_S = 200_000_000
"""A disk so slow that a start which takes longer is a hang: a network disk's rate."""
TOKENS_CALL_MIN = 512
"""No more calls at once than leave each so many tokens of the KV cache."""


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A model that has found its GPUs and its size."""

    spread: memory.Spread
    size: Size
    context_why: str
    slots_why: str
    kv_tokens: int | None
    precision: tuple[tuple[str, str], ...]


def fit(order: Order) -> Fitted:
    """Choose GPUs and size; a size that is given has come down the ladder. Raises EngineError."""
    serve, facts = order.backend.serve, order.facts
    if order.size is not None and order.size.gpu_memory is not None:
        serve = msgspec.structs.replace(serve, gpu_memory=order.size.gpu_memory)
    spread = memory.spread(facts, serve.precision, serve, order.hardware)
    precision.check_kv(serve.kv, spread.gpus)
    flags = tuple(precision.flags_of(serve.precision, facts, spread.gpus))
    tokens = memory.kv_tokens(facts, serve.kv, spread.kv_bytes)
    if order.size is not None:
        size, why = order.size, "less than before, which ran out of memory"
        spread = msgspec.structs.replace(spread, share_why=why)
        return Fitted(
            spread=spread, size=size, context_why=why, slots_why=why, kv_tokens=tokens,
            precision=flags,
        )  # fmt: skip
    context, context_why = memory.fit_context(facts, serve.context, serve.kv, spread.kv_bytes)
    slots, slots_why = slots_of(order.backend), _slots_why(order.backend)
    if tokens is not None and slots > max(1, tokens // TOKENS_CALL_MIN):
        slots = max(1, tokens // TOKENS_CALL_MIN)
        slots_why = f"the KV cache holds about {tokens} tokens"
    size = Size(slots=slots, context=context, gpu_memory=spread.share, kv=serve.kv)
    return Fitted(
        spread=spread, size=size, context_why=context_why, slots_why=slots_why, kv_tokens=tokens,
        precision=flags,
    )  # fmt: skip


def slots_of(backend: Backend) -> int:
    """Calls at once that the file asks for; else the most that a batch is tried with."""
    return backend.serve.slots or backend.concurrency or (backend.batch or Batch()).max


def _slots_why(backend: Backend) -> str:
    if backend.serve.slots:
        return "stated"
    if backend.concurrency:
        return "concurrency"
    return "batch.max, as stated" if backend.batch else "the usual batch.max"


def names_of(backend: Backend) -> tuple[str, ...]:
    """Under which names it is asked for: its short one, and the file's own if that is a name."""
    model = backend.model or ""
    short = served_name(model)
    is_name = model.count("/") == 1 and not model.startswith(("/", ".", "~"))
    return (short, model) if is_name else (short,)


def environment_of(order: Order, fitted: Fitted) -> dict[str, str]:
    """Variables that say which GPUs are meant, in the driver's own order."""
    gpus = ",".join(str(gpu.index) for gpu in fitted.spread.gpus)
    is_amd = fitted.spread.gpus[0].vendor == "AMD"
    where: Mapping[str, str] = (
        {"HIP_VISIBLE_DEVICES": gpus} if is_amd
        else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpus}
    )  # fmt: skip
    return {**where, **order.backend.serve.environment}


def launched(
    kind: str,
    order: Order,
    fitted: Fitted,
    flags: Flags,
    environment: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Launch:
    """Put together what was decided; `environment` and `secrets` are the kind's own."""
    spread = fitted.spread
    return Launch(
        kind=kind,
        served_model=names_of(order.backend)[0],
        argv=tuple(flags.argv),
        environment={**(environment or {}), **environment_of(order, fitted)},
        secrets=dict(secrets or {}),
        size=fitted.size,
        gpus=tuple(gpu.index for gpu in spread.gpus),
        tensor_parallel=spread.tensor,
        pipeline_parallel=spread.pipeline,
        kv_tokens=fitted.kv_tokens,
        port=order.port,
        load_s=load_s(order),
        reasons=tuple(flags.reasons),
    )


def program_missing(program: str) -> bool:
    """Tell whether there is no such program on this machine."""
    return shutil.which(program) is None


def load_s(order: Order) -> float:
    """How much longer a start may take for the size of its weights."""
    return order.facts.weights_bytes / LOAD_BYTES_S
