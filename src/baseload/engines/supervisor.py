"""Keep one engine alive, and say at each moment whether it can be used.

An engine's life is: wait for its turn, look at the machine, decide how it is started (`kinds`),
start the child, have it really answer a chat, call it ready, watch it until it ends, say why, see
its memory free, pause, start again. If it ran out of memory, the next start is a smaller one. This
module is that circle. It runs in the gateway's event loop and tells its owner each change through
one callback.

When to start again is decided in `restarts.py`; what smaller is, in `kinds/ladder.py`; what may be
logged, in `journal.py`; whether it still lives, in `liveness.py`. Not here: engines that others
start (`watched`).
"""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from baseload.config.fleet import Backend
from baseload.engines.asking import Access, Address, chat_fault, is_healthy, version_of
from baseload.engines.child import LEASH, Child, free_port
from baseload.engines.idling import Warmer
from baseload.engines.journal import Journal
from baseload.engines.kinds import kind_of
from baseload.engines.kinds.facts import facts_of
from baseload.engines.kinds.ladder import Sign, smaller
from baseload.engines.kinds.launch import Launch, Order, Size
from baseload.engines.liveness import until_dead
from baseload.engines.outofmemory import sign_of
from baseload.engines.restarts import Record
from baseload.engines.speaking import Speaker
from baseload.engines.state import PATIENCE, Death, EngineState, Patience, Phase
from baseload.engines.turns import ALL
from baseload.engines.weights import served_name
from baseload.engines.weights.store import store_path
from baseload.engines.world import World
from baseload.errors import EngineError

GPU_LOOK_S = 0.25
GPU_FREE_SLACK = 0.02
"""Part of a GPU's memory that may stay taken and yet count as free: drivers keep a little."""

FIRST = asyncio.FIRST_COMPLETED
logger = logging.getLogger("baseload.engines")
_T = TypeVar("_T")


class Engine:
    """A model server run as a child process: `run()` supervises it until `stop()`."""

    def __init__(
        self,
        backend: Backend,
        state_dir: Path,
        on_state: Callable[[EngineState], None],
        *,
        world: World | None = None,
        command: Sequence[str] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        """Prepare the engine; nothing is started yet.

        `on_state` is called in the event loop, and must neither block nor raise. `command`
        replaces the child and all its arguments, for tests. Raises EngineError if the backend
        names no model.
        """
        self.kind = kind_of(backend)
        self.name = backend.name
        self.served_model = served_name(backend.model or "")
        self.slots = self.kind.slots(backend)
        """Calls at once that it is to be given; memory may allow fewer, which its state tells."""
        self.state = EngineState(self.name, "down", reason="not started")
        self._backend = backend
        self._on_state = on_state
        self._command = command
        self._patience = patience
        self._world = world or World()
        self._access = Access(api_key=backend.api_key or "")
        self._store = store_path(None, str(state_dir))
        self.warmer = Warmer(backend)
        file = re.sub(r"[^\w.-]", "_", self.name)
        self._journal = Journal(state_dir.expanduser() / "logs" / f"{file}.log")
        self._starts = 0
        self._ready_at: float | None = None
        self._size: Size | None = None
        self._launch: Launch | None = None
        self._smaller: list[str] = []
        self._version = ""
        self.gpus: tuple[int, ...] = ()
        """Those that it was started on."""
        self.gpu_bytes: dict[int, float] = {}
        """What it takes of each of them, where that is said to it."""
        self._free_wanted: dict[int, float] = {}
        """Bytes of each of its GPUs that must be free before it starts again."""
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def log_path(self) -> Path:
        """The file that holds what the engine printed."""
        return self._journal.path

    @property
    def ready_max_s(self) -> float:
        """How long a start may take to the first answer, as far as is known by now."""
        stated = self._patience.ready_max_s or self._backend.serve.ready_max_s
        return stated or self.kind.ready_max_s + (self._launch.load_s if self._launch else 0.0)

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
        except Exception as error:  # A mistake of ours; untold, it would be waited for for ever.
            logger.exception("engine %s stays down", self.name)
            self._tell("failed", reason=f"{type(error).__name__}: {error}")
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End the child, and wait until `run()` is through."""
        self._stopping.set()
        await self._ended.wait()

    # -- the circle --------------------------------------------------------------------------

    async def _supervise(self) -> None:
        record = Record()
        while not self._stopping.is_set():
            death, sign = await self._turn()
            if death is None:
                return
            self._journal.end(death.reason)
            self._tell("down", reason=death.reason)
            if self._stopping.is_set():
                return
            record = record.after_death(death.ready_s)
            if sign is not None and self._has_shrunk(sign, death):
                record = Record()  # Another start than those that failed.
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
            await self._unless_stopping(self.until_free())

    async def _turn(self) -> tuple[Death | None, Sign | None]:
        """Start it once, when its turn has come; None if it is stopped before that."""
        turns = self._world.turns
        try:
            await self._unless_stopping(turns.take(self, await self._wanted_gpus()))
            if self._stopping.is_set():
                return None, None
            launch = await asyncio.to_thread(self._decide)
            turns.narrow(self, launch.gpus)
            try:
                more = await self._world.environment(launch)
            except OSError as error:
                return Death(f"cannot start {self.name}: {error.strerror}", None), None
            kills = self._world.oom_kills()
            death = await self._live(launch, dict(more))
        finally:
            turns.give(self)
        sign = sign_of(self._journal.sign, death.exit_code, kills, self._world.oom_kills())
        return death, sign

    async def _wanted_gpus(self) -> frozenset[int]:
        """Give the GPUs that it may take: those stated, all there are, or none."""
        if self._backend.serve.gpus:
            return frozenset(self._backend.serve.gpus)
        if self._command is not None:
            return frozenset()
        has_some = self.kind.needs_gpu or (await asyncio.to_thread(self._world.look)).gpus
        return ALL if has_some else frozenset()

    def _decide(self) -> Launch:
        """Say how it is started now; raises EngineError if it could not work."""
        if self._command is not None:
            size = self._size or Size(slots=self.slots, context=0)
            argv = tuple(self._command)
            self._launch = Launch(kind="", served_model=self.served_model, argv=argv, size=size)
            return self._launch
        model, may_fetch = self._backend.model or "", self.kind.needs_gpu
        facts = facts_of(model, may_fetch=may_fetch, store=self._store)
        missing = self.kind.missing(self._backend)
        if missing is not None:
            raise EngineError(missing)
        hardware = self._world.look()
        port = 0 if self.kind.announces else free_port()
        order = Order(
            backend=self._backend, facts=facts, hardware=hardware, size=self._size, port=port
        )
        self._launch = launch = self.kind.launch(order)
        self.gpus = launch.gpus
        gpus = [gpu for gpu in hardware.gpus if gpu.index in launch.gpus]
        said = launch.size.gpu_memory
        part = (said or 1) - GPU_FREE_SLACK
        self.gpu_bytes = {gpu.index: said * gpu.memory_bytes for gpu in gpus} if said else {}
        self._free_wanted = {
            gpu.index: min(gpu.free_bytes * (1 - GPU_FREE_SLACK), part * gpu.memory_bytes)
            for gpu in gpus
        }
        return launch

    def _has_shrunk(self, sign: Sign, death: Death) -> bool:
        """Answer a lack of memory with a smaller start; at the end of the ladder give up.

        There, one that was ready before is started again as it is: then it was the calls' doing.
        """
        assert self._launch is not None, "it has been started"
        found = smaller(self._launch.size, sign, self._backend.serve)
        if found is None:
            if death.ready_s is not None:
                return False
            tried = "; ".join(self._smaller) or "nothing could be made smaller"
            raise EngineError(
                f"out of memory ({death.reason}); tried: {tried}; log: {self.log_path}"
            )
        self._size, words = found
        self._smaller.append(words)
        logger.warning("engine %s ran out of memory; smaller: %s", self.name, words)
        return True

    async def until_free(self) -> None:
        """Wait until what it had of its GPUs is free again, as far as that can be read."""
        launch, clock = self._launch, asyncio.get_running_loop().time
        until = clock() + self._patience.gpu_free_max_s
        for gpu in launch.gpus if launch else ():
            while not await asyncio.to_thread(self._is_free, gpu):
                if clock() > until:
                    words = (gpu, self.name, self._patience.gpu_free_max_s)
                    logger.warning("GPU %d is not free again after %s: waited %g s", *words)
                    return
                await asyncio.sleep(GPU_LOOK_S)

    def _is_free(self, gpu: int) -> bool:
        free = self._world.free_bytes(gpu)
        return free is None or free >= self._free_wanted.get(gpu, 0.0)

    # -- one life ----------------------------------------------------------------------------

    async def _live(self, launch: Launch, more: dict[str, str]) -> Death:
        """Start the child once, and see it through to its end."""
        self._starts += 1
        self._ready_at, self._version = None, ""
        self._journal.begin(f"start {self._starts}")
        is_held = launch.argv and not self.kind.announces and self._command is None
        command = (*LEASH, *launch.argv) if is_held else launch.argv
        given = {**launch.environment, **more, **launch.secrets}
        environment = {**launch.defaults, **os.environ, **given}
        try:
            child = await Child.start(command, environment, self._journal.hear)
        except (OSError, ValueError) as error:  # A name or value that no environment takes.
            said = getattr(error, "strerror", None) or error
            return Death(f"cannot start {command[0]}: {said}", None)
        nursing = asyncio.create_task(self._nurse(child, launch))
        stopping = asyncio.create_task(self._stopping.wait())
        stop_max_s = self._patience.stop_max_s
        wait_max_s = self.kind.drain_s if stop_max_s is None else stop_max_s
        reason, exit_code = "", None
        try:
            self._tell("starting", pid=child.pid)
            await asyncio.wait({child.gone, nursing, stopping}, return_when=FIRST)
            if stopping.done():
                reason = "stopped"
            elif not child.gone.done():
                reason, wait_max_s = nursing.result(), 0.0  # It does not listen: no use in asking.
            else:
                exit_code = child.exit_code
        finally:
            nursing.cancel()
            stopping.cancel()
            await child.end(wait_max_s)
            await asyncio.wait({nursing})
        if child.survivors:
            logger.error("engine %s: processes %s do not die", self.name, child.survivors)
        cause = self._journal.cause()
        reason = reason or child.how_it_ended() + f": {cause}" * bool(cause)
        return Death(reason, self._ready_s(), exit_code)

    async def _nurse(self, child: Child, launch: Launch) -> str:
        """Bring the child up and watch over it; return why there is no more hope for it."""
        patience = self._patience
        try:
            async with asyncio.timeout(self.ready_max_s) as bound:
                address = ("127.0.0.1", launch.port) if launch.port else await child.listening
                # What follows the plain chat has a bound of its own, and is no reason to give up.
                fault = await self._warm_up(address, lambda: bound.reschedule(None))
        except TimeoutError:
            return f"not ready within {self.ready_max_s:g} s (serve.ready_max_s)"
        if fault is not None:
            return fault
        if self.kind.version:
            path = self.kind.version
            self._version = await version_of(address, path, patience.ping_max_s, self._access)
        self._world.turns.give(self)
        self._journal.serving()
        self._ready_at = asyncio.get_running_loop().time()
        logger.info("engine %s is ready at %s:%d, pid %d", self.name, *address, child.pid)
        self._tell("ready", address=address, pid=child.pid)
        speaker, stall_max_s = self._speaker(address), self._backend.serve.stall_max_s
        async with self.warmer.keeping(speaker):
            return await until_dead(
                speaker, self.kind, patience, stall_max_s, self.warmer.pass_over
            )

    async def _warm_up(self, address: Address, on_plain: Callable[[], None]) -> str | None:
        """Wait until the engine is warm; return what was wrong with its first answer.

        The caller bounds the wait until `on_plain`, when that answer is there. Silence is no
        verdict: if the child died, its end tells why.
        """
        patience, access = self._patience, self._access

        async def plain() -> str | None:
            fault = await chat_fault(address, self.served_model, self.ready_max_s, access)
            on_plain()
            return fault

        while True:
            with contextlib.suppress(OSError):
                if await is_healthy(address, patience.ping_max_s, access, self.kind.health):
                    return await self.warmer.first(
                        self._speaker(address), plain, self._launch.size if self._launch else None
                    )
            await asyncio.sleep(patience.retry_s)

    def _speaker(self, address: Address) -> Speaker:
        return Speaker(address, self.served_model, self._access)

    # -- what is told ------------------------------------------------------------------------

    async def _unless_stopping(self, work: Coroutine[Any, Any, _T]) -> None:
        """Wait for something, but no longer than until `stop()`."""
        doing = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=FIRST)
            if doing.done():
                doing.result()
        finally:
            doing.cancel()
            stopping.cancel()

    def _ready_s(self) -> float | None:
        if self._ready_at is None:
            return None
        return asyncio.get_running_loop().time() - self._ready_at

    def _tell(
        self,
        phase: Phase,
        *,
        address: Address | None = None,
        reason: str = "",
        pid: int | None = None,
    ) -> None:
        launch = self._launch
        self.state = EngineState(
            name=self.name,
            phase=phase,
            address=address,
            reason=reason,
            restarts=max(0, self._starts - 1),
            pid=pid,
            url=f"http://{address[0]}:{address[1]}/v1" if address else "",
            version=self._version,
            slots=launch.size.slots if launch else 0,
            context=launch.size.context if launch else 0,
            kv_tokens=self._journal.kv_tokens or (launch.kv_tokens if launch else None),
            smaller=", ".join(self._smaller),
        )
        self._on_state(self.state)
