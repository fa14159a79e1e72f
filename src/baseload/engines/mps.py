"""How does the MPS daemon come, stay and go, for engines that share a GPU?

The daemon is started in the foreground, as a child like any other: so its death is noticed at once,
and its end is certain, also if this process is killed. It has directories of its own, one pair for
each process of ours, because a successor runs beside its predecessor for a while. It comes before
the first engine that shares and goes with the last.

A daemon that somebody else runs is used where it is, and neither started nor stopped: engines are
its clients, in the parts that the fleet file says. GPUs' own settings (clocks, compute mode, MIG)
are never touched.

Not here: who may share, and how much (`sharing`).
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from baseload.engines.child import LEASH, Child
from baseload.engines.hardware.found import Gpu
from baseload.engines.sharing import Share, environment, faults
from baseload.errors import EngineError

PROGRAM = "nvidia-cuda-mps-control"
MISSING = (
    f"{PROGRAM} is not installed: it comes with NVIDIA's driver (on Debian and Ubuntu in "
    "nvidia-compute-utils); install it, or remove `mps_threads`"
)
THEIRS = "/tmp/nvidia-mps"  # noqa: S108 - where NVIDIA's daemon is unless a variable says otherwise
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"

PATH_MAX_BYTES = 80
"""Of the directory of sockets: with a socket's own name it must fit in the 107 of `sockaddr_un`."""
START_MAX_S = 10.0
ASK_MAX_S = 5.0
ASK_EVERY_S = 0.1
QUIT_MAX_S = 10.0
"""From `quit` to SIGTERM: the daemon first waits for its clients, and those have ended."""
STOP_MAX_S = 2.0
LINES_KEPT = 8

logger = logging.getLogger("baseload.engines")


class Mps:
    """The MPS of one process: `environment()` before an engine starts, `leave()` after it ended."""

    def __init__(self, state_dir: Path, gpus: Sequence[Gpu]) -> None:
        """`gpus` are those of this machine."""
        self.joined: dict[object, Share] = {}
        """Engines that share now."""
        self.deaths = 0
        """How many daemons of ours have died before their time."""
        self._gpus = gpus
        self._folder = _place(state_dir.expanduser() / "mps")
        self._daemon: Child | None = None
        self._watching: asyncio.Task[None] | None = None
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._changing = asyncio.Lock()

    async def environment(
        self, key: object, share: Share, others: Sequence[Share] = ()
    ) -> dict[str, str]:
        """See that a daemon runs, and give the variables of an engine that is about to start.

        `key` is the engine's until it leaves: two of one name may meet at a reload. `others` are
        all engines that use GPUs here. Raises EngineError if they cannot share, or if there is no
        MPS; OSError if the daemon does not come up, which may pass.
        """
        together = [one for one in others if one.name != share.name]
        for fault in faults([share, *together], self._gpus):
            raise fault
        async with self._changing:
            self.joined[key] = share
            try:
                places = await self._places()
            except (EngineError, OSError):
                del self.joined[key]
                raise
        return environment(share, self._gpus, places)

    async def leave(self, key: object) -> None:
        """An engine has ended; with the last of them the daemon goes."""
        async with self._changing:
            if self.joined.pop(key, None) is not None and not self.joined:
                await self._end()

    async def _places(self) -> dict[str, str]:
        if self._daemon is not None and not self._daemon.gone.done():
            return self._ours()
        program = shutil.which(PROGRAM)
        if program is None:
            raise EngineError(MISSING)
        theirs = os.environ.get(PIPES, THEIRS)
        if self._daemon is None and await _answers(program, {PIPES: theirs}):
            logger.info("an MPS daemon that is not ours runs at %s: it is used and left", theirs)
            return {PIPES: theirs}
        await self._end()
        await _sweep(program, self._folder.parent)
        await self._start(program)
        return self._ours()

    def _ours(self) -> dict[str, str]:
        return {PIPES: str(self._folder / "pipe"), LOGS: str(self._folder / "log")}

    async def _start(self, program: str) -> None:
        for place in self._ours().values():
            await asyncio.to_thread(os.makedirs, place, 0o700, exist_ok=True)
        variables = {**os.environ, **self._ours(), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        # It sees all GPUs: one that sees fewer counts them anew, and clients' numbers go astray.
        variables.pop("CUDA_VISIBLE_DEVICES", None)
        self._said.clear()
        self._daemon = daemon = await Child.start([*LEASH, program, "-f"], variables, self._hear)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_MAX_S):
                while not daemon.gone.done():
                    if await _answers(program, self._ours()):
                        logger.info("an MPS daemon runs, pid %d, in %s", daemon.pid, self._folder)
                        self._watching = asyncio.create_task(self._watch(daemon))
                        return
                    await asyncio.sleep(ASK_EVERY_S)
        how = daemon.how_it_ended() if daemon.gone.done() else f"silent for {START_MAX_S:g} s"
        await self._end()
        raise OSError(0, f"the MPS daemon did not come up: {how}{self._cause()}")

    async def _watch(self, daemon: Child) -> None:
        await asyncio.wait({daemon.gone})
        self.deaths += 1
        logger.error(
            "the MPS daemon died (%s%s): %s share GPUs by it and may fail now; it is started again "
            "before them",
            daemon.how_it_ended(),
            self._cause(),
            ", ".join(share.name for share in self.joined.values()),
        )

    async def _end(self) -> None:
        """See our daemon gone, with its directories."""
        if self._watching is not None:
            self._watching.cancel()
        daemon, self._daemon, self._watching = self._daemon, None, None
        if daemon is None:
            return
        program = shutil.which(PROGRAM)
        if program is not None and not daemon.gone.done():
            await _tell(program, "quit", self._ours())
            await asyncio.wait({daemon.gone}, timeout=QUIT_MAX_S)
        await daemon.end(STOP_MAX_S)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _hear(self, line: str) -> None:
        if line:
            self._said.append(line)

    def _cause(self) -> str:
        return f": {self._said[-1]}" if self._said else ""


def _place(folder: Path) -> Path:
    """Give this process's directory: there, or where paths are short enough for sockets."""
    own = folder / str(os.getpid())
    if len(os.fsencode(own / "pipe")) <= PATH_MAX_BYTES:
        return own
    return _temporary() / f"baseload-mps-{os.getuid()}" / str(os.getpid())


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


async def _sweep(program: str, folder: Path) -> None:
    """End the daemons of processes that died without ending theirs; each has its pid as name."""
    for left in await asyncio.to_thread(lambda: [*folder.glob("[0-9]*")]):
        if left.name.isdigit() and not _is_alive(int(left.name)):
            await _tell(program, "quit", {PIPES: str(left / "pipe")})
            await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _answers(program: str, places: Mapping[str, str]) -> bool:
    """Tell whether a daemon answers there."""
    return await _tell(program, "get_server_list", places)


async def _tell(program: str, order: str, places: Mapping[str, str]) -> bool:
    """Give a daemon an order, and tell whether it took it, within ASK_MAX_S."""
    process = await asyncio.create_subprocess_exec(
        program, env=os.environ | places, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(ASK_MAX_S):
            await process.communicate(f"{order}\n".encode())
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
    return process.returncode == 0
