"""The load: compiles the two C programs, writes the requests, runs the generator.

The requests are whole HTTP messages in files. What the backend is to do stands in the prompt
(`chunks=150 rate=50`), since that is the one text that every proxy hands on untouched.
"""

import json
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import BenchError

MODEL = "mock-model"
SOURCES = Path(__file__).parent / "wire"
PROMPT_CHARACTERS = 65_000
STOP_WAIT_S = 5.0
LOAD_WAIT_S = 300.0


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compile_programs(scratch: Path) -> None:
    """Build backend and load generator into the scratch folder, unless they are up to date."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    for name in ("backend", "load"):
        target, sources = scratch / name, [SOURCES / f"{name}.c", SOURCES / "wire.h"]
        if target.exists() and all(
            target.stat().st_mtime > source.stat().st_mtime for source in sources
        ):
            continue
        if compiler is None:
            raise BenchError("a C compiler is needed (Debian package gcc): no cc, gcc or clang")
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", str(target), str(sources[0])],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BenchError(f"{name}.c does not compile:\n{done.stderr}")


def body(prompt: str, *, stream: bool = False) -> bytes:
    """Give a chat completion request as a client would send it."""
    messages = [
        {"role": "system", "content": "You keep the lights on."},
        {"role": "user", "content": prompt},
    ]
    value = {"model": MODEL, "stream": stream, "max_tokens": 64, "messages": messages}
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass
class Load:
    """Runs the load generator on its core, against any port of this machine."""

    scratch: Path
    core: int
    _written: set[str] = field(default_factory=set)

    def chat(self) -> str:
        """Ask for one short answer."""
        return self._request("chat", body("Which of the two reserves is started first, and why?"))

    def long_prompt(self) -> str:
        """Ask for one short answer to 65,000 characters."""
        return self._request("prompt", body("x" * PROMPT_CHARACTERS))

    def stream(self, chunks: int, rate: float) -> str:
        """Ask for a stream of `chunks` tokens, `rate` a second (0: as fast as it goes)."""
        text = f"chunks={chunks} rate={rate:g}"
        return self._request(text.replace(" ", "-"), body(text, stream=True))

    def _request(self, name: str, content: bytes) -> str:
        path = self.scratch / f"{name}.http"
        if name not in self._written:
            head = (
                "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Authorization: Bearer sk-bench\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\n\r\n"
            )
            path.write_bytes(head.encode() + content)
            self._written.add(name)
        return str(path)

    def _command(self, mode: str, arguments: dict[str, Any]) -> list[str]:
        words = [f"{key}={value}" for key, value in arguments.items()]
        return ["taskset", "-c", str(self.core), str(self.scratch / "load"), mode, *words]

    def run(self, mode: str, **arguments: Any) -> dict[str, Any]:
        """Run one load to its end and give what it measured (see wire/load.c for the words)."""
        done = subprocess.run(
            self._command(mode, arguments),
            check=False,
            capture_output=True,
            text=True,
            timeout=LOAD_WAIT_S,
        )
        if done.returncode:
            raise BenchError(f"the load generator failed: {done.stderr.strip()}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def start_idle(self, **arguments: Any) -> subprocess.Popen[str]:
        """Start the idle streams; the caller talks with it line by line."""
        return subprocess.Popen(
            self._command("idle", arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that we started, gently first."""
    process.terminate()
    try:
        process.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
