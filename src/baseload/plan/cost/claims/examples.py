"""Which claims are worked out?

Not here: how each is (`cluster`, `calls`, `starts`).
"""

from baseload.plan.cost.claims.calls import calls_claim
from baseload.plan.cost.claims.claim import Claim
from baseload.plan.cost.claims.cluster import cluster_claim
from baseload.plan.cost.claims.starts import cold_claim, load_claim


def worked_examples() -> tuple[Claim, ...]:
    """Give all claims, worked out."""
    return (cluster_claim(), calls_claim(), cold_claim(), load_claim())
