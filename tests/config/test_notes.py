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
store: {{counters: redis://r}}
"""
    expected = [
        "listen: 0.0.0.0:8080 can be reached from other machines, and the gateway asks for no keys: whoever reaches it can use it",
        "admin: [::]:9090 can be reached from other machines, over plain http: whoever listens in on the way can read `admin_token`",
        "backends.far.api_key: sent over plain http to far.example, where others on the way can read it",
        "backends.spare: no model uses it",
        "backends.far.ca: has no effect without an https `url`",
        "backends.spare.api_key: has no effect with `engine`",
        "store: read, but this version does not act on it",
        "models.n.hedge: has no effect with one backend",
    ]

    assert expected == notes(parse_fleet(text, "f", {}))
