"""What a way rests on: prices grow old, what hardware can do does not."""

from datetime import date

from baseload.plan.catalog.reading import load
from baseload.plan.evidence import figures_of
from baseload.plan.hardware.machines import SERVER
from baseload.plan.models.known import find
from baseload.plan.places import places
from baseload.plan.request import Machine
from baseload.plan.units import Sizer
from tests.plan import plans

LATER = date(2030, 1, 1)


def _figures(precision=None):
    request = plans.asked(
        tenures=("owned",), hardware=(Machine(accelerator="big", per_machine=SERVER),)
    )
    (place,), _ = places(request, load(plans.catalogue(), today=LATER))
    sizer = Sizer(find(plans.QWEN_32B), request.load, request.objectives, precision)
    return figures_of(sizer.tried(place).units[0], "owned", LATER)


def test_what_was_paid_to_buy_grows_old():
    """Years later the price of an accelerator is stale, and its memory and bandwidth are not."""
    stale = {figure.what for figure in _figures() if figure.is_stale}

    assert {"big to buy"} == stale


def test_operations_are_those_that_are_reckoned_with():
    """Weights of 4 bits are widened before they are multiplied, so the 16-bit figure counts."""
    what = [figure.what for figure in _figures("int4")]

    assert "big bf16 operations" in what
