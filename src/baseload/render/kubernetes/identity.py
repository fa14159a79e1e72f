"""What are the gateway's objects called, and how are they told from others?

Names come from `deploy.name`. They are the same in the chart, whatever its release is called, so
that one fleet is one set of names.
"""

from typing import Final

from baseload import __version__
from baseload.render.kubernetes.objects import NAMESPACE, Object, Param, labels, selector
from baseload.render.picture import Picture

COMPONENT: Final = "gateway"


def namespace(picture: Picture) -> Param:
    """Give the namespace of everything."""
    return Param(path=NAMESPACE, value=picture.deploy.namespace)


def marks(picture: Picture, component: str = COMPONENT) -> dict[str, str]:
    """Give an object's labels."""
    return labels("baseload", component, picture.deploy.name, __version__)


def chosen(picture: Picture) -> dict[str, str]:
    """Give the labels that select the gateway's pods."""
    return selector("baseload", picture.deploy.name)


def metadata(picture: Picture, name: str = "", component: str = COMPONENT) -> Object:
    """Give the metadata of an object in the namespace; the gateway's own name if none is given."""
    return {
        "name": name or picture.deploy.name,
        "namespace": namespace(picture),
        "labels": marks(picture, component),
    }


def secret(picture: Picture) -> str:
    """Give the name of the Secret with the variables of the fleet file."""
    return f"{picture.deploy.name}-env"


def priority_class(picture: Picture, rank: str) -> str:
    """Give the name of the priority class of a rank: `gateway` or `engine`."""
    return f"{picture.deploy.name}-{rank}"


def pull_secrets() -> Param:
    """Give what every pod shows to the registry of its image."""
    return Param(
        path=("image_pull_secrets",), value=[],
        about="Secrets for a registry that asks who pulls: [{name: ...}].",
        schema={"items": {"type": "object", "required": ["name"]}},
    )  # fmt: skip
