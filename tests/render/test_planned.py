"""A plan fills in what the fleet file leaves open, and what the file says goes before it."""

from functools import cache
from math import ceil

import msgspec
import pytest

from baseload.errors import FleetFileError
from baseload.plan.load import Load, Objectives
from baseload.plan.planning import make
from baseload.plan.request import Request
from baseload.plan.result import Plan
from tests.render.pictures import picture

MODEL = "deepseek-r1-distill-qwen-32b"
FLEET = """
backends:
  own: {url: http://gpu.lan:8000/v1}
models:
  m: {tiers: [{own: {model: r1}}]}
deploy:
  engines:
    own: {model: MODEL, weights: s3://models/r1MORE}
  clouds:
    aws: {engine: own, region: us-east-1}
"""


@cache
def plan() -> Plan:
    """Give a plan as `--json` hands it on, made once: four answers a second, in AWS only."""
    request = Request(
        model=MODEL, load=Load(rps=4, prompt=1200, answer=400), objectives=Objectives(),
        today="2026-11-26", clouds=("aws",), tenures=("on_demand",), ways_max=3,
    )  # fmt: skip
    return msgspec.json.decode(msgspec.json.encode(make(request)), type=Plan)


def pictured(tmp_path, more="", **options):
    """Give the picture of the small fleet, with more said of its engine."""
    path = tmp_path / "baseload.yaml"
    path.write_text(FLEET.replace("MODEL", MODEL).replace("MORE", more))
    return picture(path, **options)


def test_a_plan_says_machine_split_and_precision(tmp_path):
    """Without an accelerator and an instance in the file, the plan's cheapest way is rendered."""
    found = pictured(tmp_path, plan=plan())
    way, engine = plan().ways[0], found.engines[0]

    assert way.hardware == found.groups[0].instance.name
    assert way.precision == engine.precision
    assert way.layout.tp == engine.layout.tp
    assert way.layout.accelerators == engine.layout.accelerators
    assert way.replicas + way.standby == engine.replicas
    machines = engine.replicas * engine.layout.accelerators / found.groups[0].instance.count
    assert ceil(machines) == found.groups[0].replicas


def test_without_a_plan_it_must_be_said(tmp_path):
    """Without either, the engine's line says that something is missing."""
    with pytest.raises(FleetFileError, match="accelerator: it is not said on which accelerator"):
        pictured(tmp_path)


def test_the_file_goes_first(tmp_path):
    """Another accelerator in the file is taken, and the plan then has no machine for it."""
    with pytest.raises(FleetFileError, match="instance: which machine is not said"):
        pictured(tmp_path, ", accelerator: mi300x", plan=plan())


def test_a_plan_of_another_model_says_nothing(tmp_path):
    """A plan is for its model only."""
    other = msgspec.structs.replace(plan(), model="deepseek-v3")

    with pytest.raises(FleetFileError, match="it is not said"):
        pictured(tmp_path, plan=other)
