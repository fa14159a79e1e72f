"""How is a vLLM had for as long as it takes to measure it, and never any longer?

One model in one vLLM on one GPU: the first that it sees, so `CUDA_VISIBLE_DEVICES` chooses. It
listens on loopback, asks for a key that is made for this run, and its whole life is one block: when
that ends, however it ends, no process of it is left, and so none of its memory. The last lines that
it prints are told when something fails; nothing is written to the disk.

Flags and paths are those of vLLM 0.24.0, read in its own sources.
"""

import asyncio
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from baseload.engines.asking import QUOTE_MAX_CHARS, Access, Address, ask, is_healthy, version_of
from baseload.engines.child import LEASH, Child, free_port
from baseload.engines.journal import Journal
from baseload.engines.kinds.ladder import Sign
from baseload.engines.kinds.memory import GIB
from baseload.engines.kinds.serving import LOAD_BYTES_S
from baseload.engines.kinds.vllm import PROGRAM, VLLM
from baseload.errors import EngineError

MODULE = "vllm.entrypoints.openai.api_server"
"""vLLM without its command on PATH: a Python that can import it."""
NAME = "measured"
"""What the model is called while it is measured."""

MODEL_TOKENS = 640
"""Of one call: a window of 512 and its answer, or a short prompt and an answer of 128."""
AT_ONCE = 16
"""Calls that are in work together. vLLM keeps whole rows of probabilities for each of them."""
FLAGS = (
    f"--served-model-name={NAME}",
    "--host=127.0.0.1",
    "--load-format=safetensors",  # Whatever else lies in the folder: no pickle.
    "--generation-config=vllm",  # Not the model's own penalties.
    f"--max-model-len={MODEL_TOKENS}",
    f"--max-num-seqs={AT_ONCE}",
    "--gpu-memory-utilization=0.85",  # The rest is for rows of probabilities.
    "--disable-uvicorn-access-log",  # Hundreds of lines that would hide what matters.
    "--no-enable-prefix-caching",  # Speed is that of work, not of remembering.
)

LOAD_MAX_S = VLLM.ready_max_s
"""From start to readiness, beside what large weights take at LOAD_BYTES_S."""
END_MAX_S = 10.0
ANSWER_MAX_S = 600.0
ANSWER_MAX_BYTES = 64_000_000
"""The tokens of the longest text, and a hundred times what a window's probabilities are."""
LOOK_EVERY_S = 0.1
PING_MAX_S = 2.0
LINES_TOLD = 30
LINE_MAX_CHARS = 300

_WEIGHTS = re.compile(r"Model loading took (\d{1,6}(?:\.\d{1,6})?) GiB")
"""Both of vLLM's model runners say it so."""

_T = TypeVar("_T")


def program_of(said: str | None) -> tuple[str, ...] | None:
    """Give the command that starts vLLM: `said`, else what is here; None if nothing is.

    `said` is split as a shell does. Raises EngineError if it cannot be.
    """
    if said is not None:
        try:
            words = tuple(shlex.split(said))
        except ValueError as error:
            raise EngineError(f"--vllm {said!r} is no command line: {error}") from error
        if not words or shutil.which(words[0]) is None:
            raise EngineError(f"--vllm: there is no program {said!r}")
        return (*words, "serve") if Path(words[-1]).name == PROGRAM[0] else words
    if shutil.which(PROGRAM[0]) is not None:
        return PROGRAM
    if importlib.util.find_spec(PROGRAM[0]) is not None:
        return (sys.executable, "-m", MODULE)
    return None


class Log:
    """What one vLLM says: its last lines, why it ended, and what its weights take."""

    def __init__(self) -> None:
        self.journal = Journal(Path(os.devnull))
        """Of which only what it understands is wanted."""
        self.weights_bytes: int | None = None
        """On the GPU; None as long as it has not said so."""
        self._lines: deque[str] = deque(maxlen=LINES_TOLD)

    def hear(self, line: str) -> None:
        """Take one line."""
        self.journal.hear(line)
        self._lines.append(line[:LINE_MAX_CHARS])
        if self.weights_bytes is None and (found := _WEIGHTS.search(line)):
            self.weights_bytes = round(float(found[1]) * GIB)

    def told(self) -> str:
        """Give its end, to be put behind a sentence that says what is wrong."""
        return "\n".join(["", "vLLM's last lines:", *self._lines]) if self._lines else ""


class Server:
    """A vLLM that answers."""

    def __init__(self, address: Address, access: Access, log: Log, version: str) -> None:
        self.version = version
        self._address, self._access, self._log = address, access, log
        self._room = asyncio.Semaphore(AT_ONCE)

    @property
    def weights_bytes(self) -> int | None:
        """Memory that the weights take on the GPU; None if it has not told."""
        return self._log.weights_bytes

    async def ask(self, path: str, body: dict[str, object], kind: type[_T]) -> _T:
        """Post one question, AT_ONCE of them at a time.

        Raises EngineError if the answer is none of that kind.
        """
        limits = (ANSWER_MAX_S, self._access, ANSWER_MAX_BYTES)
        try:
            async with self._room:
                data = msgspec.json.encode({"model": NAME, **body})
                status, answer = await ask(self._address, path, data, *limits)
        except OSError as error:
            why = str(error) or type(error).__name__
            raise EngineError(f"vLLM does not answer {path}: {why}") from error
        quote = answer[:QUOTE_MAX_CHARS].decode(errors="replace")
        if status != 200:
            raise EngineError(f"vLLM answered {path} with {status}: {quote}")
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise EngineError(f"vLLM's answer to {path} is not as known: {error}") from error


async def together(works: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Do all of them at once; give what they give in order, or raise what the first failed with."""
    try:
        async with asyncio.TaskGroup() as group:
            doing = [group.create_task(work) for work in works]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [each.result() for each in doing]


@asynccontextmanager
async def serving(
    program: Sequence[str], model: Path, name: str, flags: Sequence[str], size_bytes: int = 0
) -> AsyncIterator[Server]:
    """Have a vLLM serve `model`, which errors call `name`, until the block ends.

    `size_bytes` of weights lengthen the wait for it. Raises EngineError if it does not come up; one
    that the block raises gets vLLM's last lines, too.
    """
    log = Log()
    port, access = free_port(), Access(api_key=secrets.token_hex(16))
    command = (*LEASH, *_command(program, model, port), *flags)
    environment = os.environ | {"VLLM_NO_USAGE_STATS": "1", "VLLM_API_KEY": access.api_key}
    try:
        child = await Child.start(command, environment, log.hear)
    except OSError as error:
        raise EngineError(f"cannot start vLLM: {error.strerror}") from error
    try:
        address = ("127.0.0.1", port)
        await _ready(child, address, name, log, LOAD_MAX_S + size_bytes / LOAD_BYTES_S)
        version = await version_of(address, "/version", PING_MAX_S, access)
        yield Server(address, access, log, version)
    except EngineError as error:
        await asyncio.wait({child.gone}, timeout=LOOK_EVERY_S)
        end = f" ({child.how_it_ended()})" if child.gone.done() else ""
        raise EngineError(f"{error}{end}{log.told()}") from error
    finally:
        await child.end(END_MAX_S)
    if child.survivors:
        raise EngineError(f"processes {child.survivors} of vLLM do not die")


def _command(program: Sequence[str], model: Path, port: int) -> list[str]:
    path = model.resolve()  # No name that could be taken for one of a hub's.
    where = str(path) if program[-1] == PROGRAM[-1] else f"--model={path}"
    return [*program, where, *FLAGS, f"--port={port}"]


async def _ready(child: Child, address: Address, name: str, log: Log, wait_max_s: float) -> None:
    clock = asyncio.get_running_loop().time
    until = clock() + wait_max_s
    while not await is_healthy(address, PING_MAX_S):
        await asyncio.wait({child.gone}, timeout=LOOK_EVERY_S)
        if child.gone.done():
            # Its last words may still be on their way through the pipe.
            await asyncio.sleep(LOOK_EVERY_S)
            memory = _memory(log.journal.sign, name)
            raise EngineError(f"vLLM did not load {name}: {log.journal.cause()}{memory}")
        if clock() > until:
            raise EngineError(f"vLLM was not ready with {name} within {wait_max_s:g} s")


def _memory(sign: Sign | None, name: str) -> str:
    """Say what to do about a lack of memory; empty if it was none."""
    if sign is None:
        return ""
    if sign.shortage == "taken":
        return "; others hold memory of this GPU: CUDA_VISIBLE_DEVICES chooses another one"
    less = "; `--reference source` needs less" if name == "fp32" else " on this GPU"
    return f"; there is too little memory{less}"
