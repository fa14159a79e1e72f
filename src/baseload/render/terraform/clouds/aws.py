"""What is the AWS root module told of a fleet?

Besides what every cloud is told: images and certificates of each region. No machine image is
guessed, since AMIs age within weeks.

Not here: what is made of it (`modules/aws/`).
"""

from math import ceil
from typing import Final

from baseload.render.picture import Group, Picture
from baseload.render.terraform.clouds.common import (
    CHOOSE,
    IMAGES_GB,
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

START_S_MAX: Final = 7200
ANSWER_S_MAX: Final = 3600
"""The most that auto scaling and a balancer wait."""


def settings(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Give the values of the root module's variables."""
    said = group.said
    return (
        *places(group, picture),
        *names(host_of(group, picture), group, picture),
        *_certificates(group),
        *_machines(group),
        *engine_of(group.engine, picture, (START_S_MAX, ANSWER_S_MAX)),
        *_storage(group),
        Setting(name="patient", value=said.patient, about="A queue for jobs that can wait."),
        Setting(name="alarm_email", value=said.alarm_email or "", about="Who hears alarms."),
    )


def apart(settings: tuple[Setting, ...], environment: str) -> tuple[Setting, ...]:
    """Give another environment a bucket and a host of its own: names that are unique."""
    said = {each.name: each.value for each in settings}
    own = {
        "host": lambda host: f"{environment}.{host}",
        "bucket": lambda name: f"{name}-{environment}" if name else "",
    }
    if said["weights_bucket"] == said["bucket"]:
        own["weights_bucket"] = own["bucket"]
    return changed(settings, own)


def state(group: Group, environment: str) -> tuple[Setting, ...]:
    """Say where an environment keeps its state."""
    bucket = group.said.state_bucket
    return (
        *((Setting(name="bucket", value=bucket, about="It is there already, with versioning."),)
          if bucket else ()),
        Setting(
            name="key", value=f"baseload/{environment}.tfstate",
            about="" if bucket else "Which bucket: -backend-config=bucket=NAME",
        ),
        Setting(name="region", value=group.said.region),
        Setting(name="encrypt", value=True),
        Setting(name="use_lockfile", value=True),
    )  # fmt: skip


def _certificates(group: Group) -> tuple[Setting, ...]:
    if group.said.zone:
        return ()
    about = "Yours to fill in, without a zone."
    standby = (Setting(name="standby_certificate_arn", value=""),) if group.standby_region else ()
    return (Setting(name="certificate_arn", value="", about=about), *standby)


def _machines(group: Group) -> tuple[Setting, ...]:
    said, engine = group.said, group.engine
    standby = () if not group.standby_region else (
        Setting(name="standby_image", value="", about=CHOOSE + "AMIs are of one region."),
    )  # fmt: skip
    return (
        Setting(name="image", value=said.image, about="" if said.image else CHOOSE + "An AMI."),
        *standby,
        Setting(name="instance_types", value=[group.instance.name], about=machine_of(group)),
        *mix(group),
        Setting(name="spot_max_usd_hour", value=None),
        Setting(name="scaling", value=said.scaling),
        Setting(
            name="data_volume_gb", value=ceil(IMAGES_GB + weights_gb(engine)),
            about=f"Images, and weights of {engine.weights_bytes / 1e9:.0f} GB.",
        ),
    )  # fmt: skip


def _storage(group: Group) -> tuple[Setting, ...]:
    bucket, _, path = group.engine.said.weights.removeprefix("s3://").partition("/")
    about = "Made here; empty: none is."
    return (
        Setting(name="bucket", value=group.said.bucket or "", about=about),
        Setting(
            name="weights_bucket", value=bucket, about="SHA256SUMS lies beside the weights."
        ),
        Setting(name="weights_prefix", value=path.strip("/") + "/"),
    )  # fmt: skip
