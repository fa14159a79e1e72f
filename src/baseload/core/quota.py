"""How much may a key use, and how much of that is left?

Picture a prepaid card for each *scope*: a key, a key's use of one model, a model and all of its
callers. A call lays a hand on every card that it needs before it is admitted (*reserve*: one
request, the tokens that it may take, one place among the calls at once, the money that this would
cost) and lets go exactly once when it has ended (*settle*: what it really took). Either all cards
have enough, or nothing is reserved and the verdict names the first that had not.

Not here: who a key belongs to, what a token costs, and where the cards of replicas are kept.
"""

import msgspec

from baseload.config.fleet import Model
from baseload.config.tenancy import Key, Limits


class Scope(msgspec.Struct, frozen=True):
    """What is limited together. `name` is unique in the fleet, `words` are for the caller."""

    name: str
    limits: Limits
    words: str


def scopes_of(key: Key, model: Model) -> tuple[Scope, ...]:
    """Give what limits a key's calls for a model; nothing if they are not limited."""
    scopes = []
    if not key.is_none:
        scopes.append(Scope(f"key:{key.name}", key, "your key"))
    single = key.per_model.get(model.name)
    if single is not None and not single.is_none:
        words = f"your key with {model.name}"
        scopes.append(Scope(f"key:{key.name}/{model.name}", single, words))
    if not model.limits.is_none:
        scopes.append(Scope(f"model:{model.name}", model.limits, f"{model.name}, all callers"))
    return tuple(scopes)


class Hold:
    """What one call has set aside, from before its admission until it is settled.

    `tokens` and `usd` are the most that it is expected to take.
    """

    __slots__ = ("begun_at", "days", "is_settled", "scopes", "tokens", "usd")

    def __init__(self, scopes: tuple[Scope, ...], tokens: int, usd: float) -> None:
        self.scopes, self.tokens, self.usd = scopes, tokens, usd
        self.begun_at = 0.0
        self.days = 0
        self.is_settled = False


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether a call may go on; and where its tightest limits stand, for its answer's head.

    `limit` is the limit that was reached, in OpenAI's words (`requests per minute`, …) and `scope`
    whose it is; both are empty for a grant. `most` and `asked` are in that limit's unit. Of the
    pairs for requests and tokens a `most` of 0 means unlimited; `reset_s` is when all of it is free
    again.
    """

    is_granted: bool
    retry_after_s: float = 0.0
    limit: str = ""
    scope: str = ""
    most: float = 0.0
    asked: float = 0.0
    requests_most: int = 0
    requests_left: int = 0
    requests_reset_s: float = 0.0
    tokens_most: int = 0
    tokens_left: int = 0
    tokens_reset_s: float = 0.0
