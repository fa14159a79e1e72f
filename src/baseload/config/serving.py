"""How an engine serves its model: what a person may say of it, where the choice is not ours.

A part of the fleet file like those of `fleet.py`: `serve` says how an engine is started and warmed,
`batch` how many calls and tokens it is given at once. Nothing here is required: what is absent is
chosen from the model and the hardware that is found, or learnt while calls are served.

Not here: choosing (`engines`), learning (`core`).
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Objective = Annotated[float, Meta(gt=0, le=3600)]


class Warm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine does before its first caller, so that nobody pays for being the first."""

    prompts: (
        Annotated[
            tuple[Annotated[int, Meta(ge=1, le=1_000_000)], ...],
            Meta(description="Lengths of prompts that are expected, in tokens; each is tried."),
        ]
        | None
    ) = None
    """None: a few usual ones, as long as the engine reads them at once; empty: none."""
    system: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="System prompts that are read into the prefix cache."),
    ] = ()
    idle_s: Annotated[
        float, Meta(ge=0, description="Warmed again after so long without a call; 0: never.")
    ] = 900.0


class Serve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an engine that baseload starts is to run. What is absent is chosen."""

    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "fp8", "int8", "int4"],
        Meta(description="Of weights; `auto`: as they come."),
    ] = "auto"
    tensor_parallel: (
        Annotated[int, Meta(ge=1, le=64, description="GPUs that share each layer.")] | None
    ) = None
    pipeline_parallel: (
        Annotated[int, Meta(ge=1, le=64, description="Groups of GPUs that share the layers.")]
        | None
    ) = None
    context: (
        Annotated[int, Meta(ge=256, le=10_000_000, description="Tokens of one call, answer too.")]
        | None
    ) = None
    slots: (
        Annotated[int, Meta(ge=1, le=4096, description="Calls at once that it is started for.")]
        | None
    ) = None
    kv: Annotated[
        Literal["auto", "fp16", "fp8", "q8_0", "q4_0"], Meta(description="Of the KV cache.")
    ] = "auto"
    prefix_cache: Annotated[
        bool, Meta(description="Keep what prompts that begin alike have in common.")
    ] = True
    draft: (
        Annotated[str, Meta(min_length=1, description="A small model for speculative decoding.")]
        | None
    ) = None
    draft_tokens: Annotated[
        int, Meta(ge=1, le=16, description="Tokens that the small model is ahead.")
    ] = 4
    gpus: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=1023)], ...],
        Meta(description="GPUs by number; all that are found if absent."),
    ] = ()
    gpu_memory: (
        Annotated[float, Meta(gt=0, le=1, description="Part of each GPU's memory that it takes.")]
        | None
    ) = None
    mps_threads: (
        Annotated[
            int,
            Meta(ge=1, le=100, description="Shares its GPU by MPS: its part of threads, in %."),
        ]
        | None
    ) = None
    ready_max_s: (
        Annotated[
            float,
            Meta(gt=0, le=86400, description="Its start may take so long, to the first answer."),
        ]
        | None
    ) = None
    """None: 5 minutes, on a GPU 15, and more for large weights."""
    stall_max_s: Annotated[
        float,
        Meta(ge=0, le=86400, description="Hangs if it makes no token for so long; 0: never."),
    ] = 180.0
    """For engines that count tokens while they make them: vLLM."""
    program: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="What is run instead of the engine's usual command."),
    ] = ()
    arguments: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="Arguments after those that are chosen."),
    ] = ()
    environment: Annotated[
        dict[str, str], Meta(description="Variables of the engine's process, no secrets.")
    ] = {}
    warm: Annotated[Warm, Meta(description="What it does before its first caller.")] = Warm()


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much an engine is given at once. The best number of calls is learnt between the two."""

    min: Annotated[int, Meta(ge=1, le=4096, description="Calls at once, at least.")] = 2
    max: Annotated[int, Meta(ge=1, le=4096, description="Calls at once, at most.")] = 128
    first_token_s: (
        Annotated[Objective, Meta(description="First tokens are to come within.")] | None
    ) = None
    token_s: (
        Annotated[Objective, Meta(description="Time between two tokens is to stay under.")] | None
    ) = None
    prefill_tokens: (
        Annotated[int, Meta(ge=1, description="Tokens of prompts being read at once, at most.")]
        | None
    ) = None
    """None: chosen so that a short prompt need not wait long."""
    kv_tokens: Annotated[int, Meta(ge=1, description="Tokens that its KV cache holds.")] | None = (
        None
    )
    """None: as the engine tells, if it does."""
