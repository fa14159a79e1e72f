"""What does a real model lose in INT8 and in FP8, as vLLM runs it?

SmolLM2-135M, made from the GGUF that ships with us, goes through `baseload quantize` as a user
would have it: vLLM serves it in each precision, reads the text and does the tasks, and the gate
decides. INT8 is held against FP32 and BF16, FP8 against the BF16 that it is rounded from. A refusal
is a result like another; what fails tells its last words. Losses are this model's and no other's,
and its speeds say little: `precision` measures those.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from real_model import write
from servers import ENVIRONMENT, PROGRAM

from baseload.engines.weights import find_weights
from baseload.errors import BaseloadError

MODEL = "smollm2-135m-instruct"
REFERENCES = {"int8": "fp32", "fp8": "source"}
"""Precisions that are tried, and what each is compared with: three starts of vLLM, and two."""
TOTAL_MAX_S = 450.0
"""Of all runs. With the time to end the last one it is under eight minutes."""
END_MAX_S = 20.0
WORDS_MAX = 4000
"""Characters of a failed run's last words."""


def measure(
    folder: Path, *, is_quick: bool, only: tuple[str, ...] = (), gguf: str = MODEL
) -> Iterator[dict[str, Any]]:
    """Measure it; `only` these precisions, of the llama model in `gguf`."""
    if unknown := set(only) - REFERENCES.keys():
        sys.exit(f"not measured: --only knows {', '.join(REFERENCES)}, not {min(unknown)}")
    ends, runs = time.monotonic() + TOTAL_MAX_S, []
    try:
        source = find_weights(gguf)
        model = write(folder / f"{source.stem}-bf16", source)
    except (BaseloadError, ValueError) as error:
        sys.exit(f"not measured: {error}")
    for precision in only or REFERENCES:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            run = {"to": precision, "error": f"not run: {TOTAL_MAX_S:.0f} s are over"}
        else:
            run = _run(model, precision, left_s, ["--rounds", "1"] if is_quick else [])
        print({name: run.get(name) for name in ("to", "exit_code", "took_s")}, flush=True)
        runs.append(run)
        yield {"model": f"{source.name}, its weights in BF16", "runs": runs}


def _run(model: Path, precision: str, max_s: float, more: list[str]) -> dict[str, Any]:
    result, page = (model.parent / f"{model.name}-{precision}{end}" for end in ("", ".md"))
    command = [
        sys.executable, "-m", "baseload", "quantize", str(model), "--to", precision,
        "--reference", REFERENCES[precision], "--vllm", shlex.join(PROGRAM),
        "--json", "--report", str(page), *more,
    ]  # fmt: skip
    if precision == "int8":  # FP8 has no file: vLLM rounds while it loads.
        command += ["--out", str(result)]
    began = time.monotonic()
    code, told, words = _finished(command, model.parent / precision, max_s)
    found = {"to": precision, "exit_code": code, "took_s": round(time.monotonic() - began, 1)}
    try:
        report = json.loads(told)
    except ValueError:
        return found | {"error": f"{words}\n{told}"[-WORDS_MAX:]}
    for variant in report.get("variants", ()):
        (variant.get("speed") or {}).pop("rounds", None)
    if page.is_file():
        found["page"] = page.read_text(encoding="utf-8").splitlines()
    return found | {"report": report} | ({} if code in {0, 1} else {"error": words[-WORDS_MAX:]})


def _finished(command: list[str], said: Path, max_s: float) -> tuple[int | None, str, str]:
    """Run a command; give its exit code (None: out of time), and what it printed.

    Files take what it prints: an engine that is still ending would keep a pipe open. Out of time it
    is interrupted as a person would do it, so that it can end its engine and clear up.
    """
    files = [said.with_suffix(end) for end in (".out", ".err")]
    with files[0].open("wb") as out, files[1].open("wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True, env=os.environ | ENVIRONMENT,
        )  # fmt: skip
        code: int | None = None
        try:
            code = process.wait(max_s)
        except subprocess.TimeoutExpired:
            err.write(f"\nnot done after {max_s:.0f} s, so it was ended".encode())
        finally:
            _end(process)
    told, words = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return code, told, words


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, wait_s in ((signal.SIGINT, END_MAX_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
