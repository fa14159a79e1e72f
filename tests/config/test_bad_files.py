"""A table of bad files and the very lines that a person sees for each."""

import hashlib

import pytest
import yaml

from baseload.config import tree
from baseload.config.reading import FILE_MAX_BYTES, parse_fleet
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


def with_model(fields: str) -> str:
    """Return a file whose only model, in line 3, has `fields`."""
    return f"{BACKENDS}models:\n  m: {{{fields}}}\n"


EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
NO_FILE = "no such file, or it cannot be reached (a relative path starts where baseload is started; `~` is not expanded)"
TIER = "tiers: [{a: {model: m}}]"
BAD: list[tuple[str, str, list[str]]] = [
    # --- the file as a whole
    ("empty", "", ["f: empty (`baseload init` writes a file to start from)"]),
    ("comment", "# x\n", ["f: empty (`baseload init` writes a file to start from)"]),
    ("null", "~", ["f: empty (`baseload init` writes a file to start from)"]),
    ("list", "- a", ["f:1:1: wants a mapping, found a list"]),
    ("text", "hello", ["f:1:1: wants a mapping, found the text `hello`"]),
    (
        "large",
        "#" * (FILE_MAX_BYTES + 1),
        ["f: larger than 1048576 bytes (is this a fleet file?)"],
    ),
    (
        "two documents",
        SOUND + "---\n" + SOUND,
        ["f:3:1: a second document starts here (a fleet file holds just one)"],
    ),
    (
        "unprintable",
        "listen: a\nadmin: \x1b[2J",
        ["f:2:8: the sign U+001B cannot be in a YAML file (remove it)"],
    ),
    (
        "tab",
        "backends:\n\ta: {}\n",
        ["f:2:1: not valid YAML: a tab where only spaces may be (indent with spaces)"],
    ),
    (
        "deep",
        "a: " + "[" * 40,
        ["f:1:35: nested deeper than 32 levels (flatten it)"],
    ),
    # --- keys
    (
        "missing",
        "listen: h:1\n",
        [
            "f:1:1: backends: missing (Places where models run, by name)",
            "f:1:1: models: missing (Models as callers name them, and where they are answered)",
        ],
    ),
    (
        "missing in a struct",
        f"{BACKENDS}models:\n  m:\n    tiers:\n      - a: {{share: 1}}\n",
        ['f:5:9: models.m.tiers[0].a.model: missing (for example "deepseek-flash")'],
    ),
    ("unknown", SOUND + "Listen: x:1\n", ["f:3:1: Listen: unknown key (did you mean `listen`?)"]),
    (
        "unknown and unlike any",
        SOUND + "queue: {zzz: 1}\n",
        ["f:3:9: queue.zzz: unknown key (known: `size`, `wait_s`)"],
    ),
    (
        "filled in",
        with_backend("url: https://a.example/v1, name: b"),
        [
            "f:2:34: backends.a.name: unknown key (it is the key that all this stands under, so remove the line)"
        ],
    ),
    (
        "duplicates, nested too",
        SOUND + "listen: h:1\nqueue: {size: 1, size: -1}\nlisten: h:2\n",
        [
            "f:4:18: queue.size: written twice, first in line 4 (remove one of them)",
            "f:4:24: queue.size: must be at least 0, found -1 (Calls that may wait at once, all models)",
            "f:5:1: listen: written twice, first in line 3 (remove one of them)",
        ],
    ),
    (
        "keys that are not text",
        SOUND + "1: x\n~: x\nyes: x\n? [a]\n: x\n2026-01-01: x\n",
        [
            "f:3:1: 1: this key is not read as text (put it in quotes)",
            "f:4:1: ~: this key is not read as text (put it in quotes)",
            "f:5:1: yes: this key is not read as text (put it in quotes)",
            "f:6:3: a key must be text, found a list or mapping",
            "f:8:1: 2026-01-01: this key is not read as text (put it in quotes)",
        ],
    ),
    (
        "names that no header can carry",
        'backends: {"a b": {url: https://a.example}, a: {url: https://a.example}}\n' + MODELS,
        [
            "f:1:12: backends.a b: does not have the form that is wanted (A name of at most 64 letters, digits, `.`, `_` and `-`)"
        ],
    ),
    # --- kinds
    (
        "text wanted",
        SOUND + "listen: 8080\nstate_dir: [x]\nstore: {ledger: yes, counters: 2026-01-01}\n",
        [
            'f:3:9: listen: wants text, found the number `8080` (put text in quotes; for example "127.0.0.1:8080")',
            'f:4:1: state_dir: wants text, found a list (for example "~/.local/state/baseload")',
            'f:5:17: store.ledger: wants text, found the yes/no value `yes` (put text in quotes; for example "sqlite:///baseload.db")',
            'f:5:32: store.counters: wants text, found the date `2026-01-01` (put text in quotes; for example "memory://")',
        ],
    ),
    (
        "stores of no known kind",
        SOUND + "store: {ledger: mysql://a:secret@b/c, counters: memcached://b}\n",
        [
            "f:3:17: store.ledger: does not have the form that is wanted (A database for calls, keys, batches: sqlite:///FILE or postgresql://…)",
            "f:3:49: store.counters: does not have the form that is wanted (Where limits are counted: memory://, or redis://… for replicas)",
        ],
    ),
    (
        "numbers wanted",
        with_model(f'{TIER}, first_token_s: "5", stall_s: 10s, total_s: .inf'),
        [
            "f:3:48: models.m.first_token_s: wants a decimal number, found the text `5` (remove the quotes)",
            "f:3:62: models.m.stall_s: wants a decimal number, found the text `10s` (for example 30.0)",
            "f:3:76: models.m.total_s: wants a decimal number, found the number `.inf` (for example 600.0)",
        ],
    ),
    (
        "numbers that YAML 1.1 and 1.2 read differently",
        SOUND + "drain_s: 1:30\nqueue: {size: 010, wait_s: 0x1F}\ninbound: {idle_s: .nan}\n",
        [
            "f:3:10: drain_s: wants a decimal number, found the number `1:30` (for example 30.0)",
            "f:4:15: queue.size: wants a whole decimal number, found the number `010` (for example 1024)",
            "f:4:28: queue.wait_s: wants a decimal number, found the number `0x1F` (for example 30.0)",
            "f:5:19: inbound.idle_s: wants a decimal number, found the number `.nan` (for example 75.0)",
        ],
    ),
    (
        "numbers out of range",
        SOUND
        + "queue: {size: -1, wait_s: 0}\ninbound: {body_mb: 1025, connections: 9999999999999999999}\noverload: {error_rate: 1.5}\n",
        [
            "f:3:15: queue.size: must be at least 0, found -1 (Calls that may wait at once, all models)",
            "f:3:27: queue.wait_s: must be more than 0, found 0 (Longest wait before a refusal)",
            "f:4:20: inbound.body_mb: must be at most 1024, found 1025 (Largest request body)",
            "f:4:39: inbound.connections: too long a number (for example 8192)",
            "f:5:24: overload.error_rate: must be at most 1, found 1.5 (Red above this share)",
        ],
    ),
    (
        "a variable for a number",
        SOUND + "queue: {size: '${SIZE}'}\n",
        [
            "f:3:15: queue.size: wants a whole decimal number, found the text `${SIZE}` (variables can stand for text only)"
        ],
    ),
    (
        "nothing",
        BACKENDS + "models:\nlisten:\nqueue: ~\n",
        [
            "f:2:1: models: wants a mapping, found nothing (give it a value or remove the line)",
            "f:3:1: listen: wants text, found nothing (give it a value or remove the line)",
            "f:4:8: queue: wants a mapping, found nothing (give it a value or remove the line)",
        ],
    ),
    (
        "a list for a word",
        with_model(f"{TIER}, resume: [off]"),
        ['f:3:33: models.m.resume: wants a word, found a list (for example "same_weights")'],
    ),
    (
        "an unknown word",
        with_model(f"{TIER}, resume: OFF"),
        ["f:3:41: models.m.resume: unknown word `OFF` (did you mean `off`?)"],
    ),
    (
        "an unknown word unlike any",
        with_model(f"{TIER}, resume: quake"),
        ["f:3:41: models.m.resume: unknown word `quake` (known: `any`, `off`, `same_weights`)"],
    ),
    (
        "no backends, no models",
        "backends: {}\nmodels: {}\n",
        [
            "f:1:1: backends: must not be empty (Places where models run, by name)",
            "f:2:1: models: must not be empty (Models as callers name them, and where they are answered)",
        ],
    ),
    # --- tags, aliases, merges
    (
        "tags",
        SOUND + "listen: !!python/object/apply:os.system [id]\nadmin: !!str h:1\n",
        [
            'f:3:1: listen: wants text, found a list (for example "127.0.0.1:8080")',
            "f:3:9: a tag (`!` before a value) is not allowed; nothing is constructed from tags (remove the tag, or put the value in quotes)",
            "f:4:8: a tag (`!` before a value) is not allowed; nothing is constructed from tags (remove the tag, or put the value in quotes)",
        ],
    ),
    (
        "aliases without an anchor, or of themselves",
        SOUND + "listen: *nope\nqueue: &q {size: *q}\n",
        [
            "f:3:9: this alias (`*`) stands for an anchor (`&`) that is not defined above it (put the value in quotes if it is text)",
            "f:4:18: this alias stands for a value that contains it (remove it)",
        ],
    ),
    (
        "merging what is no mapping",
        SOUND + "queue: {<<: 5, size: 1}\n",
        [
            "f:3:13: `<<` merges mappings only, as `<<: *name` (put the key in quotes if it is a name)"
        ],
    ),
    # --- rules between values
    (
        "unknown backend",
        BACKENDS + "models: {m: {tiers: [{b: {model: m}, deepsek: {model: m}}]}}\n",
        [
            "f:2:23: models.m.tiers[0].b: no such backend (known: `a`)",
            "f:2:38: models.m.tiers[0].deepsek: no such backend (known: `a`)",
        ],
    ),
    (
        "neither url nor engine",
        with_backend(""),
        [
            "f:2:3: backends.a: needs a `url` or an `engine` (`url: https://…/v1`, or `engine: llama.cpp` with a `model`)"
        ],
    ),
    (
        "both url and engine",
        with_backend("engine: llama.cpp, url: http://a"),
        [
            "f:2:31: backends.a.url: `url` and `engine` together (a backend is either reached at a URL or started by baseload: remove one)"
        ],
    ),
    (
        "engine without model",
        with_backend("engine: llama.cpp"),
        [
            "f:2:3: backends.a: needs the `model` that the engine is to load (for example `model: smollm2-135m-instruct`)"
        ],
    ),
    (
        "model with url",
        with_backend("url: http://a, model: m"),
        [
            "f:2:29: backends.a.model: belongs to an `engine`, not to a `url` (the model asked for at a URL is named in the tiers that use it)"
        ],
    ),
    (
        "url",
        with_backend("url: ftp://a"),
        [
            "f:2:12: backends.a.url: does not start with `http://` or `https://` (for example https://api.deepseek.com/v1)"
        ],
    ),
    (
        "addresses",
        SOUND + 'listen: "8080"\nadmin: "::1:80"\n',
        [
            "f:3:9: listen: has no port; it is written `host:port` (for example 127.0.0.1:8080)",
            "f:4:8: admin: has several colons; an IPv6 address is written `[::1]:8080` (for example 127.0.0.1:8080)",
        ],
    ),
    (
        "an open port for operators",
        SOUND + "admin: 0.0.0.0:9090\n",
        [
            "f:3:8: admin: can be reached from other machines, and no `admin_token` is set (set one of 16 signs or more, or listen on 127.0.0.1)"
        ],
    ),
    ("a guarded port", SOUND + "admin: 0.0.0.0:9090\nadmin_token: correct-horse-battery\n", []),
    (
        "the same address",
        SOUND + "listen: 0.0.0.0:80\nadmin: 127.0.0.1:80\n",
        ["f:4:8: admin: the same address as `listen` (give it another port)"],
    ),
    (
        "the same address as the default",
        SOUND + "listen: 127.0.0.1:9090\n",
        ["f:3:9: listen: the same address as `admin` (give it another port)"],
    ),
    (
        "shares of zero",
        with_model("tiers: [{a: {model: m, share: 0}}]"),
        [
            "f:3:15: models.m.tiers[0]: every share of this tier is 0, so it would take no call (give one a share, or remove the tier)"
        ],
    ),
    (
        "empty tiers",
        with_model("tiers: [{}]") + "  n: {tiers: []}\n",
        [
            "f:3:15: models.m.tiers[0]: must not be empty",
            'f:4:7: models.n.tiers: must not be empty (for example [{"deepseek":{"model":"deepseek-flash"}}])',
        ],
    ),
    (
        "files that are not there",
        "backends: {a: {engine: llama.cpp, model: no.gguf}, b: {url: https://b, ca: no.pem}}\n"
        + MODELS
        + "tls: {cert: no.pem, key: no.pem}\n",
        [
            f"f:1:42: backends.a.model: {NO_FILE}",
            f"f:1:76: backends.b.ca: {NO_FILE}",
            f"f:3:13: tls.cert: {NO_FILE}",
            f"f:3:26: tls.key: {NO_FILE}",
        ],
    ),
    (
        "keys that are one",
        SOUND + "keys:\n" + f"  - {{name: t, sha256: {'0a' * 32}}}\n" * 2,
        [
            "f:5:12: keys[1].name: another key has this name (each caller's name is its own)",
            "f:5:23: keys[1].sha256: another key has this hash (each caller needs a key of its own)",
        ],
    ),
    (
        "keys at odds with the rest",
        SOUND
        + f"keys:\n  - {{name: t, sha256: {EMPTY_SHA256}, expires: 2026-02-30, models: [m, n]}}\n"
        + f"  - {{name: u, sha256: {'0a' * 32}, per_model: {{x.y: {{rpm: 1}}, m: {{tpm: 1}}}}}}\n",
        [
            "f:4:23: keys[0].sha256: the hash of an empty text (was a variable not set? `printf %s KEY | sha256sum` gives a key's hash)",
            "f:4:98: keys[0].expires: no day of the calendar (a day is written 2027-01-31)",
            "f:4:122: keys[0].models[1]: no such model (known: `m`)",
            "f:5:101: keys[1].per_model.x.y: no such model (known: `m`)",
        ],
    ),
    # --- variables
    (
        "variables",
        with_backend('url: "${HOST}/${PATH_}/${ok}", api_key: "${"'),
        [
            "f:2:12: backends.a.url: the variable HOST is not set (export HOST, remove the line, or give a default: `${HOST:-default}`)",
            "f:2:12: backends.a.url: the variable PATH_ is not set (export PATH_, remove the line, or give a default: `${PATH_:-default}`)",
            "f:2:12: backends.a.url: the variable ok is not set (export ok, remove the line, or give a default: `${ok:-default}`)",
            "f:2:47: backends.a.api_key: `${` does not begin a variable (write `${NAME}`, or `$${` for `${`)",
        ],
    ),
]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "expected"), [one[1:] for one in BAD], ids=[one[0] for one in BAD]
)
def test_bad_file(monkeypatch, loader, text, expected):
    """Each bad file yields exactly these lines, with either of PyYAML's parsers."""
    monkeypatch.setattr(tree, "_Loader", getattr(yaml, loader))

    assert expected == lines_of(text)


SYNTAX = [
    ("a: b: c\n", 1, 5),
    ("a: 'x", 1, 6),
    ("listen: [::1]:8080\n", 1, 10),
    ("a: {b: 1\nc: 2\n", 2, 2),
    ("@x", 1, 1),
    ("%YAML 3.0\n---\na: b", 1, 1),
    ("é: é\n b: \n", 2, 3),
]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(("text", "line", "column"), SYNTAX)
def test_syntax(monkeypatch, loader, text, line, column):
    """Broken YAML is one mistake at its place; the words after the colon are the parser's own."""
    monkeypatch.setattr(tree, "_Loader", getattr(yaml, loader))

    (seen,) = lines_of(text)

    assert seen.startswith(f"f:{line}:{column}: not valid YAML: ")
