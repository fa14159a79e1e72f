"""Leave to be at a backend: given out by tier, held by one call, and taken back.

A call holds one permit for each attempt that is out, at most two. Here they are moved; when, is
the gate's to decide.
"""

from collections.abc import Iterator
from math import inf

from baseload.config.fleet import Model
from baseload.core.dice import Dice
from baseload.core.facts import GONE, Fact
from baseload.core.limits import AdaptiveLimit
from baseload.core.routing import Tier
from baseload.core.seat import RESERVED_S, Account, Permit, Seat
from baseload.core.setup import Setup
from baseload.core.stay import Plan, Stay


class Permits:
    """All backends and their accounts, and where each model may be answered."""

    def __init__(self, setup: Setup, rng: Dice) -> None:
        bounds: dict[str, tuple[int, int]] = {}
        owners = {name: setup.accounts.get(name, f"\0{name}") for name in setup.concurrency}
        for name, start in setup.concurrency.items():
            most = max(start, setup.ceilings.get(name, start))
            known = bounds.get(owners[name], (0, 0))  # Of an account's backends the largest counts.
            bounds[owners[name]] = (max(known[0], start), max(known[1], most))
        accounts = {name: Account(AdaptiveLimit(*bound)) for name, bound in bounds.items()}
        self.seats = {
            name: Seat(name, accounts[owner], setup.overload) for name, owner in owners.items()
        }
        self.accounts = list(accounts.values())
        self.plans = {name: self._plan(model, rng) for name, model in setup.models.items()}
        self.hedges = 0
        """Second attempts that are out."""

    def _plan(self, model: Model, rng: Dice) -> Plan:
        tiers = tuple(
            Tier(tuple((target, self.seats[target.backend]) for target in tier.values()), rng)
            for tier in model.tiers
        )
        wants_prefix = any(
            len({target.share for target in tier.values()}) < len(tier) for tier in model.tiers
        )
        is_single = sum(len(tier.places) for tier in tiers) == 1
        return Plan(model, tiers, wants_prefix, is_single)

    def take(self, stay: Stay, now: float) -> bool:
        """Give the call a permit of the first tier that has one; red backends only at last."""
        call, tried = stay.call, stay.tried
        tiers = stay.plan.tiers
        for is_red_ok in (False, True):
            for tier in tiers:
                if (place := tier.pick(call, tried, is_red_ok)) is not None:
                    stay.attempts += 1
                    stay.first = place[1].take(call, place[0], now)
                    return True
            if not any(seat.is_red for seat in self.seats.values()):
                return False
        return False

    def take_second(self, stay: Stay, now: float) -> Permit | None:
        """Give the call a permit for an attempt beside the one that is out, if one is free."""
        assert stay.first is not None
        tried = stay.tried | {stay.first.seat.name}
        for tier in stay.plan.tiers:
            if (place := tier.pick(stay.call, tried, False)) is not None:
                stay.second = place[1].take(stay.call, place[0], now)
                self.hedges += 1
                return stay.second
        return None

    def release(self, stay: Stay, permit: Permit) -> None:
        """Take a permit back; what was second becomes first."""
        permit.seat.release(stay.call, permit)
        if stay.second is None:
            stay.first = None
            return
        self.hedges -= 1
        if permit is stay.first:
            stay.first = stay.second
        stay.second = None

    def release_all(self, stay: Stay, fact: Fact, now: float) -> None:
        """Take back all permits of a call, for a reason of its own or of the gate's."""
        while (permit := stay.first) is not None:
            self.release(stay, permit)
            permit.seat.ended(stay.call, permit, fact, now)

    def keep_only(self, stay: Stay, permit: Permit, now: float) -> None:
        """One of two attempts has decided: the other's permit comes back and teaches nothing."""
        loser = stay.first if permit is stay.second else stay.second
        if loser is not None:
            self.release(stay, loser)
            loser.seat.ended(stay.call, loser, GONE, now)

    def candidates(self, stay: Stay, without: frozenset[str]) -> Iterator[Seat]:
        """Give the backends of a call's model, tier by tier, but for some."""
        return (
            seat for tier in stay.plan.tiers for _, seat in tier.places if seat.name not in without
        )

    def is_last(self, stay: Stay, seat: Seat) -> bool:
        """Say whether no other backend could be asked if this one fails."""
        for tier in stay.plan.tiers:
            for _, other in tier.places:
                if other is not seat and other.name not in stay.tried and other.is_usable():
                    return False
        return True

    def reserve(self, stay: Stay, now: float) -> float:
        """Keep a part of the limits free for calls like this one; give until when."""
        until = now + RESERVED_S
        for seat in self.candidates(stay, frozenset()):
            seat.account.reserved_until = until
        return until

    def settle(self, now: float) -> None:
        """Let time do its work on backends and accounts."""
        for account in self.accounts:
            if now >= account.reserved_until:
                account.reserved_until = -inf
        for seat in self.seats.values():
            if now >= seat.due:
                seat.settle(now)

    def deadline(self) -> float:
        """Give when a backend or an account changes by itself, or infinity."""
        due = min((seat.due for seat in self.seats.values()), default=inf)
        for account in self.accounts:
            if account.reserved_until > -inf:
                due = min(due, account.reserved_until)
        return due
