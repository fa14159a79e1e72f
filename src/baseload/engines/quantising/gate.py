"""May a quantised model be published?

Two questions, because a text and a few dozen tasks do not weigh the same. A text of some 4,000
tokens, compared token by token, can prove a loss below 1 %, so that is demanded: the upper end of
the interval must lie within the threshold. Tasks are far too few to prove so little, so there only
the contrary counts: if they prove a loss above the threshold, the model is refused.

"Not proven" is refused like "too much", and the reason says which of the two it is.
"""

import msgspec

from baseload.engines.quantising.intervals import Interval

MAX_LOSS = 0.01
"""Of perplexity and of tasks; 1 %."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a model may be published, and why."""

    passed: bool
    reason: str


def judge(loss: Interval, tasks: Interval, max_loss: float = MAX_LOSS) -> Verdict:
    """Judge the loss of perplexity and the loss of tasks, both as parts of 1."""
    said = f"perplexity is {percent(loss)} above the reference's"
    limit = f"{max_loss:.2%}"
    if loss.low > max_loss:
        return Verdict(passed=False, reason=f"{said}: more than {limit}")
    # Written so that what is no number does not pass.
    if not loss.high <= max_loss:
        return Verdict(passed=False, reason=f"{said}: it is not proven that this is within {limit}")
    if tasks.low > max_loss:
        return Verdict(passed=False, reason=f"{percent(tasks)} fewer tasks are right: over {limit}")
    return Verdict(passed=True, reason=f"{said}: within {limit}")


def percent(loss: Interval) -> str:
    """Say an interval in percent."""
    return f"{loss.value:.2%} ({loss.low:.2%} to {loss.high:.2%})"
