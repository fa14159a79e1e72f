"""What is the Azure root module told of a fleet?

Besides what every cloud is told: where in its storage the weights are, which the fleet file says as
a URL.

Not here: what is made of it (`modules/azure/`).
"""

from math import ceil
from typing import Final
from urllib.parse import urlsplit

from baseload.render.picture import Group, Picture
from baseload.render.terraform.clouds.common import (
    changed,
    engine_of,
    host_of,
    machine_of,
    mix,
    names,
    places,
    weights_gb,
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
        *names(host_of(group, picture) if said.zone else "", group, picture),
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


def _machines(group: Group) -> tuple[Setting, ...]:
    said, engine = group.said, group.engine
    return (
        Setting(
            name="image", value=said.image,
            about="" if said.image else "Empty: Ubuntu HPC, which has drivers and Docker.",
        ),
        Setting(name="instance_type", value=group.instance.name, about=machine_of(group)),
        *mix(group),
        Setting(name="scaling", value=said.scaling),
        Setting(
            name="data_volume_gb", value=max(32, ceil(weights_gb(engine))),
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
