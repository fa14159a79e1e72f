"""How do the same objects become a Helm chart?

An object is dumped with a word in place of each value; the words are then replaced by what asks for
the value. Nothing else in a template is logic, so that what is installed can be read off it. Braces
that Helm would take for its own, in alerts' texts for example, are written so that it prints them.

Not here: the values (`values`).
"""

import json
from typing import Any, Final

from baseload import __version__
from baseload.render.files import File, header
from baseload.render.kubernetes import values
from baseload.render.kubernetes.cluster import kubernetes
from baseload.render.kubernetes.objects import ITEM, Param, Part, Sheet, mapped
from baseload.render.kubernetes.plain import documents
from baseload.render.kubernetes.sites import Place
from baseload.render.picture import Picture
from baseload.render.text import dump

_OPEN: Final = "{{"
_WORD: Final = "HERE{}GOES"


def files(picture: Picture, parts: tuple[Part, ...], places: tuple[Place, ...]) -> list[File]:
    """Give the chart."""
    templates = [_template(picture, part, sheet) for part in parts for sheet in part.sheets]
    return [_chart(picture), *values.files(picture, parts, places), *templates, _notes(picture)]


def _chart(picture: Picture) -> File:
    path = "chart/Chart.yaml"
    about = {
        "apiVersion": "v2",
        "name": picture.deploy.name,
        "description": "One OpenAI-compatible endpoint in front of a fleet of model servers.",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": f">={kubernetes(picture)}.0-0",
    }
    return File(path=path, text=header(path, picture.sources) + dump(about))


def _template(picture: Picture, part: Part, sheet: Sheet) -> File:
    path = f"chart/templates/{part.name}/{sheet.file}"
    text = template(sheet)
    if part.switch:
        text = f"{{{{- if {values.expression(part.switch)} }}}}\n{text}{{{{- end }}}}\n"
    head = escaped(header(path, picture.sources, sheet.about))
    return File(path=path, text=head + text)


def template(sheet: Sheet) -> str:
    """Give the objects of a sheet as a template."""
    asked: list[str] = []

    def word(param: Param) -> str:
        asked.append(_asking(param))
        return _WORD.format(len(asked) - 1)

    text = escaped(documents(tuple(mapped(one, word) for one in sheet.objects)))
    for number, asking in enumerate(asked):
        assert text.count(_WORD.format(number)) == 1
        text = text.replace(_WORD.format(number), asking)
    return text


def escaped(text: str) -> str:
    """Write a text so that Helm gives it as it is."""
    return text.replace(_OPEN, '{{ "{{" }}')


def _asking(param: Param) -> str:
    value = values.expression(param)
    if param.is_digest:
        return f"{{{{ {value} | sha256sum | toJson }}}}"
    if param.each is not None:
        comma = "{{ if $at }}, {{ end }}"
        return f"[{{{{ range $at, $item := {value} }}}}{comma}{_each(param.each)}{{{{ end }}}}]"
    if param.text:
        around = json.dumps(
            param.text.replace("%", "%%").replace("%%s", "%[1]v"), ensure_ascii=False
        )
        return f"{{{{ printf {around} {value} | toJson }}}}"
    return f"{{{{ {value} | toJson }}}}"


def _each(each: Any) -> str:
    """Give one item of a list, as JSON around `$item`."""
    word = _WORD.format("ITEM")
    text = escaped(json.dumps(mapped(each, lambda param: word if param is ITEM else param)))
    return text.replace(f'"{word}"', "{{ $item | toJson }}")


def _notes(picture: Picture) -> File:
    path = "chart/templates/NOTES.txt"
    name, scheme = picture.deploy.name, "https" if picture.fleet.tls else "http"
    head = header("NOTES.tpl", picture.sources)
    return File(path=path, text=head + (
        f"The gateway takes calls at {scheme}://{name}.{{{{ .Release.Namespace }}}}:8080/v1\n"
        f"Is it ready?   kubectl -n {{{{ .Release.Namespace }}}} get deployment {name}\n"
        f"What is wrong? kubectl -n {{{{ .Release.Namespace }}}} logs deployment/{name}\n"
    ))  # fmt: skip
