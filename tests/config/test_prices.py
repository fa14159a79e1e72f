"""The prices that come with the program, and those of a fleet file that take their place."""

from datetime import date

from baseload.config.default import default_fleet
from baseload.config.prices import known_rows, prices_of
from baseload.config.reading import parse_fleet
from baseload.core.rates import Rate, Tariff
from tests.config.test_bad_files import lines_of

NOW = "2026-11-26T12:00"
FLEET = """\
backends:
  far: {url: https://API.deepseek.com/v1}
  beta: {url: https://api.deepseek.com/beta}
  near: {url: http://gpu-1.example:8000/v1}
  cpu: {engine: llama.cpp, model: m}
models:
  m: {tiers: [{far: {model: deepseek-flash}}, {beta: {model: m}}, {near: {model: m}, cpu: {model: m}}]}
"""
OWN = """\
prices:
  - {backend: far, model: deepseek-flash, since: 2026-01-01, input_usd_mtok: 9, output_usd_mtok: 9}
  - {backend: near, model: m, since: 2026-01-01T08:00, input_usd_mtok: 1, output_usd_mtok: 1,
     peak: {hours: ["08:00-18:00"], factor: 1.5, weekdays_only: yes, off_days: [2026-12-25]}}
"""


def _rate(text: str, backend: str, model: str) -> Rate | None:
    return Tariff(prices_of(parse_fleet(text, "f", {}))).rate(backend, model, NOW)


def test_every_row_says_where_it_is_from():
    """A price without a source and a day on which it was seen is a rumour."""
    for row in known_rows():
        assert row.source.startswith("https://")
        assert date.fromisoformat(row.seen) >= date(2026, 8, 1)
        assert row.cached_usd_mtok < row.input_usd_mtok <= row.output_usd_mtok
        assert row.models


def test_a_backend_has_the_prices_of_its_host():
    """Whatever it is called in the fleet, and whatever path follows the host."""
    flash = Rate(0.15, 0.003, 0.6)

    assert flash == _rate(FLEET, "far", "deepseek-flash")
    assert flash == _rate(FLEET, "beta", "deepseek-flash")
    assert _rate(FLEET, "near", "deepseek-flash") is None
    assert _rate(FLEET, "cpu", "m") is None


def test_the_built_in_fleet_has_prices():
    """What it asks DeepSeek for can be paid for."""
    fleet = default_fleet({"DEEPSEEK_API_KEY": "k"})
    tariff = Tariff(prices_of(fleet))
    asked = {
        target.model for model in fleet.models.values() for tier in model.tiers
        for name, target in tier.items() if name == "deepseek"
    }  # fmt: skip

    assert asked
    assert None not in [tariff.rate("deepseek", model, NOW) for model in asked]


def test_the_files_own_prices_take_their_place():
    """All rows of that model at that backend, also those that begin later; no others."""
    assert Rate(9.0, 9.0, 9.0) == _rate(FLEET + OWN, "far", "deepseek-flash")
    assert Rate(0.66, 0.022, 1.98) == _rate(FLEET + OWN, "far", "deepseek-v4-pro")
    assert Rate(1.5, 1.5, 1.5) == _rate(FLEET + OWN, "near", "m")


def test_a_price_for_nobody_is_a_mistake():
    """The name is most likely misspelt, and its calls would have no cost."""
    bad = OWN.replace("backend: far", "backend: fra")

    assert [
        "f:9:15: prices[0].backend: no such backend (did you mean `far`?)"
    ] == lines_of(FLEET + bad)  # fmt: skip


def test_hours_must_be_hours():
    """A clock that does not exist is named."""
    (line,) = lines_of(FLEET + OWN.replace("08:00-18:00", "8-18"))

    assert line.startswith("f:11:21: prices[1].peak.hours[0]: ")
