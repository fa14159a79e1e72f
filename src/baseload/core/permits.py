"""Leave to be at a backend: given out by tier, held by one call, and taken back.

A call holds one permit for each attempt that is out, at most two. Here they are moved; when, is
the gate's to decide.
"""

from collections.abc import Iterator
from math import inf

from baseload.config.fleet import Model
from baseload.core.dice import Dice
from baseload.core.facts import GONE, Fact
from baseload.core.filling import PATIENCE_S, Filling
from baseload.core.limits import AdaptiveLimit
from baseload.core.routing import Tier
from baseload.core.seat import RESERVED_S, Account, Permit, Seat
from baseload.core.setup import Setup
from baseload.core.stay import Plan, Stay


class Permits:
    """All backends and their accounts, and where each model may be answered."""

    def __init__(self, setup: Setup, rng: Dice) -> None:
        self._rng = rng
        self._owners: dict[str, str] = {}
        """Whose permits each backend gives out: those of a named account, or its own."""
        self._epochs: dict[str, int] = {}
        self._accounts: dict[str, Account] = {}
        self._bounds: dict[str, tuple[int, int]] = {}
        self.seats: dict[str, Seat] = {}
        self.accounts: list[Account] = []
        self.plans: dict[str, Plan] = {}
        self.hedges = 0
        """Second attempts that are out."""
        self.reconfigure(setup)

    def reconfigure(self, setup: Setup) -> frozenset[str]:
        """Become what a setup says; give the names of those who are no longer here.

        Whoever is the same as before keeps all that is known of it and all permits that are out. A
        limit whose bounds were changed is learnt anew. Permits of those who left stay theirs.
        """
        owners = {name: setup.accounts.get(name, f"\0{name}") for name in setup.concurrency}
        seats, epochs = self.seats, setup.epochs
        kept = {
            name
            for name, owner in owners.items()
            if self._owners.get(name) == owner and self._epochs.get(name, 0) == epochs.get(name, 0)
        }
        bounds = _bounds(setup, owners)
        accounts = {}
        for owner, bound in bounds.items():
            account = self._accounts.get(owner)
            if account is None or (owner.startswith("\0") and owner[1:] not in kept):
                account = Account(AdaptiveLimit(*bound))
            elif self._bounds[owner] != bound:
                account.limit = AdaptiveLimit(*bound)
            accounts[owner] = account
        self._owners, self._epochs, self._bounds = owners, epochs, bounds
        self._accounts, self.accounts = accounts, list(accounts.values())
        self.seats = {name: self._seat(name, setup, name in kept) for name in owners}
        left = frozenset(name for name, seat in seats.items() if self.seats.get(name) is not seat)
        for name in left:
            seats[name].is_gone = True
        self.plans = {name: self._plan(model) for name, model in setup.models.items()}
        return left

    def plan_of(self, model: Model) -> Plan:
        """Give where a model of this name may be answered now; without it, nowhere."""
        return self.plans.get(model.name) or Plan(model, (), False, False)

    def _seat(self, name: str, setup: Setup, is_kept: bool) -> Seat:
        account, known = self._accounts[self._owners[name]], self.seats.get(name)
        cold_start_s = setup.cold_starts.get(name, 0.0)
        if is_kept and known is not None:
            known.limit = account.limit
            known.judge_by(setup.overload)
            known.cold_start_s = cold_start_s
            self._fill(known, setup)
            return known
        seat = Seat(name, account, setup.overload, cold_start_s)
        seat.is_up = name not in setup.down
        seat.is_open = known is None or known.is_open  # An order is about the name.
        self._fill(seat, setup)
        return seat

    def _fill(self, seat: Seat, setup: Setup) -> None:
        """Have a backend's filling watched, if the setup says so; what it has been given stays."""
        batch, filling = setup.batches.get(seat.name), seat.filling
        seat.detector.aim(None if batch is None else batch.first_token_s or PATIENCE_S)
        # Of an account's limit, which others share, one backend's rate says nothing.
        limit = None if seat.name in setup.accounts else seat.limit
        if batch is None:
            if filling is not None:
                filling.let_go()
            seat.filling = None
        elif filling is None:
            seat.filling = Filling(batch, limit, setup.workers)
        elif filling.batch != batch or filling.limit is not limit:
            filling.judge_by(batch, limit)

    def _plan(self, model: Model) -> Plan:
        known = self.plans.get(model.name)
        names = {target.backend for tier in model.tiers for target in tier.values()}
        is_metered = any(self.seats[name].filling is not None for name in names)
        if known is not None and known.model == model:
            places = [place for tier in known.tiers for place in tier.places]
            if all(self.seats.get(seat.name) is seat for _, seat in places):
                # The split goes on where it was.
                is_same = known.is_metered == is_metered
                return known if is_same else known._replace(is_metered=is_metered)
        tiers = tuple(
            Tier(tuple((target, self.seats[target.backend]) for target in tier.values()), self._rng)
            for tier in model.tiers
        )
        wants_prefix = any(
            len({target.share for target in tier.values()}) < len(tier) for tier in model.tiers
        )
        is_single = sum(len(tier.places) for tier in tiers) == 1
        return Plan(model, tiers, wants_prefix, is_single, is_metered)

    def take(self, stay: Stay, now: float, without: frozenset[str] = frozenset()) -> bool:
        """Give the call a permit of the first tier that has one; red backends only at last."""
        call, tried = stay.call, stay.tried | without if without else stay.tried
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

    def lacking_room(self, stay: Stay) -> frozenset[str]:
        """Give the backends that would take the call if it were smaller."""
        call = stay.call
        return frozenset(
            seat.name
            for seat in self.candidates(stay, stay.tried)
            if seat.filling is not None
            and not seat.filling.has_room(call)
            and seat.has_permit(call.priority)
        )

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

    def can_move(self, stay: Stay, backend: str) -> bool:
        """Say whether somebody else has a permit for the call now, and may go on with its text."""
        is_begun = stay.committed is not None and stay.call.is_stream
        return stay.second is not None or any(
            seat.name != backend
            and seat.name not in stay.tried
            and seat.can_take(stay.call)
            and (not is_begun or stay.continues_at(target))
            for tier in stay.plan.tiers
            for target, seat in tier.places
        )

    def deadline(self) -> float:
        """Give when a backend or an account changes by itself, or infinity."""
        due = min((seat.due for seat in self.seats.values()), default=inf)
        for account in self.accounts:
            if account.reserved_until > -inf:
                due = min(due, account.reserved_until)
        return due


def _bounds(setup: Setup, owners: dict[str, str]) -> dict[str, tuple[int, int]]:
    """Give where each account's limit begins, and what it may grow to."""
    bounds: dict[str, tuple[int, int]] = {}
    for name, start in setup.concurrency.items():
        most = max(start, setup.ceilings.get(name, start))
        known = bounds.get(owners[name], (0, 0))  # Of an account's backends the largest counts.
        bounds[owners[name]] = (max(known[0], start), max(known[1], most))
    return bounds
