"""The fleet changes while callers are being answered: what is another at once, and what stays."""

import asyncio
import shutil
import ssl

import msgspec
import pytest

from baseload.config import fleet as config
from baseload.config.fleet import Inbound, Queue, Target
from baseload.config.tenancy import Jobs
from baseload.config.watching import Log, Otel
from baseload.core.tape import CLOSED
from baseload.errors import BaseloadError
from baseload.gateway.gateway import Gateway
from baseload.gateway.tape import Recorder
from baseload.sim.replay import replay
from tests.gateway.harness import (
    Backend,
    call_up,
    chat,
    fleet_of,
    hello,
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    until,
)
from tests.gateway.test_operate import Held
from tests.gateway.test_tls_ipv6 import papers

__all__ = ["papers"]
MODELS = request(method="GET", path="/v1/models")
replace = msgspec.structs.replace


def changed(gateway: Gateway, *backends: Backend, **fields) -> config.Fleet:
    """Give the gateway's fleet with other backends, if any are given, and other fields."""
    fleet = gateway.fleet
    if backends:
        other = fleet_of(*backends)
        fleet = replace(fleet, backends=other.backends, models=other.models)
    return replace(fleet, **fields)


@on_both_loops
async def test_another_backend_takes_over_and_open_streams_stay():
    """New calls go by the new file; the stream from the backend that left ends as if nothing was."""
    script = Held()
    async with (
        Backend(script) as old,
        Backend() as new,
        start_gateway(old) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=True))
        answer = await caller.head()
        await script.begun.wait()
        report = gateway.reload(changed(gateway, new))
        (other,) = await raw(gateway.address[1], chat())
        script.release.set()
        while more := await caller.chunk():
            answer.body += more
        await until(lambda: all(pool.is_empty for pool in gateway.retired))

        assert (True, ["backends: ~b0"], []) == (
            report.is_applied, report.changes, report.needs_restart
        )  # fmt: skip
        assert 200 == other.status
        assert 1 == len(new.asked)
        assert "hello" == answer.text()


@on_both_loops
async def test_what_did_not_change_is_not_touched():
    """Warm connections, learnt limits and looks of a backend that is the same are the same."""
    async with Backend() as first, Backend() as second, start_gateway(first) as gateway:
        await raw(gateway.address[1], chat())
        await until(lambda: bool(gateway.pools["b0"]._idle))
        pool, seat, connections = gateway.pools["b0"], gateway.gate.seats["b0"], first.connections
        report = gateway.reload(changed(gateway, first, second))
        await raw(gateway.address[1], chat())

        assert pool is gateway.pools["b0"]
        assert seat is gateway.gate.seats["b0"]
        assert connections == first.connections
        assert ["backends: +b1", "models: ~m"] == report.changes


@on_uvloop
async def test_models_come_and_go():
    """The list of models is the file's at every moment, and what is gone is a 404 with what is."""
    async with Backend() as first, start_gateway(first) as gateway:
        model = replace(gateway.fleet.models["m"], name="n")
        gateway.reload(changed(gateway, models={"n": model}))
        listed, gone, there = await raw(gateway.address[1], MODELS + chat("m") + chat("n"), count=3)

        assert ["n"] == [one["id"] for one in listed.json()["data"]]
        assert (404, 200) == (gone.status, there.status)


@on_uvloop
async def test_a_caller_in_the_line_gets_the_new_backend():
    """Who waits for a full backend is served by the one that a reload adds."""
    script = Held()
    async with Backend(script) as full, Backend() as new, start_gateway(full) as gateway:
        one = {"b0": replace(gateway.fleet.backends["b0"], concurrency=1)}
        gateway.reload(changed(gateway, backends=one))
        port = gateway.address[1]
        async with call_up(port) as out, call_up(port) as waiting:
            await out.send(chat())
            await script.begun.wait()
            await waiting.send(chat())
            await until(lambda: len(gateway.gate.line) == 1)
            both = fleet_of(full, new)
            gateway.reload(changed(gateway, backends=one | {"b1": both.backends["b1"]},
                                   models=both.models))  # fmt: skip
            answer = await waiting.answer()
            script.release.set()
            await out.answer()

        assert (200, "b1") == (answer.status, answer.headers["x-baseload-backend"])


@on_uvloop
async def test_what_cannot_change_is_left_and_told():
    """Addresses, stores, logs hold for the process; all else of the same file is applied."""
    async with Backend() as first, start_gateway(first) as gateway:
        listen = gateway.fleet.listen
        report = gateway.reload(
            changed(
                gateway, listen="127.0.0.1:1", admin="127.0.0.1:2", queue=Queue(size=3),
                log=Log(calls=True), otel=Otel(sample=0.5), jobs=Jobs(concurrency=1),
            )
        )  # fmt: skip
        left = ["listen", "admin", "log", "otel", "jobs"]

        assert (["queue"], left) == (report.changes, report.needs_restart)
        assert (listen, 3) == (gateway.fleet.listen, gateway.gate.line.size_max)
        assert (Log(), Otel(), Jobs()) == (
            gateway.fleet.log, gateway.fleet.otel, gateway.fleet.jobs
        )  # fmt: skip
        assert f"needs a restart, and was left: {', '.join(left)}" in report.words()


@on_uvloop
async def test_a_fleet_that_cannot_be_used_changes_nothing(tmp_path):
    """A certificate authority that is not there is found before anything has changed."""
    async with Backend() as first, start_gateway(first) as gateway:
        before = gateway.fleet, gateway.pools, gateway.gate.seats, gateway.inbound
        bad = config.Backend(name="b1", url="https://x.example/v1", ca=str(tmp_path / "none.pem"))
        fleet = changed(
            gateway,
            backends=gateway.fleet.backends | {"b1": bad},
            inbound=Inbound(connections=1),
        )
        with pytest.raises(BaseloadError, match=r"backends\.b1\.ca"):
            gateway.reload(fleet)

        assert before == (gateway.fleet, gateway.pools, gateway.gate.seats, gateway.inbound)
        assert [200] == [answer.status for answer in await raw(gateway.address[1], chat())]


@on_uvloop
async def test_limits_of_connections_hold_for_new_ones():
    """A smaller body is the bound from the next connection on."""
    async with Backend() as first, start_gateway(first) as gateway:
        async with call_up(gateway.address[1]) as old:
            await until(lambda: len(gateway.clients) == 1)
            gateway.reload(changed(gateway, inbound=Inbound(body_mb=0.00001)))
            await old.send(chat())
            kept = await old.answer()
        (new,) = await raw(gateway.address[1], chat())

        assert (200, 413) == (kept.status, new.status)


@on_uvloop
async def test_another_key_is_not_blamed_for_the_old_one():
    """A backend whose key was refused is asked at once when the file has another key."""
    keys = []

    async def script(asked, wire):
        keys.append(asked.headers["authorization"])
        if keys[-1] == "Bearer old":
            await wire.send(b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n")
        else:
            await hello(asked, wire)

    async with Backend(script) as first, start_gateway(first) as gateway:
        old = {"b0": replace(gateway.fleet.backends["b0"], api_key="old")}
        gateway.reload(changed(gateway, backends=old))
        (refused,) = await raw(gateway.address[1], chat())
        was_closed = gateway.gate.seats["b0"].breaker.can_take
        report = gateway.reload(
            changed(gateway, backends={"b0": replace(old["b0"], api_key="new")})
        )
        (served,) = await raw(gateway.address[1], chat())

        assert (502, False, 200) == (refused.status, was_closed, served.status)
        assert "new" not in report.words()


@on_uvloop
async def test_orders_outlive_a_reload():
    """A backend that was drained stays so, also under another URL; one that left is forgotten."""
    async with Backend() as first, Backend() as second, start_gateway(first, second) as gateway:
        gateway.operate("b0", "drain")
        gateway.reload(changed(gateway, second, first))
        (answer,) = await raw(gateway.address[1], chat())
        orders = dict(gateway.orders)
        gateway.reload(changed(gateway, models={"m": replace(
            gateway.fleet.models["m"], tiers=({"b1": Target(backend="b1", model="m")},)
        )}, backends={"b1": gateway.fleet.backends["b1"]}))  # fmt: skip

        assert "b1" == answer.headers["x-baseload-backend"]
        assert ({"b0": "drain"}, {}) == (orders, gateway.orders)


@on_both_loops
async def test_a_new_certificate_is_shown_to_new_connections(papers, tmp_path):
    """The same files with another certificate: read again, and old connections go on."""
    shown = papers.tls("first", "DNS:localhost", "IP:127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    tls = config.Tls(cert=str(cert), key=str(key))

    def put(one: config.Tls) -> None:
        shutil.copy(one.cert, cert)
        shutil.copy(one.key, key)

    def name_of(caller) -> str:
        peer = caller.writer.get_extra_info("peercert")
        return dict(pair for part in peer["subject"] for pair in part)["commonName"]

    put(shown)
    context = ssl.create_default_context(cafile=papers.ca)
    async with Backend() as first, start_gateway(first, tls=tls) as gateway:
        port = gateway.address[1]
        async with call_up(port, tls=context) as old:
            put(papers.tls("second", "DNS:localhost", "IP:127.0.0.1"))
            ends_at = gateway.certificate_ends_at
            gateway.certificate_ends_at = None
            gateway.reload(gateway.fleet)
            async with call_up(port, tls=context) as new:
                names = name_of(old), name_of(new)
                for caller in (old, new):
                    await caller.send(chat())
                    assert 200 == (await caller.answer()).status
        key.write_text("nonsense")
        with pytest.raises(BaseloadError, match="tls: "):
            gateway.reload(gateway.fleet)
        async with call_up(port, tls=context) as after:
            names = (*names, name_of(after))

    assert ("first", "second", "second") == names
    assert 0 <= gateway.certificate_ends_at - ends_at < 60


@on_uvloop
async def test_looks_follow_the_file():
    """A backend that is added is looked at, one that left is not, and kinds are forgotten."""
    async with Backend() as first, Backend() as second, start_gateway(first) as gateway:
        looked = {"b0": replace(gateway.fleet.backends["b0"], probe_s=0.1, url=second.url)}
        gateway.probes.kinds["b0"] = "vllm"
        gateway.reload(changed(gateway, backends=looked))
        await until(lambda: second.connections > 0)
        look = gateway.probes._looks["b0"]
        gateway.reload(changed(gateway, first))

        assert {} == gateway.probes.kinds
        assert gateway.probes._looks == {}
        assert look._timer is None or look._timer.cancelled()


@on_uvloop
async def test_reloads_under_load_lose_nobody():
    """Forty callers on kept connections, and a reload every few milliseconds: all are answered."""
    async with Backend() as one, Backend() as two, start_gateway(one, two) as gateway:
        port, statuses = gateway.address[1], []

        async def caller() -> None:
            async with call_up(port) as mine:
                for _ in range(20):
                    await mine.send(chat(stream=True))
                    answer = await mine.answer()
                    statuses.append((answer.status, answer.text()))

        async def changes() -> None:
            for turn in range(30):
                gateway.reload(changed(gateway, *((one, two), (two, one), (one,))[turn % 3]))
                await asyncio.sleep(0.005)

        await asyncio.gather(changes(), *(caller() for _ in range(40)))

    assert [(200, "hello")] * 800 == statuses


@on_uvloop
async def test_a_tape_of_orders_and_reloads_is_decided_again(tmp_path):
    """What a live gateway recorded while it was changed is replayed without a difference."""
    tape = tmp_path / "tape"
    script = Held()
    async with Backend(script) as one, Backend() as two, start_gateway(one, two) as gateway:
        with Recorder(gateway.driver, gateway.setup, tape, 1 << 22):
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat())
                await script.begun.wait()
                gateway.operate("b0", "disable")
                await caller.answer()
            gateway.reload(changed(gateway, two))
            await raw(gateway.address[1], chat())
            gateway.operate("b0", "enable")
            await raw(gateway.address[1], chat() + chat("gone"), count=2)
    verdict = replay(tape)

    assert (CLOSED, None, []) == (verdict.end, verdict.difference, verdict.failures)
    assert {"done": 2, "unavailable": 1} == dict(verdict.outcomes)
