"""What does a model that vLLM serves give each token of a text, and which tasks does it get right?

vLLM tells the log-probability of each token of a prompt (`prompt_logprobs`, an extra of its
`/v1/completions`), so a window of the text takes one call. Windows, tasks and what stands before
each text are those of `scoring_child`, so that figures mean the same as llama.cpp's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import msgspec

from baseload.engines.quantising.scoring import Score
from baseload.engines.quantising.tasks import WINDOW_TOKENS, Task, is_right
from baseload.engines.quantising.vllm.server import Server, together
from baseload.errors import EngineError

LOGPROB_MIN = -9999.0
"""What vLLM says in place of minus infinity, which JSON has no word for."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Tokens to be read, and from which place on they count."""

    tokens: tuple[int, ...]
    counts_from: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Text and tasks as a model's tokens."""

    windows: tuple[Passage, ...]
    options: tuple[Passage, ...]
    """Of all tasks, one after the other: the question and one way to go on."""


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Told(msgspec.Struct):
    logprob: float | None = None


class _Choice(msgspec.Struct):
    prompt_logprobs: list[dict[str, _Told] | None] | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]


async def cut(server: Server, text: str, tasks: Sequence[Task]) -> Cut:
    """Have vLLM cut text and tasks into tokens. Raises EngineError if it cannot."""
    start = await _start(server)
    tokens = await _tokens(server, text)
    size = WINDOW_TOKENS - len(start)
    parts = (tokens[at : at + size] for at in range(0, len(tokens), size))
    # Without anything before it, nothing tells how probable a text's first token is.
    windows = [Passage((*start, *part), 1) for part in parts if len(part) + len(start) > 1]
    questions = await together([_tokens(server, task.question) for task in tasks])
    ways = await together([_tokens(server, option) for task in tasks for option in task.options])
    asked = [
        (*start, *question)
        for task, question in zip(tasks, questions, strict=True)
        for _ in task.options
    ]
    options = [Passage((*q, *way), len(q)) for q, way in zip(asked, ways, strict=True)]
    if not windows or not all(0 < each.counts_from < len(each.tokens) for each in options):
        raise EngineError("the text or a task has no tokens")
    return Cut(tuple(windows), tuple(options))


async def score(
    server: Server, whole: Cut, tasks: Sequence[Task], on_part: Callable[[float], None]
) -> Score:
    """Have the model read everything; `on_part` hears which part of it is done.

    Raises EngineError if vLLM does not tell what is needed.
    """
    every, done = [*whole.windows, *whole.options], 0

    async def read(passage: Passage) -> list[float]:
        nonlocal done
        logs = await _logs(server, passage)
        done += 1
        on_part(done / len(every))
        return logs

    found = await together([read(passage) for passage in every])
    losses = tuple(-log for logs in found[: len(whole.windows)] for log in logs)
    sums = iter([sum(logs) for logs in found[len(whole.windows) :]])
    right = [is_right(task, [next(sums) for _ in task.options]) for task in tasks]
    return Score(losses, tuple(right))


async def _logs(server: Server, passage: Passage) -> list[float]:
    """Give the log-probability of each token that counts."""
    body = {"prompt": passage.tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    answer = await server.ask("/v1/completions", body, _Answer)
    told = answer.choices[0].prompt_logprobs if answer.choices else None
    if told is None or len(told) != len(passage.tokens):
        many = "none" if told is None else len(told)
        raise EngineError(
            f"of {len(passage.tokens)} tokens vLLM told the probability of {many}: this version "
            "does not answer `prompt_logprobs` as 0.24 does"
        )
    return [
        _log(told[place], passage.tokens[place])
        for place in range(passage.counts_from, len(passage.tokens))
    ]


def _log(told: dict[str, _Told] | None, token: int) -> float:
    found = (told or {}).get(str(token))
    if found is None:
        raise EngineError(f"vLLM did not tell how probable token {token} is, but others")
    if found.logprob is None or not isfinite(found.logprob) or found.logprob <= LOGPROB_MIN:
        raise EngineError("it gives probabilities that are no numbers")
    return found.logprob


async def _start(server: Server) -> tuple[int, ...]:
    """Give what the model wants before every text: what its tokenizer puts there."""
    bare, dressed = await _tokens(server, "a"), await _tokens(server, "a", special=True)
    places = range(len(dressed) - len(bare) + 1)
    at = next((at for at in places if dressed[at : at + len(bare)] == bare), 0)
    return dressed[:at]


async def _tokens(server: Server, text: str, *, special: bool = False) -> tuple[int, ...]:
    body: dict[str, object] = {"prompt": text, "add_special_tokens": special}
    return tuple((await server.ask("/tokenize", body, _Tokens)).tokens)
