"""The servers under test: an engine alone, and Baseload in front of it or as who starts it.

Each gets cores of its own, so that neither pays for the other. What they print goes to files beside
the results; the end of one is told when it does not come up.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baseload.engines.child import free_port
from baseload.engines.kinds.sglang import grpc_port
from baseload.engines.quantising.vllm.server import MODULE

READY_S_MAX = 240.0
STOP_S_MAX = 20.0
ENVIRONMENT = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
PROGRAM = (sys.executable, "-m", MODULE)
"""vLLM without its command on PATH."""
SGLANG = (sys.executable, "-m", "sglang.launch_server")
DUMMY = ("--load-format=dummy",)
ARGUMENTS = {"vllm": DUMMY, "sglang": (*DUMMY, "--sampling-backend=pytorch")}
"""No weights; and kernels for sampling that need not be compiled by FlashInfer."""
PROGRAMS = {"vllm": PROGRAM, "sglang": SGLANG}


def cores(part: str) -> list[int]:
    """Share out the cores: most to the engine, one to the gateway, the rest to callers."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 8:
        return allowed
    return {"engine": allowed[:-6], "gateway": allowed[-6:-4], "callers": allowed[-4:]}[part]


@dataclass
class Server:
    """A server that runs: where, and since when."""

    url: str
    process: subprocess.Popen[bytes]
    ready_s: float
    log: Path
    admin: str = ""

    @property
    def root(self) -> str:
        """Its address without `/v1`."""
        return self.url.removesuffix("/v1")


@contextlib.contextmanager
def running(command: list[str], url: str, ready: str, part: str, log: Path, **more: str
            ) -> Iterator[Server]:  # fmt: skip
    """Run a server until the block ends; begin when it says that it is ready."""
    began = time.monotonic()
    pinned = ["taskset", "-c", ",".join(map(str, cores(part))), *command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            pinned, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | ENVIRONMENT | more,
        )  # fmt: skip
    try:
        _until_ready(process, ready, log)
        yield Server(url, process, time.monotonic() - began, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_ready(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    ends = time.monotonic() + READY_S_MAX
    while not answers(ready):
        if process.poll() is not None or time.monotonic() > ends:
            end = log.read_text(errors="replace").splitlines()[-40:]
            raise RuntimeError(f"{log.name} did not come up:\n" + "\n".join(end))
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Say whether a GET is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def get_json(url: str) -> Any:
    """Give what a URL answers."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def vllm(model: Path, out: Path, *arguments: str, name: str = "vllm") -> Any:
    """Run vLLM on a folder without weights."""
    port = free_port()
    command = [
        *PROGRAM, "--model", str(model), "--served-model-name", "m", "--load-format", "dummy",
        "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "4096",
        "--max-num-seqs", "256", "--gpu-memory-utilization", "0.85", *arguments,
    ]  # fmt: skip
    root = f"http://127.0.0.1:{port}"
    return running(command, f"{root}/v1", f"{root}/health", "engine", out / f"{name}.log")


def sglang(model: Path, out: Path) -> Any:
    """Run SGLang on a folder without weights."""
    port = free_port()
    command = [
        *SGLANG, f"--model-path={model}", "--served-model-name=m", *ARGUMENTS["sglang"],
        "--host=127.0.0.1", f"--port={port}", "--context-length=4096",
        "--max-running-requests=256", "--mem-fraction-static=0.85",
    ]  # fmt: skip
    root = f"http://127.0.0.1:{port}"
    log = out / "sglang.log"
    return running(command, f"{root}/v1", f"{root}/health", "engine", log, **grpc_port(port))


ENGINES = {"vllm": vllm, "sglang": sglang}


@contextlib.contextmanager
def baseload(fleet: dict[str, Any], out: Path, name: str = "baseload") -> Iterator[Server]:
    """Run Baseload on a fleet; its addresses are filled in. Engines of its own get their cores."""
    listen, admin = free_port(), free_port()
    fleet = {
        "listen": f"127.0.0.1:{listen}", "admin": f"127.0.0.1:{admin}",
        "state_dir": str(out / f"{name}-state"),
        "store": {"ledger": f"sqlite:///{out}/{name}.db"},
    } | fleet  # fmt: skip
    file = out / f"{name}.json"
    file.write_text(json.dumps(fleet, indent=1))  # JSON is YAML
    command = [sys.executable, "-m", "baseload", "up", "-c", str(file)]
    url, root = f"http://127.0.0.1:{listen}/v1", f"http://127.0.0.1:{admin}"
    has_engine = any("url" not in each for each in fleet["backends"].values())
    part = "engine" if has_engine else "gateway"
    with running(command, url, f"{root}/readyz", part, out / f"{name}.log") as server:
        server.admin = root
        yield server
