"""What Prometheus sees of what calls cost."""

import pytest

from tests.gateway.harness import COMPLETION, chat, on_uvloop
from tests.gateway.provider import Provider, ask, in_turn, refusal, stream, whole
from tests.gateway.test_books import PRICE, REPORTED, USAGE_COST, Lines, start_gateway


@on_uvloop
async def test_metrics_add_up_to_what_the_ledger_says():
    """By model and backend; a caller's own mistake costs nothing, and is no unknown cost."""
    lines, usage = Lines(), REPORTED["openai"]
    play = in_turn([whole(COMPLETION | {"usage": usage})], [refusal(400)], [stream("hi")])
    async with Provider(play=play) as provider:
        async with start_gateway(provider, ledger=lines, prices=(PRICE,)) as gateway:
            for _ in range(2):
                await ask(gateway, chat())
            await ask(gateway, chat(stream=True))
            shown = gateway.telemetry.series("m", "b0").cost_usd

    assert 3 == len(lines)
    assert sum(line.cost_usd for line in lines) == pytest.approx(shown)
    assert USAGE_COST < shown


@on_uvloop
async def test_what_has_no_price_is_not_there():
    """A cost that nobody knows is no cost of 0, also once an attempt has come to nothing."""
    async with Provider(play=in_turn([refusal(400)], [stream("hi")])) as provider:
        async with start_gateway(provider, ledger=Lines()) as gateway:
            for _ in range(2):
                await ask(gateway, chat(stream=True))
            names = [sample.name for one in gateway.telemetry.collect() for sample in one.samples]

    assert "baseload_calls_total" in names
    assert "baseload_cost_usd_total" not in names
