"""The bad week in ten minutes, over real sockets: two doubles that fail, Baseload, and callers.

    python bench/live.py double PORT SEED SECONDS BEGIN

A double is a process that speaks OpenAI's API as a backend would, and says words that follow from
the request alone, so that a caller can check every character of an answer, also of one that was
begun by one double and ended by the other. It fails half a per cent of calls (refused with a 500,
cut off, or fallen silent), and goes dark now and then: connections refused, reset, or never
answered.

What it does not prove: anything about models, TLS or real networks, or about long outages.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

TOKEN_S = 0.02
FIRST_TOKEN_S = 0.1
WORDS = 80
ERRORS, CUTS, STALLS = 0.002, 0.0015, 0.0015
DARK_S = 10.0
DARK_EVERY_S = 300.0
"""The same part of the time as a minute in every half hour."""
CALL_S_MAX = 60.0
START_S_MAX = 20.0
STOP_S_MAX = 15.0
BODY_MAX = 1 << 20

FLEET = """\
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
state_dir: {state}
store: {{ledger: "sqlite:///{state}/ledger.db"}}
backends:
  a: {{url: "http://127.0.0.1:{a}/v1", prefill: continue_final_message, concurrency: 64}}
  b: {{url: "http://127.0.0.1:{b}/v1", prefill: continue_final_message, concurrency: 64}}
models:
  m:
    tiers:
      - a: {{model: m, weights: w}}
        b: {{model: m, weights: w}}
    first_token_s: 3
    stall_s: 3
    total_s: 60
"""


def text_of(seed: str, words: int) -> str:
    """Give the answer to a question: so many words, which only the seed decides."""
    rng = Random(seed)
    return " ".join(f"{rng.randrange(16**4):04x}" for _ in range(words))


# -- the double ------------------------------------------------------------------------------


class Double:
    """One backend. `dark` is how it is dark now, or empty."""

    def __init__(self, port: int, seed: int) -> None:
        self.dark = ""
        self._port = port
        self._rng = Random(seed)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._light = asyncio.Event()

    async def run(self, seconds: float, begin: float) -> None:
        """Serve, and go dark `begin` seconds from now and every few minutes after."""
        await self._listen()
        ways, started = ["hangs", "refuses", "resets"], time.monotonic()
        for number, when in enumerate(_moments(begin, seconds)):
            await asyncio.sleep(max(started + when - time.monotonic(), 0.0))
            await self._go_dark(ways[number % len(ways)])
            await asyncio.sleep(DARK_S)
            await self._come_back()
        await asyncio.Event().wait()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _go_dark(self, way: str) -> None:
        self.dark = way
        if way == "refuses" and self._server is not None:
            self._server.close()
        if way != "hangs":
            for writer in list(self._writers):
                writer.transport.abort()

    async def _come_back(self) -> None:
        if self.dark == "refuses":
            await self._listen()
        for writer in list(self._writers):
            writer.transport.abort()  # What met the dark stays lost.
        self.dark = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while not self.dark or self.dark == "hangs":
                head = await reader.readuntil(b"\r\n\r\n")
                length = _content_length(head)
                body = await reader.readexactly(length) if length else b""
                await self._answer(head, body, writer)
        except (OSError, asyncio.IncompleteReadError, _CutError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        await self._meet_the_dark()
        if not head.startswith(b"POST /v1/chat/completions"):
            _say(writer, 200, b'{"object":"list","data":[{"id":"m","object":"model"}]}')
            return
        request = json.loads(body)
        mark = self._rng.random()
        if mark < ERRORS:
            _say(writer, 500, b'{"error":{"message":"a fault of the double"}}')
            return
        fate = "cut" if mark < ERRORS + CUTS else ""
        fate = "stall" if not fate and mark < ERRORS + CUTS + STALLS else fate
        messages = request["messages"]
        is_continued = messages[-1]["role"] == "assistant"
        question = messages[-2] if is_continued else messages[-1]
        words, seed = question["content"].split()
        whole = text_of(seed, int(words))
        said = messages[-1]["content"] if is_continued else ""
        if not whole.startswith(said):
            _say(writer, 400, b'{"error":{"message":"that is not how my answer begins"}}')
            return
        await asyncio.sleep(FIRST_TOKEN_S)
        await self._stream(writer, whole[len(said) :], fate, request)

    async def _stream(
        self, writer: asyncio.StreamWriter, text: str, fate: str, request: dict[str, Any]
    ) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        end = self._rng.randrange(len(pieces)) if fate and pieces else len(pieces)
        _event(writer, _chunk({"role": "assistant", "content": ""}))
        for piece in pieces[:end]:
            await self._meet_the_dark()
            _event(writer, _chunk({"content": piece}))
            await writer.drain()
            await asyncio.sleep(TOKEN_S)
        if fate == "cut":
            raise _CutError
        if fate == "stall":
            await asyncio.Event().wait()
        _event(writer, _chunk({}, "stop"))
        if (request.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 9, "completion_tokens": end, "total_tokens": 9 + end}
            _event(writer, {**_chunk({}), "choices": [], "usage": usage})
        _event(writer, None)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _meet_the_dark(self) -> None:
        if self.dark == "hangs":
            await asyncio.Event().wait()  # Until the connection is aborted, and the task with it.
        if self.dark:
            raise _CutError


class _CutError(Exception):
    """The double hangs up."""


def _moments(begin: float, seconds: float) -> Iterator[float]:
    while begin < seconds - DARK_S:
        yield begin
        begin += DARK_EVERY_S


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
            assert length <= BODY_MAX
            return length
    return 0


def _say(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }


def _event(writer: asyncio.StreamWriter, chunk: dict[str, Any] | None) -> None:
    data = b"data: " + (json.dumps(chunk).encode() if chunk else b"[DONE]") + b"\n\n"
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


# -- the callers -----------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of the calls; `ends` says of each that failed on what."""

    calls: int = 0
    whole: int = 0
    resumed: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


async def _call(port: int, number: int, tally: Tally) -> None:
    """Make one call, and check every character of its answer."""
    tally.calls += 1
    seed, begun = f"s{number}", time.monotonic()
    is_stream = number % 5 != 0
    try:
        async with asyncio.timeout(CALL_S_MAX):
            status, raw = await _ask(port, seed, is_stream)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        tally.ends[type(error).__name__] += 1
        return
    took_s = time.monotonic() - begun
    tally.seconds.append(took_s)
    if status != 200:
        tally.ends[f"status {status} after {took_s:.0f} s"] += 1
        return
    tally.resumed += b": baseload: resumed" in raw
    text, why = _read_stream(raw) if is_stream else _read_whole(raw)
    if not why and text != text_of(seed, WORDS):
        why = "another text"
    if why:
        tally.ends[why] += 1
    else:
        tally.whole += 1


async def _ask(port: int, seed: str, is_stream: bool) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        message = {"role": "user", "content": f"{WORDS} {seed}"}
        body = json.dumps({"model": "m", "stream": is_stream, "messages": [message]}).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        raw = await reader.read(-1)
    finally:
        writer.transport.abort()
    head, _, rest = raw.partition(b"\r\n\r\n")
    is_chunked = b"transfer-encoding: chunked" in head.lower()
    return int(head.split(b" ", 2)[1] or 0) if head else 0, _unchunk(rest) if is_chunked else rest


def _unchunk(raw: bytes) -> bytes:
    out = []
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        out.append(raw[:length])
        raw = raw[length + 2 :]
    return b"".join(out)


def _read_stream(raw: bytes) -> tuple[str, str]:
    """Give a stream's text, and why it is not a whole answer."""
    text, is_finished, is_done = [], False, False
    for event in raw.decode().split("\n\n"):
        if event == "data: [DONE]":
            is_done = True
        elif event.startswith("data: "):
            chunk = json.loads(event[6:])
            if "error" in chunk:
                return "", f"error event: {chunk['error'].get('code')}"
            for choice in chunk["choices"]:
                text.append(choice["delta"].get("content") or "")
                is_finished |= choice["finish_reason"] == "stop"
    return "".join(text), "" if is_finished and is_done else "truncated"


def _read_whole(raw: bytes) -> tuple[str, str]:
    choice = json.loads(raw)["choices"][0]
    is_finished = choice["finish_reason"] == "stop"
    return choice["message"]["content"], "" if is_finished else "truncated"


async def _pour(port: int, seconds: float, per_s: float, tally: Tally) -> None:
    rng, until = Random(1), time.monotonic() + seconds
    async with asyncio.TaskGroup() as calls:
        number = 0
        while time.monotonic() < until:
            number += 1
            calls.create_task(_call(port, number, tally))
            await asyncio.sleep(rng.expovariate(per_s))


# -- the run ---------------------------------------------------------------------------------


def run(seconds: float, per_s: float) -> Tally:
    """Start two doubles and Baseload, call for so long, end them, and give what became of it."""
    ports = {name: _free_port() for name in ("listen", "admin", "a", "b")}
    tally = Tally()
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as started:
        fleet = Path(place) / "baseload.yaml"
        fleet.write_text(FLEET.format(state=place, **ports))
        for number, name in enumerate("ab"):
            begin = DARK_EVERY_S * (0.25 + 0.5 * number)
            words = [str(word) for word in (ports[name], number, seconds, begin)]
            started.enter_context(_started([sys.executable, __file__, "double", *words], place))
        gateway = [sys.executable, "-m", "baseload", "up", "-c", str(fleet)]
        started.enter_context(_started(gateway, place))
        for port in ports.values():
            _wait_for(port)
        asyncio.run(_pour(ports["listen"], seconds, per_s, tally))
    return tally


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextlib.contextmanager
def _started(command: list[str], place: str) -> Iterator[None]:
    with (Path(place) / "out.txt").open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def main() -> None:
    """Be a double, until ended."""
    port, seed, seconds, begin = sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(Double(int(port), int(seed)).run(float(seconds), float(begin)))


if __name__ == "__main__":
    main()
