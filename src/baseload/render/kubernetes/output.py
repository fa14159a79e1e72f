"""What does `baseload render kubernetes` give: every file, from the parts of the fleet?

Not here: the parts (`gateway`, `watching`, `engines`, `cluster`), and how they become text
(`kustomize`, `chart`).
"""

from baseload.config.mistakes import Mistakes
from baseload.render.files import File
from baseload.render.kubernetes import (
    adapter,
    chart,
    cluster,
    config,
    engines,
    gateway,
    image,
    kustomize,
    readme,
    sites,
    watching,
)
from baseload.render.kubernetes.objects import Part
from baseload.render.monitoring import rules
from baseload.render.picture import Picture


def render(picture: Picture) -> tuple[File, ...]:
    """Give all files, with paths below the output folder. Raises FleetFileError."""
    _refuse(picture)
    parts = build(picture)
    places = sites.places(picture, parts, build)
    return (
        *kustomize.files(picture, parts, places),
        *chart.files(picture, parts, places),
        *adapter.files(picture),
        image.file(picture),
        readme.file(picture, parts, places),
    )


def build(picture: Picture) -> tuple[Part, ...]:
    """Give the parts, in the order in which a person reads them."""
    storage = cluster.storage(picture)
    return (
        cluster.part(picture),
        *((storage,) if storage else ()),
        gateway.part(picture),
        watching.part(picture, rules.groups(picture)),
        *engines.parts(picture),
    )


def _refuse(picture: Picture) -> None:
    """Refuse what would be installed and not work. Neither value is there, so it has no line."""
    mistakes = Mistakes(picture.sources[0])
    exposed = picture.deploy.gateway
    if config.is_closed(picture.fleet):
        what = "there are none, so a gateway that others can reach does not start in a cluster"
        hint = "add one, or keep keys for all replicas in `store.ledger: postgresql://…`"
        mistakes.add(0, 0, "keys", what, hint)
    if exposed.expose == "ingress" and not exposed.hosts:
        what = "an Ingress without a name would take every name that nobody else has"
        mistakes.add(0, 0, "deploy.gateway.hosts", what, "for example `hosts: [llm.example.com]`")
    mistakes.refuse()
