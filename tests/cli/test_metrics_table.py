"""The table of metrics in docs/metrics.md, held against what a gateway really registers."""

import re
from pathlib import Path
from time import time

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from baseload.cli.energy import EnergyDesk
from baseload.cli.engine_room import EngineRoom
from baseload.cli.making import Plant
from baseload.config.fleet import Backend as BackendConfig
from baseload.config.fleet import Fleet, Model, Target
from baseload.config.serving import Batch
from baseload.config.tenancy import Limits, Store
from baseload.core.facts import DONE, GONE, REJECTED, Fact, Sight
from baseload.core.quota import Hold, Scope
from baseload.engines.power import Level
from baseload.gateway.refusals import REFUSALS
from baseload.gateway.telemetry import POSTPONED
from tests.gateway.harness import Backend, chat, fleet_of, on_uvloop, raw, request

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
ROW = re.compile(r"^\| `(baseload_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|", re.MULTILINE)
OUTCOMES = {*(fact.label for fact in (*REFUSALS, DONE, GONE, REJECTED)), POSTPONED}
CLOSED_REDIS = "redis://127.0.0.1:9/0"
"""Nobody is there; counters tell their numbers all the same."""

Shape = dict[str, tuple[str, set[str]]]
"""By a metric's name its type and its labels."""


def documented() -> Shape:
    """Read the page's table."""
    rows = ROW.findall(PAGE.read_text())

    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def shown(plant: Plant) -> list[Metric]:
    """Read what Prometheus would."""
    return list(text_string_to_metric_families(generate_latest(plant.registry).decode()))


def shape(families: list[Metric]) -> Shape:
    """Give names, types and labels; each family needs a sample to have labels at all."""
    assert [] == [one.name for one in families if not one.samples]
    return {
        one.name + ("_total" if one.type == "counter" else ""): (
            one.type,
            set(one.samples[0].labels) - {"le"},
        )
        for one in families
    }


async def never(joules_per_token: dict[str, float]) -> dict[str, int]:
    """Give no tokens; nobody asks."""
    return {}


def fill(plant: Plant) -> None:
    """Count one of everything that appears only once it has happened."""
    telemetry = plant.gateway.telemetry
    telemetry.series("m", "a").ended(Fact.DONE.label, 1.0, None)
    telemetry.failures["a", Fact.LOST.label] += 1
    telemetry.refused[404] += 1
    telemetry.limited["rpm"] += 1
    telemetry.attempts["a"] += 1
    telemetry.series("m", "a").paid(1.0)
    plant.gateway.certificate_ends_at = 1.0
    sight = Sight(
        plant.gateway.driver.clock(), 0.5, 1, 1, kv_tokens=9, made_tokens=0, preemptions=1
    )
    plant.gateway.probes.sights["a"] = sight
    plant.gateway.driver.observe("a", sight)
    desk = EnergyDesk(EngineRoom("/nowhere", lambda _state: None), never)
    engine = BackendConfig(name="a", engine="vllm", model="m")
    for at in (1.0, 2.0):
        desk.energy.note({"a": engine}, {"gpu0": Level(at, 1.0, 0.5)}, {"a": 1}, at)
    plant.registry.register(desk)
    budget = Limits(usd_day=1.0)
    plant.counters.quota.reserve(Hold((Scope("model:m", budget, "m"),), 1, 0.1), 0.0, time())


@on_uvloop
async def test_the_table_has_every_metric_and_no_other(tmp_path: Path):
    """Names, types and labels are the same on the page and in a gateway that shares its limits."""
    fleet = Fleet(
        listen="127.0.0.1:0",
        backends={"a": BackendConfig(name="a", url="http://127.0.0.1:9/v1", batch=Batch())},
        models={"m": Model(name="m", tiers=({"a": Target(backend="a", model="m")},))},
        store=Store(ledger=f"sqlite:///{tmp_path}/calls.db", counters=CLOSED_REDIS),
    )
    plant = Plant(fleet, {})
    fill(plant)
    found = shape(shown(plant))
    await plant.close()

    assert documented() == found


@on_uvloop
async def test_nothing_that_a_caller_writes_becomes_a_label(tmp_path: Path):
    """Made-up models, keys, paths and outcomes leave no trace in any label."""
    store = Store(ledger=f"sqlite:///{tmp_path}/calls.db")
    async with Backend() as backend:
        plant = Plant(fleet_of(backend, store=store), {})
        await plant.start([])
        port = plant.gateway.address[1]
        strange = request({"model": "made-up", "messages": []}, head="x-api-key: made-up\r\n")
        paths = request({"model": "m"}, path="/v1/made-up") + request(path="/made-up", method="GET")
        await raw(port, chat() + chat(stream=True) + strange + paths, 5)
        families = shown(plant)
        await plant.drain(is_succeeded=False)
    values: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            for name, value in sample.labels.items():
                values.setdefault(name, set()).add(value)
    counts = {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "baseload_token_gap_seconds_count"
    }

    assert {"m"} == values["model"]
    assert {"b0", ""} >= values["backend"]
    assert OUTCOMES >= values["outcome"]
    assert {"404"} == values["status"]
    assert {"baseload_token_gap_seconds_count": 1} == counts


def test_the_page_counts_outcomes_as_they_are():
    """The number of outcomes on the page is that of the facts on which a call can end."""
    assert f"{len(OUTCOMES)} in all" in PAGE.read_text()
