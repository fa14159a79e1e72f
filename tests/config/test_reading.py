"""What a sound file becomes, and what reading keeps within bounds or to itself."""

from pathlib import Path

import pytest

from baseload.config.fleet import Backend, Fleet, Model, Queue, Target
from baseload.config.mistakes import MISTAKES_MAX
from baseload.config.reading import FILE_MAX_BYTES, parse_fleet, read_fleet
from baseload.config.tenancy import Key, Limits
from baseload.errors import FleetFileError

BACKENDS = "backends: {a: {url: https://a.example/v1}}\n"
MODELS = "models: {m: {tiers: [{a: {model: m}}]}}\n"
SOUND = BACKENDS + MODELS


def lines_of(text: str, env: dict[str, str] | None = None) -> list[str]:
    """Return the lines that a person would see for `text`."""
    try:
        parse_fleet(text, "f", env or {})
    except FleetFileError as error:
        return str(error).splitlines()
    return []


def with_backend(fields: str) -> str:
    """Return a file whose only backend, in line 2, has `fields`."""
    return f"backends:\n  a: {{{fields}}}\n{MODELS}"


def test_ten_mistakes_at_once():
    """Ten mistakes of ten kinds, from all stages, come at once and in the order of the file."""
    text = """\
lissen: 127.0.0.1:8080
admin: localhost
backends:
  deepseek: {url: https://api.deepseek.com/v1, api_key: "${DEEPSEEK_API_KEY}"}
  edge:
    url: http://gpu-1.lan:8000/v1
    concurrency: 0
    concurrency: 8
  cpu: {engine: llama.cpp}
models:
  deepseek-chat:
    tiers:
      - deepseek: {model: deepseek-chat, share: 90%}
        egde: {model: deepseek-v3}
      - cpu: {}
    resume: same-weights
"""

    expected = [
        "f:1:1: lissen: unknown key (did you mean `listen`?)",
        "f:2:8: admin: has no port; it is written `host:port` (for example 127.0.0.1:8080)",
        "f:4:57: backends.deepseek.api_key: the variable DEEPSEEK_API_KEY is not set (export DEEPSEEK_API_KEY, remove the line, or give a default: `${DEEPSEEK_API_KEY:-default}`)",
        "f:7:18: backends.edge.concurrency: must be at least 1, found 0 (Calls at once. Default: 256 for a URL, the slots of an engine)",
        "f:8:5: backends.edge.concurrency: written twice, first in line 7 (remove one of them)",
        "f:9:3: backends.cpu: needs the `model` that the engine is to load (for example `model: smollm2-135m-instruct`)",
        "f:13:49: models.deepseek-chat.tiers[0].deepseek.share: wants a whole decimal number, found the text `90%` (for example 100)",
        "f:14:9: models.deepseek-chat.tiers[0].egde: no such backend (did you mean `edge`?)",
        'f:15:9: models.deepseek-chat.tiers[1].cpu.model: missing (for example "deepseek-flash")',
        "f:16:13: models.deepseek-chat.resume: unknown word `same-weights` (did you mean `same_weights`?)",
    ]

    assert expected == lines_of(text)


def test_sound_file():
    """A sound file becomes structs: names filled in, defaults where nothing is said."""
    fleet = parse_fleet(SOUND, "f", {})

    backend = Backend(name="a", url="https://a.example/v1")
    model = Model(name="m", tiers=({"a": Target(backend="a", model="m")},))
    assert Fleet(backends={"a": backend}, models={"m": model}) == fleet


def test_scalars_of_a_sound_file():
    """Null leaves a default, `off` is a word, underscores and decimals are read as numbers."""
    text = (
        with_backend("url: http://a, engine: ~, model: , concurrency: 1_000, connect_s: .5")
        + "queue: {size: 0, wait_s: 2}\ntls: null\n"
    ).replace("{model: m}}]", "{model: 'yes'}}], resume: off")

    fleet = parse_fleet(text, "f", {})

    assert Backend(name="a", url="http://a", concurrency=1000, connect_s=0.5) == fleet.backends["a"]
    assert fleet.models["m"].resume == "off"
    assert fleet.models["m"].tiers[0]["a"].model == "yes"
    assert Queue(size=0, wait_s=2.0) == fleet.queue
    assert fleet.tls is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [("true", True), ("Yes", True), ("on", True), ("false", False), ("NO", False), ("off", False)],
)
def test_switches(written, expected):
    """YAML's words for yes and no are read; the text `"false"` and numbers are mistakes."""
    start = "backends: {a: {url: http://127.0.0.1:1}}\nmodels: {m: {tiers: [{a: {model: m}}], "
    fleet = parse_fleet(start + f"assemble: {written}}}}}\n", "f", {})
    for wrong in ('"false"', "0", "[]"):
        with pytest.raises(FleetFileError, match="wants true or false"):
            parse_fleet(start + f"assemble: {wrong}}}}}\n", "f", {})

    assert expected is fleet.models["m"].assemble


def test_anchors_and_merges():
    """Aliases repeat a value; `<<` merges mappings, and a mapping's own keys win."""
    text = f"""\
{BACKENDS}models:
  one: &one
    tiers: &tiers [{{a: {{model: x}}}}]
    first_token_s: 5
    stall_s: 6
  two: {{<<: *one, stall_s: 7}}
  three: {{<<: [{{total_s: 8}}, *one, {{total_s: 9}}], first_token_s: 1}}
  four: {{tiers: *tiers}}
"""

    models = parse_fleet(text, "f", {}).models

    seen = {name: (one.first_token_s, one.stall_s, one.total_s) for name, one in models.items()}
    expected = {
        "one": (5, 6, 600),
        "two": (5, 7, 600),
        "three": (1, 6, 8),
        "four": (30, 30, 600),
    }

    assert expected == seen
    assert {"x"} == {one.tiers[0]["a"].model for one in models.values()}


def test_variables_are_filled_in():
    """Variables stand in any text, with defaults, and `$${` is a literal."""
    text = with_backend('url: "${S:-https}://${H}/${P:-}", api_key: "a$${b}$c${E:-d}"')

    backend = parse_fleet(text, "f", {"H": "h.example", "E": ""}).backends["a"]

    assert backend.url == "https://h.example/"
    assert backend.api_key == "a${b}$cd"


def test_a_variable_set_to_nothing_is_not_set():
    """An empty variable without a default is a mistake, as an empty secret helps nobody."""
    (line,) = lines_of(with_backend('url: http://a, api_key: "${KEY}"'), {"KEY": ""})

    assert "the variable KEY is not set" in line


@pytest.mark.parametrize(
    "written",
    [
        "hunter2 with spaces",
        "[hunter2]",
        "{hunter2: 1}",
        "*hunter2",
        "!hunter2 x",
        "!!int hunter2",
        "@hunter2",
        "'hunter2",
        "hunter2: x",
        "${hunter2",
        "${hunter2-x}",
        "${VAR:-hunter2 x}",
        "${SECRET}",
        "prefix-${SECRET}",
        "hunter2é",
    ],
)
def test_secrets_are_not_repeated(written):
    """However a key is written wrongly, its text is not in the mistake."""
    text = f"backends:\n  a:\n    url: http://a\n    api_key: {written}\n{MODELS}"

    seen = lines_of(text, {"SECRET": "hunter2\n"})

    assert seen
    assert "hunter2" not in "".join(seen)


def test_a_number_as_secret_is_not_repeated():
    """A key of digits is no text, and the mistake does not say which digits."""
    expected = [
        'f:2:31: backends.a.api_key: wants text, found a number (put text in quotes; for example "${DEEPSEEK_API_KEY}")'
    ]

    assert expected == lines_of(with_backend("url: http://a, api_key: 271828"))


def test_a_password_in_a_url_is_not_repeated():
    """A URL with userinfo is refused without showing it."""
    (line,) = lines_of(with_backend("url: 'https://u:hunter2@a'"))

    assert "has a user or password" in line
    assert "hunter2" not in line


def test_expansion_of_aliases_is_bounded():
    """Ten lines that stand for ten billion values are refused while they are read."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    expected = [
        "f:5:46: more than 100000 values, counting what aliases stand for (is this a fleet file?)"
    ]

    assert expected == lines_of("\n".join(lines))


def test_merges_of_merges_are_bounded():
    """A chain of merges, each longer than the last, ends at the same bound."""
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}" for n in range(1, 2000)]

    (line,) = lines_of("\n".join(lines))

    assert "more than 100000 values" in line


def test_mistakes_are_bounded():
    """A file of nothing but mistakes is given up on, and says so first."""
    seen = lines_of("\n".join(f"k{n}: 1" for n in range(10_000)))

    assert len(seen) == MISTAKES_MAX + 1
    assert seen[0] == "f: 200 mistakes, the rest of the file is not looked at"


def test_hostile_words_stay_on_one_line():
    """What is quoted from the file is cut, and cannot break a line or steer a terminal."""
    expected = [
        "f:3:1: a\\nb\\x1b[2J: unknown key (known: `admin`, `admin_token`, `backends`, `deploy`, `drain_s`, `inbound`, `jobs`, `keys`, `listen`, `log`, `models`, `open_to_all`, `otel`, `overload`, `prices`, `queue`, …)",
        f'f:4:9: listen: wants text, found the number `1{"0" * 62}…` (put text in quotes; for example "127.0.0.1:8080")',
    ]

    assert expected == lines_of(f'{SOUND}"a\\nb\\e[2J": 1\nlisten: 1{"0" * 5000}\n')


def test_read_fleet(tmp_path):
    """A file is read with or without a byte order mark, and places do not count the mark."""
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SOUND.encode())
    marked = read_fleet(path, {})
    path.write_text(SOUND)

    assert marked == read_fleet(path, {})


def failure(path: Path) -> str:
    """Return what reading `path` says, which must fail."""
    with pytest.raises(FleetFileError) as raised:
        read_fleet(path, {})
    return str(raised.value).replace(str(path.parent), "")


def test_files_that_cannot_be_read(tmp_path):
    """A missing file, a folder, a file too large and one that is not UTF-8 are mistakes too."""
    large, latin = tmp_path / "large.yaml", tmp_path / "latin.yaml"
    large.write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    latin.write_bytes("a: é\nb: é".encode() + b"\xe9")
    folder = tmp_path / "folder"
    folder.mkdir()

    expected = [
        "/none.yaml: no such file (`baseload init` writes one)",
        "/folder: cannot be read: Is a directory",
        "/large.yaml: larger than 1048576 bytes (is this a fleet file?)",
        "/latin.yaml:2:5: not UTF-8 from here on (save the file as UTF-8)",
    ]

    assert expected == [failure(path) for path in (tmp_path / "none.yaml", folder, large, latin)]


def test_a_key_with_all_that_it_can_have():
    """Terms, notes of any text, and limits for single models are read as they are written."""
    text = f"""\
backends: {{a: {{url: https://a.example/v1}}}}
models: {{m: {{tiers: [{{a: {{model: m}}}}]}}, x.y: {{tiers: [{{a: {{model: m}}}}]}}}}
keys:
  - name: team-a
    sha256: "{"0a" * 32}"
    rpm: 1
    usd_day: 0.5
    priority: batch
    models: [m, x.y]
    expires: 2027-01-31
    labels: {{mail: a@b, "a b": ""}}
    per_model: {{x.y: {{tpm: 2}}}}
"""
    expected = Key(
        name="team-a", sha256="0a" * 32, rpm=1, usd_day=0.5, priority="batch", models=("m", "x.y"),
        expires="2027-01-31", labels={"mail": "a@b", "a b": ""}, per_model={"x.y": Limits(tpm=2)},
    )  # fmt: skip

    assert (expected,) == parse_fleet(text, "f", {}).keys
    assert 1801353600.0 == expected.expires_at
