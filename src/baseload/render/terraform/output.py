"""What Terraform does a fleet need in each of its clouds?

For each cloud there is a folder with a root module: HCL that comes along as it is, under
`modules/CLOUD/`, and knows nothing of any fleet. What the fleet says goes into a variable file for
each environment (`prod.tfvars`), and where its state is kept into another (`prod.tfbackend`).

Not here: what a cloud is told (`clouds/`), what its modules make (`modules/`).
"""

from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import msgspec

from baseload.config.deploying import Environment
from baseload.render.files import File, header
from baseload.render.picture import Group, Picture
from baseload.render.settling import HOURS_MONTH, SPARE
from baseload.render.terraform.clouds import aws, azure, tencent
from baseload.render.terraform.hcl import Setting, settings_text


def alike(settings: tuple[Setting, ...], _environment: str) -> tuple[Setting, ...]:
    """Environments share what they are told."""
    return settings


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """How a cloud's modules are told of a fleet."""

    settings: Callable[[Group, Picture], tuple[Setting, ...]]
    """Values of the root module's variables; those of `_environment` come by themselves."""
    state: Callable[[Group, str], tuple[Setting, ...]]
    """What the backend is told where the environment of this name keeps its state."""
    apart: Callable[[tuple[Setting, ...], str], tuple[Setting, ...]] = alike
    """Changes what environments after the first must have of their own: names that are unique."""


CLOUDS: Final[dict[str, Wiring]] = {
    "aws": Wiring(settings=aws.settings, state=aws.state, apart=aws.apart),
    "azure": Wiring(settings=azure.settings, state=azure.state, apart=azure.apart),
    "tencent": Wiring(settings=tencent.settings, state=tencent.state, apart=tencent.apart),
}


BORROWED: Final = {
    "azure": {"patient/worker/worker.py": "aws/modules/patient/worker.py"},
    "tencent": {"patient/worker/worker.py": "aws/modules/patient/worker.py"},
}
"""Files that a cloud has from another: what an answer is, and what comes back, is the same."""


def render(picture: Picture, clouds: tuple[str, ...] = ()) -> tuple[File, ...]:
    """Give the folders of these clouds; of all that the picture has, if none is named."""
    return tuple(
        file
        for group in picture.groups
        if not clouds or group.said.name in clouds
        for file in _cloud(group, picture)
    )


def _cloud(group: Group, picture: Picture) -> Iterator[File]:
    cloud = group.said.name
    wiring = CLOUDS[cloud]
    for path, text in shipped(cloud):
        name = f"{cloud}/{path}"
        yield File(path=name, text=_headed(text, header(name, picture.sources)))
    told = wiring.settings(group, picture)
    for place, environment in enumerate(environments(group)):
        name = environment.name
        own = wiring.apart(told, name) if place else told
        values = (*_environment(group, environment), *own)
        yield _settings(
            f"{cloud}/{name}.tfvars", values, picture,
            f"What `{name}` is told: terraform plan -var-file={name}.tfvars",
        )  # fmt: skip
        yield _settings(
            f"{cloud}/{name}.tfbackend", wiring.state(group, name), picture,
            f"Its state: terraform init -backend-config={name}.tfbackend",
        )  # fmt: skip


def _headed(text: str, head: str) -> str:
    """Put the header on top, but below a line that must be the first."""
    if text.startswith("#!"):
        first, _, rest = text.partition("\n")
        return f"{first}\n{head}\n{rest}"
    return f"{head}\n{text}"


def _settings(path: str, values: tuple[Setting, ...], picture: Picture, about: str) -> File:
    text = header(path, picture.sources, about) + "\n" + settings_text(values)
    return File(path=path, text=text)


def environments(group: Group) -> tuple[Environment, ...]:
    """Give the environments that have a variable file each."""
    return tuple(group.said.environments.values()) or (Environment(name="prod"),)


def _environment(group: Group, environment: Environment) -> tuple[Setting, ...]:
    """Say what environments differ in: variables that every cloud's root module has."""
    replicas = group.replicas if environment.replicas is None else environment.replicas
    most = max(environment.replicas_max or group.replicas_max, replicas)
    return (
        Setting(name="environment", value=environment.name),
        Setting(name="replicas", value=replicas, about="Machines at least."),
        Setting(name="replicas_max", value=most, about="Machines at most."),
        Setting(
            name="budget_usd_month", value=_budget_usd(group, environment, replicas),
            about="Told of before it is passed; null: no budget.",
        ),
    )  # fmt: skip


def _budget_usd(group: Group, environment: Environment, replicas: int) -> float | None:
    if environment.budget_usd_month is not None:
        return environment.budget_usd_month
    if group.on_demand_usd_hour is None:
        return None
    machines = max(1, replicas) + (group.said.standby == "warm")
    return float(round(group.on_demand_usd_hour * HOURS_MONTH * machines * SPARE))


def shipped(cloud: str) -> list[tuple[str, str]]:
    """Give the path and text of every file that comes along for a cloud, in order."""
    modules = resources.files("baseload.render.terraform") / "modules"
    borrowed = BORROWED.get(cloud, {}).items()
    own = _below(modules / cloud, "")
    return sorted([*own, *((path, (modules / of).read_text("utf-8")) for path, of in borrowed)])


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        name = f"{path}{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _below(entry, name + "/")
        else:
            yield name, entry.read_text("utf-8")
