"""Engines' objects as tests look at them: plain, with every value as it is set."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from baseload.render.files import File
from baseload.render.kubernetes import engines
from baseload.render.kubernetes.engine.staging import SCRIPT, script
from baseload.render.kubernetes.objects import mapped
from baseload.render.picture import Engine, Picture
from tests.render.pictures import DATA, FULL, picture

OTHERS = DATA / "others.yaml"
Object = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


@cache
def settled(path: Path) -> Picture:
    """Give the picture of a fleet file, once."""
    return picture(path)


@cache
def by_engine(path: Path) -> dict[str, list[Object]]:
    """Give the objects of each engine."""
    return {
        part.name.removeprefix("engine-"): [
            mapped(each, lambda param: param.standing(param.value))
            for sheet in part.sheets
            for each in sheet.objects
        ]
        for part in engines.parts(settled(path))
    }


def everything() -> list[Object]:
    """Give all objects of both fleets."""
    return [
        each for path in (FULL, OTHERS) for objects in by_engine(path).values() for each in objects
    ]


def each_engine() -> Iterator[tuple[Engine, list[Object]]]:
    """Give every engine of both fleets with its objects."""
    for path in (FULL, OTHERS):
        for engine in settled(path).in_clusters:
            yield engine, by_engine(path)[engine.slug]


def only(objects: list[Object], kind: str) -> Object:
    """Give the one object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def kinds(objects: list[Object]) -> set[str]:
    return {each["kind"] for each in objects}


def templates(objects: list[Object]) -> list[Object]:
    """Give the pods' templates: one, or those of a group's leader and of its other machines."""
    found = []
    for each in objects:
        if each["kind"] == "Deployment":
            found.append(each["spec"]["template"])
        elif each["kind"] == "LeaderWorkerSet":
            group = each["spec"]["leaderWorkerTemplate"]
            found += [group["leaderTemplate"], group["workerTemplate"]]
    return found


def main(template: Object) -> Object:
    """Give the container that serves."""
    (found,) = template["spec"]["containers"]
    return found


def files(path: Path) -> Iterator[File]:
    """Give what goldens keep: a file for each sheet, without the text of the staging script."""
    for part in engines.parts(settled(path)):
        for sheet in part.sheets:
            plain = [
                mapped(each, lambda param: param.standing(param.value)) for each in sheet.objects
            ]
            text = yaml.dump_all(plain, Dumper=_Dumper, sort_keys=False, width=100)
            if sheet.file == "configmap.yaml":
                for each in plain:
                    if each["data"].get(SCRIPT) == script():
                        each["data"][SCRIPT] = "(render/stage.py)\n"
                text = yaml.dump_all(plain, Dumper=_Dumper, sort_keys=False, width=100)
            head = "".join(f"# {line}\n" for line in sheet.about.splitlines())
            yield File(path=f"{part.name}/{sheet.file}", text=head + text)
