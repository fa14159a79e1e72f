"""A manifest is read with the place of everything; what is none, or hostile, is refused in words."""

import pytest

from baseload.doctor import examine
from baseload.doctor.reading import BOUNDS, FILE_CHARACTERS_MAX, read
from baseload.errors import FleetFileError

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n"


def refusal(text):
    """Give what is said of a text that cannot be read."""
    with pytest.raises(FleetFileError) as caught:
        read(text, "m.yaml")
    return str(caught.value)


def test_places():
    """A scalar stands where its value is, a mapping or list where its key is, an entry where it begins."""
    manifest = read("kind: Pod\nspec:\n  containers:\n  - name: a\n    args: [x]\n", "m.yaml")[0]

    assert (1, 7) == manifest.place(("kind",))
    assert (3, 3) == manifest.place(("spec", "containers"))
    assert (4, 5) == manifest.place(("spec", "containers", 0))
    assert (4, 11) == manifest.place(("spec", "containers", 0, "name"))
    assert (4, 5) == manifest.place(("spec", "containers", 0, "image"))


def test_many_documents():
    """Documents keep their order, empty ones are nothing, a List is its items."""
    items = "".join(f"- {MAP.format(name)}".replace("\n", "\n  ").rstrip(" ") for name in "bc")
    text = f"---\n{MAP.format('a')}---\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n{items}---\n{MAP.format('d')}"
    found = read(text, "m.yaml")

    assert ["a", "b", "c", "d"] == [each.name for each in found]
    assert 13 == found[1].place(())[0]


def test_anchors_end_with_their_document():
    """An anchor is known in its own document only, and merged keys are there."""
    merged = "x: &x {kind: ConfigMap}\n<<: *x\n"

    assert "ConfigMap" == read(merged, "m.yaml")[0].kind
    assert "not defined above it" in refusal(f"{merged}---\n<<: *x\n")


@pytest.mark.parametrize("text", [
    "kind: Deployment\nmetadata:\n  name: {{ .Values.name }}\n",
    "kind: Deployment\nmetadata:\n  name: '{{ .Release.Name }}-x'\n",
    "{{- if .Values.on }}\nkind: Deployment\n{{- end }}\n",
    'kind: Deployment\nmetadata:\n  name: "{{ include "x" . }}"\n',
])  # fmt: skip
def test_templates_of_charts(text):
    """A chart's template is refused at its first sign, with the command that renders it."""
    said = refusal(text)

    assert "a template of a Helm chart" in said
    assert "helm template" in said
    assert said.startswith("m.yaml:3:" if not text.startswith("{{") else "m.yaml:1:1")


def test_braces_that_are_no_template():
    """A dashboard or a long text in a manifest may have double braces."""
    text = (
        MAP.format("a")
        + "data:\n  a: '{{ .Labels.x }}'\n---\nkind: Job\nspec:\n  a: |\n    {{ .Values.x }}\n    b\n"
    )

    assert 2 == len(read(text, "m.yaml"))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [
    (BOMB, f"more than {BOUNDS.values_max} values"),
    ("[" * 100, "nested deeper than 64 levels"),
    ("a: &a [*a]\n", "contains it"),
    ("a: !!python/object/apply:os.system [x]\n", "a tag"),
    ("kind: Pod\n\tspec: 1\n", "m.yaml:2:1: not valid YAML: a tab"),
    ("kind: [a\n", "not valid YAML"),
    ("kind: a\x00b\n", "U+0000"),
    ("? [a, b]\n: c\n", "a key that is not text"),
    ("- a\n- b\n", "m.yaml:1:1: not an object"),
    ("just text\n", "not an object"),
    ("# nothing\n", "no Kubernetes object"),
    ("", "no Kubernetes object"),
    ("kind: List\nitems: 3\n", "a List without a list"),
    ("x" * (FILE_CHARACTERS_MAX + 1), "larger than"),
    ("---\nkind: Pod\n" * 3000 + "---\n" + BOMB, "more than"),
])  # fmt: skip
def test_hostile_and_broken_text(text, said):
    """Bombs, depth, tags, broken YAML and what holds no object end soon, with a place and a reason."""
    assert said in refusal(text)


def test_what_is_quoted_cannot_steer_a_terminal():
    """Names from the file are cut, and printed with nothing that a terminal would obey."""
    report = examine('kind: "a\\e[2Jb"\nmetadata: {name: "' + "x" * 500 + '"}\n', "m.yaml")
    said = repr(report.findings) + report.fixed.partition("---")[0]

    assert "\x1b" not in said
    assert all(len(each.object) <= 80 for each in report.findings)


def test_kinds_that_are_not_known_are_named():
    """An object that nothing here can check is said to be unchecked, though rules looked at it."""
    report = examine("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n", "m.yaml")

    assert report.is_sound
    assert "Thing/t: not checked: no schema of this kind is known here" == report.notes[0]
