"""`baseload weights`: bring models, look whether they are whole, stage and remove them.

The store is `--dir`, else BASELOAD_WEIGHTS, else `weights` in the fleet file's `state_dir`. Tokens
come from the environment only: HF_TOKEN, MODELSCOPE_API_TOKEN, and what boto3 knows.

Not here: doing it (`baseload.engines.weights`), drawing (`weightstable`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from baseload.cli.common import Config, fail, load_fleet_to_ask, path_of
from baseload.cli.stagedwords import load_row, load_words, staged, staged_words
from baseload.cli.weightstable import Lines, draw_models, watching
from baseload.config.fleet import Fleet
from baseload.engines.weights.bringing import pull as bring
from baseload.engines.weights.bringing import verify as look
from baseload.engines.weights.pieces import model_name
from baseload.engines.weights.sources import name_of
from baseload.engines.weights.staging import measure_load, measure_pair
from baseload.engines.weights.staging import stage as copy_to
from baseload.engines.weights.store import Store, store_path
from baseload.errors import BaseloadError

weights = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    help="List, pull, verify, stage and remove the weights of models that engines run here.",
)

Dir = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="FOLDER",
        help="The store. Default: $BASELOAD_WEIGHTS, else `weights` in the fleet's state_dir.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, a line for each thing.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model in the store.")]


@weights.command("list")
def list_(
    load: Annotated[
        bool, typer.Option("--load", help="Measure how long reading each takes, too.")
    ] = False,
    config: Config = None,
    folder: Dir = None,
    as_json: Json = False,
) -> None:
    """List the models in the store: size, source, when verified, which backends use them.

    Example: `baseload weights list`
    """
    with _store(config, folder) as (fleet, store):
        used = _used(fleet, store)
        rows = [_row(store, name, used) for name in store.names()]
        rows += [
            {"name": name, "state": "coming", "size_bytes": size, "used_by": used.get(name, [])}
            for name, size in store.parts().items()
        ]
        for row in rows if load else ():
            if row["state"] == "whole":
                row["load"] = load_row(measure_load(store, row["name"]))
        if as_json:
            Lines(rows).show()
        elif rows:
            draw_models(rows)
            for row in rows:
                if "load" in row:
                    _say(f"{row['name']}: {load_words(row['load'])}")
        else:
            _say(f"no models in {store.root}; `baseload weights pull hf://ORG/NAME` brings one")


@weights.command()
def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help=escape(
                "hf://ORG/NAME[@REVISION][/FILE], ms://…, s3://BUCKET/PREFIX, https://…, a path."
            ),
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its name in the store; else its last part.")
    ] = None,
    sha256: Annotated[
        str, typer.Option(metavar="DIGEST", help="Of the one file that an https URL names.")
    ] = "",
    config: Config = None,
    folder: Dir = None,
    as_json: Json = False,
) -> None:
    """Bring a model into the store, going on where an earlier pull broke off.

    Each file is held against the digest that its source gives, and its header is checked; pickles
    are refused. The model has its name once all of it is there.

    `baseload weights pull hf://Qwen/Qwen3-0.6B`

    `baseload weights pull 'hf://unsloth/Qwen3-8B-GGUF/*Q4_K_M.gguf' --name qwen3-8b`

    `baseload weights pull https://models.example/r1/ --dir /data/models`
    """
    with _store(config, folder) as (_, store):
        wanted = model_name(name or name_of(source))
        with watching(f"pulling {wanted}", as_json=as_json) as watcher:
            manifest, is_new = bring(store, wanted, source, sha256=sha256, watcher=watcher)
        if as_json:
            Lines([{"event": "done", "name": wanted, "is_new": is_new} | _plain(manifest)]).show()
        elif is_new:
            rate = manifest.size_bytes / max(manifest.pulled_s, 1e-3) / 1e6
            _say(
                f"{wanted}: {count(manifest.files)}, {manifest.size_bytes / 1e6:,.0f} MB in "
                f"{manifest.pulled_s:,.1f} s ({rate:,.0f} MB/s), verified: {store.folder(wanted)}"
            )
        else:
            _say(f"{wanted} is here already, as {manifest.source} has it: {store.folder(wanted)}")


@weights.command()
def verify(
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help="Models; all of them if absent.")
    ] = None,
    config: Config = None,
    folder: Dir = None,
    as_json: Json = False,
) -> None:
    """Read every file of a model anew from the disk, and hold it against its digest.

    Exits with 1 if a file is missing, cut short, damaged or poisoned, and names it.

    Example: `baseload weights verify qwen3-8b`
    """
    with _store(config, folder) as (_, store):
        is_sound, names = True, name or store.names()
        if not names and not as_json:
            _say(f"no models in {store.root}")
        for each in names:
            if not name and store.manifest(each) is None:
                is_sound = _unreadable(each, as_json=as_json)
                continue
            listed = store.needed(each)
            with watching(f"verifying {each}", as_json=as_json, files=listed.files) as watcher:
                faults = look(store, each, watcher)
            is_sound = is_sound and not faults
            if as_json:
                told = [{"path": fault.path, "what": fault.what} for fault in faults]
                Lines([{"name": each, "sound": not faults, "faults": told}]).show()
                continue
            for fault in faults:
                _say(f"{each}: {fault.path} {fault.what}", to_stderr=True)
            if not faults:
                size = f"{count(listed.files)}, {listed.size_bytes / 1e6:,.0f} MB"
                _say(f"{each}: {size}: as they came from {listed.source}")
    if not is_sound:
        raise typer.Exit(1)


@weights.command()
def stage(
    name: Name,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A folder on a faster disk.")],
    report: Annotated[
        bool, typer.Option("--report", help="Measure the disks too, and what a start is spared.")
    ] = False,
    config: Config = None,
    folder: Dir = None,
    as_json: Json = False,
) -> None:
    """Copy a model to another disk, verified on the way, as fast as the two disks are.

    The folder is a store too: give it to engines as BASELOAD_WEIGHTS.

    Example: `baseload weights stage qwen3-8b --to /mnt/nvme --report`
    """
    with _store(config, folder) as (_, store):
        target = Store(to.expanduser())
        files = store.needed(name).files
        pair = measure_pair(store, name, target) if report else None
        with watching(f"staging {name}", as_json=as_json, files=files) as watcher:
            done = copy_to(store, name, target, lambda count: watcher.on_bytes("", count))
        loads = (measure_load(store, name), measure_load(target, name)) if report else None
        told = staged(done, pair, loads)
        if as_json:
            Lines(
                [{"event": "staged", "name": name, "path": str(target.folder(name))} | told]
            ).show()
            return
        if done is None:
            _say(f"{name} is in {target.root} already")
        for line in staged_words(told):
            _say(line)


@weights.command()
def prune(
    name: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Models; those no backend uses if absent."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, no more.")] = False,
    config: Config = None,
    folder: Dir = None,
    as_json: Json = False,
) -> None:
    """Remove models that no backend of the fleet file uses, and what is left of broken-off pulls.

    A model that is named goes only if no backend uses it. Asks first, unless --yes.

    Example: `baseload weights prune --dry-run`
    """
    with _store(config, folder) as (fleet, store):
        used, parts = _used(fleet, store), store.parts()
        whole = {each: _row(store, each, used)["size_bytes"] for each in store.names()}
        unknown = [each for each in name or () if each not in whole and each not in parts]
        if unknown:
            fail(f"not in {store.root}: {', '.join(unknown)}")
        for each in name or ():
            if each in used:
                fail(f"{each} is used by {', '.join(used[each])}: it stays")
        goes = [each for each in whole if each in (name or whole) and each not in used]
        broken = [each for each in parts if each in (name or parts) and each not in goes]
        rows = [{"name": each, "what": "model", "size_bytes": whole[each]} for each in goes]
        rows += [{"name": each, "what": "part", "size_bytes": parts[each]} for each in broken]
        if as_json:
            Lines(rows).show()
        for row in [] if as_json else rows:
            _say(f"{row['name']}: {row['what']}, {int(row['size_bytes']) / 1e6:,.0f} MB")
        if not as_json:
            said = f"no backend of {path_of(config) or 'the built-in fleet'} uses the above"
            _say(said if rows else f"nothing to remove in {store.root}")
        if dry_run or not rows:
            return
        if not yes and not typer.confirm(f"remove {len(rows)} from {store.root}?", err=True):
            raise typer.Exit(1)
        for row in rows:
            with store.locked(row["name"]):
                (store.remove if row["what"] == "model" else store.remove_part)(row["name"])


# -- within --------------------------------------------------------------------------------------


@contextmanager
def _store(config: Path | None, folder: Path | None) -> Iterator[tuple[Fleet, Store]]:
    """Give fleet and store; what goes wrong with them is one sentence and exit code 1."""
    fleet = load_fleet_to_ask(config)
    try:
        yield fleet, Store(store_path(folder, fleet.state_dir))
    except BaseloadError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or folder or 'the store'}: {error.strerror or error}")


def _used(fleet: Fleet, store: Store) -> dict[str, list[str]]:
    """Give the models of the store that backends use, by name or by path, and which backends."""
    found: dict[str, list[str]] = {}
    for backend in fleet.backends.values():
        models = [each for each in (backend.model, backend.serve.draft) if backend.engine and each]
        for name in {store.name_of(model) for model in models} - {""}:
            found.setdefault(name, []).append(backend.name)
    return found


def _row(store: Store, name: str, used: dict[str, list[str]]) -> dict[str, Any]:
    manifest = store.manifest(name)
    row: dict[str, Any] = {"name": name, "path": str(store.folder(name))}
    row["used_by"] = used.get(name, [])
    if manifest is None:
        return row | {"state": "not whole", "size_bytes": store.taken_bytes(name)}
    return row | {"state": "damaged" if manifest.damaged else "whole"} | _plain(manifest)


def _unreadable(name: str, *, as_json: bool) -> bool:
    """Say that a model's manifest cannot be read; such a model is not sound."""
    what = "has no manifest that can be read: pull it again"
    if as_json:
        Lines([{"name": name, "sound": False, "faults": [{"path": "", "what": what}]}]).show()
    else:
        _say(f"{name}: {what}", to_stderr=True)
    return False


def _plain(manifest: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    return plain | {"files": len(manifest.files), "size_bytes": manifest.size_bytes}


def count(files: Sequence[object]) -> str:
    """Say how many files these are."""
    return f"{len(files)} file{'s' * (len(files) != 1)}"


def _say(text: str, *, to_stderr: bool = False) -> None:
    Console(stderr=to_stderr).out(text, highlight=False)
