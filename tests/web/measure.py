"""What does one update of the page cost, at a thousand requests a second?

    python -m tests.web.measure [seconds]

A real gateway with 20 backends (one static server in C stands in for all of them) is asked by the
bench's load generator for short streams, a hundred at a time, each a tenth of a second long; 200
keys have used something. A headless Chromium shows the page meanwhile. What is printed is the time
of each update, charts included, as the page itself measures it by the wall clock; and what its
thread has really spent, by the processor's clock: on scripts, on layout, on all its tasks.

What it does not prove: anything about other browsers. By the wall clock a shared machine shows more
than the page needs, whatever it needs.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import CDPSession

from baseload.config import fleet
from baseload.config.fleet import Model, Target
from tests.needs import give_up
from tests.web.browser import Watched, chromium
from tests.web.stage import Stage

WIRE = Path(__file__).parent.parent.parent / "bench" / "wire"
MODEL = "mock-model"
BACKENDS = 20
KEYS = 200
CALLERS = 100
CHUNKS, CHUNK_RATE = 6, 50
WARM_S = 5.0
SPENT = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")


@contextmanager
def busy(seconds: float) -> Iterator[tuple[Stage, "subprocess.Popen[str]"]]:
    """Give a stage under load; the load ends by itself, and then tells what it saw."""
    compiler = shutil.which("cc")
    if compiler is None:
        give_up("cc (Debian package gcc)")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for program in ("backend", "load"):
            command = [compiler, "-O2", "-o", str(scratch / program), str(WIRE / f"{program}.c")]
            subprocess.run(command, check=True)
        port = _free_port()
        backend = subprocess.Popen([str(scratch / "backend"), str(port)])
        try:
            with Stage(**_fleet(port)) as stage:
                stage.call(_spend(stage))
                load = subprocess.Popen(
                    [
                        str(scratch / "load"), "closed", f"port={stage.gateway.address[1]}",
                        f"n={CALLERS}", f"seconds={seconds:g}", "warm=0.5", f"tokens={CHUNKS}",
                        f"body={_request(scratch)}",
                    ],
                    stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                try:
                    yield stage, load
                finally:
                    load.kill()
                    load.wait()
                    assert load.stdout is not None
                    load.stdout.close()
        finally:
            backend.kill()
            backend.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fleet(port: int) -> dict[str, object]:
    names = [f"backend-{number:02}" for number in range(BACKENDS)]
    tier = {name: Target(backend=name, model=MODEL) for name in names}
    return {
        "backends": {
            name: fleet.Backend(name=name, url=f"http://127.0.0.1:{port}/v1", probe_s=0.0)
            for name in names
        },
        "models": {MODEL: Model(name=MODEL, tiers=(tier,))},
        "prices": (),
    }


def _request(scratch: Path) -> Path:
    words = f"chunks={CHUNKS} rate={CHUNK_RATE}"
    value = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": words}]}
    body = json.dumps(value, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer key-0\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    path = scratch / "chat.http"
    path.write_bytes(head.encode() + body)
    return path


async def _spend(stage: Stage) -> None:
    """Let keys use something all the time, so that their table moves."""

    async def go_on() -> None:
        while not stage.is_over():
            for number in range(KEYS):
                stage.gateway.books.spending.add(f"key-{number}", 900, 300, number, 0.001)
            await asyncio.sleep(0.5)

    stage.keep(asyncio.create_task(go_on()))


def main() -> None:
    """Measure, and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with busy(seconds + WARM_S) as (stage, load), chromium() as browser:
        watched = Watched(browser, stage.url, 1440)
        page = watched.page
        clock = page.context.new_cdp_session(page)
        clock.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.wait_for_timeout(1000 * WARM_S)
        page.evaluate("performance.clearMeasures('update')")
        before = _durations(clock)
        page.wait_for_timeout(1000 * seconds)
        after = _durations(clock)
        times = page.evaluate("performance.getEntriesByName('update').map(it => it.duration)")
        saw = json.loads(load.communicate()[0])
        state = stage.call(_state(stage))
        say = sys.stdout.write
        say(
            f"load: {saw['window_answers'] / saw['window_s']:.0f} answers/s, errors {saw['errors']}\n"
        )
        say(
            f"shown: {watched.text('.chart .legend dd')} requests/s, {len(state.backends)} backends, "
        )
        say(f"{len(state.keys)} keys; wrong: {watched.wrongs()}\n")
        say(
            f"{len(times)} updates in {seconds:g} s, ms of wall time each: median {median(times):.1f}"
        )
        say(f", p90 {quantiles(times, n=10)[-1]:.1f}, worst {max(times):.1f}\n")
        for name in after:
            cost_ms = 1000 * (after[name] - before[name]) / len(times)
            say(f"{name}: {cost_ms:.1f} ms of processor time for each update\n")


def _durations(clock: CDPSession) -> dict[str, float]:
    """Give what the page's thread has spent so far, in seconds of processor time."""
    found = {
        item["name"]: item["value"] for item in clock.send("Performance.getMetrics")["metrics"]
    }
    return {name: found[name] for name in SPENT}


async def _state(stage: Stage) -> object:
    return stage.view.take().state


if __name__ == "__main__":
    main()
