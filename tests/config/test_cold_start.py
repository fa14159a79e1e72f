"""Backends that may be at zero: what a file may not say of them, and what its owner should know."""

import pytest

from baseload.config.notes import notes
from baseload.config.reading import parse_fleet
from tests.config.test_bad_files import lines_of, with_backend


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            "engine: llama.cpp, model: m, cold_start_s: 5",
            "f:2:50: backends.a.cold_start_s: belongs to a `url`, not to an `engine`",
        ),
        (
            "url: 'https://a.example/v1', cold_start_s: 5, probe_s: 0",
            "f:2:50: backends.a.cold_start_s: needs looks at its health",
        ),
        ("url: 'https://a.example/v1', cold_start_s: 3601", "f:2:50: backends.a.cold_start_s: "),
    ],
)
def test_what_makes_no_sense_is_refused(fields: str, expected: str):
    """Engines are started, not waited for; without looks nobody sees that one has come up."""
    (line,) = lines_of(with_backend(fields))

    assert line.startswith(expected)


def test_none_is_asked_for_nothing():
    """Whoever says that there is no cold start need not have looks."""
    fields = "url: 'https://a.example/v1', cold_start_s: 0, probe_s: 0"

    assert [] == lines_of(with_backend(fields))


def test_who_calls_for_a_backend_at_zero_is_spoken_for():
    """A cold start takes time, and calls that wait for it need more than that."""

    def found(cold_start_s: float) -> list[str]:
        text = f"""\
backends: {{a: {{url: http://localhost:1/v1, cold_start_s: {cold_start_s}}}}}
models: {{m: {{tiers: [{{a: {{model: m}}}}], total_s: 60}}}}
"""
        return notes(parse_fleet(text, "f", {}))

    (short,) = found(60)

    assert [] == found(0) == found(30)
    assert short.startswith("models.m.total_s: ")
