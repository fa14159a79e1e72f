"""How do the fleet file, a plan and the catalogue become a `Picture`, or a list of complaints?

A plan fills in what the file leaves open, for engines of the plan's model: the accelerator, the
split, the precision, the instance. What the file says goes before it.

Not here: what a picture is (`picture`), how a complaint finds its line (`refusing`), what clusters
cannot run though it fits (`placeable`).
"""

import re
from collections.abc import Callable
from math import ceil

from baseload.config.deploying import Cloud, Deploy, EngineDeploy, Monitoring
from baseload.config.fleet import Fleet, Model, Target
from baseload.config.mistakes import nearest, shown
from baseload.config.references import variables_in
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Accelerator, Instance
from baseload.plan.hardware.fitting import layouts
from baseload.plan.hardware.machines import Hardware, hardware_of
from baseload.plan.hardware.memory import UTILISATION, Fit, Room, fit
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.result import Plan
from baseload.plan.result import Way as Planned
from baseload.plan.speed.layout import Layout
from baseload.plan.transport.loading import MACHINE_S, SAFETENSORS_BYTES_S, WARM_UP_S, Way, load
from baseload.render.picture import ANSWER_S_MIN, Engine, Group, Picture
from baseload.render.placeable import see_clusters
from baseload.render.refusing import Complaints
from baseload.render.regions import REGIONS

DISK = "nvme-gen4"
"""The drive that weights are read from, where nothing else is known: a row of the catalogue."""
OBJECT = "s3"
"""What weights are staged from."""
IMAGE_S = (30.0, 240.0)
"""Pulling an engine's image of some 10 GB: kept on the node or near; from afar (assumed)."""
HOURS_MONTH = 730.0
FETCHED = {
    "aws": ("s3://", "^s3://.+$"),
    "azure": (
        "https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH",
        "^https://[a-z0-9]+[.]blob[.]core[.]windows[.]net/.+/.+$",
    ),
    "tencent": (
        "https://BUCKET-APPID.cos.REGION.myqcloud.com/PATH",
        "^https://.+[.]cos[.].+[.]myqcloud[.]com/.+$",
    ),
}
"""Where machines of a cloud's group fetch weights from, with the role that they have there."""
SPARE = 1.2
"""A budget over what is expected."""


def settle(
    fleet: Fleet, catalogue: Catalogue, complaints: Complaints, *,
    plan: Plan | None, sources: tuple[str, ...], variables: tuple[str, ...],
) -> Picture:  # fmt: skip
    """Give the picture. Raises FleetFileError with every complaint."""
    deploy = fleet.deploy or Deploy()
    if plan is not None and not any(_is_of(plan, said) for said in deploy.engines.values()):
        what = f"no engine is of the plan's model, {shown(plan.model)}, so it would say nothing"
        complaints.add("deploy.engines", what, "leave the plan out, or plan for one of them")
    engines = tuple(
        engine for said in deploy.engines.values()
        if (engine := _Settler(fleet, catalogue, complaints, plan, said).engine())
    )  # fmt: skip
    by_name = {engine.name: engine for engine in engines}
    groups = tuple(
        group for cloud in deploy.clouds.values()
        if (group := _group(cloud, by_name.get(cloud.engine), catalogue, complaints, plan))
    )  # fmt: skip
    _quotas(deploy, by_name, complaints)
    see_clusters(deploy, engines, complaints)
    _receivers(deploy.monitoring, complaints)
    complaints.refuse()
    return Picture(
        fleet=fleet, deploy=deploy, engines=engines, groups=groups, catalogue=catalogue,
        sources=sources, variables=variables,
    )  # fmt: skip


class _Settler:
    """Works out one engine; each method gives None where it has made a complaint."""

    def __init__(
        self, fleet: Fleet, catalogue: Catalogue, complaints: Complaints, plan: Plan | None,
        said: EngineDeploy,
    ) -> None:  # fmt: skip
        self._fleet, self._catalogue, self._complaints = fleet, catalogue, complaints
        self._said = said
        self._planned = _planned(plan, said)

    def engine(self) -> Engine | None:
        """Give the engine."""
        said = self._said
        try:
            shape = find(said.model)
        except BaseloadError as error:
            self._wrong("model", str(error))
            return None
        if (accelerator := self._accelerator()) is None:
            return None
        precision = said.precision or (self._planned and self._planned.precision) or shape.native
        if (placed := self._placed(shape, accelerator, precision)) is None:
            return None
        layout, utilisation, room = placed
        weights_bytes = shape.weight_bytes(precision)
        replicas = said.replicas or _replicas(self._planned)
        storage = self._catalogue.storage
        disk = Way(storage=storage[DISK], loader_bytes_s=SAFETENSORS_BYTES_S)
        load_s = load(weights_bytes / layout.machines, disk).seconds
        staging_s = load(weights_bytes, Way(storage=storage[OBJECT])).seconds
        return Engine(
            name=said.name, said=said, served=self._served(), shape=shape, accelerator=accelerator,
            layout=layout, precision=precision, room=room, utilisation=utilisation,
            sequences=max(1, room.sequences_max), weights_bytes=weights_bytes,
            replicas=replicas, replicas_max=max(replicas, said.replicas_max or 0),
            load_s=load_s, start_s=(
                IMAGE_S[0] + load_s + WARM_UP_S, IMAGE_S[1] + staging_s + load_s + WARM_UP_S,
            ),
            machine_s=MACHINE_S[1], answer_max_s=self._answer_max_s(),
        )  # fmt: skip

    def _wrong(self, field: str, what: str, hint: str = "") -> None:
        self._complaints.add(f"deploy.engines.{self._said.name}.{field}", what, hint)

    def _accelerator(self) -> Accelerator | None:
        name = self._said.accelerator
        if name is None and self._planned is not None:
            name = hardware_of(self._planned.hardware, self._catalogue).accelerator.name
        if name is None:
            hint = "name one of `baseload catalog`, or render with a plan of this model"
            self._wrong("accelerator", "it is not said on which accelerator it runs", hint)
            return None
        rows = {each.name.lower(): each for each in self._catalogue.accelerators.values()}
        if (found := rows.get(name.lower())) is None:
            what = f"no accelerator is called `{shown(name)}`"
            self._wrong("accelerator", what, nearest(name, self._catalogue.accelerators))
        return found

    def _placed(
        self, shape: Shape, accelerator: Accelerator, precision: str
    ) -> tuple[Layout, float, Fit] | None:
        """Split the model over what is said, and see that it fits there, in its share of it."""
        said, share = self._said, self._said.share
        per_machine, machines = self._counts()
        if said.sharing != "none" and per_machine * machines > 1:
            what = "engines that share a GPU have one each"
            self._wrong("sharing", what, "remove `sharing`, or take one accelerator in one machine")
            return None
        utilisation = UTILISATION / (share if said.sharing != "none" else 1)
        hardware = Hardware(accelerator=accelerator, per_machine=per_machine, machines=machines)
        tried = [
            (layout, fit(
                shape, accelerator, layout, precision, context=said.context,
                room=Room(utilisation=utilisation),
            ))
            for layout in self._layouts(shape, hardware)
        ]  # fmt: skip
        layout, room = max(tried, key=lambda each: (each[1].fits, each[1].sequences_max))
        if not room.fits:
            shared = f", of which each of {share} has its part" if utilisation < UTILISATION else ""
            what = f"{shape.name} in {precision} does not fit {hardware.name}{shared}: {room.why}"
            hint = "`baseload plan fit --model " + shown(said.model) + "` shows what it fits on"
            self._wrong("accelerator", what, hint)
            return None
        return layout, utilisation, room

    def _counts(self) -> tuple[int, int]:
        """Give accelerators of a machine, and machines, that a replica takes."""
        planned = self._planned.layout if self._planned else None
        each = min(planned.accelerators, planned.per_machine) if planned else 1
        machines = planned.machines if planned else 1
        return self._said.per_machine or each, self._said.machines or machines

    def _layouts(self, shape: Shape, hardware: Hardware) -> tuple[Layout, ...]:
        planned = self._planned.layout if self._planned else None
        said = hardware.per_machine, hardware.machines
        if planned and said == (min(planned.accelerators, planned.per_machine), planned.machines):
            return (planned,)
        return layouts(shape, hardware)

    def _targets(self) -> list[tuple[Model, Target]]:
        return [
            (model, target) for model in self._fleet.models.values() for tier in model.tiers
            for target in tier.values() if target.backend == self._said.name
        ]  # fmt: skip

    def _served(self) -> tuple[str, ...]:
        named = dict.fromkeys(target.model for _, target in self._targets())
        return tuple(named) or (self._said.model,)

    def _answer_max_s(self) -> float:
        return max((model.total_s for model, _ in self._targets()), default=ANSWER_S_MIN)


def _planned(plan: Plan | None, said: EngineDeploy) -> Planned | None:
    """Give the plan's way for an engine: of its model, on what the file says if it says it."""
    if plan is None or not _is_of(plan, said):
        return None
    ways = {way.name: way for way in plan.ways if way.layout is not None}
    mixed = [ways[share.way] for share in plan.mix.shares if share.way in ways] if plan.mix else []
    for way in (*mixed, *ways.values()):
        if said.accelerator is None or said.accelerator.lower() in way.hardware.lower():
            return way
    return None


def _replicas(way: Planned | None) -> int:
    return max(1, way.replicas + way.standby) if way else 1


def _is_of(plan: Plan, said: EngineDeploy) -> bool:
    one, other = (name.rpartition("/")[2].lower() for name in (plan.model, said.model))
    return one == other


def _group(
    cloud: Cloud, engine: Engine | None, catalogue: Catalogue, complaints: Complaints,
    plan: Plan | None,
) -> Group | None:  # fmt: skip
    """Settle a cloud's group of machines."""

    def wrong(field: str, what: str, hint: str = "") -> None:
        complaints.add(f"deploy.clouds.{cloud.name}.{field}", what, hint)

    if engine is None:
        return None
    _see_engine(cloud, engine, complaints)
    _regions(cloud, wrong)
    rows = {row.name.lower(): row for row in catalogue.instances.values()}
    planned = _planned(plan, engine.said)
    name = cloud.instance or (planned.hardware if planned else "")
    instance = rows.get(name.lower())
    if instance is None or instance.cloud != cloud.name:
        known = [row.name for row in rows.values() if row.cloud == cloud.name]
        what = f"{cloud.name} rents no `{shown(name)}`" if name else "which machine is not said"
        wrong("instance", what, nearest(name, known))
        return None
    if instance.accelerator != engine.accelerator.name:
        what = f"{instance.name} has {instance.accelerator}, and the engine `{engine.name}` wants"
        wrong("instance", f"{what} {engine.accelerator.name}")
    elif instance.count < engine.layout.accelerators:
        what = f"{instance.name} has {instance.count} accelerators of {engine.layout.accelerators}"
        wrong("instance", what + f" that the engine `{engine.name}` takes", "take a larger one")
    replicas = _machines(planned, instance) if cloud.replicas is None else cloud.replicas
    most = cloud.replicas_max or max(2, 2 * replicas)
    _counts(cloud, replicas, most, wrong)
    hour = instance.on_demand_usd_hour
    budget = hour * HOURS_MONTH * max(1, replicas) * SPARE if hour else None
    return Group(
        said=cloud, engine=engine, instance=instance, replicas=replicas, replicas_max=most,
        standby_region=cloud.standby_region or "",
        on_demand_usd_hour=hour, spot_usd_hour=instance.spot_usd_hour, seen=instance.seen,
        budget_usd_month=budget,
    )  # fmt: skip


def _see_engine(cloud: Cloud, engine: Engine, complaints: Complaints) -> None:
    """See that a machine of its own can run it: by one command, with weights that it can reach."""
    path, (source, form) = f"deploy.engines.{engine.name}", FETCHED[cloud.name]
    if not re.match(form, engine.said.weights):
        what = f"machines in {cloud.name} fetch weights from {source} only"
        complaints.add(f"{path}.weights", what, "copy them there once")
    elif cloud.name == "azure":
        _see_account(cloud, engine, complaints)
    if engine.said.engine == "llama.cpp":
        what = "a group of machines runs vLLM or SGLang"
        complaints.add(f"{path}.engine", what, "llama.cpp runs in clusters, and in the gateway")


def _see_account(cloud: Cloud, engine: Engine, complaints: Complaints) -> None:
    """See that a storage account can be called so, and that it is the one that has the weights."""
    account = engine.said.weights.removeprefix("https://").partition(".")[0]
    if not re.fullmatch("[a-z0-9]{3,24}", cloud.bucket or ""):
        what = "a storage account is called by 3 to 24 of a to z and 0 to 9"
        complaints.add("deploy.clouds.azure.bucket", what, f"`{account}`, which has the weights")
    elif cloud.bucket != account:
        what = f"weights of `{engine.name}` are in the account `{account}`, not in this one"
        complaints.add(
            "deploy.clouds.azure.bucket", what, "machines may read what is made for them"
        )


Wrong = Callable[..., None]
"""Complains of a field, with what is wrong and a hint."""


def _regions(cloud: Cloud, wrong: Wrong) -> None:
    for field, region in (("region", cloud.region), ("standby_region", cloud.standby_region)):
        if region is not None and region not in REGIONS[cloud.name]:
            what = f"{cloud.name} has no region `{shown(region)}` that is known here"
            wrong(field, what, nearest(region, REGIONS[cloud.name]))
    if (cloud.standby == "none") != (cloud.standby_region is None):
        wrong("standby", "`standby` and `standby_region` go together", "give both or neither")
    elif cloud.standby_region == cloud.region:
        wrong("standby_region", "the same as `region`", "name another")


def _machines(way: Planned | None, instance: Instance) -> int:
    """Give how many machines a plan takes; several replicas may share one."""
    if way is None or way.layout is None:
        return 1
    return max(1, ceil(_replicas(way) * way.layout.accelerators / instance.count))


def _counts(cloud: Cloud, replicas: int, most: int, wrong: Wrong) -> None:
    if cloud.quota is not None and most > cloud.quota:
        what = f"{most} machines at most, and the quota is {cloud.quota}"
        wrong("replicas_max", what, "have the quota raised first, or lower it")
    if replicas > most:
        wrong("replicas", f"{replicas} are more than `replicas_max`, {most}")


def _quotas(deploy: Deploy, engines: dict[str, Engine], complaints: Complaints) -> None:
    """See that every site has as many accelerators as its engines may take."""
    clouds = {cloud.engine for cloud in deploy.clouds.values()}
    for site in deploy.sites.values():
        wanted: dict[str, int] = {}
        here = site.engines if site.engines is not None else [*engines]
        for engine in (engines[name] for name in here if name in engines and name not in clouds):
            most = max(engine.replicas_max, site.engine_replicas.get(engine.name, 0))
            taken = most * engine.layout.accelerators
            if engine.said.sharing != "none":
                taken = -(-taken // engine.said.share)
            wanted[engine.accelerator.name] = wanted.get(engine.accelerator.name, 0) + taken
        for name, most in site.quota.items():
            if wanted.get(name, 0) > most:
                what = f"engines here may take {wanted[name]} of {most} {name}"
                hint = "lower `replicas_max`, or leave an engine out of this site"
                complaints.add(f"deploy.sites.{site.name}.quota.{name}", what, hint)


def _receivers(said: Monitoring, complaints: Complaints) -> None:
    """See that Alertmanager can be told: it reads secrets from files, and addresses from none."""
    for name, receiver in (("page", said.page), ("ticket", said.ticket)):
        if receiver is None:
            continue
        path = f"deploy.monitoring.{name}"
        if receiver.kind != "email" and not _is_variable(receiver.to):
            hint = "write it as `${NAME}`, and nothing around it"
            complaints.add(f"{path}.to", "not one variable, so no file can hold it", hint)
        elif receiver.kind == "email" and (variables_in(receiver.to) or not receiver.to):
            hint = "write the address itself; it is no secret"
            complaints.add(f"{path}.to", "Alertmanager takes an address from no variable", hint)
        elif receiver.kind == "email" and said.smtp is None:
            hint = "add `smtp: {host: smtp.example.com:587, sender: alerts@example.com}`"
            complaints.add(f"{path}.kind", "there is no server to send e-mail by", hint)
    if said.smtp is not None and said.smtp.user and not _is_variable(said.smtp.password):
        hint = "write it as `${NAME}`"
        complaints.add("deploy.monitoring.smtp", "a user without a password's variable", hint)


def _is_variable(text: str) -> bool:
    return [text] == [f"${{{name}}}" for name in variables_in(text)]
