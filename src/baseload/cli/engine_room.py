"""Which engines run, and what becomes of them when the fleet changes?

One for each backend that has an engine, supervised from its start to its end. After a reload those
that are the same go on, and are warmed anew if only that is asked of them; new ones are started,
and those that left are stopped once the last answer that came from them has ended: an open stream
does not notice. A GPU seldom holds an engine twice, so a new one comes up there when the one that
left is gone. Engines that share a GPU have an MPS daemon before they start.

Not here: how an engine is kept alive (`engines.supervisor`), or watched (`engines.watched`).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from baseload.config.fleet import Backend, Fleet
from baseload.engines.kinds.facts import weights_bytes_of
from baseload.engines.kinds.launch import Launch
from baseload.engines.mps import Mps
from baseload.engines.sharing import share_of, shares_of
from baseload.engines.state import EngineState
from baseload.engines.supervisor import Engine
from baseload.engines.warming import EXTRAS_MAX_S
from baseload.engines.watched import Watched
from baseload.engines.weights.store import store_path
from baseload.engines.world import World
from baseload.gateway.changing import who

GIB = 2**30
LOOK_S = 0.2
"""How often an engine that left is looked at, whether anybody is still answered by it."""

logger = logging.getLogger("baseload.engines")


class EngineRoom:
    """The engines of one process."""

    def __init__(
        self, state_dir: str, on_state: Callable[[EngineState], None], world: World | None = None
    ) -> None:
        """`on_state` hears of each change, but not of engines that have left."""
        self._state_dir = Path(state_dir)
        self._on_state = on_state
        self._world = world or World()
        self._mps: Mps | None = None
        self._backends: dict[str, Backend] = {}
        self._engines: dict[str, Engine | Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: dict[Engine | Watched, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._engines)

    @property
    def names(self) -> list[str]:
        """The backends that have an engine here."""
        return list(self._engines)

    @property
    def backends(self) -> dict[str, Backend]:
        """The same, as the fleet has them."""
        return self._backends

    def planned(self, fleet: Fleet) -> dict[str, Engine | Watched]:
        """Give the engines that a fleet needs: those that are here, and new ones, not started."""
        return {
            name: self._engines[name] if self._is_here(backend) else self._made(backend)
            for name, backend in fleet.backends.items()
            if backend.engine is not None
        }

    def follow(
        self,
        fleet: Fleet,
        engines: dict[str, Engine | Watched],
        is_idle: Callable[[str], Callable[[], bool]] = lambda _name: lambda: True,
    ) -> None:
        """Run these from now on. Of one that left, `is_idle` says how it shows that it is idle."""
        before, self._engines = self._engines, engines
        self._backends = {name: fleet.backends[name] for name in engines}
        for name, engine in before.items():
            if engines.get(name) is not engine:
                self._leaving[engine] = self._spawn(self._let_go(engine, is_idle(name)))
        for name, engine in engines.items():
            if before.get(name) is not engine:
                self._spawn(self._run(engine, self._in_the_way(self._backends[name])))
            else:
                engine.warmer.warm_like(fleet.backends[name].serve.warm)

    def told(self) -> dict[str, str]:
        """Say of each engine what its supervisor knows."""
        return {name: engine.state.words() for name, engine in self._engines.items()}

    def states(self) -> list[EngineState]:
        """Give how each engine stands."""
        return [engine.state for engine in self._engines.values()]

    def ready_max_s(self) -> float:
        """How long all may take from their start to being ready; on GPUs, one after another."""
        ours = [engine for engine in self._engines.values() if isinstance(engine, Engine)]
        return sum(engine.ready_max_s + EXTRAS_MAX_S for engine in ours)

    async def lacks_room(self) -> str | None:
        """Say why these engines would not come up a second time beside themselves.

        None if they may: there is room on their GPUs, or nobody can tell.
        """
        ours = [one for one in self._engines.values() if isinstance(one, Engine)]
        for gpu in sorted({gpu for engine in ours for gpu in engine.gpu_bytes}):
            there = [one for one in ours if one.gpu_bytes.get(gpu) and one.state.pid]
            takes = sum(engine.gpu_bytes[gpu] for engine in there)
            free = await asyncio.to_thread(self._world.free_bytes, gpu)
            if free is not None and free < takes:
                return (
                    f"a successor's engines ({', '.join(one.name for one in there)}) need "
                    f"{takes / GIB:.1f} GiB of GPU {gpu} beside ours, and {free / GIB:.1f} GiB are "
                    "free; for a changed file use `baseload reload`, for new code stop and start"
                )
        return None

    async def stop(self) -> None:
        """Stop all, and wait until they are gone."""
        everyone = [*self._engines.values(), *self._leaving]
        await asyncio.gather(*(engine.stop() for engine in everyone))
        for task in self._leaving.values():
            task.cancel()  # Nobody starts any more, so nobody needs the memory.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _let_go(self, engine: Engine | Watched, is_idle: Callable[[], bool]) -> None:
        while not is_idle() and engine.state.phase == "ready":  # noqa: ASYNC110 - looked at seldom
            await asyncio.sleep(LOOK_S)
        await engine.stop()
        if isinstance(engine, Engine):
            await engine.until_free()
        del self._leaving[engine]

    def _in_the_way(self, backend: Backend) -> dict[str, "asyncio.Task[None]"]:
        """Give who has left, and is not yet gone from the GPUs that an engine may take."""
        wanted = set(backend.serve.gpus)
        return {
            engine.name: task
            for engine, task in self._leaving.items()
            if isinstance(engine, Engine)
            and engine.gpus
            and backend.engine != "external"
            and (not wanted or wanted & set(engine.gpus))
        }

    def _is_here(self, backend: Backend) -> bool:
        before = self._backends.get(backend.name)
        return before is not None and who(before) == who(backend)

    def _made(self, backend: Backend) -> Engine | Watched:
        def tell(state: EngineState) -> None:
            if self._engines.get(backend.name) is engine:
                self._on_state(state)

        async def environment(launch: Launch) -> Mapping[str, str]:
            return await self._shared(backend, engine, launch)

        engine: Engine | Watched
        if backend.engine == "external":
            engine = Watched(backend, tell)
        else:
            shares = backend.serve.mps_threads is not None
            world = replace(self._world, environment=environment) if shares else self._world
            engine = Engine(backend, self._state_dir, tell, world=world)
        return engine

    async def _shared(self, backend: Backend, key: object, launch: Launch) -> Mapping[str, str]:
        """Give the variables of an engine that shares its GPUs; see that MPS runs before."""
        if self._mps is None:
            gpus = (await asyncio.to_thread(self._world.look)).gpus
            self._mps = self._mps or Mps(self._state_dir, gpus)
        everyone = list(self._backends.values())
        weights_bytes = partial(weights_bytes_of, store=store_path(None, str(self._state_dir)))
        all_shares = await asyncio.to_thread(shares_of, everyone, weights_bytes)
        own = await asyncio.to_thread(share_of, backend, weights_bytes, launch)
        return await self._mps.environment(key, own, all_shares)

    async def _run(
        self, engine: Engine | Watched, after: "Mapping[str, asyncio.Task[None]]"
    ) -> None:
        if after:
            reason = f"starts when {', '.join(after)} has left its GPU"
            logger.info("engine %s %s", engine.name, reason)
            engine.state = replace(engine.state, reason=reason)
            await asyncio.wait(after.values())
        try:
            await engine.run()
        finally:
            if self._mps is not None:
                await self._mps.leave(engine)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
