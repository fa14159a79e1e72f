"""What is the Azure root module told of a fleet?

Sizes and times follow from the engine, as in AWS; so do the names. What Azure is asked for besides
is where in its storage the weights are, which the fleet file says as a URL.

Not here: what is made of it (`modules/azure/`).
"""

from collections.abc import Callable
from math import ceil
from typing import Final
from urllib.parse import urlsplit

import msgspec

from baseload.render.command import Where, command_of, image_of, sequences_of
from baseload.render.picture import Engine, Group, Picture, whole_s
from baseload.render.terraform.clouds.aws import (
    WEIGHTS_SPARE,
    host_of,
    key_of,
    price_of,
)
from baseload.render.terraform.hcl import Setting

START_S_MAX: Final = 3600
"""A machine that still starts is not replaced for 90 minutes at most."""
ANSWER_S_MAX: Final = 1740
"""A function is stopped after half an hour."""
ACCOUNT_LETTERS_MAX: Final = 24
"""Of a storage account's name."""


def settings(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Give the values of the root module's variables."""
    said = group.said
    return (
        *places(group, picture),
        Setting(name="zone", value=said.zone or "", about="Its name and its key."),
        Setting(name="host", value=host_of(group, picture) if said.zone else ""),
        Setting(name="engine_key_reference", value=key_of(group, picture)),
        *_machines(group),
        *engine_of(group.engine, picture, (START_S_MAX, ANSWER_S_MAX)),
        *_storage(group),
        Setting(name="patient", value=said.patient, about="A queue for jobs that can wait."),
        Setting(name="alarm_email", value=said.alarm_email or "", about="Who hears alarms."),
    )


def apart(settings: tuple[Setting, ...], environment: str) -> tuple[Setting, ...]:
    """Give another environment an account and a name of its own: both are unique in the world."""
    own = {
        "host": lambda host: f"{environment}.{host}" if host else "",
        "bucket": lambda name: (name + environment.replace("-", ""))[:ACCOUNT_LETTERS_MAX],
    }
    return changed(settings, own)


def changed(
    settings: tuple[Setting, ...], own: dict[str, Callable[[str], str]]
) -> tuple[Setting, ...]:
    """Change the values of settings that are named."""
    return tuple(
        msgspec.structs.replace(each, value=own[each.name](each.value))
        if each.name in own
        else each
        for each in settings
    )


def state(group: Group, environment: str) -> tuple[Setting, ...]:
    """Say where an environment keeps its state."""
    account = group.said.state_bucket
    known = (Setting(name="storage_account_name", value=account, about="It is there already."),)
    return (
        *(known if account else ()),
        Setting(name="container_name", value="terraform"),
        Setting(
            name="key", value=f"baseload/{environment}.tfstate",
            about="" if account else "Which account: -backend-config=storage_account_name=NAME",
        ),
    )  # fmt: skip


def places(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Say what everything is called, and where it is."""
    return (
        Setting(name="name", value=picture.deploy.name, about="What everything is called."),
        Setting(name="region", value=group.said.region, about="Where it runs, and what stands by."),
        Setting(name="standby_region", value=group.standby_region),
        Setting(name="standby", value=group.said.standby),
    )


def engine_of(engine: Engine, picture: Picture, longest_s: tuple[int, int]) -> tuple[Setting, ...]:
    """Say what runs on each machine; a cloud waits no longer than `longest_s` for start, answer."""
    least, most = engine.start_s
    start_s_max, answer_s_max = longest_s
    where = Where(model="/weights", api_key="@KEY@")
    return (
        Setting(name="engine_name", value=engine.name, about="What runs on each machine."),
        Setting(name="engine_image", value=image_of(engine, picture.deploy.gateway.image)),
        Setting(name="engine_args", value=list(command_of(engine, where))),
        Setting(
            name="sequences", value=sequences_of(engine),
            about=f"Calls at once, with {engine.said.context} tokens each.",
        ),
        Setting(
            name="start_s", value=min(start_s_max, whole_s(most)),
            about=f"Reckoned: {least:.0f} to {most:.0f} s from a machine to its first token.",
        ),
        Setting(
            name="answer_s", value=min(answer_s_max, whole_s(engine.answer_max_s)),
            about="The longest that the fleet file allows a call.",
        ),
    )  # fmt: skip


def _machines(group: Group) -> tuple[Setting, ...]:
    said, instance, engine = group.said, group.instance, group.engine
    used = engine.layout.accelerators
    idle = "" if used >= instance.count else f"The engine takes {used} of its GPUs.\n"
    weights_gb = engine.weights_bytes * WEIGHTS_SPARE / 1e9
    return (
        Setting(
            name="image", value=said.image,
            about="" if said.image else "Empty: Ubuntu HPC, which has drivers and Docker.",
        ),
        Setting(
            name="instance_type", value=instance.name,
            about=f"{instance.count} x {instance.accelerator}. {idle}{price_of(instance)}",
        ),
        Setting(
            name="spot", value=said.spot, about="Machines above the floor, where spot; how scaled."
        ),
        Setting(name="floor", value=said.floor),
        Setting(name="scaling", value=said.scaling),
        Setting(
            name="data_volume_gb", value=max(32, ceil(weights_gb)),
            about=f"Weights of {engine.weights_bytes / 1e9:.0f} GB.",
        ),
    )  # fmt: skip


def _storage(group: Group) -> tuple[Setting, ...]:
    container, path = weights_of(group.engine.said.weights)
    return (
        Setting(name="bucket", value=group.said.bucket or "", about="The account that is made."),
        Setting(
            name="weights_container", value=container,
            about="SHA256SUMS lies beside the weights.",
        ),
        Setting(name="weights_path", value=path),
    )  # fmt: skip


def weights_of(url: str) -> tuple[str, str]:
    """Give container and folder of a blob's URL."""
    container, _, path = urlsplit(url).path.strip("/").partition("/")
    return container, path
