"""What runs on somebody's desk, with one command, to see the whole at work?

A gateway that answers on the CPU, Prometheus with the fleet's rules, Alertmanager with its routes
and Grafana with its dashboards; with the profile `gpu`, vLLM too. Every port is on loopback only,
nobody has a privilege, and root filesystems are read-only. Secrets come from files that lie beside
the stack and are in no rendering.

Not here: the fleet that the gateway serves (`stack`), running any of it for other people.
"""

from typing import Any, Final

from baseload.render.monitoring import alertmanager, stack
from baseload.render.monitoring.scrape import PROMETHEUS_PORT
from baseload.render.picture import PORT, Picture

IMAGES: Final = {
    "prometheus": "prom/prometheus:v3.13.2",
    "alertmanager": "prom/alertmanager:v0.34.0",
    "grafana": "grafana/grafana:13.1.3",
}
"""Prometheus' is its long-term line."""
USER: Final = "65532"
"""Whom the gateway's image runs as."""
CALLERS_PORT: Final = 8080

Setting = dict[str, Any]


def services(picture: Picture) -> Setting:
    """Give the stack."""
    secrets = alertmanager.secrets(picture)
    kept = {name: {"file": f"${{SECRETS:-./secrets}}/{name}"} for name in secrets}
    return {
        "name": picture.deploy.name,
        "services": {
            "gateway": _gateway(picture),
            "engine": _engine(picture),
            "prometheus": _prometheus(),
            "alertmanager": _alertmanager(secrets),
            "grafana": _grafana(),
        },
        "volumes": {"prometheus": {}, "alertmanager": {}, "grafana": {}, "weights": {}},
        **({"secrets": kept} if kept else {}),
    }


def _service(image: str, *, ports: dict[int, int], check: list[str]) -> Setting:
    """Give what all have: ports on loopback, no privileges, a check.

    Images are asked by a program that is there for its own sake: not all have a shell or wget.
    """
    return {
        "image": image,
        "restart": "unless-stopped",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp"],  # noqa: S108  # a memory disk of the container's own
        "ports": [f"127.0.0.1:{outside}:{inside}" for outside, inside in ports.items()],
        "healthcheck": {
            "test": ["CMD", *check],
            "interval": "10s",
            "timeout": "5s",
            "retries": 6,
            "start_period": "30s",
        },
    }


def _asked_by_python(python: str, url: str) -> list[str]:
    return [python, "-c", f"from urllib.request import urlopen; urlopen({url!r}, timeout=4)"]


def _mount(source: str, target: str) -> str:
    return f"{source}:{target}:ro"


def _gateway(picture: Picture) -> Setting:
    check = _asked_by_python("python", "http://127.0.0.1:9090/readyz")
    ports = {CALLERS_PORT: CALLERS_PORT, 9090: 9090}
    service = _service(
        f"${{BASELOAD_IMAGE:-{picture.deploy.gateway.image}}}", ports=ports, check=check
    )
    return service | {
        "command": ["up", "-c", "/etc/baseload/baseload.yaml"],
        "env_file": ["gateway.env"],
        # What is written is gone with the container: it is a stack to look at.
        "tmpfs": ["/tmp", f"{stack.STATE}:uid={USER},gid={USER},mode=0700"],  # noqa: S108
        "volumes": [
            _mount("${BASELOAD_FILE:-./fleet/cpu.yaml}", "/etc/baseload/baseload.yaml"),
        ],
        "stop_grace_period": "1m",
    }


def _engine(picture: Picture) -> Setting:
    check = _asked_by_python("python3", f"http://127.0.0.1:{PORT}/health")
    service = _service(stack.image(picture), ports={}, check=check)
    gpu = {"driver": "nvidia", "count": stack.gpus(picture), "capabilities": ["gpu"]}
    health = service["healthcheck"] | {"start_period": "20m"}
    return {key: value for key, value in service.items() if key not in ("read_only", "ports")} | {
        "profiles": ["gpu"],
        "entrypoint": ["vllm", "serve"],
        "command": stack.arguments(picture),
        "ipc": "private",
        "shm_size": "8gb",
        "volumes": ["weights:/root/.cache/huggingface"],
        "healthcheck": health,
        "deploy": {"resources": {"reservations": {"devices": [gpu]}}},
    }


def _prometheus() -> Setting:
    service = _service(
        IMAGES["prometheus"], ports={PROMETHEUS_PORT: 9090},
        check=["promtool", "check", "ready", "--url=http://127.0.0.1:9090"],
    )  # fmt: skip
    return service | {
        "command": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=15d",
            f"--web.external-url=http://localhost:{PROMETHEUS_PORT}",
        ],
        "volumes": [
            _mount("./prometheus/local.yml", "/etc/prometheus/prometheus.yml"),
            _mount("./prometheus/rules", "/etc/prometheus/rules"),
            "prometheus:/prometheus",
        ],
    }


def _alertmanager(secrets: tuple[str, ...]) -> Setting:
    service = _service(
        IMAGES["alertmanager"], ports={9093: 9093},
        check=["amtool", "--alertmanager.url=http://127.0.0.1:9093", "cluster", "show"],
    )  # fmt: skip
    return service | {
        "command": [
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--web.external-url=http://localhost:9093",
            "--cluster.listen-address=",
        ],
        "volumes": [
            _mount("./alertmanager/alertmanager.yml", "/etc/alertmanager/alertmanager.yml"),
            "alertmanager:/alertmanager",
        ],
        **({"secrets": list(secrets)} if secrets else {}),
    }


def _grafana() -> Setting:
    service = _service(
        IMAGES["grafana"], ports={3000: 3000},
        check=["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:3000/api/health"],
    )  # fmt: skip
    return service | {
        "env_file": ["grafana.env"],
        "environment": {
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        },
        "volumes": [
            _mount("./grafana/provisioning", "/etc/grafana/provisioning"),
            _mount("./grafana/dashboards", "/var/lib/grafana/dashboards"),
            "grafana:/var/lib/grafana",
        ],
        "depends_on": {"prometheus": {"condition": "service_healthy"}},
    }
