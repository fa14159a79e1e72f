"""How sure may one be of a mean, a share, a difference? 95 % intervals, in pure code.

Two models are compared token by token on the same text, and task by task: most of what makes a
token hard is hard for both, and cancels. That is why some 4,000 tokens decide about 1 %, where two
separate perplexities would each be known to some 10 % only.

Losses of neighbouring tokens resemble each other. So means are taken over blocks of tokens, and the
blocks are what is counted as independent.
"""

from collections.abc import Sequence
from math import exp, fsum, inf, sqrt

import msgspec

Z = 1.96
"""Standard deviations on either side that hold 95 % of a normal distribution."""

BLOCK_TOKENS = 16

EXPONENT_MAX = 700.0
"""Beyond this, e to its power is no number any more. No real loss comes near."""


class Interval(msgspec.Struct, frozen=True):
    """A value, and between what it lies with 95 %."""

    value: float
    low: float
    high: float

    def map_exp(self, less: float = 0.0) -> "Interval":
        """Return e to the power of it, minus `less`; the order of its ends stays."""
        ends = (self.value, self.low, self.high)
        return Interval(*(exp(min(end, EXPONENT_MAX)) - less for end in ends))


def mean(values: Sequence[float]) -> Interval:
    """Return the mean of independent values; one value alone says nothing about its width."""
    if not values:
        raise ValueError("no value, no mean")
    count = len(values)
    middle = fsum(values) / count
    if count == 1:
        return Interval(middle, -inf, inf)
    variance = fsum((value - middle) ** 2 for value in values) / (count - 1)
    half = Z * sqrt(variance / count)
    return Interval(middle, middle - half, middle + half)


def mean_of_tokens(losses: Sequence[float]) -> Interval:
    """Return the mean of what tokens in reading order cost; width by blocks of them."""
    blocks = [losses[at : at + BLOCK_TOKENS] for at in range(0, len(losses), BLOCK_TOKENS)]
    if len(blocks) > 1 and len(blocks[-1]) < BLOCK_TOKENS:
        blocks[-2:] = [[*blocks[-2], *blocks[-1]]]
    width = mean([fsum(block) / len(block) for block in blocks])
    middle = fsum(losses) / len(losses)
    half = width.high - width.value
    return Interval(middle, middle - half, middle + half)


def perplexity(losses: Sequence[float]) -> Interval:
    """Return the perplexity of a text whose tokens cost `losses` nats each."""
    return mean_of_tokens(losses).map_exp()


def perplexity_loss(reference: Sequence[float], losses: Sequence[float]) -> Interval:
    """Return by which part the perplexity is above the reference's: 0.01 is 1 % worse."""
    differences = [ours - theirs for theirs, ours in zip(reference, losses, strict=True)]
    return mean_of_tokens(differences).map_exp(less=1.0)


def share(right: Sequence[bool]) -> Interval:
    """Return the part that is right, by Wilson's score interval, which stays within 0 and 1."""
    count, value = len(right), sum(right) / len(right)
    spread = Z * Z / count
    middle = (value + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(value * (1 - value) / count + spread / (4 * count))
    return Interval(value, min(value, middle - half), max(value, middle + half))


def share_loss(reference: Sequence[bool], right: Sequence[bool]) -> Interval:
    """Return by how much fewer tasks are right than with the reference, as a part of all."""
    return mean([float(was) - float(now) for was, now in zip(reference, right, strict=True)])
