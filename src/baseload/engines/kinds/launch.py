"""With what is an engine started, how large, and why so? The words that all kinds share.

Not here: what each kind makes of them (`vllm`, `sglang`, `llamacpp`, `external`), and starting
(`engines.supervisor`).
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from baseload.config.fleet import Backend
from baseload.engines.hardware.found import Hardware
from baseload.engines.kinds.facts import Facts

PORT_LATER = 0
"""Stands for a port that is looked for just before each start."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What of a start costs memory, and is made smaller when there was too little of it."""

    slots: int
    """Calls at once."""
    context: int
    """Tokens of one call, prompt and answer together; 0: as the engine decides."""
    gpu_memory: float | None = None
    """Part of each GPU's memory; None: no GPU, or not by shares."""
    kv: str = "fp16"
    rung: int = 0
    """How many steps down it is already."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One flag or variable, and why it is so."""

    what: str
    why: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a start is chosen from."""

    backend: Backend
    facts: Facts
    hardware: Hardware
    size: Size | None = None
    """None: the first start; else what a start before it has led to."""
    port: int = PORT_LATER


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One start of an engine, whole: nothing of it is decided later."""

    kind: str
    served_model: str
    argv: tuple[str, ...] = ()
    """Empty for an engine that is not started here."""
    environment: dict[str, str] = {}
    """Beside that of this process."""
    defaults: dict[str, str] = {}
    """The same, where this process has no value of its own."""
    secrets: dict[str, str] = {}
    """The same, but never shown to anybody."""
    size: Size
    gpus: tuple[int, ...] = ()
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    kv_tokens: int | None = None
    """Tokens that the KV cache is reckoned to hold; None: not known before it runs."""
    port: int = PORT_LATER
    load_s: float = 0.0
    """How much longer than usual its start may take, for its weights' sake."""
    reasons: tuple[Reason, ...] = ()


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known of a kind of engine. All of them speak OpenAI's API."""

    name: Literal["llama.cpp", "vllm", "sglang", "external"]
    launch: Callable[[Order], Launch]
    """Decides, and does nothing; raises EngineError if it cannot be."""
    slots: Callable[[Backend], int]
    """Calls at once that the fleet file asks for, or what is usual."""
    missing: Callable[[Backend], str | None] = lambda _backend: None
    """Says what must be installed first; looks at this machine."""
    health: str = "/health"
    metrics: str = "/metrics"
    version: str = ""
    """Path of a JSON object with its `version`; empty: it has none."""
    announces: bool = False
    """Chooses its port itself, and says so."""
    counts_live: bool = False
    """Its metrics count each token when it is made, not each answer when it ends."""
    needs_gpu: bool = True
    ready_max_s: float = 900.0
    """From start to the first answer, beside what large weights take (`Launch.load_s`). vLLM 0.24
    took 70 to 150 s on an H100 for 7B without weights, most of it compiling; large mixtures of
    experts compile for minutes."""
    drain_s: float = 5.0
    """From SIGTERM to SIGKILL. The gateway has seen open answers off before that."""


class Flags:
    """A command line that grows, with a reason for each of its parts."""

    def __init__(self) -> None:
        self.argv: list[str] = []
        self.reasons: list[Reason] = []

    def add(self, *words: str, why: str) -> None:
        """Add words that belong together."""
        self.argv += words
        self.reasons.append(Reason(what=" ".join(words), why=why))

    def said(self, words: tuple[str, ...]) -> None:
        """Add what the fleet file adds."""
        if words:
            self.add(*words, why="serve.arguments")
