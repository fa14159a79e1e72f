"""What each worker gets, how their numbers become one page, and how they are talked to."""

import asyncio
import socket
from contextlib import closing

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.registry import Collector

from baseload.cli import channel as channel_module
from baseload.cli.channel import Channel, ChannelError
from baseload.cli.dividing import concurrency_of, part_of
from baseload.cli.making import Plant
from baseload.cli.merging import families_of, merged_families, merged_status
from baseload.cli.sockets import Sockets, have_sockets, left_to_us
from baseload.config.fleet import Backend, Fleet, Inbound, Model, Queue, Target
from baseload.config.tenancy import Key, Limits, Store
from baseload.errors import BaseloadError
from baseload.gateway.gateway import Failure
from baseload.gateway.status import BackendStatus, ModelStatus, Status
from baseload.store.database import Database
from baseload.store.keys import KeyStore
from tests.gateway.harness import on_both_loops, on_uvloop

SHA = "0" * 64


def fleet(**fields) -> Fleet:
    """Give a fleet of one backend and one model."""
    whole = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "backends": {"a": Backend(name="a", url="http://127.0.0.1:9/v1", concurrency=9)},
        "models": {"m": Model(name="m", tiers=({"a": Target(backend="a", model="m")},))},
    }
    return Fleet(**(whole | fields))


# -- dividing --------------------------------------------------------------------------------------


def test_each_worker_gets_a_part():
    """What costs little is rounded up, limits are rounded down, and one of anything is the least."""
    limited = Key(
        name="k", sha256=SHA, rpm=601, tpm=1, usd_day=5.0,
        per_model={"m": Limits(concurrency=5)},
    )  # fmt: skip
    whole = fleet(keys=(limited,), queue=Queue(size=5), inbound=Inbound(connections=9))
    part = part_of(whole, 2)
    key = part.keys[0]

    assert (3, 5) == (part.queue.size, part.inbound.connections)
    assert (300, 1, 2.5, None) == (key.rpm, key.tpm, key.usd_day, key.concurrency)
    assert 2 == key.per_model["m"].concurrency
    assert ("k", SHA) == (key.name, key.sha256)
    assert {"a": 5} == concurrency_of(whole, {}, 2)


def test_limits_that_are_counted_together_stay_whole():
    """With Redis every worker goes by the whole limit; places in the line are its own all the same."""
    limited = Key(name="k", sha256=SHA, rpm=600)
    shared = Store(counters="redis://127.0.0.1:6379/0")
    part = part_of(fleet(keys=(limited,), store=shared, queue=Queue(size=4)), 2)

    assert (600, 2) == (part.keys[0].rpm, part.queue.size)


def test_limits_of_models_are_divided():
    """A model's own limits are limits, too."""
    model = fleet().models["m"]
    whole = fleet(models={"m": Model(name="m", tiers=model.tiers, limits=Limits(rpm=10))})

    assert 2 == part_of(whole, 4).models["m"].limits.rpm


@on_uvloop
async def test_stored_keys_are_divided_like_those_of_the_file(tmp_path):
    """A worker that counts alone allows its part of what a key in the database may use."""
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    with closing(Database(url)) as database:
        KeyStore(database).create("stored", rpm=600)
    plant = Plant(fleet(store=Store(ledger=url)), {}, 2)
    await plant.start([])
    tenant = plant.gateway.tenants.named("stored")
    await plant.drain(is_succeeded=False)

    assert tenant is not None
    assert [300] == [scope.limits.rpm for scope in tenant.scopes["m"]]


# -- merging ---------------------------------------------------------------------------------------


def _status(state: str, /, **fields) -> Status:
    backend = {
        "name": "a",
        "where": "x",
        "state": "up",
        "in_flight": 1,
        "limit": 4,
        "failure": None,
    }
    model = ModelStatus("m", state == "serving", [["a"]])
    one = BackendStatus(**(backend | fields))
    return Status(state, "0", 1.0, "127.0.0.1:1", 2, 3, 1, [one], [model])


def test_one_page_adds_up_and_shows_the_worst():
    """Counts are sums, lights and words are the worst, and up for one is up."""
    old, new = Failure("lost", "first", 1.0), Failure("lost", "last", 2.0)
    merged = merged_status(
        [
            _status("serving", level="green", failure=old, portion=1.0),
            structs.replace(
                _status("starting", state="open", level="red", why="bad", failure=new, portion=0.5),
                alarms=["full"],
            ),
        ],
        ["worker 0: fine", "worker 1: fine"],
        {"a": "ready"},
    )
    (backend,) = merged.backends

    assert ("serving", 4, 6, 2) == (
        merged.state, merged.connections, merged.in_flight, merged.waiting
    )  # fmt: skip
    assert ("up", 2, 8, new) == (backend.state, backend.in_flight, backend.limit, backend.failure)
    assert ("red", "bad", 0.75, "ready") == (
        backend.level, backend.why, backend.portion, backend.engine
    )  # fmt: skip
    assert ["full"] == merged.alarms
    assert merged.models[0].is_served
    assert merged.is_ready


def test_a_backend_that_drains_for_one_drains():
    """It is drained once it is so for all."""
    both = [_status("serving", state="drained"), _status("serving", state="draining")]

    assert "draining" == merged_status(both, [], {}).backends[0].state
    assert "drained" == merged_status(both[:1] * 2, [], {}).backends[0].state


def test_metrics_keep_their_worker():
    """What two workers counted stands side by side, under one name and one type."""
    both = {}
    for index in (0, 1):
        registry = CollectorRegistry()
        Counter("calls", "Calls.", ["model"], registry=registry).labels("m").inc(index + 1)
        both[index] = families_of(registry)

    class All(Collector):
        def collect(self):
            return merged_families(both)

    registry = CollectorRegistry()
    registry.register(All())
    text = generate_latest(registry).decode()

    assert 1 == text.count("# TYPE calls_total counter")
    assert 'calls_total{model="m",worker="0"} 1.0' in text
    assert 'calls_total{model="m",worker="1"} 2.0' in text


# -- sockets ---------------------------------------------------------------------------------------


def test_each_worker_has_a_socket_for_the_one_port():
    """As many as there are workers, all for one port; none of them can be had by a stranger."""
    sockets = have_sockets(fleet(), None, {}, 3)
    ports = {one.getsockname()[1] for one in sockets.all_listening()}
    number = len(sockets.listen)
    all_ = [*sockets.all_listening(), *sockets.admin]
    at_once = {one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in all_}
    try:
        (port,) = ports
        with pytest.raises(BaseloadError, match="cannot be listened on"):
            have_sockets(fleet(listen=f"127.0.0.1:{port}"), None, {}, 3)
    finally:
        sockets.close()

    assert 3 == number
    assert 0 not in at_once, "small pieces would be held back"


@pytest.mark.parametrize(("sets", "count"), [(1, 3), (2, 2), (4, 3), (5, 2)])
def test_every_socket_is_somebody_s(sets: int, count: int):
    """However many were inherited: nobody waits at a door without a keeper, and all have one."""
    opened = [[socket.socket()] for _ in range(sets)]
    sockets = Sockets(list(opened), [])
    try:
        had = [sockets.of_worker(at, count) for at in range(count)]

        assert {id(one) for group in opened for one in group} == {id(s) for one in had for s in one}
        assert all(had)
    finally:
        sockets.close()


def test_a_broken_handover_is_an_error():
    """What nobody but baseload itself writes is said to be so."""
    with pytest.raises(BaseloadError, match="BASELOAD_HANDOVER is for baseload itself; unset it"):
        left_to_us({"BASELOAD_HANDOVER": "nonsense"})


# -- the channel -----------------------------------------------------------------------------------


async def _joined(answer):
    """Give both ends of a channel, of which the second answers, and their tasks."""

    async def none(what: str, body: bytes) -> bytes:
        return b""

    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    first, second = Channel(ends[0], none), Channel(ends[1], answer)
    for one in (first, second):
        await one.open()
    tasks = [asyncio.ensure_future(one.run()) for one in (first, second)]
    return first, second, tasks


@on_both_loops
async def test_questions_are_answered_in_any_order():
    """Each answer finds its question; an error is told in its own words."""
    gate = asyncio.Event()

    async def answer(what: str, body: bytes) -> bytes:
        if what == "slow":
            await gate.wait()
        if what == "bad":
            raise BaseloadError("no such thing")
        return what.encode() + body

    first, _, tasks = await _joined(answer)
    slow = asyncio.ensure_future(first.ask("slow", b"!"))
    quick = await first.ask("quick", b"x" * 100_000)
    with pytest.raises(ChannelError, match="no such thing"):
        await first.ask("bad")
    gate.set()

    assert (b"quick" + b"x" * 100_000, b"slow!") == (quick, await slow)
    first.close()
    await asyncio.gather(*tasks)


@on_uvloop
async def test_silence_and_death_are_told(monkeypatch):
    """Who does not answer is not waited for; who is gone is known to be."""

    async def answer(what: str, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    first, second, tasks = await _joined(answer)
    with pytest.raises(ChannelError, match=r"no answer to `x` within 0\.01 s"):
        await first.ask("x", wait_s=0.01)
    waiting = asyncio.ensure_future(first.ask("y"))
    await asyncio.sleep(0)
    second.close()
    with pytest.raises(ChannelError, match="gone"):
        await waiting
    await asyncio.gather(*tasks)
    with pytest.raises(ChannelError, match="gone"):
        await first.ask("z")

    assert {} == first._asked
    monkeypatch.setattr(channel_module, "FRAME_BYTES_MAX", 10)
    with pytest.raises(ChannelError, match="takes"):
        await first.ask("much", b"x" * 20)
