"""What is the Tencent Cloud root module told of a fleet?

Besides what every cloud is told: what scaling there goes by is traffic, so it is reckoned here how
much of it answers make. No price is known of its machines.

Not here: what is made of it (`modules/tencent/`).
"""

from math import ceil
from typing import Final
from urllib.parse import urlsplit

from baseload.render.command import sequences_of
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
ANSWER_S_MAX: Final = 840
"""The most that a group waits for a machine, and a function runs less what it needs itself."""
PACE_TOKENS_S: Final = 20.0
"""Of one answer: what DeepSeek's own service streams."""
TOKEN_BYTES: Final = 300.0
"""Of one token that is streamed, as an event of JSON by itself (assumed)."""
LOAD_WANTED: Final = 0.7
"""Part of the calls that a machine holds which it is to have."""


def settings(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Give the values of the root module's variables."""
    said = group.said
    return (
        *places(group, picture),
        *_zones(group),
        *names(host_of(group, picture) if said.zone else "", group, picture),
        *_certificate(group),
        *_machines(group),
        *engine_of(group.engine, picture, (START_S_MAX, ANSWER_S_MAX)),
        *_storage(group),
        Setting(name="patient", value=said.patient, about="A folder for jobs that can wait."),
        Setting(
            name="alarm_users", value=[],
            about=CHOOSE.split(";")[0] + ": ids of CAM users, who have addresses there"
            + (f", as {said.alarm_email}." if said.alarm_email else "."),
        ),
    )  # fmt: skip


def apart(settings: tuple[Setting, ...], environment: str) -> tuple[Setting, ...]:
    """Give another environment a bucket and a name of its own: both are unique in the world."""
    own = {
        "host": lambda host: f"{environment}.{host}" if host else "",
        "bucket": lambda name: f"{name}-{environment}" if name else "",
    }
    return changed(settings, own)


def state(group: Group, environment: str) -> tuple[Setting, ...]:
    """Say where an environment keeps its state."""
    return (
        Setting(
            name="region", value=group.said.region,
            about="Which bucket, with the account's number: -backend-config=bucket="
            f"{group.said.state_bucket or 'NAME'}-APPID",
        ),
        Setting(name="prefix", value="baseload"),
        Setting(name="key", value=f"{environment}.tfstate"),
        Setting(name="encrypt", value=True),
    )  # fmt: skip


def _zones(group: Group) -> tuple[Setting, ...]:
    example = f"as {group.said.region}-3."
    standby = () if not group.standby_region else (Setting(name="standby_zones", value=[]),)
    about = CHOOSE.split(";")[0] + ": zones that have such machines, " + example
    return (Setting(name="zones", value=[], about=about), *standby)


def _certificate(group: Group) -> tuple[Setting, ...]:
    if not group.said.zone:
        return ()
    about = "Empty: a person fails over, not IGTM."
    return (
        Setting(name="certificate_id", value="", about="Yours to fill in: of this name."),
        Setting(name="igtm_package", value="", about=about),
    )


def _machines(group: Group) -> tuple[Setting, ...]:
    said, engine = group.said, group.engine
    standby = () if not group.standby_region else (
        Setting(name="standby_image", value="", about=CHOOSE + "Images are of one region."),
    )  # fmt: skip
    return (
        Setting(name="image", value=said.image, about="" if said.image else CHOOSE + "CVM's."),
        *standby,
        Setting(name="instance_types", value=[group.instance.name], about=machine_of(group)),
        *mix(group),
        *((Setting(name="spot_max_hour", value="", about=CHOOSE + "In the account's currency."),)
          if said.spot else ()),
        Setting(name="scaling", value=said.scaling),
        Setting(
            name="out_mbps", value=out_mbps(sequences_of(engine)),
            about=f"{LOAD_WANTED:.0%} of the calls at once, {PACE_TOKENS_S:g} tokens/s each, "
            f"{TOKEN_BYTES:g} bytes a token.",
        ),
        Setting(
            name="data_volume_gb", value=ceil((IMAGES_GB + weights_gb(engine)) / 10) * 10,
            about=f"Images, and weights of {engine.weights_bytes / 1e9:.0f} GB.",
        ),
    )  # fmt: skip


def out_mbps(sequences: int) -> int:
    """Give the traffic that a machine's answers make while it has as many as it is to have."""
    bits_s = sequences * LOAD_WANTED * PACE_TOKENS_S * TOKEN_BYTES * 8
    return max(1, ceil(bits_s / 1e6))


def _storage(group: Group) -> tuple[Setting, ...]:
    bucket, region, prefix = weights_of(group.engine.said.weights)
    return (
        Setting(
            name="bucket", value=group.said.bucket or "",
            about="Made here; the account's number is added.",
        ),
        Setting(
            name="weights_bucket", value=bucket, about="SHA256SUMS lies beside the weights."
        ),
        Setting(name="weights_region", value=region),
        Setting(name="weights_prefix", value=prefix),
    )  # fmt: skip


def weights_of(url: str) -> tuple[str, str, str]:
    """Give bucket, region and folder of an object's URL in COS."""
    split = urlsplit(url)
    name, _, rest = (split.hostname or "").partition(".cos.")
    return name, rest.partition(".")[0], split.path.strip("/") + "/"
