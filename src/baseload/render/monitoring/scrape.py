"""Whom does Prometheus ask, how often, and whom does it tell?

Two configurations with the same rules. `prometheus.yml` is for a Prometheus inside the cluster: it
finds gateways and engines by their labels, and asks engines in clouds by name. `local.yml` is for
the stack on somebody's desk, where everybody is one service of that name.

Where a Prometheus operator runs, neither is needed: the Kubernetes rendering has monitors for it.

Not here: the rules (`rules`), the stack (`compose`).
"""

from typing import Any, Final
from urllib.parse import urlsplit

from baseload.render.monitoring.alerts import span
from baseload.render.picture import PORT, Engine, Picture

ADMIN_PORT: Final = 9090
"""Where a gateway shows its metrics."""
PROMETHEUS_PORT: Final = 9091
"""On somebody's desk: 9090 is the gateway's there."""
TIMEOUT_MAX_S: Final = 10
_POD: Final = "__meta_kubernetes_pod_"

Setting = dict[str, Any]


def cluster(picture: Picture) -> Setting:
    """Give the configuration for a Prometheus in the cluster."""
    jobs = [_gateways(picture)]
    if picture.in_clusters:
        jobs.append(_engines(picture))
    jobs += [job for group in picture.groups if (job := _outside(picture, group.engine))]
    return _config(picture, jobs)


def local(picture: Picture) -> Setting:
    """Give the configuration for the stack."""
    engine = {
        "job_name": "engines",
        # There is an address only while the profile `gpu` runs, and no target without one.
        "dns_sd_configs": [{"names": ["engine"], "type": "A", "port": PORT}],
        "relabel_configs": [{"target_label": "backend", "replacement": "engine"}],
    }
    gateway = {
        "job_name": "baseload",
        "static_configs": [
            {"targets": [f"gateway:{ADMIN_PORT}"], "labels": {"stack": "local"}},
        ],
    }
    return _config(picture, [gateway, engine])


def _config(picture: Picture, jobs: list[Setting]) -> Setting:
    every_s = picture.deploy.monitoring.interval_s
    own = [
        {"job_name": name, "static_configs": [{"targets": [address]}]}
        for name, address in (("prometheus", "localhost:9090"), ("alertmanager", _TOLD))
    ]
    return {
        "global": {
            "scrape_interval": span(every_s),
            "scrape_timeout": span(min(every_s, TIMEOUT_MAX_S)),
            "evaluation_interval": span(every_s),
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_TOLD]}]}]},
        "scrape_configs": [*jobs, *own],
    }


_TOLD: Final = "alertmanager:9093"


def _gateways(picture: Picture) -> Setting:
    return _pods(picture, "baseload", "gateway", "admin")


def _engines(picture: Picture) -> Setting:
    job = _pods(picture, "engines", "engine", "http")
    label = {
        "source_labels": [f"{_POD}label_baseload_dev_backend"],
        "target_label": "backend",
    }
    return {**job, "relabel_configs": [*job["relabel_configs"], label]}


def _pods(picture: Picture, job: str, component: str, port: str) -> Setting:
    chosen = {
        f"{_POD}label_app_kubernetes_io_part_of": "baseload",
        f"{_POD}label_app_kubernetes_io_component": component,
        f"{_POD}container_port_name": port,
        # Pods that are done keep their labels, and answer nobody.
        f"{_POD}phase": "Running",
    }
    return {
        "job_name": job,
        "kubernetes_sd_configs": [
            {"role": "pod", "namespaces": {"names": [picture.deploy.namespace]}}
        ],
        "relabel_configs": [
            *(
                {"source_labels": [name], "regex": wanted, "action": "keep"}
                for name, wanted in chosen.items()
            ),
            {"source_labels": [f"{_POD}name"], "target_label": "instance"},
        ],
    }


def _outside(picture: Picture, engine: Engine) -> Setting | None:
    """Ask an engine in a cloud where the gateway asks it, under the label of all engines' job."""
    url = urlsplit(picture.fleet.backends[engine.name].url or "")
    if not url.netloc:
        return None
    return {
        "job_name": f"engines-{engine.slug}",
        "scheme": url.scheme,
        "static_configs": [
            {"targets": [url.netloc], "labels": {"job": "engines", "backend": engine.name}}
        ],
    }
