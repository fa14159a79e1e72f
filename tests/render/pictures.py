"""Pictures to render in tests, from files in `data/`."""

from datetime import date
from pathlib import Path

from baseload.config.reading import read_referring
from baseload.plan.catalog.reading import load
from baseload.plan.result import Plan
from baseload.render.picture import Picture
from baseload.render.refusing import Complaints
from baseload.render.settling import settle

DATA = Path(__file__).parent / "data"
FULL = DATA / "full.yaml"
TODAY = date(2026, 11, 26)


def picture(path: Path = FULL, plan: Plan | None = None) -> Picture:
    """Give the picture of a fleet file as of a fixed day."""
    fleet, places, mistakes, variables = read_referring(path)
    return settle(
        fleet, load(today=TODAY), Complaints(places, mistakes), plan=plan,
        sources=("baseload.yaml",), variables=variables,
    )  # fmt: skip
