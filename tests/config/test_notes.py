"""What `check` says about a file that is sound."""

from baseload.config.default import default_fleet
from baseload.config.notes import notes
from baseload.config.reading import parse_fleet


def test_nothing_to_note():
    """The built-in fleet, with and without a key, gives no cause for notes."""
    assert notes(default_fleet({})) == []
    assert notes(default_fleet({"DEEPSEEK_API_KEY": "k"})) == []


def test_every_note(tmp_path):
    """Open doors come first, then what nothing uses, then what is not acted on yet."""
    ca = tmp_path / "ca.pem"
    ca.touch()
    text = f"""\
listen: 0.0.0.0:8080
admin: "[::]:9090"
admin_token: correct-horse-battery
backends:
  far: {{url: http://far.example/v1, api_key: s3cret, ca: {ca}}}
  near: {{url: http://localhost:1/v1, api_key: s3cret}}
  safe: {{url: https://safe.example/v1, api_key: s3cret}}
  spare: {{engine: llama.cpp, model: m, api_key: s3cret}}
models:
  m: {{tiers: [{{far: {{model: m}}, near: {{model: m}}}}, {{safe: {{model: m}}}}], resume: any}}
  n: {{tiers: [{{far: {{model: m}}}}], resume: off, hedge: 0.1}}
overload: {{latency_s: 1}}
"""
    expected = [
        "listen: 0.0.0.0:8080 can be reached from other machines, and no keys are in this file: callers need one made with `baseload keys create`",
        "admin: [::]:9090 can be reached from other machines, over plain http: whoever listens in on the way can read `admin_token`",
        "backends.far.api_key: sent over plain http to far.example, where others on the way can read it",
        "backends.spare: no model uses it",
        "backends.far.ca: has no effect without an https `url`",
        "models.n.hedge: has no effect with one backend",
    ]

    assert expected == notes(parse_fleet(text, "f", {}))


HEAD = """\
listen: 0.0.0.0:8080
backends: {a: {url: https://a.example/v1}}
models: {m: {tiers: [{a: {model: m}}]}}
"""
KEYS = f"keys: [{{name: t, sha256: {'0a' * 32}}}]\n"


def test_a_door_that_was_opened_on_purpose():
    """Being open to all is noted as long as it has an effect, and noted when it has none."""
    opened = "listen: 0.0.0.0:8080 can be reached from other machines, and open_to_all lets in whoever reaches it, while there are no keys"

    assert [opened] == notes(parse_fleet(f"{HEAD}open_to_all: true\n", "f", {}))
    assert [] == notes(parse_fleet(HEAD + KEYS, "f", {}))
    assert ["open_to_all: has no effect with `keys`"] == notes(
        parse_fleet(f"{HEAD}{KEYS}open_to_all: true\n", "f", {})
    )


def test_budgets_need_prices():
    """Where money is limited, a model without a price is told; where it is not, nobody asks."""
    text = """\
backends: {deepseek: {url: https://api.deepseek.com/v1}, near: {url: http://localhost:1/v1}}
models:
  m: {tiers: [{deepseek: {model: deepseek-flash}}, {near: {model: n}}], resume: off}
"""
    limited = text.replace("resume: off", "resume: off, limits: {usd_day: 5}")

    assert [] == notes(parse_fleet(text, "f", {}))
    assert [
        "prices: none is known for n at near, so its calls take nothing of any budget"
    ] == notes(parse_fleet(limited, "f", {}))
