"""Real models on real hardware, for property tests of speed."""

from datetime import date

import msgspec
from hypothesis import strategies as st

from baseload.plan.catalog.reading import load
from baseload.plan.hardware.capability import arithmetic
from baseload.plan.hardware.memory import misfit
from baseload.plan.models.known import find
from baseload.plan.speed.layout import Build, Layout

CATALOGUE = load(today=date(2026, 11, 26))
MODELS = (
    "deepseek-r1-distill-qwen-7b", "deepseek-r1-distill-llama-70b", "deepseek-v2-lite",
    "deepseek-v3", "Qwen/Qwen3-235B-A22B-FP8", "openai/gpt-oss-120b", "Qwen/Qwen3.5-397B-A17B",
)  # fmt: skip
"""Dense and grouped heads; latent attention; experts; windows; linear layers."""
DENSE = MODELS[:2]
LAYOUTS = tuple(
    Layout(tp=tp, pp=pp, dp=dp, ep=ep)
    for tp, pp, dp, ep in (
        (1, 1, 1, 1), (2, 1, 1, 1), (8, 1, 1, 1), (16, 1, 1, 1), (8, 1, 1, 8), (1, 1, 8, 8),
        (2, 1, 4, 8), (1, 1, 4, 1), (4, 1, 8, 32), (1, 2, 1, 1), (8, 2, 1, 1), (8, 4, 1, 8),
    )
)  # fmt: skip
"""One accelerator, tensors, experts whole and split, copies of attention, stages; two machines."""
NETWORKS = ("infiniband-hdr", "infiniband-ndr", "ethernet-100")


def build(accelerator, layout=None, precision="bf16", kv_precision="bf16"):
    """Give a build with a row of the catalogue."""
    return Build(
        accelerator=CATALOGUE.accelerators[accelerator], layout=layout or Layout(),
        precision=precision, kv_precision=kv_precision, network=CATALOGUE.links["infiniband-ndr"],
    )  # fmt: skip


def faster(made, what, times):
    """Give a build whose memory, arithmetic or links are so many times as fast."""
    gpu, network = made.accelerator, made.network
    fields = {
        "memory": {"bandwidth_bytes_s": gpu.bandwidth_bytes_s * times},
        "arithmetic": {"flops": {name: rate * times for name, rate in gpu.flops.items()}},
        "links": {
            "link_bytes_s": gpu.link_bytes_s * times,
            "pcie_bytes_s": gpu.pcie_bytes_s * times,
        },
        "network": {},
    }[what]
    if what == "network":
        network = msgspec.structs.replace(
            network, bytes_s=network.bytes_s * times, latency_s=network.latency_s / times
        )
    return msgspec.structs.replace(
        made, accelerator=msgspec.structs.replace(gpu, **fields), network=network
    )


@st.composite
def cases(draw, models=MODELS):
    """Draw a model and a build that can be: heads that can be split so, arithmetic that there is."""
    shape = find(draw(st.sampled_from(models)))
    gpu = CATALOGUE.accelerators[draw(st.sampled_from(sorted(CATALOGUE.accelerators)))]
    is_joined = bool(gpu.link_bytes_s or gpu.pcie_bytes_s)
    can = [one for one in LAYOUTS if not misfit(shape, one)]
    layout = draw(st.sampled_from([one for one in can if is_joined or one.accelerators == 1]))
    can = [each for each in ("bf16", "fp8", "int8", "int4", "fp4") if arithmetic(gpu, each)]
    made = Build(
        accelerator=gpu, layout=layout, precision=draw(st.sampled_from(can)),
        kv_precision=draw(st.sampled_from(["bf16", "fp8"] if "fp8" in gpu.flops else ["bf16"])),
        network=CATALOGUE.links[draw(st.sampled_from(NETWORKS))],
    )  # fmt: skip
    return shape, made
