"""What makes a well-formed fleet file senseless all the same: values at odds with each other.

Fitting has judged each value alone. Here backends are held against tiers, addresses against each
other, paths against the disk. Each rule looks only at what it needs, and keeps silent where that is
unsound: it has been reported.

It does not connect to anything: whether a backend answers is for probes to find out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from baseload.config.addresses import is_loopback, overlap, parse_address, parse_url
from baseload.config.found import UNSOUND, Found, Place
from baseload.config.mistakes import Mistakes, nearest
from baseload.config.tenancy import begin_of

_T = TypeVar("_T")
_SHA256_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def check_rules(fleet: Found, mistakes: Mistakes, *, is_here: bool = True) -> None:
    """Note every mistake that takes more than one value, or the disk, to see.

    Without `is_here` the fleet is served on another machine, and so are its files.
    """
    if not fleet.entries:
        return
    for rule in (_backends, _gpus, _tiers, _addresses, _keys, _prices, _deploy):
        rule(fleet.entries, mistakes)
    if is_here:
        _files(fleet.entries, mistakes)


def _report(mistakes: Mistakes, at: Found, what: str, hint: str = "") -> None:
    mistakes.add(*at.place, at.path, what, hint)


def _backends(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    for backend in fleet["backends"].entries.values():
        if not (parts := backend.entries):
            continue
        url, engine, model = parts["url"], parts["engine"], parts["model"]
        is_external = engine.text == "external"
        if is_external and not url.is_set:
            hint = "baseload does not start it, so it has to be told where it is: add `url`"
            _report(mistakes, engine, "needs a `url`", hint)
        elif url.is_set and engine.is_set and not is_external:
            hint = "a backend is either reached at a URL or started by baseload: remove one"
            _report(mistakes, max(url, engine, key=_in_file), "`url` and `engine` together", hint)
        elif not url.is_set and not engine.is_set:
            hint = "`url: https://…/v1`, or `engine: llama.cpp` with a `model`"
            _report(mistakes, backend, "needs a `url` or an `engine`", hint)
        elif engine.is_set and not model.is_set:
            what = "needs the `model` that the engine is to load"
            _report(mistakes, backend, what, "for example `model: smollm2-135m-instruct`")
        elif url.is_set and model.is_set and not is_external:
            hint = "the model asked for at a URL is named in the tiers that use it"
            _report(mistakes, model, "belongs to an `engine`, not to a `url`", hint)
        if url.text is not None:
            _parses(parse_url, url, "for example https://api.deepseek.com/v1", mistakes)
        _cold_start(parts, mistakes)
        _batch(parts["batch"].entries, mistakes)


def _batch(parts: dict[str, Found], mistakes: Mistakes) -> None:
    """The least number of calls may not be more than the most."""
    if not parts or not parts["min"].is_set or UNSOUND in (parts["min"].value, parts["max"].value):
        return
    least, most = parts["min"].value, parts["max"].value
    if least > most:
        what = f"{least} is more than `max`, which is {most}"
        _report(mistakes, parts["min"], what, "a smaller `min`, or a larger `max`")


def _cold_start(parts: dict[str, Found], mistakes: Mistakes) -> None:
    """Whoever may be at zero replicas must be looked at: nothing else says that it has come up."""
    cold_start_s = parts["cold_start_s"]
    if not cold_start_s.is_set or cold_start_s.value == 0:
        return
    if parts["engine"].is_set:
        hint = "baseload starts the engine itself: remove `cold_start_s`"
        _report(mistakes, cold_start_s, "belongs to a `url`, not to an `engine`", hint)
    elif parts["probe_s"].value == 0:
        hint = "without looks nobody sees that it has come up: remove `probe_s: 0`"
        _report(mistakes, cold_start_s, "needs looks at its health", hint)


def _gpus(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    """Parts of one GPU's memory make a whole at most; who names no GPU is on all of them."""
    parts: list[tuple[frozenset[int], Found]] = []
    for backend in fleet["backends"].entries.values():
        serve = backend.entries["serve"].entries if backend.entries else {}
        if serve and serve["gpu_memory"].is_set and serve["gpu_memory"].value is not UNSOUND:
            numbers = [gpu.value for gpu in serve["gpus"].items if gpu.value is not UNSOUND]
            parts.append((frozenset(numbers), serve["gpu_memory"]))
    for number in sorted({number for numbers, _ in parts for number in numbers} or {0}):
        there = [part for numbers, part in parts if not numbers or number in numbers]
        whole = sum(part.value for part in there)
        if len(there) > 1 and whole > 1 + 1e-9:  # 0.1 has no exact binary form
            what = f"the parts of GPU {number}'s memory come to {whole:g} with this one"
            last = max(there, key=_in_file)
            _report(mistakes, last, what, "they make 1 at most: smaller parts, or another GPU")


def _tiers(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    backends = fleet["backends"]
    for model in fleet["models"].entries.values():
        for tier in model.entries["tiers"].items if model.entries else []:
            if backends.entries:
                for name, target in tier.entries.items():
                    if name not in backends.entries:
                        hint = nearest(name, backends.entries)
                        _report(mistakes, target, "no such backend", hint)
            shares = [
                target.entries["share"].value if target.entries else UNSOUND
                for target in tier.entries.values()
            ]
            if shares and all(share == 0 for share in shares):
                what = "every share of this tier is 0, so it would take no call"
                _report(mistakes, tier, what, "give one a share, or remove the tier")


def _addresses(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    hint = "for example 127.0.0.1:8080"
    listen = _parses(parse_address, fleet["listen"], hint, mistakes)
    admin = _parses(parse_address, fleet["admin"], hint, mistakes)
    if listen is not None and admin is not None and overlap(listen, admin):
        later = max(fleet["listen"], fleet["admin"], key=_in_file)
        other = "admin" if later is fleet["listen"] else "listen"
        _report(mistakes, later, f"the same address as `{other}`", "give it another port")
    if admin is not None and not is_loopback(admin[0]) and not fleet["admin_token"].is_set:
        what = "can be reached from other machines, and no `admin_token` is set"
        hint = "set one of 16 signs or more, or listen on 127.0.0.1"
        _report(mistakes, fleet["admin"], what, hint)


def _files(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    for backend in fleet["backends"].entries.values():
        if parts := backend.entries:
            _file(parts["ca"], mistakes)
            if parts["engine"].is_set and (parts["model"].text or "").endswith(".gguf"):
                _file(parts["model"], mistakes)
    for part in fleet["tls"].entries.values():
        _file(part, mistakes)


def _keys(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    for field, what, hint in (
        ("name", "another key has this name", "each caller's name is its own"),
        ("sha256", "another key has this hash", "each caller needs a key of its own"),
    ):
        seen: set[str] = set()
        for key in fleet["keys"].items:
            found = key.entries[field] if key.entries else key
            if found.text is not None and found.text in seen:
                _report(mistakes, found, what, hint)
            seen.add(found.text or "")
    for key in fleet["keys"].items:
        if not key.entries:
            continue
        if key.entries["sha256"].text == _SHA256_OF_NOTHING:
            hint = "was a variable not set? `printf %s KEY | sha256sum` gives a key's hash"
            _report(mistakes, key.entries["sha256"], "the hash of an empty text", hint)
        _parses(begin_of, key.entries["expires"], "a day is written 2027-01-31", mistakes)
        if models := fleet["models"].entries:
            named = [(one.text, one) for one in key.entries["models"].items]
            for name, found in [*named, *key.entries["per_model"].entries.items()]:
                if name is not None and name not in models:
                    _report(mistakes, found, "no such model", nearest(name, models))


def _prices(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    backends = fleet["backends"].entries
    for price in fleet["prices"].items:
        backend = price.entries["backend"] if price.entries else price
        if backends and backend.text is not None and backend.text not in backends:
            _report(mistakes, backend, "no such backend", nearest(backend.text, backends))


def _deploy(fleet: dict[str, Found], mistakes: Mistakes) -> None:
    if not (deploy := fleet["deploy"].entries):
        return
    backends, engines = fleet["backends"].entries, deploy["engines"].entries
    for name, engine in engines.items():
        if backends and name not in backends:
            hint = "an engine stands for a backend; " + nearest(name, backends)
            _report(mistakes, engine, "no such backend", hint)
        elif (
            (backend := backends.get(name))
            and backend.entries
            and not backend.entries["url"].is_set
        ):
            hint = "only a backend with a `url` can be a server of its own"
            _report(mistakes, engine, "this backend is started by the gateway itself", hint)
    for site in deploy["sites"].entries.values():
        parts = site.entries
        named = [(one.text, one) for one in parts["engines"].items] if parts else []
        replicas = parts["engine_replicas"].entries.items() if parts else ()
        _known_engines([*named, *replicas], engines, mistakes)
    for cloud in deploy["clouds"].entries.values():
        if cloud.entries:
            found = cloud.entries["engine"]
            _known_engines([(found.text, found)], engines, mistakes)


def _known_engines(
    named: list[tuple[str | None, Found]], engines: dict[str, Found], mistakes: Mistakes
) -> None:
    for name, found in named:
        if name is not None and name not in engines:
            hint = nearest(name, engines) or "`deploy.engines` has none"
            _report(mistakes, found, "no such engine", hint)


def _parses(read: Callable[[str], _T], at: Found, hint: str, mistakes: Mistakes) -> _T | None:
    if at.text is None:
        return None
    try:
        return read(at.text)
    except ValueError as error:
        _report(mistakes, at, str(error), hint)
        return None


def _file(at: Found, mistakes: Mistakes) -> None:
    if at.text is None:
        return
    try:
        exists = Path(at.text).is_file()
    except (OSError, ValueError):  # a folder that may not be entered, a name no file can have
        exists = False
    if not exists:
        hint = "a relative path starts where baseload is started; `~` is not expanded"
        _report(mistakes, at, "no such file, or it cannot be reached", hint)


def _in_file(one: Found) -> Place:
    return one.place
