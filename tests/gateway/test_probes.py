"""Looks at backends: what is seen of good ones, and how little bad ones can do."""

import asyncio
import logging
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from baseload.config.fleet import Backend
from baseload.core.facts import Sight
from baseload.engines.supervisor import Engine
from baseload.gateway import probes as module
from baseload.gateway.probes import ANSWER_BYTES_MAX, Probes
from baseload.gateway.upstream import Pool
from tests.engines.engine_kit import MODEL, States
from tests.gateway.harness import on_both_loops, on_uvloop, until
from tests.gateway.provider import RESET, Provider, backends, drip, nowhere, refusal, whole
from tests.needs import need_the_engine

VLLM = (
    b'vllm:num_requests_running{engine="0"} 31.0\n'
    b'vllm:num_requests_waiting{engine="0"} 72.0\n'
    b'vllm:kv_cache_usage_perc{engine="0"} 0.87\n'
)
LLAMA_CPP = b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 5\n"
SLOTS = [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]
MODELS = whole({"object": "list", "data": []})
ABSENT = refusal(404)
FOREVER = 60.0
PROBE_S = 0.01
KEY = "sk-canary"


@pytest.fixture(autouse=True)
def _impatience(monkeypatch):
    """Let looks follow each other quickly, so that tests see many of them."""
    monkeypatch.setattr(module, "FIRST_LOOK_S_MAX", 0.0)
    monkeypatch.setattr(module, "GAP_S_MIN", 0.001)


class Seen:
    """Everything that was observed, and the probes that saw it."""

    probes: Probes

    def __init__(self):
        self.all: list[tuple[str, Sight]] = []

    def __call__(self, name, sight):
        self.all.append((name, sight))

    @property
    def last(self):
        return self.all[-1][1]

    async def count(self, number):
        await until(lambda: len(self.all) >= number)

    async def fail(self, number, name="b0"):
        await until(lambda: self.probes.failures[name] >= number)


@asynccontextmanager
async def looking(fleet):
    """Look at these backends; at the end nothing may be left behind."""
    loop = asyncio.get_running_loop()
    pools = {name: Pool(loop, backend) for name, backend in fleet.items()}
    seen = Seen()
    seen.probes = Probes(loop, pools, fleet, monotonic, seen)
    seen.pools = pools
    seen.probes.start()
    try:
        yield seen
    finally:
        seen.probes.close()
        count = len(seen.all)
        for pool in pools.values():
            await pool.close()
            await until(lambda pool=pool: not pool._open and not pool._dials)

    assert count == len(seen.all)


def look_at(*providers, probe_s=PROBE_S, **fields):
    return looking(backends(*providers, probe_s=probe_s, **fields))


def on(**answers):
    """Play a script by the last part of the path; what has none is not there."""
    return lambda asked: answers.get(asked.path.rpartition("/")[2], [ABSENT])


def paths(provider):
    return [asked.path for asked in provider.asked]


# -- what is seen --------------------------------------------------------------------------------


@on_both_loops
async def test_an_engine_tells_of_itself():
    """A backend with metrics is seen by them, at the server's root, on one kept connection."""
    async with Provider(play=on(metrics=[whole(VLLM)])) as provider:
        before = monotonic()
        async with look_at(provider) as seen:
            await seen.count(5)

            assert {"b0": "vllm"} == seen.probes.kinds
        name, sight = seen.all[0]

        assert "b0" == name
        assert (0.87, 72, 31, None, None) == (
            sight.kv_usage, sight.waiting, sight.running, sight.slots, sight.ping_s,
        )  # fmt: skip
        assert before <= sight.at <= monotonic()
        assert {("GET", "/metrics")} == {(asked.method, asked.path) for asked in provider.asked}
        assert 1 == provider.accepts
        assert not seen.probes.failures


@on_both_loops
@pytest.mark.parametrize("without", [{}, {"metrics": [refusal(501)]}])
async def test_a_provider_without_metrics_is_pinged(without):
    """Where there are no metrics, models are listed with the key; metrics are not asked again."""
    provider = Provider(play=on(models=[0.02, MODELS], **without))
    async with provider:
        async with look_at(provider, api_key=KEY) as seen:
            await seen.count(3)

        pings = [sight.ping_s for _, sight in seen.all]
        first = ["/metrics", "/slots"] if without else ["/metrics"]

        assert [*first, "/v1/models", "/v1/models"] == paths(provider)[: len(first) + 2]
        assert {f"Bearer {KEY}"} == {asked.headers["authorization"] for asked in provider.asked}
        assert all(0.015 < ping_s < 10 for ping_s in pings)
        assert all(sight.kv_usage is sight.waiting is None for _, sight in seen.all)
        assert {} == seen.probes.kinds


@on_uvloop
async def test_metrics_are_asked_for_again_after_a_while(monkeypatch):
    """A server that learns to tell its metrics is heard, once the pause for that is over."""
    monkeypatch.setattr(module, "METRICS_AGAIN_S", 0.05)
    provider = Provider(play=on(models=[MODELS]))
    async with provider, look_at(provider) as seen:
        await seen.count(2)
        provider.play = on(metrics=[whole(VLLM)])
        await until(lambda: seen.last.waiting == 72)

        assert {"b0": "vllm"} == seen.probes.kinds


@on_uvloop
async def test_an_engine_that_was_replaced_is_forgotten():
    """An address at which metrics are gone is no engine any more, and pinged from then on."""
    provider = Provider(play=on(metrics=[whole(VLLM)]))
    async with provider, look_at(provider) as seen:
        await seen.count(1)
        provider.play = on(models=[MODELS])
        await until(lambda: seen.last.ping_s is not None)

        assert {} == seen.probes.kinds


@on_both_loops
async def test_llama_cpp_is_asked_for_its_slots_once():
    """The number of slots is part of every sight of llama.cpp, and asked for now and then."""
    provider = Provider(play=on(metrics=[whole(LLAMA_CPP)], slots=[whole(SLOTS)]))
    async with provider:
        async with look_at(provider) as seen:
            await seen.count(4)

        assert {(None, 5, 1, 2)} == {
            (sight.kv_usage, sight.waiting, sight.running, sight.slots) for _, sight in seen.all
        }
        assert {"b0": "llama.cpp"} == seen.probes.kinds
        assert 1 == paths(provider).count("/slots")


@on_uvloop
async def test_llama_cpp_without_metrics_is_seen_by_its_slots():
    """Its metrics are off unless asked for, and answered by 501; its slots tell what is busy."""
    provider = Provider(play=on(metrics=[refusal(501)], slots=[whole(SLOTS)]))
    async with provider:
        async with look_at(provider) as seen:
            await seen.count(3)

        assert {(None, 1, 2)} == {
            (sight.waiting, sight.running, sight.slots) for _, sight in seen.all
        }
        assert {"b0": "llama.cpp"} == seen.probes.kinds
        assert ["/metrics", "/slots", "/slots", "/slots"] == paths(provider)[:4]


@on_uvloop
@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/v1", ["/metrics", "/v1/models"]),
        ("", ["/metrics", "/models"]),
        ("/team/v1", ["/team/metrics", "/team/v1/models"]),
        ("/beta", ["/beta/metrics", "/beta/models"]),
    ],
)
async def test_metrics_are_beside_the_base_url(base, expected):
    """The server's root is the URL without its `/v1`, also below a path of a proxy."""
    async with Provider(play=on(models=[MODELS])) as provider:
        url = provider.url.removesuffix("/v1") + base
        async with looking({"b0": Backend(name="b0", url=url, probe_s=PROBE_S)}) as seen:
            await seen.count(1)

        assert expected == paths(provider)[:2]


@on_uvloop
async def test_a_refusal_is_an_answer_and_a_server_error_is_none():
    """A 401 shows that somebody is there, and how quick; a 503 is counted and shows nothing."""
    unwilling, broken = Provider(refusal(401)), Provider(refusal(503))
    async with unwilling, broken, look_at(unwilling, broken) as seen:
        await seen.count(3)
        await seen.fail(3, "b1")

        assert {"b0"} == {name for name, _ in seen.all}
        assert seen.last.ping_s is not None
        assert 0 == seen.probes.failures["b0"]


@on_uvloop
async def test_dialling_is_no_part_of_a_ping():
    """The backend closes after each answer, and is slow to be dialled: the ping does not show it."""

    class SlowPool(Pool):
        async def _dial(self, use, fail):
            await asyncio.sleep(1.0)
            await super()._dial(use, fail)

    provider = Provider(play=on(models=[whole([], head="connection: close\r\n")]))
    async with provider:
        fleet = backends(provider, probe_s=PROBE_S)
        async with looking(fleet) as seen:
            seen.pools["b0"].__class__ = SlowPool
            await seen.count(2)

        assert provider.accepts > 1
        assert all(sight.ping_s < 1.0 for _, sight in seen.all)


# -- what goes wrong -----------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize(
    "script",
    [
        [FOREVER],
        [whole(VLLM)[:-9], FOREVER],
        [RESET],
        [whole(VLLM)[:-9], RESET],
        [b"SSH-2.0-OpenSSH\r\n"],
        [*drip(whole(b"#" * 600), 1, 0.001)],
        [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 10**9, b"#" * (ANSWER_BYTES_MAX + 1)],
        [whole(b"#" * (ANSWER_BYTES_MAX + 1))],
        [refusal(500)],
    ],
    ids=["hangs", "stalls", "resets", "breaks off", "garbage", "drips", "endless", "huge", "500"],
)
async def test_bad_metrics_are_counted_and_the_ping_still_sees(script, monkeypatch):
    """Whatever answers for metrics, one look is lost on it; the next one asks for models."""
    monkeypatch.setattr(module, "PROBE_TIMEOUT_S", 0.1)
    async with Provider(play=on(metrics=script, models=[MODELS])) as provider:
        async with look_at(provider) as seen:
            await seen.count(2)

            assert seen.probes.failures["b0"] >= 1
        assert all(sight.ping_s is not None for _, sight in seen.all)
        assert 1 == paths(provider).count("/metrics")
        assert 1 == provider.in_flight_max


@on_uvloop
async def test_a_known_engine_keeps_being_asked_for_metrics(monkeypatch):
    """An engine too busy to answer in time is counted, and its metrics are asked for again."""
    provider = Provider(play=on(metrics=[whole(VLLM)]))
    async with provider:
        async with look_at(provider) as seen:
            await seen.count(1)
            monkeypatch.setattr(module, "PROBE_TIMEOUT_S", 0.05)
            provider.play = on(metrics=[FOREVER])
            await seen.fail(2)
            monkeypatch.undo()
            provider.play = on(metrics=[whole(VLLM)])
            await seen.count(len(seen.all) + 1)

        assert {"/metrics"} == set(paths(provider))
        assert 1 == provider.in_flight_max


@on_both_loops
async def test_nobody_there_is_counted_and_metrics_are_still_asked_for_first():
    """A server that was not up yet at the first look has its metrics seen when it is."""
    async with nowhere() as place, look_at(place) as seen:
        await seen.fail(3)

        assert [] == seen.all
        async with Provider(play=on(metrics=[whole(VLLM)])) as provider:
            seen.pools["b0"].point_at(provider.url)
            await seen.count(1)

            assert "/metrics" == provider.asked[0].path
            assert 72 == seen.last.waiting


@on_uvloop
async def test_only_backends_that_want_it_are_looked_at():
    """`probe_s: 0` means no looks, and an engine without an address yet is waited for."""
    async with Provider(play=on(metrics=[whole(VLLM)])) as provider:
        fleet = {
            "quiet": Backend(name="quiet", url=provider.url, probe_s=0),
            "later": Backend(name="later", engine="llama.cpp", model=MODEL, probe_s=PROBE_S),
            "b0": Backend(name="b0", url=provider.url, probe_s=PROBE_S),
        }
        async with looking(fleet) as seen:
            await seen.count(3)

            assert {"b0"} == {name for name, _ in seen.all}
            assert not seen.probes.failures
            seen.pools["later"].point_at(provider.url)
            await until(lambda: "later" in seen.probes.kinds)


@on_both_loops
async def test_closing_in_the_middle_leaves_nothing():
    """A look under way is dropped with its connection, and nothing is heard of it after."""
    async with Provider(FOREVER) as provider:
        async with look_at(provider) as seen:
            await until(lambda: provider.in_flight == 1)
        await until(lambda: provider.departures)

        assert [] == seen.all
        assert not seen.probes.failures


@on_uvloop
async def test_the_pause_between_looks_is_kept():
    """Looks begin `probe_s` apart, less the jitter, however quick the answers are."""
    start = monotonic()
    async with Provider(play=on(metrics=[whole(VLLM)])) as provider:
        async with look_at(provider, probe_s=0.05) as seen:
            await seen.count(4)

    slack_s = 0.005  # uvloop counts in whole milliseconds

    assert monotonic() - start >= 3 * (0.05 * (1 - module.JITTER) - slack_s)


@on_uvloop
async def test_neither_bodies_nor_keys_are_logged(caplog):
    """Slots may hold prompts: of a look only the backend's name and its kind are logged."""
    caplog.set_level(logging.DEBUG)
    slots = [{"id": 0, "is_processing": True, "prompt": "quokka"}]
    provider = Provider(play=on(metrics=[whole(LLAMA_CPP)], slots=[whole(slots)]))
    async with provider, look_at(provider, api_key=KEY) as seen:
        await seen.count(2)
        provider.play = on(metrics=[whole(b"quokka")], models=[refusal(500, "quokka")])
        await seen.fail(2)

    messages = [record.getMessage() for record in caplog.records if "baseload" in record.name]

    assert ["backend b0 shows itself to be llama.cpp"] == messages
    assert "quokka" not in caplog.text
    assert KEY not in caplog.text


# -- a real engine -------------------------------------------------------------------------------


@on_uvloop
async def test_the_embedded_engine_is_seen(tmp_path):
    """Our own llama.cpp tells its calls and its slots, at rest as in its metrics."""
    need_the_engine()
    states = States()
    backend = Backend(name="cpu", engine="llama.cpp", model=MODEL, concurrency=2, probe_s=0.05)
    engine = Engine(backend, tmp_path, states)
    running = asyncio.create_task(engine.run())
    try:
        host, port = (await states.reach("ready")).address
        async with looking({"cpu": backend}) as seen:
            seen.pools["cpu"].point_at(f"http://{host}:{port}/v1")
            await seen.count(2)
    finally:
        await engine.stop()
        await running

    sight = seen.last

    assert (0, 0, 2) == (sight.waiting, sight.running, sight.slots)
    assert {"cpu": "llama.cpp"} == seen.probes.kinds
