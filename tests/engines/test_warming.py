"""Tests of warming: its decisions against a double, and what it changes with a real engine.

The double answers chats in times of the test's choosing. It proves what is asked, in which order
and within which bounds; what warming gains, only the real engine shows.
"""

import asyncio
import logging
import statistics

import pytest

from baseload.config.fleet import Backend
from baseload.config.serving import Serve, Warm
from baseload.engines.speaking import Said, Speaker
from baseload.engines.warming import (
    ANSWER_TOKENS,
    CALLED,
    ROUNDS_MAX,
    TEMPLATE_TOKENS,
    USUAL_TOKENS,
    Length,
    capped,
    filler,
    warm,
    warm_again,
)
from tests.engines.engine_kit import MODEL, running


class Double:
    """Stands in for a speaker: takes `first_s` seconds by its own account, and no time at all."""

    def __init__(self, *first_s, fail=lambda text: None, tokens_per_word=1.0):
        self.asked = []
        self.at_once = self.at_once_max = 0
        self._first_s = list(first_s)
        self._fail = fail
        self._tokens_per_word = tokens_per_word

    async def chat(self, messages, *, answer_tokens, stream, wait_max_s):
        self.asked.append((messages, stream))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await asyncio.sleep(0.001)
        self.at_once -= 1
        if (error := self._fail(messages[0]["content"])) is not None:
            raise error
        first_s = self._first_s.pop(0) if len(self._first_s) > 1 else self._first_s[0]
        tokens = int(len(messages[0]["content"].split()) * self._tokens_per_word)
        return Said(first_s, first_s, tokens, 0)

    async def tokens(self, text, wait_max_s):
        return int(len(text.split()) * self._tokens_per_word)


USUAL = Warm()


def warmed(double, wishes=USUAL, *, context=4096, slots=8, fault=None, **more):
    async def plain():
        return fault

    return asyncio.run(warm(double, wishes, plain, context=context, slots=slots, **more))


def test_a_failing_plain_chat_is_the_fault_and_ends_it():
    """An engine that cannot say hello is not asked for more."""
    double = Double(0.01)
    report = warmed(double, fault="the warm-up chat was answered 500")

    assert "the warm-up chat was answered 500" == report.fault == report.words()
    assert [] == double.asked


def test_usual_lengths_are_tried_and_several_at_once():
    """A quick engine gets each usual length, streamed, and then batches, not streamed."""
    double = Double(0.001)
    report = warmed(double, slots=4)

    assert list(USUAL_TOKENS) == [length.tokens for length in report.lengths]
    assert (2, 4) == report.together
    assert 4 == double.at_once_max
    assert [True] * 6 + [False] * 6 == [stream for _, stream in double.asked]
    assert () == report.notes


def test_a_slow_engine_is_spared_long_prompts_unless_the_file_names_them():
    """What reads 16 tokens in 0.1 s takes six seconds for the longest usual prompt."""
    usual = warmed(Double(0.1))
    named = warmed(Double(0.1), Warm(prompts=(1024, 16)))

    assert [16] == [length.tokens for length in usual.lengths]
    assert "not tried: prompts of 256 tokens" in usual.words()
    assert [16, 1024] == [length.tokens for length in named.lengths]


def test_prompts_go_on_until_first_tokens_are_steady():
    """A length is tried again while the last two differ by half, up to a bound."""
    settles = warmed(Double(0.9, 0.1, 0.1), Warm(prompts=(16,)))
    wavers = warmed(Double(0.9, 0.1, 0.9, 0.1, 0.9, 0.1), Warm(prompts=(16,)))

    assert (0.9, 0.1, 0.1) == settles.lengths[0].first_s
    assert settles.lengths[0].is_steady
    assert ROUNDS_MAX == len(wavers.lengths[0].first_s)
    assert not wavers.lengths[0].is_steady
    assert not Length(16, None, (0.1,)).is_steady


def test_the_engines_own_tokenizer_sets_the_number_of_words():
    """Where a word has two tokens, half as many words are sent."""
    double = Double(0.001, tokens_per_word=2.0)
    warmed(double, Warm(prompts=(256,)))

    assert 129 == pytest.approx(len(double.asked[0][0][0]["content"].split()), abs=3)


def test_system_prompts_are_read_last():
    """So that nothing that follows can push them out of the prefix cache."""
    double = Double(0.001)
    report = warmed(double, Warm(system=("Be kind.", "Be brief.")))

    assert ["Be kind.", "Be brief."] == [asked[0]["content"] for asked, _ in double.asked[-2:]]
    assert ["system"] * 2 == [asked[0]["role"] for asked, _ in double.asked[-2:]]
    assert 2 == report.system
    assert "Be kind." not in report.words()


def test_extra_prompts_that_fail_are_noted_and_not_fatal():
    """An engine that answers the plain chat is used, whatever becomes of the others."""
    fails = Double(0.001, fail=lambda text: ConnectionError("a chat was answered 400"))
    report = warmed(fails, Warm(prompts=(16, 32), system=("Be kind.",)))

    assert report.fault is None
    assert (0, ("a chat was answered 400",)) == (report.system, report.notes)
    assert 3 == len(fails.asked)


def test_extras_end_with_their_time():
    """Nothing more is asked once the time is over, and the report says so."""
    double = Double(0.001)
    report = warmed(double, Warm(system=("Be kind.",)), extras_max_s=0.0)

    assert [] == double.asked
    assert ("the time for it was over",) == report.notes


def test_no_prompts_are_tried_where_the_file_names_none():
    """An empty list leaves the plain chat and the system prompts."""
    double = Double(0.001)
    report = warmed(double, Warm(prompts=(), system=("Be kind.",)))

    assert ((), (), 1) == (report.lengths, report.together, report.system)


def test_lengths_fit_the_context():
    """Room for template and answer is left, and what becomes the same is tried once."""
    room = 512 - TEMPLATE_TOKENS - ANSWER_TOKENS

    assert (16, 256, room) == capped((2048, 256, 16, 1024), 512)
    assert (1,) == capped((16, 32), 64)
    assert USUAL_TOKENS == capped(None, 4096)


def test_filler_is_the_same_each_time_and_differs_from_its_first_word():
    """Prompts can be repeated, and no prefix cache can answer for the engine."""
    assert filler(8, 3) == filler(8, 3)
    assert filler(8, 3).split()[0] != filler(8, 4).split()[0]
    assert 9 == len(filler(8, 3).split())


def test_warming_again_gives_way_to_callers():
    """One chat at a time, and none once somebody else is served."""
    free = iter([True, True, False])

    async def is_free():
        return next(free, False)

    double = Double(0.001)
    report = asyncio.run(warm_again(double, Warm(system=("Be kind.",)), is_free))

    assert (2, 1, 0) == (len(double.asked), double.at_once_max, report.system)
    assert report.is_broken_off
    assert (CALLED,) == report.notes


# -- with a real engine ----------------------------------------------------------------------


def system(number):
    """Give a system prompt of some 250 tokens."""
    return f"Your number is {number}. " + filler(250, number)


async def first_s(state, *messages):
    speaker = Speaker(state.address, MODEL)
    said = await speaker.chat(messages, answer_tokens=2, stream=True, wait_max_s=60)
    return said.first_s, said.cached_tokens


def ask(state, prompt, question):
    messages = {"role": "system", "content": prompt}, {"role": "user", "content": question}
    return asyncio.run(first_s(state, *messages))


def backend(*prompts):
    return Backend(
        name="cpu",
        engine="llama.cpp",
        model=MODEL,
        serve=Serve(warm=Warm(system=prompts)),
    )


HICCUP_S = 0.05
"""What the scheduler of a shared machine may add to a first token that takes 0.04 s."""


@pytest.mark.usefixtures("real_engine")
def test_a_warmed_engine_is_as_quick_the_first_time_as_later(tmp_path, caplog):
    """Medians of three starts: the first call with a known system prompt is as quick as later ones.

    A system prompt that nobody has read before takes several times as long, as the first call would.
    """
    caplog.set_level(logging.INFO, "baseload.engines")
    known, steady, cold = [], [], []
    for start in range(3):
        with running(backend(system(1)), tmp_path / str(start)) as state:
            known.append(ask(state, system(1), "What is seven?")[0])
            steady += [ask(state, system(1), f"What is {at}?")[0] for at in range(2)]
            cold.append(ask(state, system(9), "What is seven?")[0])
    known_s, steady_s, cold_s = map(statistics.median, (known, steady, cold))

    assert known_s <= 1.5 * steady_s + HICCUP_S
    assert cold_s > 2 * known_s
    assert 3 == caplog.text.count("system prompts read: 1")
    assert "Your number" not in caplog.text
