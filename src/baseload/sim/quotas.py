"""What do the limits of keys say to calls of a simulation?

The same `Quota` counts as in the gateway, on simulated time. What a call used is what its world
says when the call has ended.

Not here: what a call's limits are; whoever simulates says so for each.
"""

from collections.abc import Callable

from baseload.core.facts import GRANTED, LIMITED, Call, Reply, Told
from baseload.core.quota import Hold, Quota, Scope, Verdict
from baseload.sim.driver import Driver

Used = Callable[[Reply], tuple[int, float]]
"""Gives the tokens and the dollars that a call took."""


class Quotas:
    """Limits every call of a driver. `day_s` is the calendar's time at the kernel's nought."""

    def __init__(
        self,
        driver: Driver,
        quota: Quota,
        scopes: Callable[[Call], tuple[Scope, ...]],
        used: Used,
        day_s: float = 0.0,
    ) -> None:
        self.quota = quota
        self.refused: list[tuple[Call, Verdict]] = []
        self._scopes, self._used, self._day_s = scopes, used, day_s
        self._holds: dict[int, Hold] = {}
        self._kernel = driver.kernel
        self._reply = driver.on_reply
        driver.on_reserve, driver.on_reply = self._reserve, self._settle

    def _reserve(self, call: Call, now: float) -> Told:
        hold = self._holds[call.id] = Hold(self._scopes(call), call.tokens, 0.0)
        verdict = self.quota.reserve(hold, now, self._day_s + now)
        if verdict.is_granted:
            return Told(GRANTED, now)
        self.refused.append((call, verdict))
        return Told(LIMITED, now, verdict.retry_after_s)

    def _settle(self, reply: Reply) -> None:
        hold = self._holds.pop(reply.call.id, None)
        if hold is not None:
            tokens, usd = self._used(reply)
            self.quota.settle(hold, tokens, usd, self._day_s + self._kernel.now)
        self._reply(reply)
