"""Which backend of a tier takes the next call?

Picture a card dealer who knows the rules of the house and how each player feels. The split by
`share` is exact, not random: nine to one is one card in each ten. Players with equal shares are
interchangeable, so among them it is better to look: a call goes where calls that began alike went
before (their prompt is in that backend's cache), unless too much is out there already; and else to
the one of two, drawn at random, with less out. A player who is not well gets a portion of the
share, and what is lost goes to the others, most of it where it is cheap.

The exact split is the smooth weighted round robin that nginx made known; drawing two is
Mitzenmacher's power of two choices; keeping calls that begin alike together is rendezvous hashing
with bounded loads. Not here: how well a backend is (`seat`), and when the next tier is asked
(`gate`).
"""

from collections.abc import Collection
from math import log
from typing import NamedTuple
from zlib import crc32

from baseload.config.fleet import Target
from baseload.core.dice import Dice
from baseload.core.facts import Call
from baseload.core.seat import Seat

Place = tuple[Target, Seat]

BOUND = 1.25
"""How far above its part of the tokens out a backend may be and still get calls by prefix."""
SPLITS_MAX = 64
"""Splits that a tier remembers: one for each way in which its backends have felt lately."""
UNABLE = -1.0
"""Stands for the portion of a backend that cannot take the call at all."""
_BITS_64 = 2**64 - 1
_MIX = 0x9E3779B97F4A7C15
"""Odd and without a pattern, so that multiplying by it spreads what is near."""


class _Group(NamedTuple):
    """Backends with equal share that can take a call, each with its weight (over 0)."""

    share: int
    weight: float
    places: tuple[Place, ...]
    weights: tuple[float, ...]
    seeds: tuple[int, ...]
    """A number for each backend that tells it from the others, for hashing."""


class Tier:
    """Backends that stand beside each other, with the credit of each group of equals."""

    __slots__ = ("_credits", "_rng", "_seeds", "_splits", "places")

    def __init__(self, places: tuple[Place, ...], rng: Dice) -> None:
        assert places
        self.places = places
        self._rng = rng
        self._seeds = tuple((crc32(seat.name.encode()) * _MIX) & _BITS_64 for _, seat in places)
        self._credits = {target.share: 0.0 for target, _ in places}
        self._splits: dict[tuple[float, ...], tuple[_Group, ...]] = {}

    def pick(self, call: Call, tried: Collection[str], is_red_ok: bool) -> Place | None:
        """Choose among the backends that can take the call now and were not tried; or None.

        A red backend is chosen only with `is_red_ok`. Choosing moves credit: ask only if the call
        is then sent.
        """
        if len(self.places) == 1:
            place = self.places[0]
            seat = place[1]
            if seat.can_take(call) and (is_red_ok or not seat.is_red) and seat.name not in tried:
                return place
            return None
        feel = tuple(
            [
                seat.portion
                if seat.can_take(call) and (is_red_ok or not seat.is_red) and seat.name not in tried
                else UNABLE
                for _, seat in self.places
            ]
        )
        if (groups := self._splits.get(feel)) is None:
            groups = self._split(feel)
        if not groups:
            return None
        group = groups[0] if len(groups) == 1 else self._next_group(groups)
        if len(group.places) == 1:
            return group.places[0]
        if call.prefix and (familiar := _by_prefix(group, call)) is not None:
            return familiar
        return self._less_loaded(group)

    def _next_group(self, groups: tuple[_Group, ...]) -> _Group:
        """Let every group gain credit by its weight; the richest is next, and pays the round."""
        credits_ = self._credits
        best, most, total = groups[0], -1e300, 0.0
        for group in groups:
            total += group.weight
            credits_[group.share] = credit = credits_[group.share] + group.weight
            if credit > most:
                best, most = group, credit
        credits_[best.share] = most - total
        return best

    def _less_loaded(self, group: _Group) -> Place:
        """Draw two by weight, and take the one with fewer tokens out for its weight."""
        first = self._draw(group.weights)
        others = list(group.weights)
        others[first] = 0.0
        second = self._draw(others)
        loads = [group.places[at][1].tokens / group.weights[at] for at in (first, second)]
        return group.places[first if loads[0] <= loads[1] else second]

    def _draw(self, weights: Collection[float]) -> int:
        """Draw an index by weight."""
        mark = self._rng.random() * sum(weights)
        last = 0
        for index, weight in enumerate(weights):
            if weight > 0.0:
                if mark < weight:
                    return index
                mark -= weight
                last = index
        return last  # Rounding has left a mark at the very end.

    def _split(self, feel: tuple[float, ...]) -> tuple[_Group, ...]:
        """Work out who gets how much while the backends feel so, and remember it."""
        weights = _weights([target for target, _ in self.places], feel)
        members: dict[int, list[int]] = {}
        for index, weight in enumerate(weights):
            if weight > 0.0:
                members.setdefault(self.places[index][0].share, []).append(index)
        groups = tuple(
            _Group(
                share,
                sum(weights[index] for index in indices),
                tuple(self.places[index] for index in indices),
                tuple(weights[index] for index in indices),
                tuple(self._seeds[index] for index in indices),
            )
            for share, indices in members.items()
        )
        if len(self._splits) >= SPLITS_MAX:
            self._splits.clear()
        self._splits[feel] = groups
        return groups


def _weights(targets: list[Target], feel: tuple[float, ...]) -> list[float]:
    """Give each backend's weight: its part of its share, and of what others lost; 0: no calls.

    Shares of 0 count for nothing unless nobody else is able, and portions count for nothing if
    they would leave no one.
    """
    able = [index for index, portion in enumerate(feel) if portion >= 0.0]
    able = [index for index in able if targets[index].share] or able
    shares = {index: float(targets[index].share or 1) for index in able}
    kept = {index: shares[index] * feel[index] for index in able}
    if not any(kept.values()):
        kept = shares
    known = [target.cost_usd_mtok for target in targets if target.cost_usd_mtok is not None]
    mean = sum(known) / len(known) if known else 1.0
    pulls = {index: kept[index] / (targets[index].cost_usd_mtok or mean) for index in able}
    weights = [kept.get(index, 0.0) for index in range(len(targets))]
    for loser, target in enumerate(targets):
        lost = target.share - kept.get(loser, 0.0)
        siblings = [index for index in able if index != loser and pulls[index]]
        pull = sum(pulls[index] for index in siblings)
        if lost > 0.0:
            for index in siblings:
                weights[index] += lost * pulls[index] / pull
    return weights


def _by_prefix(group: _Group, call: Call) -> Place | None:
    """Give the backend that calls with this prefix go to; None if it has too much out.

    Each backend draws a number from the prefix and its name, bent by its weight, and the largest
    wins; so when one leaves or gets less, only its own prefixes move.
    """
    best, most = 0, -1e300
    prefix = call.prefix
    for index, seed in enumerate(group.seeds):
        # A checksum alone is linear, and three backends would not get equal parts: mix it.
        mixed = ((prefix ^ seed) * _MIX) & _BITS_64
        mixed = ((mixed ^ (mixed >> 32)) * _MIX) & _BITS_64
        score = log(((mixed >> 11) + 0.5) / 2**53) / group.weights[index]
        if score > most:
            best, most = index, score
    place = group.places[best]
    tokens = sum(seat.tokens for _, seat in group.places)
    part = tokens * group.weights[best] / sum(group.weights)
    return place if place[1].tokens <= BOUND * part + call.tokens else None
