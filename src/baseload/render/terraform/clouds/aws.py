"""What is the AWS root module told of a fleet?"""

from baseload.render.picture import Group, Picture
from baseload.render.terraform.hcl import Setting


def settings(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Give the values of the root module's variables."""
    return (Setting(name="region", value=group.said.region, about=", ".join(picture.sources)),)


def state(group: Group, environment: str) -> tuple[Setting, ...]:
    """Say where an environment keeps its state."""
    return (Setting(name="key", value=f"{group.said.name}/{environment}.tfstate"),)
