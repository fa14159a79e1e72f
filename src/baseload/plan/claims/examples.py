"""Which claims are worked out, and with which rows of the catalogue?

What a claim says stays as it was said; what things cost and can do today comes from the catalogue.

Not here: how each is worked out (the modules beside this one).
"""

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.claims.calls import Traffic, calls_claim
from baseload.plan.claims.claim import Claim
from baseload.plan.claims.cluster import Cluster, cluster_claim
from baseload.plan.claims.failover import failover_claim
from baseload.plan.claims.narrow import Narrow, narrow_claim
from baseload.plan.claims.petabyte import Petabyte, petabyte_claim
from baseload.plan.claims.sizes import Sizes, Sold, sizes_claim
from baseload.plan.claims.starts import cold_claim, load_claim

P4D, P5, P5_ONE = "p4d.24xlarge", "p5.48xlarge", "p5.4xlarge"
API, FUNCTIONS = "api.deepseek.com/deepseek-v4-pro", "aws-lambda"
PORT, DRIVE = "infiniband-hdr", "nvme-gen4"
NARROW = "a100-80"
LARGEST = {
    P4D: (1.2e12, 40e9), "Standard_ND96asr_v4": (800e9, 40e9),
    "GN10Xp.20XLARGE320": (600e9, 32e9),
}  # fmt: skip
"""By machine: parameters as the claim has them, and memory by which an accelerator is sold."""


def worked_examples(catalogue: Catalogue) -> tuple[Claim, ...]:
    """Give all claims, worked out with a catalogue's rows."""
    instances = catalogue.instances
    traffic = Traffic(
        now=catalogue.apis[API], one=instances[P5_ONE], eight=instances[P5],
        functions=catalogue.serverless[FUNCTIONS],
    )  # fmt: skip
    petabyte = Petabyte(
        port=catalogue.links[PORT], machine=instances[P5], drive=catalogue.storage[DRIVE]
    )
    return (
        cluster_claim(Cluster(p4d=instances[P4D])), calls_claim(traffic), cold_claim(),
        load_claim(), sizes_claim(Sizes(machines=_sold(catalogue))), petabyte_claim(petabyte),
        narrow_claim(Narrow(accelerator=catalogue.accelerators[NARROW])), failover_claim(),
    )  # fmt: skip


def _sold(catalogue: Catalogue) -> tuple[Sold, ...]:
    return tuple(
        Sold(
            instance=(row := catalogue.instances[name]),
            accelerator=catalogue.accelerators[row.accelerator],
            params=params, sold_bytes=sold,
        )
        for name, (params, sold) in LARGEST.items()
    )  # fmt: skip
