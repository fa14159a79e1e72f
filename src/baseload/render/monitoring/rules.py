"""Which rules does Prometheus need for this fleet?

The same groups stand in the rule files here and in the PrometheusRule of Kubernetes. What a fleet
does not have (TLS, Redis, engines) has no alerts.

Not here: their tests (`trials`), what Prometheus asks (`scrape`).
"""

from baseload.render.monitoring import enginerules, machinery, objectives, service
from baseload.render.monitoring.alerts import Rule
from baseload.render.picture import Picture

FILES = ("objectives", "service", "gateway", "engines")


def by_file(picture: Picture) -> dict[str, list[Rule]]:
    """Give rule groups by the name of their file."""
    found = (
        objectives.groups(picture), service.groups(picture),
        machinery.groups(picture), enginerules.groups(picture),
    )  # fmt: skip
    return dict(zip(FILES, found, strict=True))


def groups(picture: Picture) -> list[Rule]:
    """Give all rule groups."""
    return [group for groups in by_file(picture).values() for group in groups]
