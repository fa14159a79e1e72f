"""What is known of an engine at a moment, and how long each step of its life may take."""

from dataclasses import dataclass
from typing import Literal

from baseload.engines.asking import Address

Phase = Literal["starting", "ready", "down", "failed"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each step of an engine's life may take, in seconds."""

    ready_max_s: float | None = None
    """From start to the first answer; None: as the fleet file says, or as its kind needs."""
    retry_s: float = 0.1
    """Between two tries of the first chat."""
    ping_every_s: float = 5.0
    ping_max_s: float = 5.0
    liveness_max_s: float = 30.0
    """Longest time without an answer from `/health` while the process lives."""
    stop_max_s: float | None = None
    """From SIGTERM to SIGKILL; None: as its kind needs."""
    gpu_free_max_s: float = 30.0
    """Longest wait for a dead engine's memory to be free again on its GPUs."""


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class EngineState:
    """What is known of an engine: whether calls may be sent, where to, and why not."""

    name: str
    phase: Phase
    """`down` was stopped or will be started again; `failed` needs a person."""
    address: Address | None = None
    """Host and port, only while ready."""
    reason: str = ""
    """Why it is down or has failed; else empty."""
    restarts: int = 0
    """How many times the child was started again after the first time."""
    pid: int | None = None
    url: str = ""
    """Where calls are sent, up to `/v1`; only while ready."""
    version: str = ""
    """The engine's own, as far as it tells."""
    slots: int = 0
    """Calls at once that it was started for; 0: not known."""
    context: int = 0
    """Tokens of one call; 0: as the engine has it from the model."""
    kv_tokens: int | None = None
    """Tokens that its KV cache holds; its own word if it said so, else what was reckoned."""
    smaller: str = ""
    """What was made smaller after it ran out of memory; empty: nothing."""
    is_ours: bool = True
    """Whether it is started here."""

    def words(self) -> str:
        """Say it in one line."""
        again = f"{self.restarts} restart" + "s" * (self.restarts != 1)
        kept = f"{self.phase}, {again}" if self.is_ours else self.phase
        less = f", smaller after it ran out of memory ({self.smaller})" if self.smaller else ""
        return f"{kept}{less}" + f": {self.reason}" * bool(self.reason)


@dataclass(frozen=True, slots=True)
class Death:
    """How one life of the child ended: why, and how long it had been ready (None: never)."""

    reason: str
    ready_s: float | None
    exit_code: int | None = None
    """Negative for a signal; None if we ended it."""
