"""What a call took in energy, as its line in the ledger has it: an estimate, or nothing."""

import pytest

from tests.gateway.harness import COMPLETION, chat, on_uvloop
from tests.gateway.provider import Provider, ask, refusal, whole
from tests.gateway.test_books import Lines, start_gateway

USAGE = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
ANSWER = whole(COMPLETION | {"usage": USAGE})


@on_uvloop
async def test_a_call_takes_its_tokens_by_what_a_token_takes():
    """Before anything is known it is None; then each token of the answer counts."""
    lines = Lines()
    async with Provider(ANSWER) as provider, start_gateway(provider, ledger=lines) as gateway:
        await ask(gateway, chat())
        gateway.books.weigh({"b0": 1.5, "other": 9.0})
        await ask(gateway, chat())

    before, after = lines
    assert before.energy_j is None
    assert 7 * 1.5 == pytest.approx(after.energy_j)


@on_uvloop
async def test_tokens_are_told_once():
    """Who asks is given what each backend wrote since the last time, and no token twice."""
    async with Provider(ANSWER) as provider, start_gateway(provider, ledger=Lines()) as gateway:
        await ask(gateway, chat())
        await ask(gateway, chat())
        told = [gateway.books.weigh({}), gateway.books.weigh({})]

    assert [{"b0": 14}, {}] == told


@on_uvloop
async def test_who_got_nothing_is_not_said_to_have_taken_nothing():
    """A call without an answer has no energy that is known, which is not 0."""
    lines = Lines()
    async with Provider(refusal(400)) as provider, start_gateway(provider, ledger=lines) as gateway:
        gateway.books.weigh({"b0": 1.5})
        await ask(gateway, chat())

    assert [None] == [line.energy_j for line in lines]
