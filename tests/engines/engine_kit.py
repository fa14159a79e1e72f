"""Helpers for the tests of engines: a model's name, states and conditions that can be awaited."""

import asyncio
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.state import EngineState, Patience
from baseload.engines.supervisor import Engine
from baseload.engines.world import World
from tests.engines.machines import machine, model_folder

MODEL = "smollm2-135m-instruct"
WAIT_MAX_S = 30.0
DOUBLE = Path(__file__).parent / "vllm_double.py"
LOOK_EVERY_S = 0.01


class States:
    """Every state that an engine tells, in order; `reach` waits for the next one of a phase."""

    def __init__(self):
        self.all: list[EngineState] = []
        self._queue: asyncio.Queue[EngineState] = asyncio.Queue()

    def __call__(self, state):
        self.all.append(state)
        self._queue.put_nowait(state)

    async def reach(self, phase):
        async with asyncio.timeout(WAIT_MAX_S):
            while (state := await self._queue.get()).phase != phase:
                pass
        return state


@contextmanager
def running(backend, folder):
    """Run a real engine, whose loop has a thread of its own; give its state once it is ready."""
    served, ready = SimpleNamespace(), threading.Event()

    def on_state(state):
        if state.phase in ("ready", "failed"):
            ready.set()

    async def main():
        served.engine = Engine(backend, folder, on_state)
        served.loop = asyncio.get_running_loop()
        await served.engine.run()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(WAIT_MAX_S)
        state = served.engine.state
        assert "ready" == state.phase, state.reason
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(served.engine.stop(), served.loop).result(WAIT_MAX_S)
        thread.join(WAIT_MAX_S)
    assert not thread.is_alive()


def until(condition):
    """Wait for what only the outside world can tell; return how long it took, in seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + WAIT_MAX_S, "waited too long"
        time.sleep(LOOK_EVERY_S)
    return time.monotonic() - start


def is_alive(pid):
    """Tell whether a process runs; one that is dead but not yet buried does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def engine_of(folder, on_state, variables=None, world=None, patience=None, key=None, **serve):
    """Give an engine of kind vllm whose program is the double, on a machine with one GPU."""
    program = (sys.executable, str(DOUBLE), "serve")
    model = str(model_folder(folder / "qwen-7b"))
    said = Serve(program=program, environment=variables or {}, **serve)
    backend = Backend(name="gpu", engine="vllm", model=model, serve=said, api_key=key)
    world = world or World(look=lambda: machine(1, 24), free_bytes=lambda _gpu: None)
    return Engine(backend, folder, on_state, world=world, patience=patience or Patience())
