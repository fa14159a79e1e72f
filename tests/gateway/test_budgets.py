"""Budgets that come while a gateway runs begin with what was spent before them."""

from hashlib import sha256
from typing import Any

import pytest
from msgspec import structs

from baseload.config.fleet import Model
from baseload.config.tenancy import Key, Limits, Price
from baseload.core.past import Past
from baseload.gateway.gateway import Gateway
from baseload.store.counters import LocalCounters
from tests.gateway.harness import Backend, fleet_of, on_uvloop, raw, request
from tests.gateway.test_books import Lines

PRICES = (
    Price(backend="b0", model="m", since="2020-01-01", input_usd_mtok=1e6, output_usd_mtok=1e6),
)
"""A dollar for a token: a call of the double costs eight."""
ASK = request(
    {"model": "m", "max_tokens": 1, "messages": []}, head="Authorization: Bearer sk-a\r\n"
)
KEY = sha256(b"sk-a").hexdigest()
DAY_S = 86_400.0
LAST_OF_MARCH = 20_543 * DAY_S
"""2026-03-31."""


@on_uvloop
@pytest.mark.parametrize("was", [{}, {"rpm": 100}, {"usd_day": 1000.0}])
@pytest.mark.parametrize("of", ["key", "per_model", "model"])
async def test_a_budget_of_a_reload_counts_what_was_spent_before_it(was: dict[str, Any], of: str):
    """Whether or not the key, or the model, was limited until then, and in whatever way."""
    counters, ledger = LocalCounters(), Lines()
    async with Backend() as backend:

        def fleet(**limits: Any) -> Any:
            key = Key(name="a", sha256=KEY, **(limits if of == "key" else {}))
            if of == "per_model":
                key = structs.replace(key, per_model={"m": Limits(**limits)})
            plain = fleet_of(backend, prices=PRICES, keys=(key,))
            model: Model = plain.models["m"]
            if of == "model":
                model = structs.replace(model, limits=Limits(**limits))
            return structs.replace(plain, models={"m": model})

        gateway = Gateway(fleet(**was), counters=counters, ledger=ledger)
        await gateway.start()
        (first,) = await raw(gateway.address[1], ASK)
        gateway.reload(fleet(usd_day=20.0))
        (second,) = await raw(gateway.address[1], ASK)
        await gateway.drain()

    assert (200, 429) == (first.status, second.status)
    assert "limit 20.00, used 8.00, requested " in second.json()["error"]["message"]
    assert [8.0] == [line.cost_usd for line in ledger]


def test_money_counts_on_its_day_and_in_its_month():
    """What this process spent, and what was spent before it, end with day and month alike (UTC)."""
    past = Past({"key:a": (2.0, 7.0)}, LAST_OF_MARCH)
    past.spend("a", "m", 0.5, LAST_OF_MARCH + DAY_S - 1)
    past.spend("a", "n", 0.25, LAST_OF_MARCH + DAY_S - 1)
    last, first = 20_543, 20_544

    assert (0.75, 0.75) == past.own("key:a", last)
    assert (0.5, 0.5) == past.own("key:a/model:m", last)
    assert (0.25, 0.25) == past.own("model:n", last)
    assert ((2.0, 7.0), (0.0, 0.0)) == (past.before("key:a", last), past.before("key:a", first))
    past.spend("a", "m", 0.125, LAST_OF_MARCH + DAY_S)
    assert (0.125, 0.125) == past.own("key:a", first)
    assert (0.0, 0.125) == past.own("key:a", first + 1)
