"""Plans that several tests look at, each made once; and a small catalogue that never changes.

Everything of that catalogue is of one made-up cloud, `north`, so that a plan for it alone does not
change with the world's prices.
"""

import tempfile
from functools import cache
from pathlib import Path

from baseload.plan.load import Load, Objectives
from baseload.plan.planning import make
from baseload.plan.request import Machine, Request

TODAY = "2026-11-26"
QWEN_7B, QWEN_32B = "deepseek-r1-distill-qwen-7b", "deepseek-r1-distill-qwen-32b"
CATALOGUE = """
[accelerator.big]
vendor = "nobody"
memory_bytes = 85_520_809_984
bandwidth_bytes_s = 3.35e12
flops = { bf16 = 9.89e14, fp8 = 1.978e15 }
tdp_w = 700.0
link_bytes_s = 4.5e11
pcie_bytes_s = 6.4e10
usd = 30_000.0
source = "a test"
seen = "2026-11-01"

[accelerator.small]
vendor = "nobody"
memory_bytes = 24_152_899_584
bandwidth_bytes_s = 3.0e11
flops = { bf16 = 1.21e14, fp8 = 2.42e14 }
tdp_w = 72.0
pcie_bytes_s = 3.2e10
source = "hearsay"
seen = "2026-11-01"
verified = false

[instance.north-big]
cloud = "north"
region = "north-1"
accelerator = "big"
count = 1
vcpus = 16
memory_bytes = 200_000_000_000
network_bytes_s = 1.25e10
on_demand_usd_hour = 4.0
reserved_1y_usd_hour = 3.0
spot_usd_hour = 1.5
source = "a price list"
seen = "2026-11-01"

[instance.north-small-4]
cloud = "north"
region = "north-2"
accelerator = "small"
count = 4
vcpus = 48
memory_bytes = 190_000_000_000
network_bytes_s = 6.25e9
on_demand_usd_hour = 5.0
source = "an old price list"
seen = "2025-01-01"

[instance.north-small]
cloud = "north"
region = "north-2"
accelerator = "small"
count = 1
vcpus = 4
memory_bytes = 16_000_000_000
on_demand_usd_hour = 0.8
source = "an old price list"
seen = "2025-01-01"

[serverless.north-runs]
cloud = "north"
region = "north-1"
accelerator = "small"
usd_second = 0.0004
cold_start_s = [4.0, 5.0]
source = "a price list"
seen = "2026-11-01"
"""
RENTED = ("on_demand", "reserved_1y", "spot")


_FOLDER = tempfile.TemporaryDirectory(prefix="plans-")  # Gone when the tests end.


@cache
def catalogue(text: str = CATALOGUE) -> Path:
    """Write a catalogue file and give its path; the same text has the same path."""
    path = Path(_FOLDER.name) / f"{len(list(Path(_FOLDER.name).iterdir()))}.toml"
    path.write_text(text, "utf-8")
    return path


def load(rps=3.0, prompt=1200.0, answer=400.0, **more):
    """Make about the load of the first example, but for what a test cares about."""
    return Load(rps=rps, prompt=prompt, answer=answer, **more)


def asked(model=QWEN_32B, of=None, ttft=1.0, tpot=0.05, survive=1, **more):
    """Ask for a plan of the made-up cloud."""
    usual = {"clouds": ("north",), "catalogue": catalogue(), "today": TODAY, "tenures": RENTED}
    return Request(
        model=model, load=of or load(),
        objectives=Objectives(ttft_p95_s=ttft, tpot_p95_s=tpot, survive=survive),
        **(usual | more),
    )  # fmt: skip


@cache
def north():
    """Plan the first example for the made-up cloud and own servers of its accelerator."""
    machines = (Machine(accelerator="big", per_machine=8),)
    return make(asked(tenures=("owned", *RENTED), hardware=machines))


@cache
def first():
    """Plan the first example with all that the catalogue has."""
    return make(
        Request(
            model=QWEN_32B, load=load(), objectives=Objectives(ttft_p95_s=1.0, tpot_p95_s=0.05),
            today=TODAY, catalogue=catalogue("[accelerator.h100]\nusd = 30_000.0\n"),
        )
    )  # fmt: skip
