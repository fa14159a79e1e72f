"""How much may a key use, and how much of that is left?

Picture a prepaid card for each *scope*: a key, a key's use of one model, a model and all of its
callers. A call lays a hand on every card that it needs before it is admitted (*reserve*: one
request, the tokens that it may take, one place among the calls at once, the money that this would
cost) and lets go exactly once when it has ended (*settle*: what it really took). Either all cards
have enough, or nothing is reserved and the verdict names what was short for longest.

Not here: how a minute is counted (`card`), who a key belongs to, what a token costs, and where the
cards of replicas are kept.
"""

from collections.abc import Iterable, Sequence
from math import inf

import msgspec

from baseload.config.fleet import Model
from baseload.config.tenancy import Key, Limits
from baseload.core.card import (
    DAY_S,
    ENDLESS,
    PLACE_WAIT_S,
    SLICES,
    SPAN,
    Card,
    Cell,
    day_of,
    is_spent,
    month_end_s,
)
from baseload.core.past import Past, Spent

WINDOW_S = 60.0
IDLE_CARDS_MAX = 4096
"""Cards beyond which idle ones are thrown away; each is some 400 bytes and its slices."""
KINDS = ("rpm", "tpm", "concurrency", "usd_day", "usd_month")
"""The limits, by the names of their fields."""
_NONE: float = ENDLESS


class Scope(msgspec.Struct, frozen=True):
    """What is limited together. `name` is unique in the fleet, `words` are for the caller."""

    name: str
    limits: Limits
    words: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether a call may go on; and where its tightest limits stand, for its answer's head.

    `limit` is the limit that was reached, one of `KINDS`, and `scope` says whose it is; both are
    empty for a grant. `most`, `used` and `asked` are in that limit's unit. Where `asked` alone is
    beyond `most`, the call can never pass and `retry_after_s` is 0. Of the pairs for requests and
    tokens a `most` of 0 means unlimited; `reset_s` is when all of it is free again.
    """

    is_granted: bool
    requests_most: int = 0
    requests_left: int = 0
    tokens_most: int = 0
    tokens_left: int = 0
    reset_s: float = 0.0
    retry_after_s: float = 0.0
    limit: str = ""
    scope: str = ""
    most: float = 0.0
    used: float = 0.0
    asked: float = 0.0


class Hold:
    """What one call has set aside, from before its admission until it is settled.

    `tokens` and `usd` are the most that it is expected to take.
    """

    __slots__ = ("cards", "cells", "is_settled", "scopes", "tokens", "usd", "verdict")

    cards: Sequence[Card] | None
    cells: Sequence[Cell]

    def __init__(self, scopes: tuple[Scope, ...], tokens: int, usd: float) -> None:
        self.scopes, self.tokens, self.usd = scopes, tokens, usd
        self.cards = None
        """The cards on which it is set aside; None until it is granted."""
        self.cells = ()
        self.verdict: Verdict | None = None
        """How it was granted."""
        self.is_settled = False


class Shortage(msgspec.Struct, frozen=True, gc=False):
    """One limit that a call does not fit in; `kind` is a place in `KINDS`."""

    scope: Scope
    kind: int
    used: float
    wait_s: float


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is used of a scope in the window, and when all of it is free again."""

    scope: Scope
    requests: int
    tokens: int
    reset_s: float


def scopes_of(key: Key | None, model: Model) -> tuple[Scope, ...]:
    """Give what limits a key's calls to a model, narrowest last; empty if nothing does.

    Without a key only the model's own limits hold, for all such callers together.
    """
    found: list[Scope] = []
    if key is not None:
        # The key stands for its own limits: the same object for every model, which cards go by.
        found.append(Scope(f"key:{key.name}", key, f"key {key.name}"))
        if (limits := key.per_model.get(model.name)) is not None:
            name = f"key:{key.name}/model:{model.name}"
            found.append(Scope(name, limits, f"key {key.name} on model {model.name}"))
    found.append(Scope(f"model:{model.name}", model.limits, f"model {model.name}"))
    return tuple(scope for scope in found if not scope.limits.is_none)


class Quota:
    """All cards of one process.

    `now` is any clock in seconds that does not jump, `unix_s` the calendar's time.
    """

    def __init__(
        self, window_s: float = WINDOW_S, spent: Spent | None = None, spent_until_s: float = 0.0
    ) -> None:
        """`spent_until_s` is when `spent` was looked up, on the calendar."""
        self.window_s = window_s
        self.slice_s = window_s / SLICES
        self._per_s = SLICES / window_s
        self.past = Past(spent, spent_until_s)
        self._cards: dict[str, Card] = {}
        self._cards_max = IDLE_CARDS_MAX

    def __len__(self) -> int:
        return len(self._cards)

    def reserve(self, hold: Hold, now: float, unix_s: float) -> Verdict:
        """Set aside what a call may take, on all cards or on none.

        A hold that was granted before is granted as it was, and nothing is set aside again.
        """
        return hold.verdict or self.grant(hold, now, unix_s) or self.refuse(hold, now, unix_s)

    def grant(self, hold: Hold, now: float, unix_s: float) -> Verdict | None:
        """Set aside what a call may take if all cards have it; None if one has not."""
        index = int(now * self._per_s)
        gone, tokens, usd, known = index - SPAN, hold.tokens, hold.usd, self._cards
        cards = []
        for scope in hold.scopes:
            card = known.get(scope.name)
            if card is None or card.limits is not scope.limits:
                card = self.card(scope, gone, unix_s)
            cells = card.cells
            if cells and cells[0][0] <= gone:
                card.expire(gone)
            if (
                card.requests >= card.rpm
                or card.tokens + tokens > card.tpm
                or card.in_flight >= card.concurrency
                or (card.has_budget and _is_broke(card, usd, unix_s))
            ):
                return None
            cards.append(card)
        return self._take(hold, cards, index, index + SPAN - now * self._per_s)

    def _take(self, hold: Hold, cards: list[Card], index: int, slices: float) -> Verdict:
        tokens, usd, taken = hold.tokens, hold.usd, []
        requests_left = tokens_left = requests_most = tokens_most = _NONE
        for card in cards:
            cells = card.cells
            cell = cells[-1] if cells and cells[-1][0] == index else card.cell(index)
            cell[1] += 1
            cell[2] += tokens
            card.requests = requests = card.requests + 1
            card.tokens = all_tokens = card.tokens + tokens
            card.in_flight += 1
            card.held_usd += usd
            taken.append(cell)
            if (left := card.rpm - requests) < requests_left:
                requests_left, requests_most = left, card.rpm
            if (left := card.tpm - all_tokens) < tokens_left:
                tokens_left, tokens_most = left, card.tpm
        if requests_most == ENDLESS:
            requests_most = requests_left = 0
        if tokens_most == ENDLESS:
            tokens_most = tokens_left = 0
        hold.cards, hold.cells = cards, taken
        hold.verdict = verdict = Verdict(
            True, int(requests_most), int(requests_left), int(tokens_most), int(tokens_left),
            slices * self.slice_s,
        )  # fmt: skip
        return verdict

    def settle(self, hold: Hold, tokens: int, usd: float, unix_s: float) -> None:
        """Put what a call really took in the place of what was set aside for it; once.

        A hold that was refused or never reserved has nothing to give back, and can set nothing
        aside any more.
        """
        if hold.is_settled:
            return
        hold.is_settled = True
        cards = hold.cards
        if cards is None:
            return
        more = tokens - hold.tokens
        for card, cell in zip(cards, hold.cells):  # noqa: B905 - of equal length; strict costs
            card.in_flight -= 1
            card.held_usd = card.held_usd - hold.usd if card.in_flight else 0.0
            if cell[0] >= 0:
                cell[2] += more
                card.tokens += more
            if card.has_budget:
                if unix_s >= card.day_ends_s:
                    card.roll(day_of(unix_s))
                card.spent_day_usd += usd
                card.spent_month_usd += usd

    def note(self, hold: Hold, index: int, unix_s: float, verdict: Verdict) -> None:
        """Write down what was granted elsewhere, in a slice that was named there."""
        cards = [self.card(scope, index - SPAN, unix_s) for scope in hold.scopes]
        for card in cards:
            card.expire(index - SPAN)
        self._take(hold, cards, index, 0.0)
        hold.verdict = verdict

    def refuse(self, hold: Hold, now: float, unix_s: float) -> Verdict:
        """Say no; nothing is changed by that."""
        index = int(now * self._per_s)
        shortages: list[Shortage] = []
        standings = []
        for scope in hold.scopes:
            card = self.card(scope, index - SPAN, unix_s)
            card.expire(index - SPAN)
            shortages += self._shortages(scope, card, hold, now, unix_s)
            reset_s = self._until_gone(card.last, now)
            standings.append(Standing(scope, card.requests, card.tokens, reset_s))
        return verdict_of(hold, shortages, standings)

    def _shortages(
        self, scope: Scope, card: Card, hold: Hold, now: float, unix_s: float
    ) -> Iterable[Shortage]:
        if card.requests >= card.rpm:
            wait_s = self._until_gone(card.free_at(1, card.rpm - 1), now)
            yield Shortage(scope, 0, card.requests, wait_s)
        if card.tokens + hold.tokens > card.tpm:
            wait_s = self._until_gone(card.free_at(2, card.tpm - hold.tokens), now)
            yield Shortage(scope, 1, card.tokens, wait_s)
        if card.in_flight >= card.concurrency:
            yield Shortage(scope, 2, card.in_flight, PLACE_WAIT_S)
        if card.has_budget:
            card.roll(day_of(unix_s))
            if is_spent(card.day_usd(), hold.usd, card.usd_day):
                yield Shortage(scope, 3, card.day_usd(), day_left_s(unix_s))
            if is_spent(card.month_usd(), hold.usd, card.usd_month):
                yield Shortage(scope, 4, card.month_usd(), month_left_s(unix_s))

    def _until_gone(self, index: int, now: float) -> float:
        """Give after how long a slice has expired."""
        return 0.0 if index < 0 else max((index + SPAN) * self.slice_s - now, self.slice_s)

    def card(self, scope: Scope, gone: int, unix_s: float) -> Card:
        """Give a scope's card, made anew or held against new limits where that is due."""
        card = self._cards.get(scope.name)
        if card is None:
            if len(self._cards) >= self._cards_max:
                self._forget(gone, unix_s)
            card = self._cards[scope.name] = Card(scope.limits)
            self._recall(scope.name, card, unix_s)
        elif card.limits is not scope.limits:
            had_budget = card.has_budget
            card.fit(scope.limits)
            if card.has_budget and not had_budget:
                self._recall(scope.name, card, unix_s)
        return card

    def find(self, name: str) -> Card | None:
        """Give a scope's card, if it has one."""
        return self._cards.get(name)

    def names(self) -> list[str]:
        """Give the scopes that have a card."""
        return list(self._cards)

    def _recall(self, name: str, card: Card, unix_s: float) -> None:
        """Begin a budget with what is spent of it; what was on an earlier day counts no more."""
        card.roll(max(day_of(unix_s), self.past.day))
        card.others_day_usd, card.others_month_usd = self.past.before(name, card.day)
        card.spent_day_usd, card.spent_month_usd = self.past.own(name, card.day)

    def _forget(self, gone: int, unix_s: float) -> None:
        """Throw idle cards away. If there are few of them, it is not tried again for a while."""
        day = day_of(unix_s)
        for name, card in list(self._cards.items()):
            card.expire(gone)
            if card.is_idle(day):
                del self._cards[name]
        self._cards_max = max(IDLE_CARDS_MAX, 2 * len(self._cards))


def verdict_of(hold: Hold, shortages: list[Shortage], standings: list[Standing]) -> Verdict:
    """Word a refusal: it names what can never pass, or else what takes longest to come free."""
    chosen: Shortage | None = None
    is_hopeless = False
    for one in shortages:
        if most_of(one.scope, one.kind) < _asked(hold, one.kind):
            chosen, is_hopeless = one, True
            break
        if chosen is None or one.wait_s > chosen.wait_s:
            chosen = one
    assert chosen is not None, "refused, and nothing was short"
    requests = _tightest((one.scope.limits.rpm, one.requests) for one in standings)
    tokens = _tightest((one.scope.limits.tpm, one.tokens) for one in standings)
    return Verdict(
        False, *requests, *tokens, max(one.reset_s for one in standings),
        0.0 if is_hopeless else chosen.wait_s, KINDS[chosen.kind], chosen.scope.words,
        most_of(chosen.scope, chosen.kind), chosen.used, _asked(hold, chosen.kind),
    )  # fmt: skip


def grant_of(standings: list[Standing]) -> Verdict:
    """Word a grant, with the call counted already."""
    requests = _tightest((one.scope.limits.rpm, one.requests) for one in standings)
    tokens = _tightest((one.scope.limits.tpm, one.tokens) for one in standings)
    return Verdict(True, *requests, *tokens, max(one.reset_s for one in standings))


def most_of(scope: Scope, kind: int) -> float:
    """Give one of a scope's limits; infinite if it has no such one."""
    most = getattr(scope.limits, KINDS[kind])
    return inf if most is None else float(most)


def day_left_s(unix_s: float) -> float:
    """Give how long the day (UTC) still lasts."""
    return (day_of(unix_s) + 1) * DAY_S - unix_s


def month_left_s(unix_s: float) -> float:
    """Give how long the month still lasts."""
    return month_end_s(day_of(unix_s)) - unix_s


def _asked(hold: Hold, kind: int) -> float:
    return (1.0, float(hold.tokens), 1.0, hold.usd, hold.usd)[kind]


def _tightest(pairs: Iterable[tuple[int | None, int]]) -> tuple[int, int]:
    """Of limits and what is used of them, give the one with the least left, and that."""
    limited = [(max(most - used, 0), most) for most, used in pairs if most is not None]
    if not limited:
        return 0, 0
    left, most = min(limited)
    return most, left


def _is_broke(card: Card, usd: float, unix_s: float) -> bool:
    """Say whether a budget has no room for a call; `is_spent`, without its calls."""
    if unix_s >= card.day_ends_s:
        card.roll(day_of(unix_s))
    held = card.held_usd
    used = card.others_day_usd + card.spent_day_usd + held
    if used >= card.usd_day or used + usd > card.usd_day:
        return True
    used = card.others_month_usd + card.spent_month_usd + held
    return used >= card.usd_month or used + usd > card.usd_month
