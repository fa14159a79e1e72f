"""Who is told of which alert, when, and of what only once?

Pages go to whoever is on call, at once and again every hour; tickets are gathered and repeated
once a day. When no gateway answers, that is the one thing worth telling. A page of an alert makes
its ticket silent.

Secrets stand in no file here: Alertmanager reads each from a file named like its variable in
SECRETS. Fields that end in `_file` are as Alertmanager 0.26 has them; 0.25 knows none for webhooks
and PagerDuty.

Not here: where these files come from (`compose`, the README).
"""

from typing import Any, Final

from baseload.config.deploying import Receiver
from baseload.config.references import variables_in
from baseload.render.picture import Picture

SECRETS: Final = "/run/secrets"
"""Where secrets are mounted, in the stack and in a cluster."""
ALIKE: Final = ("alertname", "cluster", "model", "backend", "instance", "limit")
"""A page and a ticket that agree in these are about the same trouble."""
_TITLE: Final = "{{ .CommonAnnotations.summary }}"
_TEXT: Final = """\
{{ range .Alerts }}{{ .Annotations.summary }}: {{ .Annotations.description }}
{{ .Annotations.runbook_url }}
{{ end }}"""

Setting = dict[str, Any]


def config(picture: Picture) -> Setting:
    """Give Alertmanager's configuration."""
    said = picture.deploy.monitoring
    return {
        **_by_mail(picture),
        "route": _route(),
        "inhibit_rules": _inhibited(),
        "receivers": [
            _receiver("page", said.page), _receiver("ticket", said.ticket),
            {"name": "watchdog"}, {"name": "nobody"},
        ],
    }  # fmt: skip


def secrets(picture: Picture) -> tuple[str, ...]:
    """Give the names of variables whose files must be there."""
    said = picture.deploy.monitoring
    told = [each.to for each in (said.page, said.ticket) if each and each.kind != "email"]
    if _is_by_mail(picture) and said.smtp and said.smtp.user:
        told.append(said.smtp.password)
    return tuple(dict.fromkeys(name for text in told for name in variables_in(text)))


def _route() -> Setting:
    return {
        "receiver": "nobody",
        "group_by": ["alertname", "cluster", "model", "backend"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
        "routes": [
            {
                "receiver": "watchdog",
                "matchers": ['alertname="Watchdog"'],
                "group_interval": "1m",
                "repeat_interval": "1m",
            },
            {
                "receiver": "page",
                "matchers": ['severity="page"'],
                "group_wait": "10s",
                "repeat_interval": "1h",
            },
            {"receiver": "ticket", "matchers": ['severity="ticket"'], "repeat_interval": "24h"},
        ],
    }


def _inhibited() -> list[Setting]:
    return [
        {
            "source_matchers": ['alertname="GatewaysAreDown"'],
            "target_matchers": ['alertname!="GatewaysAreDown"', 'severity!="none"'],
            "equal": ["cluster"],
        },
        {
            "source_matchers": ['severity="page"'],
            "target_matchers": ['severity="ticket"'],
            "equal": list(ALIKE),
        },
    ]


def _receiver(name: str, said: Receiver | None) -> Setting:
    """Give a receiver; one that nobody is behind shows its alerts on Alertmanager's page only."""
    if said is None:
        return {"name": name}
    kept = "".join(f"{SECRETS}/{variable}" for variable in variables_in(said.to))
    always: Setting = {"send_resolved": True}
    return {"name": name} | {
        "webhook": {"webhook_configs": [{"url_file": kept, **always}]},
        "slack": {
            "slack_configs": [{"api_url_file": kept, "title": _TITLE, "text": _TEXT, **always}]
        },
        "pagerduty": {
            "pagerduty_configs": [
                {"routing_key_file": kept, "description": _TITLE, "severity": _severity(name),
                 **always}
            ]
        },
        "email": {
            "email_configs": [{"to": said.to, "headers": {"subject": _TITLE}, **always}]
        },
    }[said.kind]  # fmt: skip


def _severity(name: str) -> str:
    return {"page": "critical"}.get(name, "warning")


def _is_by_mail(picture: Picture) -> bool:
    said = picture.deploy.monitoring
    return any(each and each.kind == "email" for each in (said.page, said.ticket))


def _by_mail(picture: Picture) -> Setting:
    smtp = picture.deploy.monitoring.smtp
    if smtp is None or not _is_by_mail(picture):
        return {}
    found: Setting = {"smtp_smarthost": smtp.host, "smtp_from": smtp.sender}
    if smtp.user:
        (variable,) = variables_in(smtp.password)
        found |= {
            "smtp_auth_username": smtp.user,
            "smtp_auth_password_file": f"{SECRETS}/{variable}",
        }
    return {"global": found}
