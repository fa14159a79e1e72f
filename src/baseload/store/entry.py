"""One finished call, as it stands in the ledger.

Times are seconds, tokens are counts, money is US dollars. The order of the fields is the order of
the columns.
"""

import msgspec


class Entry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One row. `at` is when the call ended, in seconds since 1970."""

    at: float
    request_id: str
    key: str
    """The key's name; empty for callers without one."""
    api: str
    """How it was asked: a path, as `chat/completions` or `embeddings`, or `batch`."""
    model: str
    """As the caller named it."""
    served: str
    """As the backend names it."""
    backend: str
    """Where it was last tried."""
    outcome: str
    """The last fact's label; `done` is a whole answer."""
    priority: int
    attempts: int
    resumes: int
    is_hedged: bool
    is_stream: bool
    queue_s: float
    """From arrival to the first attempt."""
    first_token_s: float | None
    """From arrival to the first token; None if there was none."""
    total_s: float
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt's, those that were in the backend's cache."""
    completion_tokens: int
    reasoning_tokens: int
    """Of the answer's, those that were thoughts."""
    is_estimated: bool
    """The backend did not report its tokens; they were counted here."""
    cost_usd: float | None
    """None: no price is known."""
    energy_j: float | None = None
    """Joules that the engine took for it, an estimate; None: no sensor tells."""
