"""What do others offer who run models themselves? Providers' APIs, and serverless services.

An API is a way if it serves the very weights that were asked for; DeepSeek's own serves newer ones
under every name, so it is a way only where any model will do. How fast an API answers under load is
not known beforehand: such a way has no speed, and a gateway in front of it measures.

Not here: prices (`catalog`), what a month of calls costs (`cost.api`, `cost.serverless`).
"""

from datetime import date

import msgspec

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import ApiPrice, Serverless
from baseload.plan.cost.api import api, calls_of
from baseload.plan.cost.serverless import Need, refusals
from baseload.plan.evidence import api_formulas, figure
from baseload.plan.models.huggingface import ModelError
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.places import Place, priceless
from baseload.plan.request import Request
from baseload.plan.result import Refused, Way
from baseload.plan.sizing import tokens_month

DEEPSEEK = "api.deepseek.com"
CURRENT = ("deepseek-flash", "deepseek-v4-pro")
"""DeepSeek's own names of what it serves now; its other names are the same at the same price."""
API_AVAILABILITY = 0.995
"""Of a provider's API. Assumption, as is often said of one site: no published
measurement of an LLM API's availability was found."""

API_NOTE = (
    f"An API's availability is taken to be {API_AVAILABILITY:.1%}, and nothing is known of how fast"
    " it answers: no measurement of either was found."
)


def api_ways(shape: Shape, request: Request, catalogue: Catalogue) -> list[Way]:
    """Give APIs that serve the model, or any of DeepSeek's where any model will do."""
    if "api" not in request.tenures or request.clouds or request.region:
        return []
    rows = [row for row in catalogue.apis.values() if serves(row, shape)]
    if request.any_model:
        rows += [row for row in catalogue.apis.values() if _is_current(row) and row not in rows]
    return [api_way(row, request) for row in rows]


def serves(row: ApiPrice, shape: Shape) -> bool:
    """Say whether an API has the very weights."""
    if row.host == DEEPSEEK:
        return False
    try:
        return find(row.model).name == shape.name
    except ModelError:
        return False


def _is_current(row: ApiPrice) -> bool:
    return row.host == DEEPSEEK and row.model in CURRENT


def api_way(row: ApiPrice, request: Request) -> Way:
    """Give the way to have all calls answered by one API."""
    bill = api(row, calls_of(request.load, float(request.months)))
    way = Way(
        name=row.name, tenure="api", hardware=row.name, cloud=row.host, usd_month=bill.usd_month,
        usd_horizon=bill.usd_horizon, usd_mtok=bill.usd_mtok(tokens_month(request.load)),
        costs=bill.costs, availability=API_AVAILABILITY,
        figures=(
            figure(
                f"{row.name} prices",
                f"${row.input_usd_mtok:g} in, ${row.cached_usd_mtok:g} cached, "
                f"${row.output_usd_mtok:g} out per Mtok",
                row, date.fromisoformat(request.today),
            ),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(way, formulas=api_formulas(way, row, request.load))


def other_models(request: Request, catalogue: Catalogue) -> list[Way]:
    """Give DeepSeek's own API, whose weights are other ones, for comparison."""
    if "api" not in request.tenures:
        return []
    return [api_way(row, request) for row in catalogue.apis.values() if _is_current(row)]


# -- serverless ---------------------------------------------------------------------------------


def need_of(shape: Shape, request: Request) -> Need:
    """Give what a service must allow: the slowest call that keeps objectives, and the weights."""
    load, objectives = request.load, request.objectives
    return Need(
        run_max_s=objectives.ttft_p95_s + load.answer * objectives.tpot_p95_s,
        memory_bytes=shape.weight_bytes(request.precision or shape.native),
    )


def serverless_places(
    request: Request, catalogue: Catalogue, need: Need
) -> tuple[list[Place], list[Refused]]:
    """Give services that could run the model, as places of one accelerator, and those that not."""
    if "serverless" not in request.tenures:
        return [], []
    found: list[Place] = []
    refused: list[Refused] = []
    for row in catalogue.serverless.values():
        if request.clouds and row.cloud not in request.clouds:
            continue
        if request.region not in {None, row.region}:
            continue
        limits = refusals(row, need)
        if limits:
            refused.append(limits[0])
        elif row.usd_second is None or row.accelerator is None:
            refused.append(priceless(row.name))
        elif row.cold_start_s is None:
            refused.append(_for_jobs(row))
        else:
            found.append(_place(row, catalogue, row.usd_second))
    return found, refused


def _place(row: Serverless, catalogue: Catalogue, usd_second: float) -> Place:
    assert row.accelerator is not None
    return Place(
        name=row.name, site=f"{row.cloud} {row.region}", cloud=row.cloud,
        accelerator=catalogue.accelerators[row.accelerator], per_machine=1, network=None,
        machines_max=None, usd_hour={"serverless": usd_second * 3600}, row=row,
    )  # fmt: skip


def _for_jobs(row: Serverless) -> Refused:
    return Refused(
        name=row.name, objective="capability", wanted="a start that callers can wait for",
        found="machines that start in minutes, for jobs",
    )  # fmt: skip
