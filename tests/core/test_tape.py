"""Tapes as bytes: what was written is read again, and what is damaged is said to be."""

from math import inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.config.fleet import Queue
from baseload.core import records
from baseload.core.facts import (
    Call,
    Fact,
    Hedge,
    Priority,
    Relay,
    Reply,
    Send,
    Sight,
    Told,
    Wait,
    Watch,
)
from baseload.core.records import (
    Announced,
    Began,
    Decision,
    Ended,
    Event,
    Heard,
    Hedged,
    Relayed,
    Replied,
    Saw,
    Sent,
    TapeError,
    Ticked,
    Waited,
    Watched,
)
from baseload.core.setup import Setup
from baseload.core.tape import (
    BLOCK_BYTES,
    BLOCK_HEAD_BYTES,
    TITLE,
    Head,
    Packer,
    block,
    block_length,
    read_block,
    read_head,
)
from tests.core.records import RECORDS
from tests.core.worlds import model

SETUP = Setup(
    models={"m": model({"a": 90, "b": 10}, {"c": 100}, weights={"a": "w"}, hedge=0.1)},
    concurrency={"a": 4, "b": 2, "c": 1},
    ceilings={"a": 9},
    accounts={"b": "shared", "c": "shared"},
    queue=Queue(size=3),
    seed=2**32 - 1,
)
HEAD = Head("0.1.0", 1_700_000_000.5, 12.25, SETUP)
TARGET = SETUP.models["m"].tiers[0]["a"]


def blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Give (head, body) of each block after the title."""
    assert data.startswith(TITLE)
    at, out = len(TITLE), []
    while at < len(data):
        head = data[at : at + BLOCK_HEAD_BYTES]
        at += BLOCK_HEAD_BYTES
        length = block_length(head)
        out.append((head, data[at : at + length]))
        at += length
    return out


def lines(data: bytes) -> list[Event | Decision | Ended]:
    """Give all records after the head."""
    return [line for parts in blocks(data)[1:] for line in read_block(*parts)]


@given(st.lists(RECORDS, min_size=1, max_size=20))
def test_records_come_back_as_they_were(records):
    """Every kind of record, with whatever is in it, is read as it was written."""
    data = block(records)

    assert records == read_block(data[:BLOCK_HEAD_BYTES], data[BLOCK_HEAD_BYTES:])


def test_the_head_holds_the_setup():
    """What a gate is made from comes back equal, the order of tiers included."""
    head = read_head(*blocks(Packer(HEAD).take())[0])

    assert HEAD == head
    assert list(SETUP.models["m"].tiers[0]) == list(head.setup.models["m"].tiers[0])


def test_events_come_back_with_all_their_fields():
    """Calls, facts and sights lose nothing on the tape: their own fields are all there."""
    call = Call(7, "m", 600.5, False, "k", Priority.BATCH, 11, 12, 13, True)
    told = Told(Fact.BUSY, 13.5, 2.5, "a", 0.5, 99)
    sight = Sight(13.0, 0.5, 1, 2, 3, 0.25)
    packer = Packer(HEAD)
    packer.began(call, 13.0)
    packer.told(7, told)
    packer.saw("a", sight, 14.0)
    packer.announced("b", False, 15.0)
    packer.ticked(16.0)

    began, heard, saw, *rest = lines(packer.take())
    assert (call, 13.0) == (began.call(), began.now)
    assert (told, 7) == (heard.told(), heard.call_id)
    assert (sight, "a", 14.0) == (saw.sight(), saw.backend, saw.now)
    assert [Announced(15.0, "b", False), Ticked(16.0)] == rest
    assert ("now", *Call.__struct_fields__) == Began.__struct_fields__
    assert {"call_id", *Told.__struct_fields__} == set(Heard.__struct_fields__)
    assert ("now", "backend", *Sight.__struct_fields__) == Saw.__struct_fields__


def test_decisions_are_kept():
    """Every kind of ask, and the reply, is a record that tells it from all others."""
    call = Call(7, "m", 600.5)
    send = Send(call, TARGET, 1.0, 2.0, 3.0, inf, True)
    packer = Packer(HEAD)
    asks = [
        Wait(call), send, Hedge(call, send), Watch(call), Relay(call, TARGET, 30.0),
        Reply(call, Fact.SHED, 4.0),
    ]  # fmt: skip
    for ask in asks:
        packer.asked(7, ask)

    clocks = (1.0, 2.0, 3.0, inf, True)
    expected = [
        Waited(7),
        Sent(7, "a", "m-at-a", *clocks),
        Hedged(7, "a", "m-at-a", *clocks),
        Watched(7),
        Relayed(7, "a", "m-at-a", 30.0),
        Replied(7, "shed", 4.0),
    ]
    assert expected == lines(packer.take())


def test_blocks_end_where_they_are_taken_or_large():
    """What was taken is whole, nothing is given twice, and a block has a size."""
    packer = Packer(HEAD)
    first = packer.take()
    packer.ticked(1.0)
    second = packer.take()
    for _ in range(BLOCK_BYTES // 8):
        packer.ticked(2.0)
    third = packer.take()

    assert b"" == packer.take()
    assert [Ticked(1.0)] == lines(first + second)
    sizes = [len(body) for _, body in blocks(TITLE + third)]
    assert len(sizes) == 2
    assert BLOCK_BYTES <= sizes[0] < BLOCK_BYTES + 100


def test_what_cannot_be_written_disturbs_nobody():
    """A number that no tape can hold ends the packing with a reason, and raises nothing."""
    packer = Packer(HEAD)
    packer.take()
    packer.began(Call(1, "m", 1.0, answer_tokens=10**30), 0.0)
    packer.ticked(1.0)

    assert packer.failure.startswith("Began: ")
    assert b"" == packer.take()


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([Ticked(nan)], "a record cannot be read"),
        ([Ticked(-1.0)], "a record cannot be read"),
        ([Ticked(1e11)], "a record cannot be read"),
        ([["not", "a", "record"]], "a record cannot be read"),
        ([[99, 1.0]], "a record cannot be read"),
    ],
)
def test_what_is_no_record_is_refused(records, reason):
    """Times that no clock shows, and kinds that are not known, are errors of the tape."""
    data = block(records)

    with pytest.raises(TapeError, match=reason):
        read_block(data[:BLOCK_HEAD_BYTES], data[BLOCK_HEAD_BYTES:])


def test_a_fact_that_is_not_known_is_refused():
    """A fact of another version's is named."""
    with pytest.raises(TapeError, match="no such fact is known here: bored"):
        Heard(1, "bored", 1.0, 0.0, "", 0.0, 0).told()


def test_a_wrong_checksum_is_refused():
    """A flipped bit is found, in the number of records too."""
    data = block([Ticked(1.0), Ticked(2.0)])
    head, body = data[:BLOCK_HEAD_BYTES], data[BLOCK_HEAD_BYTES:]
    flipped = bytes([body[0] ^ 1]) + body[1:]

    for damaged in ((head, flipped), (head[:4] + b"\1" + head[5:], body)):
        with pytest.raises(TapeError, match="checksum"):
            read_block(*damaged)
    with pytest.raises(TapeError, match="not the beginning of a block"):
        block_length(b"\xff" * BLOCK_HEAD_BYTES)


def test_the_head_of_another_version_is_named():
    """A head with fields that are not known here says who wrote it."""
    setup = msgspec.to_builtins(SETUP)
    setup["models"]["m"]["mood"] = "good"
    data = block([["9.9.9", 1.0, 1.0, setup]])

    with pytest.raises(TapeError, match=r"written by baseload 9\.9\.9.*mood"):
        read_head(data[:BLOCK_HEAD_BYTES], data[BLOCK_HEAD_BYTES:])


def test_the_kinds_keep_their_numbers():
    """Tags and the order of fields are the tape's form: changing one needs a new `FORM`."""
    kinds = {kind.__struct_config__.tag: kind.__name__ for kind in records.Line.__args__}

    expected = {
        1: "Began", 2: "Heard", 3: "Announced", 4: "Saw", 5: "Ticked",
        6: "Ordered", 7: "Reconfigured",
        10: "Reserved", 11: "Waited", 12: "Sent", 13: "Hedged", 14: "Watched", 15: "Relayed", 16: "Replied",
        20: "Ended",
    }  # fmt: skip
    assert expected == kinds
