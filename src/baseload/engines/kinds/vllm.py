"""How is vLLM started? Flags of vLLM 0.24.0, read in its own argument tables.

All that was chosen is said outright, so that the engine cannot choose otherwise on another day. It
listens on loopback only; with `api_key` it also asks for that, which other users of the machine do
not have. It sends no statistics home.
"""

import msgspec

from baseload.config.fleet import Backend
from baseload.engines.kinds import serving
from baseload.engines.kinds.launch import Flags, Kind, Launch, Order

PROGRAM = ("vllm", "serve")
SHUTDOWN_S = 3
"""Answers that are still open then are given up; the gateway has waited for them before."""


def launch(order: Order) -> Launch:
    """Decide how it is started; raises EngineError if the model or a wish cannot be."""
    backend, serve, facts = order.backend, order.backend.serve, order.facts
    fitted = serving.fit(order)
    spread, size, names = fitted.spread, fitted.size, serving.names_of(backend)
    flags = Flags()
    program = serve.program or PROGRAM
    flags.add(*program, why="serve.program" if serve.program else "vLLM's own command")
    model = (facts.path,) if program[-1] == "serve" else (f"--model={facts.path}",)
    flags.add(*model, why="where the weights are")
    flags.add("--served-model-name", *names, why="what tiers ask for")
    flags.add("--host=127.0.0.1", why="nobody but this machine")
    flags.add(f"--port={order.port}", why="a free one, at each start")
    flags.add(f"--tensor-parallel-size={spread.tensor}", why=spread.why)
    flags.add(f"--pipeline-parallel-size={spread.pipeline}", why=spread.why)
    flags.add(f"--gpu-memory-utilization={size.gpu_memory:.3g}", why=spread.share_why)
    if size.context:
        flags.add(f"--max-model-len={size.context}", why=fitted.context_why)
    flags.add(f"--max-num-seqs={size.slots}", why=fitted.slots_why)
    cache = "" if serve.prefix_cache else "no-"
    flags.add(f"--{cache}enable-prefix-caching", why="serve.prefix_cache")
    if serve.kv == "fp8":
        flags.add("--kv-cache-dtype=fp8", why="serve.kv: half the memory of 16 bits")
    for flag, why in fitted.precision:
        flags.add(flag, why=why)
    if serve.draft:
        said = {"model": serve.draft, "num_speculative_tokens": serve.draft_tokens}
        words = msgspec.json.encode(said).decode()
        flags.add(f"--speculative-config={words}", why="serve.draft")
    flags.add(f"--shutdown-timeout={SHUTDOWN_S}", why="the gateway has drained before")
    flags.said(serve.arguments)
    secrets = {"VLLM_API_KEY": backend.api_key} if backend.api_key else {}
    return serving.launched("vllm", order, fitted, flags, {"VLLM_NO_USAGE_STATS": "1"}, secrets)


def missing(backend: Backend) -> str | None:
    """Say what has to be installed; None if the program is there."""
    program = (backend.serve.program or PROGRAM)[0]
    if not serving.program_missing(program):
        return None
    return (
        f"there is no program `{program}`: `pip install vllm` in an environment of its own, and "
        f"name its program in backends.{backend.name}.serve.program"
    )


VLLM = Kind(
    name="vllm",
    launch=launch,
    slots=serving.slots_of,
    missing=missing,
    version="/version",
    counts_live=True,
    drain_s=SHUTDOWN_S + 5.0,
)
