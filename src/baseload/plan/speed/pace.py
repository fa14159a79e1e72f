"""What does a queue need to know of a replica? How long one turn of its engine takes.

Every engine of today runs in turns: in each, all answers that are being written get one token, and
some tokens of waiting prompts are read (chunked prefill). So one function says it all.

Not here: where the time comes from (`engine`), what waits for it (`queueing`).
"""

from typing import Protocol


class Pace(Protocol):
    """One replica of one model on given hardware."""

    @property
    def slots(self) -> int:
        """Answers that it writes at once, at most (vLLM's `max_num_seqs`)."""
        ...

    @property
    def kv_tokens(self) -> int:
        """Tokens that its KV cache holds."""
        ...

    @property
    def turn_tokens(self) -> int:
        """Tokens of prompts and answers in one turn, at most (`max_num_batched_tokens`)."""
        ...

    def turn_s(
        self, writing: int, context: float, reading: int, read_before: float, longest: int
    ) -> float:
        """Give how long one turn takes, in seconds.

        `writing` answers get one token each and look back on `context` tokens in the mean;
        `reading` tokens of prompts are read, which look back on `read_before` tokens in the mean,
        and of which `longest` are of one prompt: they cannot be divided among copies.
        """
        ...

    def call_s(self, prompt: float) -> float:
        """Give what a call costs outside of turns before its first token: HTTP, tokenising."""
        ...
