"""Which text and which tasks is a model measured by?

Both ship with the project and were written for it, so that they are nobody's benchmark: no model
was chosen or trained by them. A task is a question with a few options, of which the first is right;
the model is not asked to choose, but how probable it finds each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from baseload.errors import EngineError

TEXT = Path(__file__).parent / "yardstick" / "text.txt"
TASKS = Path(__file__).parent / "yardstick" / "tasks.json"

WINDOW_TOKENS = 512
"""Tokens that are read in one go: the context that llama.cpp makes unless told otherwise."""

TEXT_BYTES_MAX = 4_000_000
"""A million tokens, hours on a processor: 200 times the text that ships, which decides on 1 %."""


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, and how it may go on; the first option is right."""

    question: Annotated[str, Meta(min_length=1, max_length=1000)]
    options: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...],
        Meta(min_length=2, max_length=8),
    ]


Tasks = Annotated[list[Task], Meta(min_length=1, max_length=10_000)]


def read_tasks(path: Path = TASKS) -> list[Task]:
    """Read a file of tasks; raises EngineError if it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tasks)
    except (OSError, msgspec.DecodeError) as error:
        raise EngineError(f"the tasks in {path} cannot be read: {error}") from error


def read_text(path: Path = TEXT) -> str:
    """Read a text; raises EngineError if it is none, is empty, or is too long."""
    try:
        with path.open("rb") as file:
            data = file.read(TEXT_BYTES_MAX + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"the text in {path} cannot be read: {error}") from error
    if not text.strip() or len(data) > TEXT_BYTES_MAX:
        raise EngineError(f"the text in {path} must have 1 to {TEXT_BYTES_MAX:,} bytes")
    return text


def is_right(task: Task, logs: Sequence[float]) -> bool:
    """Tell whether the first option is the most probable one, for its length.

    Longer options are less probable whatever they say, so each is weighed by its bytes.
    """
    weighed = [log / len(text.encode()) for log, text in zip(logs, task.options, strict=True)]
    return all(weighed[0] > other for other in weighed[1:])
