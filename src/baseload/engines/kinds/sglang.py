"""How is SGLang started? Flags of SGLang 0.5.15, read in its own argument table.

Its share of memory is of what it finds free, not of the whole GPU, and counts weights and KV cache
only, not what it computes in; so a share as we say it has to be turned into one of its own. It
takes an API key as an argument alone, where all who may list processes read it; so it is given
none, and a fleet file that asks for one is refused.
"""

import importlib.util
import sys

from baseload.config.fleet import Backend
from baseload.engines.hardware.found import Gpu
from baseload.engines.kinds import memory, serving
from baseload.engines.kinds.launch import Flags, Kind, Launch, Order
from baseload.errors import EngineError

MODULE = "sglang"
PORT_MAX = 65_535
GRPC_OFFSET = 10_000


def program_of(backend: Backend) -> tuple[str, ...]:
    """Give what is run."""
    return backend.serve.program or (sys.executable, "-m", f"{MODULE}.launch_server")


def launch(order: Order) -> Launch:
    """Decide how it is started; raises EngineError if the model or a wish cannot be."""
    backend, serve = order.backend, order.backend.serve
    if backend.api_key:
        raise EngineError(
            "SGLang takes a key as an argument only, where every user of the machine reads it: "
            f"remove backends.{backend.name}.api_key"
        )
    fitted = serving.fit(order)
    spread, size, names = fitted.spread, fitted.size, serving.names_of(backend)
    flags = Flags()
    flags.add(*program_of(backend), why="serve.program" if serve.program else "SGLang's command")
    flags.add(f"--model-path={order.facts.path}", why="where the weights are")
    flags.add(f"--served-model-name={names[0]}", why="its one name; others are answered, too")
    flags.add("--host=127.0.0.1", why="nobody but this machine")
    flags.add(f"--port={order.port}", why="a free one, at each start")
    flags.add(f"--tp-size={spread.tensor}", why=spread.why)
    flags.add(f"--pp-size={spread.pipeline}", why=spread.why)
    static = min(_static_share(gpu, size.gpu_memory or memory.SHARE) for gpu in spread.gpus)
    why = f"{spread.share_why}; less its runtime, and of what is free"
    flags.add(f"--mem-fraction-static={static:.3g}", why=why)
    if size.context:
        flags.add(f"--context-length={size.context}", why=fitted.context_why)
    flags.add(f"--max-running-requests={size.slots}", why=fitted.slots_why)
    if not serve.prefix_cache:
        flags.add("--disable-radix-cache", why="serve.prefix_cache")
    if serve.kv == "fp8":
        flags.add("--kv-cache-dtype=fp8_e4m3", why="serve.kv: half the memory of 16 bits")
    for flag, why in fitted.precision:
        flags.add(flag, why=why)
    if serve.draft:
        _speculate(flags, serve.draft, serve.draft_tokens)
    flags.add("--enable-metrics", why="how full it is, for the gateway")
    flags.add("--enable-cache-report", why="usage says how much of a prompt was cached")
    flags.said(serve.arguments)
    return serving.launched("sglang", order, fitted, flags, grpc_port(order.port))


def grpc_port(port: int) -> dict[str, str]:
    """Give the variable that names a port for gRPC, where the usual one would be none.

    That is `port` and 10,000. SGLang listens there only if `SGLANG_ENABLE_GRPC` asks for it, but
    refuses to start all the same.
    """
    if port <= PORT_MAX - GRPC_OFFSET:
        return {}
    return {"SGLANG_GRPC_PORT": str(port - GRPC_OFFSET)}


def _static_share(gpu: Gpu, share: float) -> float:
    """Give the part of what is free that weights and KV cache may take, so that all fits `share`.

    SGLang leaves the rest of what it found free alone: `_profile_available_bytes` in its
    `model_runner_kv_cache_mixin.py`.
    """
    free_bytes = max(1, gpu.free_bytes)
    taken = min(share * gpu.memory_bytes, free_bytes) - memory.RUNTIME_BYTES
    return max(memory.SHARE_MIN, taken / free_bytes)


def _speculate(flags: Flags, draft: str, tokens: int) -> None:
    """Have a small model run ahead, one guess a place: what SGLang calls a standalone draft."""
    flags.add(
        "--speculative-algorithm=STANDALONE",
        f"--speculative-draft-model-path={draft}",
        f"--speculative-num-steps={tokens}",
        "--speculative-eagle-topk=1",
        f"--speculative-num-draft-tokens={tokens + 1}",
        why="serve.draft",
    )


def missing(backend: Backend) -> str | None:
    """Say what has to be installed; None if the program is there."""
    program = program_of(backend)[0]
    is_there = not serving.program_missing(program)
    if is_there and (backend.serve.program or importlib.util.find_spec(MODULE) is not None):
        return None
    return (
        f"SGLang is not here: `pip install sglang` in an environment of its own, and "
        f"`program: [/that/bin/python, -m, sglang.launch_server]` in backends.{backend.name}.serve"
    )


SGLANG = Kind(
    name="sglang",
    launch=launch,
    slots=serving.slots_of,
    missing=missing,
    version="/server_info",
    drain_s=10.0,  # 0.5.15 took 4 s to end with no call open, and 6 s after the last of them.
)
