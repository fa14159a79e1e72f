"""Which backend of a tier takes the next call.

The split by `share` is exact, not random: every backend gains credit by its share at each choice
and the richest is chosen and pays the whole round, so nine-to-one means one in each ten, never a
streak. It is the smooth weighted round robin that nginx made known. A backend that cannot take a
call is left out of the round, and its share spills over to its siblings in proportion.
"""

from collections.abc import Collection

from baseload.config.fleet import Target
from baseload.core.seat import Seat

Place = tuple[Target, Seat]


class Tier:
    """Backends that stand beside each other, with the credit of each."""

    __slots__ = ("credits", "places")

    def __init__(self, places: tuple[Place, ...]) -> None:
        assert places
        self.places = places
        self.credits = [0] * len(places)

    def pick(self, tried: Collection[str]) -> Place | None:
        """Choose among the backends that can take a call now and were not tried; or None.

        Choosing moves credit: ask only if the call is then sent.
        """
        if len(self.places) == 1:
            place = self.places[0]
            return place if place[1].can_take() and place[1].name not in tried else None
        able = [
            index
            for index, (_, seat) in enumerate(self.places)
            if seat.can_take() and seat.name not in tried
        ]
        if len(able) < 2:
            return self.places[able[0]] if able else None
        places, credits_ = self.places, self.credits
        for index in able:
            credits_[index] += places[index][0].share
        best = max(able, key=credits_.__getitem__)
        credits_[best] -= sum(places[index][0].share for index in able)
        return places[best]
