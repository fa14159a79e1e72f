"""What a sound fleet's owner should know all the same: nothing is wrong, but it may surprise.

A mistake stops the gateway; a note does not. Notes are about doors that stand open, and about parts
of the file that this version reads but does not act on, which would otherwise look obeyed.
"""

from baseload.config.addresses import is_loopback, parse_address, parse_url
from baseload.config.fleet import Fleet
from baseload.config.prices import prices_of


def notes(fleet: Fleet) -> list[str]:
    """Return one sentence for each thing worth knowing, most urgent first."""
    parts = (_loud, _open_doors, _unused, _not_acted_on, _asleep, _unpriced)
    return [note for part in parts for note in part(fleet)]


def _open_doors(fleet: Fleet) -> list[str]:
    found = []
    if not fleet.keys and not is_loopback(parse_address(fleet.listen)[0]):
        door = f"listen: {fleet.listen} can be reached from other machines, and "
        if fleet.open_to_all:
            found.append(f"{door}open_to_all lets in whoever reaches it, while there are no keys")
        else:
            what = "callers need one made with `baseload keys create`"
            found.append(f"{door}no keys are in this file: {what}")
    if fleet.open_to_all and fleet.keys:
        found.append("open_to_all: has no effect with `keys`")
    if not is_loopback(parse_address(fleet.admin)[0]):
        found.append(
            f"admin: {fleet.admin} can be reached from other machines, over plain http: whoever "
            "listens in on the way can read `admin_token`"
        )
    for name, backend in fleet.backends.items():
        if not backend.api_key or backend.url is None:
            continue
        url = parse_url(backend.url)
        if not url.tls and not is_loopback(url.host):
            found.append(
                f"backends.{name}.api_key: sent over plain http to {url.host}, where others on the "
                "way can read it"
            )
    return found


def _loud(fleet: Fleet) -> list[str]:
    if not fleet.log.bodies:
        return []
    text = (
        "log.bodies: PROMPTS AND ANSWERS ARE WRITTEN TO THE LOG, in clear text. Whoever reads it "
        "reads what callers say. Switch it off as soon as you have seen what you looked for"
    )
    return [text]


def _unused(fleet: Fleet) -> list[str]:
    used = {name for model in fleet.models.values() for tier in model.tiers for name in tier}
    found = [f"backends.{name}: no model uses it" for name in fleet.backends if name not in used]
    for name, backend in fleet.backends.items():
        if backend.ca and not (backend.url and parse_url(backend.url).tls):
            found.append(f"backends.{name}.ca: has no effect without an https `url`")
    return found


def _not_acted_on(fleet: Fleet) -> list[str]:
    found = []
    for name, model in fleet.models.items():
        if model.hedge and sum(len(tier) for tier in model.tiers) < 2:
            found.append(f"models.{name}.hedge: has no effect with one backend")
    return found


def _asleep(fleet: Fleet) -> list[str]:
    """Who calls for a backend at zero, and is refused before it can have come up."""
    return [
        f"models.{model.name}.total_s: no longer than the cold start of {name}, so calls that wait "
        "for it end before they are answered"
        for model in fleet.models.values()
        for tier in model.tiers
        for name in tier
        if fleet.backends[name].cold_start_s >= model.total_s
    ]


def _unpriced(fleet: Fleet) -> list[str]:
    """Where money is limited, what cannot be counted in money."""
    limits = [
        *(model.limits for model in fleet.models.values()),
        *fleet.keys,
        *(limit for key in fleet.keys for limit in key.per_model.values()),
    ]
    if all(limit.usd_day is None and limit.usd_month is None for limit in limits):
        return []
    priced = {(price.backend, price.model) for price in prices_of(fleet)}
    used = {
        (name, target.model): None
        for model in fleet.models.values()
        for tier in model.tiers
        for name, target in tier.items()
    }
    return [
        f"prices: none is known for {model} at {name}, so its calls take nothing of any budget"
        for name, model in used
        if (name, model) not in priced
    ]
