"""The one place where a gateway is made for `baseload up`, with all that belongs to it.

Whatever a gateway is given beyond its fleet (counters, a ledger) is opened here, so that one
process and each of several workers have the same.
"""

from baseload.config.fleet import Fleet
from baseload.gateway.gateway import Gateway


def make_gateway(fleet: Fleet, concurrency: dict[str, int]) -> Gateway:
    """Make a gateway inside the running loop; `concurrency` is what engines know better."""
    return Gateway(fleet, concurrency)
