"""Two halves of an answer, joined so that nothing is doubled and nothing lost."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from baseload.apis.assemble import Assembly
from baseload.apis.resume import ASSISTANT, CONTINUE, PREFIX, PROMPT, RESTART, Said
from baseload.apis.seam import MATCH_CHARS, MATCH_CHARS_MIN, Seam, SeamError, note
from baseload.apis.sse import Splitter
from tests import FUZZ

LONG = "It was the best of times, it was the worst of times."
DONE = b"data: [DONE]\n\n"


def event(who, delta=None, finish=None, usage=None, text=None):
    """Give one event of a stream, by the first or by the second backend."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    if text is not None:
        choice = {"index": 0, "text": text, "finish_reason": finish}
    chunk = {"id": f"c-{who}", "created": who, "model": f"m-{who}", "choices": [choice]}
    if usage:
        chunk |= {"choices": [] if usage[0] == "last" else [choice], "usage": usage[-1]}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def usage(prompt, answer):
    """Give an object of usage."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def said_of(*deltas, key="content"):
    """Give what the first backend said; a string is content."""
    said = Said()
    said.feed(event(1, {"role": "assistant", "content": ""}))
    for delta in deltas:
        said.feed(event(1, {key: delta} if isinstance(delta, str) else delta))
    return said


def parsed(out):
    """Give the data of each event, chunks as dictionaries."""
    data = [part.removeprefix(b"data: ") for part in out.split(b"\n\n")]
    return [json.loads(part) if part.startswith(b"{") else part for part in data]


def content_of(out):
    """Give the content in what a seam gave back."""
    said = Said()
    said.feed(out)
    return said.content


def second(*deltas):
    """Give the second backend's whole stream."""
    events = [event(2, {"role": "assistant", "content": ""})]
    events += [event(2, {"content": d} if isinstance(d, str) else d) for d in deltas]
    return b"".join([*events, event(2, finish="stop"), DONE])


# -- one answer ----------------------------------------------------------------------------------


def test_a_continuation_is_laid_beside():
    """The rest is passed on as chunks of the first answer; role, comments and nothings are not."""
    seam = Seam(said_of(LONG), CONTINUE)
    out = seam.feed(b": hello\n\n" + event(2, {"role": "assistant", "content": ""}) + event(2))

    assert (b"", False) == (out, seam.joined)

    out = seam.feed(event(2, {"role": "assistant", "content": " Yes"}))

    assert parsed(event(1, {"content": " Yes"})) == parsed(out)
    assert (True, False) == (seam.joined, seam.is_restart)

    out = seam.feed(event(2, finish="stop") + DONE)

    assert parsed(event(1, finish="stop") + DONE) == parsed(out)


def test_a_restart_is_laid_over():
    """An answer that begins again is dropped up to where the first broke, inside a chunk, too."""
    seam = Seam(said_of(LONG[:30]), RESTART)

    assert b"" == seam.feed(event(2, {"content": LONG[:20]}))
    assert not seam.joined
    assert LONG[30:40] == content_of(seam.feed(event(2, {"content": LONG[20:40]})))
    assert seam.joined
    assert LONG[40:] == content_of(seam.feed(event(2, {"content": LONG[40:]})))


@pytest.mark.parametrize("way", [PREFIX, CONTINUE, ASSISTANT])
def test_an_ignored_start_is_noticed(way):
    """A server that ignores the start it was given has begun again, and is joined as such."""
    seam = Seam(said_of(LONG[:30]), way)
    out = seam.feed(event(2, {"content": LONG[:10]}) + event(2, {"content": LONG[10:20]}))

    assert (b"", False) == (out, seam.is_restart)

    out = seam.feed(event(2, {"content": LONG[20:]}))
    assert (LONG[30:], True, True) == (content_of(out), seam.is_restart, seam.joined)


def test_an_ignored_start_is_noticed_by_the_whole_of_a_short_text():
    """Less text than is compared is enough if all of it comes again."""
    seam = Seam(said_of(LONG[:10]), CONTINUE)
    out = seam.feed(second(LONG))

    assert (LONG[10:], True) == (content_of(out), seam.is_restart)


def test_a_continuation_that_begins_alike_is_kept():
    """What was held back because it began like the old text is released once it differs."""
    rest = LONG[: MATCH_CHARS - 1] + "!"
    seam = Seam(said_of(LONG), CONTINUE)
    out = [seam.feed(event(2, {"content": character})) for character in rest]

    assert [b""] * (MATCH_CHARS - 1) == out[:-1]
    assert (rest, False) == (content_of(out[-1]), seam.is_restart)


def test_a_short_continuation_that_begins_alike_is_kept():
    """An answer that ends while it is held back is a continuation."""
    out = Seam(said_of(LONG), CONTINUE).feed(second(LONG[:5]))

    assert LONG[:5] == content_of(out)
    assert out.endswith(DONE)


def test_what_is_held_back_comes_with_the_terminator():
    """A server that ends without a finish reason loses no text that was held back."""
    out = Seam(said_of(LONG), CONTINUE).feed(event(2, {"content": LONG[:5]}) + DONE)

    assert LONG[:5] == content_of(out)


def test_nothings_are_not_held():
    """Chunks without text take no room, however many come."""
    seam = Seam(said_of(LONG), CONTINUE)
    seam.feed(event(2, {"role": "assistant", "content": ""}) * 100)

    assert [] == seam._held


@pytest.mark.parametrize("old", ["1", LONG[: MATCH_CHARS_MIN - 1], LONG[:25] * 2])
def test_what_cannot_be_told_apart_is_refused(old):
    """A very short text, or one that repeats its opening, may go on like that: no guess is made."""
    seam = Seam(said_of(old), CONTINUE)

    with pytest.raises(SeamError, match="nothing tells which"):
        seam.feed(second(old + LONG))


def test_a_server_that_surely_goes_on_is_believed():
    """What begins like the opening is the rest all the same: a model may say the same word twice."""
    seam = Seam(said_of("ha"), CONTINUE, is_sure=True)

    assert "ha ha" == content_of(seam.feed(second("ha ha")))


def test_an_empty_continuation():
    """Nothing may be left to say: then only the end comes."""
    for way, deltas in ((CONTINUE, ()), (RESTART, (LONG,))):
        seam = Seam(said_of(LONG), way)
        out = parsed(seam.feed(second(*deltas)))

        assert parsed(event(1, finish="stop") + DONE) == out
        assert not seam.joined


def test_nothing_was_said():
    """Of an answer without text everything is new."""
    assert LONG == content_of(Seam(said_of(), CONTINUE).feed(second(LONG)))


def test_spaces_at_the_seam_are_joined_as_they_come():
    """A space more or less at the seam is the model's own."""
    assert "  a" == content_of(Seam(said_of("Hello "), ASSISTANT).feed(second("  a")))


# -- reasoning -----------------------------------------------------------------------------------


def test_reasoning_goes_on_in_the_first_answers_spelling():
    """Reasoning is continued, then content; its key is the one that the caller has read so far."""
    seam = Seam(said_of("Let me think about it", key="reasoning"), PREFIX)
    out = seam.feed(second({"reasoning_content": ". So"}, {"content": "Yes"}))
    deltas = [chunk["choices"][0]["delta"] for chunk in parsed(out)[:2]]

    assert [{"reasoning": ". So"}, {"content": "Yes"}] == deltas


def test_reasoning_that_begins_alike_and_stops():
    """Thoughts that begin like the old ones and stop early go on from them; nothing stays held."""
    seam = Seam(said_of({"reasoning": LONG}), PREFIX)

    assert b"" == seam.feed(event(2, {"reasoning": LONG[:5]}))
    assert ["It wa", None] == [
        chunk["choices"][0]["delta"].get("reasoning")
        for chunk in parsed(seam.feed(event(2, {"content": "Yes"})))[:-1]
    ]


def test_reasoning_that_begins_again():
    """Reasoning is laid over first, then content, in either way of beginning again."""
    thought = "Let me think about it for long."
    for way in (PREFIX, RESTART):
        said = said_of({"reasoning_content": thought}, {"content": "Hello"})
        out = Seam(said, way).feed(second({"reasoning": thought}, {"content": "Hello you"}))

        assert " you" == content_of(out)


@pytest.mark.parametrize(
    ("way", "deltas", "why"),
    [
        (RESTART, ["Other"], "differs from the first after character 0"),
        (RESTART, [LONG[:20], LONG[20:30], "Other"], "differs from the first after character 30"),
        (RESTART, [LONG[:20]], "ended before it reached"),
        (CONTINUE, [LONG[:30]], "ended before it reached"),
        (RESTART, [{"reasoning": "Hm"}, LONG], "thinks where the first answer had begun to speak"),
        (PREFIX, [{"reasoning": "Hm"}, LONG], "thinks where the first answer had begun to speak"),
        (CONTINUE, [{"tool_calls": [{"index": 0}]}], "more than text"),
        (RESTART, [{"refusal": "No"}], "more than text"),
    ],
)
def test_what_cannot_be_joined(way, deltas, why):
    """What differs, ends early or is no text is refused, and the text is not quoted."""
    with pytest.raises(SeamError, match=why) as raised:
        Seam(said_of(LONG), way).feed(second(*deltas).removesuffix(DONE))

    assert "Other" not in str(raised.value)


def test_reasoning_that_is_missing():
    """An answer that begins again without the first one's reasoning is another answer."""
    with pytest.raises(SeamError, match="stopped thinking"):
        Seam(said_of({"reasoning": "Hm"}, LONG), RESTART).feed(second(LONG))


@pytest.mark.parametrize(
    "bad", [b"data: {\n\n", b"data: x\n\n", b'data: {"error":{"a":1}}\n\n', DONE]
)
def test_bad_events(bad):
    """Garbage, an error and an end before anything was repeated cannot be joined."""
    with pytest.raises(SeamError):
        Seam(said_of(LONG), RESTART).feed(bad)


# -- usage ---------------------------------------------------------------------------------------

OLD = ({"reasoning": "Hm"}, "It was", " the best")


@pytest.mark.parametrize(
    ("way", "rest", "expected"),
    [
        (PREFIX, [" of"], usage(17, 8)),  # 3 chunks were given along and are answer, not prompt
        (CONTINUE, [" of"], usage(18, 8)),  # the thought was not given along
        (RESTART, [{"reasoning": "Hm"}, "It was the best of"], usage(20, 5)),
        (PREFIX, [], usage(17, 8)),
    ],
)
@pytest.mark.parametrize("place", ["last", "finish"])
def test_usage(way, rest, expected, place):
    """Tokens said before are the answer's, not the prompt's; of one begun again all is its own."""
    seam = Seam(said_of(*OLD), way)
    for delta in rest:
        seam.feed(event(2, {"content": delta} if isinstance(delta, str) else delta))
    out = seam.feed(event(2, finish="stop", usage=(place, usage(20, 5))))

    assert expected == parsed(out)[0]["usage"]


def test_usage_never_falls_below_nothing():
    """Odd counts are not made odder."""
    seam = Seam(said_of(*OLD), PREFIX)

    odd = {"prompt_tokens": None, "completion_tokens": "5"}
    out = seam.feed(event(2, usage=("last", usage(1, 1))) + event(2, usage=("last", odd)))

    assert [usage(0, 4), odd] == [chunk["usage"] for chunk in parsed(out)[:2]]


def test_note():
    """The note is a comment: no client reads it, and who looks finds it."""
    assert b": baseload: resumed at character 12 by edge\n\n" == note("edge", 12)


# -- nothing doubled, nothing lost ---------------------------------------------------------------

words = st.text(alphabet='ab \n"\\é漢😀', min_size=1, max_size=60)
cuts = st.lists(st.integers(0, 80), max_size=6)


def pieces(text, where):
    """Cut a text at these places; some pieces may be empty."""
    marks = [0, *sorted(min(at, len(text)) for at in where), len(text)]
    return [text[a:b] for a, b in pairwise(marks)]


def stream(who, reasoning, content, where, is_chat):
    """Give a backend's events for these texts."""
    if not is_chat:
        return [event(who, text=piece) for piece in pieces(content, where)]
    events = [event(who, {"role": "assistant", "content": ""})]
    events += [
        event(who, {"reasoning_content": p, "content": None}) for p in pieces(reasoning, where)
    ]
    return events + [event(who, {"content": p}) for p in pieces(content, where)]


@FUZZ
@given(
    content=words,
    reasoning=st.just("") | words,
    breaks=st.lists(st.integers(0, 120), min_size=1, max_size=3),
    where=st.tuples(cuts, cuts),
    way=st.sampled_from([PREFIX, CONTINUE, ASSISTANT, PROMPT, RESTART]),
    is_ignored=st.booleans(),
    step=st.integers(1, 400),
)
@example("ab" * 20, "", [20], ([], []), CONTINUE, False, 50)
@example("abc" + "d" * 30, "", [9, 20], ([], [1]), CONTINUE, True, 50)
def test_nothing_is_doubled_or_lost(content, reasoning, breaks, where, way, is_ignored, step):
    """However an answer breaks, is cut up and is resumed, even twice, the caller reads it once."""
    is_chat = way is not PROMPT
    reasoning = reasoning if is_chat else ""
    said, assembly = Said(), Assembly()
    for event_ in stream(1, reasoning, content, where[0], is_chat):
        if len(said.reasoning + said.content) >= breaks[0]:
            break
        said.feed(event_)
        assembly.feed(event_)
    for attempt, at in enumerate([*breaks[1:], 1000]):
        thought, spoken = said.reasoning, said.content
        if way is not PREFIX and thought and not spoken:
            way = RESTART
        is_whole = is_ignored or way is RESTART
        rest = stream(2, *((reasoning, content) if is_whole else (reasoning[len(thought):], content[len(spoken):])), where[1], is_chat)  # fmt: skip
        rest.append(event(2, text="", finish="stop") if not is_chat else event(2, finish="stop"))
        seam, splitter = Seam(said, way), Splitter()
        data = b"".join(rest[:at] if attempt < len(breaks) - 1 else [*rest, DONE])
        try:
            for start in range(0, len(data), step):
                out = seam.feed(splitter.feed(data[start : start + step]))
                said.feed(out)
                assembly.feed(out)
        except SeamError as error:
            assert "nothing tells which" in str(error)  # noqa: PT017
            assert (content if spoken else reasoning).startswith(spoken or thought)
            return
        if not said.is_continuable:
            break  # The finish was reached.
    answer = json.loads(assembly.answer())["choices"][0]

    assert (answer["message"]["content"] if is_chat else answer["text"]) == content
    assert (answer["message"].get("reasoning_content", "") if is_chat else "") == reasoning
    assert "stop" == answer["finish_reason"]
