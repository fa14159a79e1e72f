"""Is any call lost when an engine is killed under load, with another behind it?

Baseload starts two vLLM engines on one GPU. Callers stream from both; one engine's processes are
killed (SIGKILL, all at once). Every call must end whole, with all its tokens; the engine must be
started again, once its memory is free, and take calls again.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client import Ask, calls_of
from figures import figures, steady
from models import write
from part_warmup import engine
from servers import Server, baseload, get_json

CALLERS = 64
ANSWER = 128
KILL_S, SECONDS = 12.0, 110.0


def measure(folder: Path, *, is_quick: bool) -> Iterator[dict[str, Any]]:
    """Measure it."""
    seconds = SECONDS / 2 if is_quick else SECONDS
    model = write(folder / "qwen7b")
    part = {"gpu_memory": 0.42, "slots": 128, "gpus": [0]}
    fleet = {
        "backends": {name: engine(model, **part) for name in ("a", "b")},
        "models": {
            "m": {"tiers": [{name: {"model": model.name, "weights": "w"} for name in ("a", "b")}]}
        },
    }
    with baseload(fleet, folder) as gateway:
        _until_both(gateway)
        calls_of([Ask(gateway.url, calls=1, answer=16)] * CALLERS)
        notes: dict[str, Any] = {}
        killer = threading.Thread(target=_kill, args=(gateway, notes, seconds))
        began = time.monotonic()
        killer.start()
        calls = calls_of([Ask(gateway.url, seconds=seconds, answer=ANSWER)] * CALLERS)
        killer.join()
        status = get_json(f"{gateway.admin}/api/v1/status")
    killed = began + KILL_S
    short = [call.tokens for call in calls if not call.error and call.tokens != ANSWER]
    touched = [call for call in calls if call.sent < killed < call.ended]
    yield {
        "model": "R1-Distill-Qwen-7B, dummy weights, BF16, two engines on one GPU",
        "callers": CALLERS,
        "calls": len(calls),
        "lost": sum(bool(call.error) for call in calls),
        "in_flight_at_kill": len(touched),
        "tokens_not_as_asked": short[:20],
        "longest_call_s": round(max(call.ended - call.sent for call in touched), 2),
        "before": steady(calls, began + 2, killed),
        "after_kill": steady(calls, killed, min(killed + 10, began + seconds)),
        "all": figures(calls),
        "engines": [backend["engine"] for backend in status["backends"]],
    } | notes


def _until_both(gateway: Server) -> None:
    ends = time.monotonic() + 240
    while time.monotonic() < ends:
        states = [b["state"] for b in get_json(f"{gateway.admin}/api/v1/status")["backends"]]
        if states == ["up", "up"]:
            return
        time.sleep(0.2)
    raise RuntimeError("the engines did not come up: " + gateway.log.read_text()[-3000:])


def _kill(gateway: Server, notes: dict[str, Any], seconds: float) -> None:
    time.sleep(KILL_S)
    leader = _leaders(gateway.process.pid)[0]
    os.killpg(leader, signal.SIGKILL)
    killed = time.monotonic()
    notes["back_after_s"] = None
    was_down = False
    while time.monotonic() - killed < seconds - KILL_S:
        state = get_json(f"{gateway.admin}/api/v1/status")["backends"][0]
        was_down = was_down or state["state"] == "down"
        if was_down and state["state"] == "up":
            notes["back_after_s"] = round(time.monotonic() - killed, 1)
            return
        time.sleep(0.2)


def _leaders(pid: int) -> list[int]:
    """List the engines' sessions: children of Baseload that lead a group of their own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[2]) == int(entry.name) and int(words[1]) == pid:
                found.append(int(entry.name))
    return sorted(found)
