"""Rows as the catalogue had them on 2026-11-26, for texts that must not change with prices.

Only what claims use is in them as it was; the rest of a machine is filled in.
"""

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Accelerator, ApiPrice, Instance, Link, Serverless, Storage

SKYPILOT = "skypilot-catalog v8, aws/vms.csv, commit 00148f2a"
TENCENT = "Tencent Cloud documentation, GPU Service: Computing Instance"
AZURE = "skypilot-catalog, catalogs/v6/azure/vms.csv, 098741e7"
AICONFIGURATOR = "aiconfigurator_core 0.12.0, systems/a100_sxm.yaml"


def _instance(  # noqa: PLR0917 - a row of a table
    name, cloud, region, accelerator, count, network_bytes_s, usd, source=SKYPILOT, spot=None,
    spots=None, seen="2026-11-09",
):  # fmt: skip
    return Instance(
        name=name, cloud=cloud, region=region, accelerator=accelerator, count=count, vcpus=96,
        memory_bytes=2**40, network_bytes_s=network_bytes_s, on_demand_usd_hour=usd,
        spot_usd_hour=spot, spot_range_usd_hour=spots, source=source, seen=seen,
        verified=True,
    )  # fmt: skip


def _accelerator(name, memory_bytes, bandwidth_bytes_s, flops, source, verified=True):
    return Accelerator(
        name=name, vendor="NVIDIA", memory_bytes=memory_bytes, tdp_w=400.0,
        bandwidth_bytes_s=bandwidth_bytes_s, flops=flops, link_bytes_s=3e11, pcie_bytes_s=3.15e10,
        source=source, seen="2026-11-26", verified=verified,
    )  # fmt: skip


P4D = _instance(
    "p4d.24xlarge", "aws", "us-east-1", "a100-40", 8, 5e10, 21.957642, spot=8.0001,
    spots=(2.4655, 8.1915),
)  # fmt: skip
P5 = _instance("p5.48xlarge", "aws", "us-east-1", "h100", 8, 4e11, 55.04)
P5_ONE = _instance("p5.4xlarge", "aws", "us-east-1", "h100", 1, 1.25e10, 6.88, seen="2026-09-10")
NDV4 = _instance("Standard_ND96asr_v4", "azure", "eastus", "a100-40", 8, 2e11, 27.197, AZURE)
GN10XP = _instance(
    "GN10Xp.20XLARGE320",
    "tencent",
    "ap-guangzhou",
    "v100-32",
    8,
    3e9,
    None,
    TENCENT,
    seen="2026-11-26",
)
A100_40 = _accelerator(
    "a100-40", 42_949_672_960, 1.555e12, {"fp32": 1.95e13, "bf16": 3.12e14, "int8": 6.24e14},
    "glennklockwood.com/garden/processors/A100",
)  # fmt: skip
A100_80 = _accelerator(
    "a100-80", 85_899_345_920, 2.039e12, {"fp32": 1.95e13, "bf16": 3.12e14, "int8": 6.24e14},
    AICONFIGURATOR,
)  # fmt: skip
V100 = _accelerator(
    "v100-32", 34_089_205_760, 9e11, {"fp32": 1.57e13, "bf16": 1.25e14}, TENCENT, verified=False
)
PORT = Link(
    name="infiniband-hdr", kind="network", bytes_s=2.5e10, latency_s=1.8e-6,
    source=AICONFIGURATOR, seen="2026-11-26", verified=False,
)  # fmt: skip
DRIVE = Storage(
    name="nvme-gen4", kind="disk", read_bytes_s=7e9, source="what drives of this kind are rated for",
    seen="2026-11-26", verified=False,
)  # fmt: skip
LAMBDA = Serverless(
    name="aws-lambda", cloud="aws", region="us-east-1", run_max_s=900.0,
    memory_max_bytes=10_240 * 2**20, usd_call=0.2e-6, usd_second=10.0 * 0.0000166667,
    source="https://aws.amazon.com/lambda/pricing/ as quoted by many", seen="2026-11-26",
    verified=False,
)  # fmt: skip
API = ApiPrice(
    name="api.deepseek.com/deepseek-v4-pro", host="api.deepseek.com", model="deepseek-v4-pro",
    input_usd_mtok=0.66, cached_usd_mtok=0.022, output_usd_mtok=1.98, peak_factor=2.0,
    peak_share=35 / 168, source="api-docs.deepseek.com/quick_start/pricing", seen="2026-10-18",
    verified=True,
)  # fmt: skip
CATALOGUE = Catalogue(
    accelerators={row.name: row for row in (A100_40, A100_80, V100)},
    links={PORT.name: PORT},
    storage={DRIVE.name: DRIVE},
    instances={row.name: row for row in (P4D, P5, P5_ONE, NDV4, GN10XP)},
    serverless={LAMBDA.name: LAMBDA},
    apis={API.name: API},
)
