"""What does somebody need to know who finds the rendered folder?

Not here: what each alert means (`docs/runbooks.md`).
"""

from baseload.render.files import File, header
from baseload.render.monitoring import alertmanager, objectives
from baseload.render.monitoring.alerts import number
from baseload.render.monitoring.scrape import PROMETHEUS_PORT
from baseload.render.picture import Picture

_PATH = "README.md"
_TEXT = """\
# Monitoring {name}

| file | what it is |
| --- | --- |
| `prometheus/prometheus.yml` | whom a Prometheus in the cluster asks |
| `prometheus/rules/` | recorded series and alerts |
| `prometheus/tests/` | their tests, for promtool |
| `alertmanager/alertmanager.yml` | who is told; Alertmanager 0.26 or newer |
| `grafana/` | dashboards, and how Grafana finds them |
| `compose.yaml`, `prometheus/local.yml`, `fleet/` | a stack to look at, on one machine |

The Kubernetes rendering has the same rules as a PrometheusRule, and monitors for an operator.
Without one, Prometheus needs a role that lets it list the pods of `{namespace}`.

## What is promised

- {availability} % of calls do not fail. What a caller gave up, got wrong or was refused by a
  limit of its own counts neither way.
- {share} % of first tokens come within {promised} s. The gateway counts seconds in buckets, so
  this is judged at the edge of one: {edge} s.

Alerts fire when what may go wrong in 30 days is used up too fast: over an hour and six hours
somebody is paged, over one day and three it becomes a ticket. Other alerts name causes.

```sh
cd prometheus/tests && promtool test rules *.test.yml
```

shows that each alert fires when it should, and is silent just within its bounds.

## Who is told

{told}

`Watchdog` always fires. Send the receiver `watchdog` to a service that expects to be called, and
calls you when it is not: nothing else tells you that alerting itself is broken.

## The stack

```sh
cp gateway.env.example gateway.env && cp grafana.env.example grafana.env    # and fill them in
{secrets}docker compose up -d
docker compose exec gateway baseload status -c /etc/baseload/baseload.yaml
```

Callers are served at http://localhost:8080/v1, under the names of this fleet's models, by the small
embedded model. On this machine only are the gateway's page at http://localhost:9090, Grafana at
http://localhost:3000, Prometheus at http://localhost:{prometheus} and Alertmanager at
http://localhost:9093.

- The image is `{image}`, or what `BASELOAD_IMAGE` names. Build it in a checkout of Baseload:
  `docker build -f DIR/Containerfile -t {image} .`, with DIR being the Kubernetes rendering. The
  embedded engine and its weights are in it.
- `BASELOAD_FILE=./fleet/gpu.yaml docker compose --profile gpu up -d` puts vLLM on a GPU before it.
- `BASELOAD_FILE=/path/to/baseload.yaml` serves another fleet. It has to listen on 0.0.0.0, and
  `gateway.env` has to have its variables.
- The gateway's ledger is gone when its container is.
"""


def file(picture: Picture) -> File:
    """Give the README."""
    said = picture.deploy.monitoring
    secrets = alertmanager.secrets(picture)
    text = _TEXT.format(
        name=picture.deploy.name,
        image=picture.deploy.gateway.image,
        namespace=picture.deploy.namespace,
        availability=number(said.availability * 100),
        share=number(said.first_token_share * 100),
        promised=number(said.first_token_s),
        edge=number(objectives.edge_s(said.first_token_s)),
        told=_told(picture),
        secrets="".join(
            ["install -d secrets\n", *(f"printf %s '…' > secrets/{name}\n" for name in secrets)]
            if secrets else []
        ),
        prometheus=PROMETHEUS_PORT,
    )  # fmt: skip
    return File(path=_PATH, text=header(_PATH, picture.sources) + "\n" + text)


def _told(picture: Picture) -> str:
    said = picture.deploy.monitoring
    lines = [
        f"- `{name}`: {f'by {receiver.kind}' if receiver else 'nobody yet; set'}"
        f"{'' if receiver else f' `deploy.monitoring.{name}` in the fleet file'}"
        for name, receiver in (("page", said.page), ("ticket", said.ticket))
    ]
    names = ", ".join(f"`{alertmanager.SECRETS}/{name}`" for name in alertmanager.secrets(picture))
    after = f"\n\nAlertmanager reads {names}: mount them there." if names else ""
    return "\n".join(lines) + after
