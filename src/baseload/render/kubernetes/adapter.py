"""What must the Prometheus adapter serve, for autoscalers without KEDA?

The adapter reads one file for the whole cluster. What is given here are values for its own chart:
the gateway's metric, by pod, and the queries of the engines' autoscalers.

Not here: the autoscalers (`scaling`, `engine.external`).
"""

from typing import Any

from baseload.render.files import File, header
from baseload.render.kubernetes.engine import external
from baseload.render.kubernetes.engine.names import About
from baseload.render.kubernetes.engine.scaling import is_scaled
from baseload.render.kubernetes.scaling import METRIC
from baseload.render.picture import Picture
from baseload.render.text import dump

_PATH = "adapter-values.yaml"


def files(picture: Picture) -> tuple[File, ...]:
    """Give the adapter's values, if it is what scales."""
    if picture.deploy.scaler != "hpa":
        return ()
    about = "Values for the chart of the Prometheus adapter, which serves what autoscalers ask for."
    rules = {"custom": [_by_pod()], "external": external_rules(picture)}
    text = dump({"prometheus": _server(picture.deploy.prometheus), "rules": rules})
    return (File(path=_PATH, text=header(_PATH, picture.sources, about) + text),)


def _by_pod() -> dict[str, Any]:
    labels = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
    return {
        "seriesQuery": f'{METRIC}{{namespace!="",pod!=""}}',
        "resources": {"overrides": labels},
        "name": {"matches": f"^{METRIC}$", "as": METRIC},
        "metricsQuery": "sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>})",
    }


def external_rules(picture: Picture) -> list[Any]:
    """Give the rules for all engines' autoscalers."""
    return [
        rule for each in picture.in_clusters
        if is_scaled(each) and each.said.scale_on == "load"
        for rule in external.rules(About(picture, each))
    ]  # fmt: skip


def _server(url: str) -> dict[str, Any]:
    host, _, port = url.rstrip("/").rpartition(":")
    return {"url": host, "port": int(port)} if port.isdigit() else {"url": url}
