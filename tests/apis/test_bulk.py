"""Bodies that are small to send and large to read."""

import pytest

from baseload.apis.anthropic.dialect import MESSAGES
from baseload.apis.batch import LINES_MAX, read_lines
from baseload.apis.bulk import MARKS_MAX
from baseload.apis.openai import FIELDS_MAX, BadRequestError, read_request
from baseload.apis.responses.speech import Responses

HEAD = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"input":"x",'


@pytest.mark.parametrize("dialect", [MESSAGES, Responses()])
@pytest.mark.parametrize("unit", [b"[]", b"{}", b"0", b'"",[0]'])
def test_a_body_of_very_many_values_is_refused(dialect, unit):
    """It would take seconds to read, in which nobody else is answered."""
    body = HEAD + b'"metadata":{"x":[' + (unit + b",") * MARKS_MAX + b"0]}}"

    with pytest.raises(BadRequestError, match="too many"):
        dialect.read(body)


@pytest.mark.parametrize("dialect", [MESSAGES, Responses()])
def test_a_large_text_is_read(dialect):
    """Some millions of letters, of which a tenth are commas and brackets, are a prompt."""
    text = b"a, b[c {d} efg hijklmnopqrstuvwxyz" * 60_000
    asked, _ = dialect.read(HEAD.replace(b'"x"', b'"' + text + b'"') + b'"top_p":1}')

    assert text in asked


def test_a_chat_of_very_many_fields_is_refused():
    """To rename its model, all of them would have to be taken apart."""
    body = HEAD + b",".join(b'"%d":1' % number for number in range(FIELDS_MAX)) + b"}"

    with pytest.raises(BadRequestError, match="fields"):
        read_request(body)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_file_of_empty_lines_is_not_taken_apart(end):
    """A batch of millions of lines that say nothing is refused by their count."""
    lines, wrong = read_lines(end * 5 * LINES_MAX, "/v1/chat/completions")

    assert ([], ["too_many_requests"]) == (lines, [one.code for one in wrong])
