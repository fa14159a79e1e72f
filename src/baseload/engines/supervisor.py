"""Keep one engine alive, and say at each moment whether it can be used.

An engine's life is: start the child, wait until it says where it listens, have it really answer a
chat, call it ready, watch it until it ends, say why, pause, start again. This module is that
circle. It runs in the gateway's event loop and tells its owner each change through one callback.

When to start again is decided in `restarts.py`; what may be logged, in `journal.py`. Liveness
means that `/health` answers, which llama.cpp does from a thread of its own: a stopped process or a
dead server is noticed, a model that computes for ever is not. Calls have their own clocks.
"""

import asyncio
import contextlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from baseload.config.fleet import Backend
from baseload.config.serving import Warm
from baseload.engines.asking import Address, chat_fault, is_healthy
from baseload.engines.child import Child
from baseload.engines.idling import keep_warm
from baseload.engines.journal import Journal
from baseload.engines.restarts import Record
from baseload.engines.speaking import Speaker
from baseload.engines.warming import Report, warm
from baseload.engines.weights import find_weights, served_name
from baseload.errors import EngineError

CHILD_MODULE = "baseload.engines.llamacpp_child"

SLOTS = 4
SLOTS_MAX = 16
"""Each slot costs memory for its own context: 94 MB with SmolLM2-135M."""

CONTEXT_TOKENS = 4096
"""Prompt and answer of one call together."""

ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
"""How often one of llama.cpp's threads looks for the others before it sleeps. The default is
nearly for ever: on two cores that other programs kept busy too, answers came at 3 tokens/s. With
1000 they come at 15 to 20, and as fast as before on an idle machine. The user's own value wins."""

FIRST = asyncio.FIRST_COMPLETED
logger = logging.getLogger("baseload.engines")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each step of an engine's life may take, in seconds."""

    ready_max_s: float = 300.0
    """From start to the first answer; a large file on a cold disk takes minutes."""
    retry_s: float = 0.1
    """Between two tries of the warm-up chat."""
    ping_every_s: float = 5.0
    ping_max_s: float = 5.0
    liveness_max_s: float = 30.0
    """Longest time without an answer from `/health` while the process lives."""
    stop_max_s: float = 5.0
    """From SIGTERM to SIGKILL."""


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class EngineState:
    """What is known of an engine: whether calls may be sent, where to, and why not."""

    name: str
    phase: Literal["starting", "ready", "down", "failed"]
    """`down` was stopped or will be started again; `failed` needs a person."""
    address: Address | None = None
    """Host and port, only while ready."""
    reason: str = ""
    """Why it is down or has failed; else empty."""
    restarts: int = 0
    """How many times the child was started again after the first time."""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Death:
    """How one life of the child ended: why, and how long it had been ready (None: never)."""

    reason: str
    ready_s: float | None


class Engine:
    """A model server run as a child process: `run()` supervises it until `stop()`."""

    def __init__(
        self,
        backend: Backend,
        state_dir: Path,
        on_state: Callable[[EngineState], None],
        python: str = sys.executable,
        *,
        command: Sequence[str] | None = None,
        patience: Patience = PATIENCE,
        environment: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
    ) -> None:
        """Prepare the engine; nothing is started yet.

        `on_state` is called in the event loop, and must neither block nor raise. `command`
        replaces the child and all its arguments, for tests. `environment` is asked before each
        start for more variables, and may raise EngineError, or OSError to be asked again. Raises
        EngineError if the backend names no model.
        """
        if backend.model is None:
            raise EngineError(f"backends.{backend.name}: an engine needs a `model`")
        self.name = backend.name
        self.served_model = served_name(backend.model)
        self.slots = min(backend.concurrency or SLOTS, SLOTS_MAX)
        self.state = EngineState(self.name, "down", reason="not started")
        self.warmed: Report | None = None
        """How it was warmed last; None: it has not been yet."""
        self._wishes = backend.serve.warm
        self._are_others_wished = asyncio.Event()
        self._model = backend.model
        self._on_state = on_state
        self._python = python
        self._command = command
        self._patience = patience
        self._environment = environment
        file = re.sub(r"[^\w.-]", "_", self.name)
        self._journal = Journal(state_dir.expanduser() / "logs" / f"{file}.log")
        self._starts = 0
        self._ready_at: float | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def log_path(self) -> Path:
        """The file that holds what the engine printed."""
        return self._journal.path

    async def run(self) -> None:
        """Start the engine and keep it alive until `stop()`, cancellation or failure.

        Whatever ends this, the child is gone afterwards. A failure is told, not raised.
        """
        self._ended.clear()
        try:
            await self._supervise()
        except EngineError as error:
            # No traceback: the sentence is all that a person can use.
            logger.error("engine %s stays down: %s", self.name, error)  # noqa: TRY400
            self._tell("failed", reason=str(error))
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End the child, and wait until `run()` is through."""
        self._stopping.set()
        await self._ended.wait()

    def warm_like(self, wishes: Warm) -> None:
        """Be warmed like this from now on: soon, if it serves, and without a restart."""
        if wishes != self._wishes:
            self._wishes = wishes
            self._are_others_wished.set()

    async def _supervise(self) -> None:
        command = self._command
        if command is None:
            command = await asyncio.to_thread(self._real_command)
        record = Record()
        while not self._stopping.is_set():
            death = await self._live(command)
            self._journal.end(death.reason)
            self._tell("down", reason=death.reason)
            if self._stopping.is_set():
                return
            record = record.after_death(death.ready_s)
            if record.is_hopeless():
                raise EngineError(
                    f"never ready in {record.unready} starts in a row; the last one: "
                    f"{death.reason} (log: {self.log_path})"
                )
            pause_s = record.pause_s()
            words = (self.name, death.reason, pause_s, self.log_path)
            logger.warning("engine %s is down: %s; next start in %.2f s; log: %s", *words)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    def _real_command(self) -> list[str]:
        """Return the command of the real child; raises EngineError if it could not work."""
        weights = find_weights(self._model)
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError("llama.cpp is not installed: run `pip install 'baseload[llamacpp]'`")
        # -P: a file in the working directory must not take the place of an installed module.
        command = [self._python, "-P", "-m", CHILD_MODULE]
        command += ["--model", str(weights), "--alias", self.served_model]
        return [*command, "--slots", str(self.slots), "--context-tokens", str(CONTEXT_TOKENS)]

    async def _live(self, command: Sequence[str]) -> Death:
        """Start the child once, and see it through to its end."""
        self._starts += 1
        self._ready_at = None
        self._journal.begin(f"start {self._starts}")
        try:
            more = {} if self._environment is None else await self._environment()
            child = await Child.start(
                command, {**ENVIRONMENT, **os.environ, **more}, self._journal.hear
            )
        except OSError as error:
            return Death(f"cannot start {command[0]}: {error.strerror}", None)
        nursing = asyncio.create_task(self._nurse(child))
        stopping = asyncio.create_task(self._stopping.wait())
        wait_max_s = self._patience.stop_max_s
        reason = ""
        try:
            self._tell("starting", pid=child.pid)
            await asyncio.wait({child.gone, nursing, stopping}, return_when=FIRST)
            if stopping.done():
                reason = "stopped"
            elif not child.gone.done():
                reason, wait_max_s = nursing.result(), 0.0  # It does not listen: no use in asking.
        finally:
            nursing.cancel()
            stopping.cancel()
            await child.end(wait_max_s)
        cause = self._journal.cause()
        reason = reason or child.how_it_ended() + f": {cause}" * bool(cause)
        return Death(reason, self._ready_s())

    async def _nurse(self, child: Child) -> str:
        """Bring the child up and watch over it; return why there is no more hope for it."""
        patience = self._patience
        try:
            async with asyncio.timeout(patience.ready_max_s):
                address = await child.listening
                fault = await self._warm_up(address)
        except TimeoutError:
            return f"not ready within {patience.ready_max_s:g} s"
        if fault is not None:
            return fault
        self._journal.serving()
        self._ready_at = asyncio.get_running_loop().time()
        logger.info("engine %s is ready at %s:%d, pid %d", self.name, *address, child.pid)
        self._tell("ready", address=address, pid=child.pid)
        keeping = asyncio.create_task(
            keep_warm(
                self._speaker(address),
                lambda: self._wishes,
                self._are_others_wished,
                self._tell_warmed,
            )
        )
        try:
            await self._until_silent(address)
        finally:
            keeping.cancel()
        return f"no answer to /health for {patience.liveness_max_s:g} s"

    async def _warm_up(self, address: Address) -> str | None:
        """Wait until the engine has answered a chat and is warm; return what was wrong with it.

        The caller bounds the wait. Silence is no verdict: if the child died, its end tells why.
        """
        patience, speaker = self._patience, self._speaker(address)
        while True:
            with contextlib.suppress(OSError):
                if await is_healthy(address, patience.ping_max_s):
                    self._are_others_wished.clear()
                    report = await warm(
                        speaker,
                        self._wishes,
                        lambda: chat_fault(address, self.served_model, patience.ready_max_s),
                        context=CONTEXT_TOKENS,
                        slots=self.slots,
                    )
                    self._tell_warmed(report)
                    return report.fault
            await asyncio.sleep(patience.retry_s)

    def _speaker(self, address: Address) -> Speaker:
        return Speaker(address, self.served_model)

    def _tell_warmed(self, report: Report) -> None:
        self.warmed = report
        if report.fault is None:
            logger.info("engine %s: %s", self.name, report.words())

    async def _until_silent(self, address: Address) -> None:
        """Return when `/health` has not answered for `liveness_max_s`."""
        patience, clock = self._patience, asyncio.get_running_loop().time
        heard_at = clock()
        while clock() - heard_at < patience.liveness_max_s:
            await asyncio.sleep(patience.ping_every_s)
            if await is_healthy(address, patience.ping_max_s):
                heard_at = clock()

    def _ready_s(self) -> float | None:
        if self._ready_at is None:
            return None
        return asyncio.get_running_loop().time() - self._ready_at

    def _tell(
        self,
        phase: Literal["starting", "ready", "down", "failed"],
        *,
        address: Address | None = None,
        reason: str = "",
        pid: int | None = None,
    ) -> None:
        restarts = max(0, self._starts - 1)
        self.state = EngineState(self.name, phase, address, reason, restarts, pid)
        self._on_state(self.state)
