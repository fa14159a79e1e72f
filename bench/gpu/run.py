"""Measure Baseload's engines on a GPU, one part at a time; needs no network.

    python bench/gpu/run.py PART [--out FOLDER] [--quick] [--only NAME,...] [--gguf MODEL]
                                 [--engine vllm|sglang]

Parts: serve (in front of an engine against it alone), adaptive (the learnt batch against fixed
ones), precision (speed in FP32, BF16, FP8, INT8), accuracy (what a real model loses in INT8 and
FP8), warmup (first tokens with and without), kill (an engine dies under load). Each takes under
eight minutes. Results are JSON, one file a part; README.md says what each proves. What was found
so far is written after each step.
"""

import argparse
import importlib.util
import json
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "src")]
ENGINES = ("vllm", "sglang")
WITH_ENGINE = ("serve", "warmup")
ONLY = ("serve", "precision", "accuracy")
PARTS = ("serve", "adaptive", "precision", "accuracy", "warmup", "kill")


def facts() -> dict[str, Any]:
    """Say on what this was measured."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    from watching import gpu_facts  # noqa: PLC0415

    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
    } | gpu_facts()
    for name in (*ENGINES, "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> int:
    """Run one part, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--quick", action="store_true", help="fewer rounds: does it run at all?")
    parser.add_argument("--only", default="", help="of serve: levels; of others: names; with ,")
    parser.add_argument("--gguf", default="", help="of accuracy: a file, not the installed model")
    parser.add_argument("--engine", choices=ENGINES, default="vllm", help="of serve and warmup")
    options = parser.parse_args()
    is_accuracy = options.part == "accuracy"
    if options.only and options.part not in ONLY:
        parser.error(f"--only is for {', '.join(ONLY)}")
    if options.gguf and not is_accuracy:
        parser.error("--gguf is for accuracy")
    is_other = options.engine != "vllm"
    if is_other and options.part not in WITH_ENGINE:
        parser.error(f"--engine is for {', '.join(WITH_ENGINE)}")
    for name in (options.engine, "tokenizers", "httptools", *(("gguf",) if is_accuracy else ())):
        if importlib.util.find_spec(name) is None:
            parser.error(f"not measured: this Python has no {name}")
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers are ended on the way out
    name = "_".join(["gpu", options.part, *([options.engine] if is_other else [])])
    file, began = options.out / f"{name}.json", time.monotonic()
    result: dict[str, Any] = {"part": options.part, "machine": facts()}
    with tempfile.TemporaryDirectory(prefix="baseload-gpu-") as folder:
        part = importlib.import_module(f"part_{options.part}")
        more: dict[str, Any] = {"only": tuple(options.only.split(","))} if options.only else {}
        more |= {"gguf": options.gguf} if options.gguf else {}
        more |= {"kind": options.engine} if options.part in WITH_ENGINE else {}
        for found in part.measure(Path(folder), is_quick=options.quick, **more):
            result |= found | {"took_s": round(time.monotonic() - began, 1)}
            file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{file}: {result['took_s']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
