"""What runs in the child process: llama.cpp's own HTTP server, and nothing else.

The parent starts it as `python -m baseload.engines.llamacpp_child` and holds the other end of its
standard input. When that end closes, for whatever reason, the child is gone: an engine without
its gateway would hold memory and cores that nobody can see. It listens on a port of the system's
choosing, which no other process can take in between, and says on standard output which one.

Ending is abrupt on purpose (`os._exit`, or SIGTERM's default): there is nothing to save, and
llama.cpp's orderly end first finishes the batch in hand, which can take many seconds. Open answers
are drained by the gateway before it ends the child.

It serves chat, completions and embeddings. Embeddings are the mean of a chat model's states: good
for trying things out, far from a real embedding model, and limited to BATCH_TOKENS a text (more
gives llama.cpp's error 500). Only 127.0.0.1 is listened on; other users of the same machine can
reach it, so it is no place for secrets on a shared host.
"""

import argparse
import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence

import xllamacpp

from baseload.engines.cores import usable_cores

ANNOUNCEMENT = "baseload engine listens on "
"""What precedes `http://host:port` in the one line that the parent waits for."""

BATCH_TOKENS = 512
"""Tokens of a prompt that are read in one go. While they are, every open answer stands still: on
two cores, 512 tokens of a 135M model take 2 s. Less makes reading slower (128: by a quarter)."""

PROMPT_CACHE_MIB = 256
"""Memory for the states of past prompts. llama.cpp's own default, 8 GiB, is no bound at all."""

HTTP_THREADS = 64
"""llama.cpp gives a thread to each open request, waiting ones too. With its default of a handful,
a burst beyond the slots would leave none to answer /health, and the engine would look hung."""

KEY_VARIABLE = "BASELOAD_ENGINE_KEY"
"""Holds what callers must show; a variable, because others could read an argument."""

KV_TYPES = {
    "fp16": xllamacpp.ggml_type.GGML_TYPE_F16,
    "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
    "q4_0": xllamacpp.ggml_type.GGML_TYPE_Q4_0,
}
ALL_LAYERS = 999

VERBOSITY_ERRORS = 1
"""llama.cpp's level for errors alone. From 2 on, a malformed request is quoted in the log."""

_PR_SET_PDEATHSIG = 1


def parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    """Return the settings of llama.cpp's server for these options of the command line."""
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}  # Else answers carry the file's path.
    params.port = 0
    params.cors_origins = ""  # No web page has business here; the default allows them all.
    params.ui = False
    params.verbosity = VERBOSITY_ERRORS

    # Each slot owns its part of the context. A unified cache would let one long call take the
    # room of the others, which then fail half way.
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context_tokens
    params.kv_unified = False
    params.fit_params = False  # Nothing to fit, the sizes are ours; saves half a load.
    # Mean pooling takes only multiples of the slots: with others llama.cpp aborts as it loads.
    params.n_batch = params.n_ubatch = -(-BATCH_TOKENS // options.slots) * options.slots
    params.cont_batching = True
    params.ctx_shift = False  # A full context ends the answer; it never forgets its beginning.
    params.cache_prompt = not options.no_prefix_cache
    params.cache_ram_mib = 0 if options.no_prefix_cache else PROMPT_CACHE_MIB
    params.cache_type_k = params.cache_type_v = KV_TYPES[options.kv]
    if options.kv != "fp16":  # What reads a cache of less than 16 bits.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    _place(params, options)
    if options.draft:
        _speculate(params, options)
    if key := os.environ.get(KEY_VARIABLE):
        params.api_keys = [key]

    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.n_threads_http = max(HTTP_THREADS, 2 * options.slots)
    params.endpoint_metrics = params.endpoint_slots = True
    params.embedding = True  # Does not exclude chat; measured to cost no speed.
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return params


def _place(params: xllamacpp.CommonParams, options: argparse.Namespace) -> None:
    """Say on which hardware layers lie."""
    if options.gpu:
        params.n_gpu_layers = ALL_LAYERS
    if options.numa:
        params.numa = xllamacpp.ggml_numa_strategy.GGML_NUMA_STRATEGY_DISTRIBUTE


def _speculate(params: xllamacpp.CommonParams, options: argparse.Namespace) -> None:
    """Have a small model guess tokens ahead, which the large one checks together."""
    simple = xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE
    params.speculative.types = [simple]
    draft = params.speculative.draft
    draft.mparams.path = options.draft
    draft.n_max = options.draft_tokens
    draft.n_gpu_layers = ALL_LAYERS if options.gpu else 0
    draft.cpuparams.n_threads = draft.cpuparams_batch.n_threads = options.threads


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the model, announce the address, and serve until the parent is gone."""
    options = _options().parse_args(arguments)
    # Ctrl-C in a terminal reaches the foreground group, but open answers must drain first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    server = xllamacpp.Server(parameters(options))
    os.write(sys.stdout.fileno(), f"{ANNOUNCEMENT}{server.listening_address}\n".encode())
    threading.Event().wait()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="baseload.engines.llamacpp_child")
    parser.add_argument("--model", required=True, help="path of the GGUF file")
    parser.add_argument("--alias", required=True, help="what answers call the model")
    parser.add_argument("--slots", type=int, required=True, help="calls served at once")
    parser.add_argument("--context-tokens", type=int, required=True, help="context of each call")
    parser.add_argument("--kv", choices=list(KV_TYPES), default="fp16", help="type of the KV cache")
    parser.add_argument("--no-prefix-cache", action="store_true", help="forget prompts at once")
    parser.add_argument("--draft", default="", help="path of a small model that guesses ahead")
    parser.add_argument("--draft-tokens", type=int, default=4, help="how far it guesses")
    parser.add_argument("--gpu", action="store_true", help="put all layers on the GPU")
    parser.add_argument("--numa", action="store_true", help="spread over NUMA nodes")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores to keep busy")
    return parser


def _die_with_parent() -> None:
    """Ask Linux for a SIGKILL when the parent's thread that started this process ends.

    The watch on standard input cannot see it while a model loads: xllamacpp holds the interpreter
    lock all that time. And if the parent died before we asked, its end of the pipe is closed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if select.select([sys.stdin], [], [], 0)[0]:
        os._exit(0)


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass  # The parent never writes; only the end of the stream counts.
    os._exit(0)


if __name__ == "__main__":
    main()
