"""What a request may take at most, as far as its own words tell."""

import json

import pytest

from baseload.apis import openai


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 9000, "max_completion_tokens": 1}, 9000),
        ({"max_tokens": 1, "max_completion_tokens": 9000}, 9000),
        ({"max_tokens": 1, "max_output_tokens": 9000}, 9000),
        ({"max_tokens": "9000"}, 9000),
        ({"max_tokens": 9000.0}, 9000),
        ({"max_tokens": -5, "max_completion_tokens": 9000}, 9000),
        ({"max_tokens": "9" * 5000}, openai.ANSWER_TOKENS),
        ({"max_tokens": [1], "max_completion_tokens": {}}, openai.ANSWER_TOKENS),
        ({"max_tokens": True}, openai.ANSWER_TOKENS),
        ({"max_tokens": 1e300}, openai.ANSWER_TOKENS),
    ],
)
def test_the_largest_bound_of_an_answer_is_expected(fields, expected):
    """Whatever a lenient backend might take for the bound, no less is set aside for it."""
    asked = openai.read_request(json.dumps({"model": "m"} | fields).encode())

    assert expected == asked.answer_tokens()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"n": 3}, 3), ({"n": "3"}, 3), ({"best_of": 5, "n": 1}, 5), ({"n": 1000}, 1), ({}, 1)],
)
def test_answers_that_are_made_and_thrown_away_count(fields, expected):
    """`best_of` answers are all paid for."""
    asked = openai.read_request(json.dumps({"model": "m"} | fields).encode())

    assert expected == asked.choices()
