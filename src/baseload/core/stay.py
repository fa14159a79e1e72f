"""One call from its arrival to its leaving: where it has been, and the permits it holds.

Also here: which backends may still be asked, once an answer has begun. What a caller has been
given can only be continued by the same model, so the choice shrinks to backends with the same
weights (or any, if the fleet file says so).
"""

from collections.abc import Hashable
from math import inf
from typing import NamedTuple

from msgspec import structs

from baseload.config.fleet import Model, Target
from baseload.core.facts import Call
from baseload.core.routing import Tier
from baseload.core.seat import Permit

SIZE_BITS = 3
"""Prompts of one size: up to 7 tokens, 63, 511, 4095, 32,767, and so on."""


class Plan(NamedTuple):
    """A model with the places where it may be answered, tier by tier."""

    model: Model
    tiers: tuple[Tier, ...]
    wants_prefix: bool
    is_single: bool
    """There is one place, so it is always the last that could be asked."""
    is_metered: bool = False
    """At one of them, a call's size decides whether there is room for it."""


class Stay:
    """What the gate knows of one call."""

    # Defaults stand on the class: one object is made for every call, and most need no more.
    attempts = 0
    pauses = 0
    resumes = 0
    tried: frozenset[str] = frozenset()
    """Backends that are not asked now."""
    barred: frozenset[str] = frozenset()
    """Backends that are never asked again for this call."""
    first: Permit | None = None
    second: Permit | None = None
    """A hedge: the attempt beside the first."""
    committed: Target | None = None
    """Whose answer the caller has been given a part of."""
    is_charged = False
    is_budgeted = False
    """A retry of this call is counted against the budget."""
    tokens = 0
    """What the call really took, once that is known."""
    passes = 0
    """How often others were given room that it has waited for."""
    held_until = inf
    """Until when it is kept for a backend that is asleep; infinite: it never waited for one."""

    def __init__(self, call: Call, plan: Plan) -> None:
        self.call = call
        self.plan = plan

    def permit_of(self, backend: str) -> Permit | None:
        """Give the permit at a backend; an empty name means the only one."""
        if backend and self.second is not None and self.second.seat.name == backend:
            return self.second
        return self.first

    def continues_at(self, target: Target) -> bool:
        """Say whether a target may go on with the text that was committed."""
        begun = self.committed
        return begun is not None and (
            self.plan.model.resume == "any"
            or (target.backend == begun.backend and target.model == begun.model)
            or (begun.weights is not None and target.weights == begun.weights)
        )

    def lane(self) -> tuple[Hashable, ...]:
        """Give the lane in which the call waits: that of calls which may go where it may.

        Where sizes matter, calls of one size have lanes of their own, so that a short one may be
        given room that is too little for the long one before it.
        """
        call = self.call
        if self.plan.is_metered:
            return call.model, self.tried, call.prompt_tokens.bit_length() // SIZE_BITS
        return call.model, self.tried

    def follow(self, plan: Plan, left: frozenset[str]) -> None:
        """Go by another plan from now on; some backends have left, and others may have their names.

        Permits that are held are not touched: they are given back to whoever gave them.
        """
        self.plan = plan
        begun = self.committed
        if begun is not None and begun.backend in left:
            self.committed = begun = structs.replace(begun, backend="")
        if begun is not None and self.call.is_stream:
            self.bar_strangers()

    def bar_strangers(self) -> None:
        """After a part was given to the caller: bar whoever could not go on with it."""
        strangers = {
            target.backend
            for tier in self.plan.tiers
            for target, _ in tier.places
            if not self.continues_at(target)
        }
        self.barred |= strangers
        self.tried |= strangers
