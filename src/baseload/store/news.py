"""What has a replica used that the others have not heard of yet?

News is told in whole figures, *so much in that slice, so many calls in flight*, and never as a
difference; so it may be told late, twice, or again after a loss, and comes out the same.

Not here: how it gets to the others (`shared_counters`), and what they make of it (`lua/step.lua`).
"""

from typing import Any

from baseload.core.card import Card, Cell, day_of
from baseload.core.past import Spent
from baseload.core.quota import Quota

PUTS_MAX = 16
"""Scopes of which a step brings news; each may bring a window's worth of slices."""
_NO_SEED = (-1.0, -1.0)


class Cast:
    """The scopes of one step: each has a place, counted from 1."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.cards: list[Card] = []

    def place(self, name: str, card: Card) -> int:
        """Give a scope's place; the next, if it has none yet."""
        found = self.places.get(name)
        if found is None:
            found = self.places[name] = len(self.places) + 1
            self.cards.append(card)
        return found

    def limits(self) -> list[list[float]]:
        """Give what each of them is limited to; below 0 where it is not."""
        return [
            [
                -1 if most is None else most
                for most in (
                    card.limits.rpm, card.limits.tpm, card.limits.concurrency,
                    card.limits.usd_day, card.limits.usd_month,
                )
            ]
            for card in self.cards
        ]  # fmt: skip


class News:
    """Of which scopes, and which of their slices, there is something new."""

    def __init__(self, quota: Quota, spent: Spent | None) -> None:
        self._quota = quota
        self._has_seeds = spent is not None
        """The quota began with what the ledger knows, and others may not have heard of it."""
        self._slices: dict[str, set[int]] = {}
        self._whole: dict[str, None] = {}
        """Scopes of which everything is to be told, in the order in which it will be."""
        self._met: set[str] = set()

    def __len__(self) -> int:
        return len(self._slices) + len(self._whole)

    @property
    def has_backlog(self) -> bool:
        """Whether of some scopes everything is still to be told."""
        return bool(self._whole)

    def mark(self, name: str, index: int) -> None:
        """Note that there is something new in a slice; below 0 it has expired."""
        if name in self._whole:
            return
        slices = self._slices.get(name)
        if slices is None:
            slices = self._slices[name] = set()
        slices.add(index)

    def meet(self, name: str, card: Card) -> None:
        """Note that a scope is used; of a budget, it must be told what the ledger knows."""
        if card.has_budget and name not in self._met:
            self._met.add(name)
            self._slices.pop(name, None)
            self._whole[name] = None

    def tell_all(self) -> None:
        """Tell everything again: nobody knows what has arrived."""
        self._slices.clear()
        self._whole = dict.fromkeys(self._quota.names())
        self._met = set(self._whole)

    def take(self, cast: Cast, at: float) -> tuple[list[Any], bool]:
        """Give news for one step, of its own scopes first, and whether there is all of any."""
        puts, is_whole = [], False
        own = [name for name in cast.places if name in self._slices or name in self._whole]
        others = [
            name
            for kind in (self._whole, self._slices)
            for name in list(kind)[:PUTS_MAX]
            if name not in cast.places
        ]
        for name in [*own, *others][:PUTS_MAX]:
            slices = self._slices.pop(name, None)
            if slices is None:
                del self._whole[name]
                is_whole = True
            if (card := self._quota.find(name)) is not None:
                puts.append(self._put(name, cast.place(name, card), card, slices, at))
        return puts, is_whole

    def _put(
        self, name: str, place: int, card: Card, slices: set[int] | None, at: float
    ) -> list[Any]:
        day, seeds = day_of(at), _NO_SEED
        card.roll(day)
        if slices is None and self._has_seeds:
            seeds = self._quota.past.before(name, day)
        cells = list(card.cells) if slices is None else _cells_of(card, slices)
        return [
            place, card.in_flight, card.held_usd, day, card.month,
            card.spent_day_usd, card.spent_month_usd, *seeds, slices is None, cells,
        ]  # fmt: skip


def _cells_of(card: Card, slices: set[int]) -> list[Cell]:
    """Give some slices of a card. One that is not there is told as unused: others may think not."""
    wanted = {index for index in slices if index >= 0}
    found = []
    for cell in reversed(card.cells):
        if not wanted:
            break
        if cell[0] in wanted:
            wanted.discard(cell[0])
            found.append(cell)
    return [*found, *([index, 0, 0] for index in wanted)]
