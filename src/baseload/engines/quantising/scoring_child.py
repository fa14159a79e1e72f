"""What runs in the child that measures accuracy: one model reads one text, and does the tasks.

Started as `python -m baseload.engines.quantising.scoring_child`. Each line that it prints is one
object of JSON: what a window's tokens cost, how probable a task's options are, or the fault that
ended it. It ends when its standard input closes: its parent is gone then.
"""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import msgspec

from baseload.engines.cores import usable_cores
from baseload.engines.quantising.llamacpp import Reader
from baseload.engines.quantising.tasks import WINDOW_TOKENS, read_tasks, read_text
from baseload.errors import BaseloadError, EngineError


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, do, and print; exits with 1 after a fault."""
    parser = argparse.ArgumentParser(prog="baseload.engines.quantising.scoring_child")
    for name in ("model", "text", "tasks"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args(arguments)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        _measure(options.model, Path(options.text), Path(options.tasks))
    except BaseloadError as error:
        _say(fault=str(error))
        os._exit(1)
    os._exit(0)  # llama.cpp's own end takes its time, and there is nothing to save.


def _measure(model: str, text: Path, tasks: Path) -> None:
    reader = Reader(model, usable_cores())
    tokens = reader.tokens(read_text(text))
    window = WINDOW_TOKENS - len(reader.start)
    for at in range(0, len(tokens), window):
        part = tokens[at : at + window]
        if len(part) + len(reader.start) > 1:
            losses = reader.losses(part)
            if not all(map(isfinite, losses)):
                raise EngineError("it gives probabilities that are no numbers")
            _say(losses=losses, read=min(1.0, (at + window) / len(tokens)))
    every = read_tasks(tasks)
    for done, task in enumerate(every, 1):
        _say(logs=reader.choose(task.question, task.options), done=done / len(every))


def _say(**said: object) -> None:
    os.write(sys.stdout.fileno(), msgspec.json.encode(said) + b"\n")


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
