"""Tests of what decides whether a quantised model may be published: intervals, and the gate."""

import random
from math import exp, inf, isnan, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.engines.quantising import intervals
from baseload.engines.quantising.gate import Verdict, judge
from baseload.engines.quantising.intervals import BLOCK_TOKENS, Interval
from baseload.engines.quantising.report import Report, Variant, sentences
from baseload.engines.quantising.speed import Round, summed
from baseload.engines.quantising.targets import TARGETS, stored_as
from baseload.engines.quantising.tasks import TASKS, TEXT, Task, is_right, read_tasks, read_text
from baseload.errors import EngineError

LOSSES = st.lists(st.floats(0, 20), min_size=1, max_size=200)
ANSWERS = st.lists(st.booleans(), min_size=1, max_size=200)
NOTHING = Interval(0.0, 0.0, 0.0)


@given(LOSSES)
def test_an_interval_holds_its_value(losses):
    """Its low end is never above the value, nor its high end below."""
    for found in (intervals.mean(losses), intervals.mean_of_tokens(losses)):
        assert found.low <= found.value <= found.high


@given(LOSSES)
def test_a_model_loses_nothing_against_itself(losses):
    """The same losses give a loss of exactly zero; with two blocks or more that is certain."""
    found = intervals.perplexity_loss(losses, losses)

    assert 0.0 == found.value
    if len(losses) >= 2 * BLOCK_TOKENS:
        assert NOTHING == found


@given(st.lists(st.floats(0, 10), min_size=2 * BLOCK_TOKENS, max_size=200), st.floats(-1, 1))
def test_what_every_token_costs_more_is_found_exactly(losses, more):
    """If each token costs `more` nats more, the loss is e^more - 1 without any doubt."""
    found = intervals.perplexity_loss(losses, [loss + more for loss in losses])

    assert exp(more) - 1 == pytest.approx(found.value, abs=1e-9)
    assert found.high - found.low == pytest.approx(0, abs=1e-6)


@given(ANSWERS)
def test_a_share_stays_between_none_and_all(right):
    """Wilson's interval never leaves 0 to 1, not even where all is right."""
    found = intervals.share(right)

    assert -1e-12 <= found.low <= found.value <= found.high <= 1 + 1e-12
    assert found.high - found.low > 0


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 400 means of 200 random numbers, the interval holds the true mean in 90 to 99 %."""
    rng = random.Random(7)
    found = [intervals.mean([rng.gauss(3, 2) for _ in range(200)]) for _ in range(400)]

    assert 0.90 < sum(each.low <= 3 <= each.high for each in found) / len(found) < 0.99


def test_neighbours_that_resemble_each_other_count_less():
    """Losses that come in runs have a wider interval than the same ones taken as independent."""
    runs = [float(value) for value in [1, 5, 2, 9, 3, 7] * 8 for _ in range(BLOCK_TOKENS)]
    found, naive = intervals.mean_of_tokens(runs), intervals.mean(runs)

    assert naive.value == pytest.approx(found.value)
    assert found.high - found.low > 3 * (naive.high - naive.low)


def test_perplexity_is_what_the_word_means():
    """A model that gives each token one chance in eight has a perplexity of 8."""
    assert 8 == pytest.approx(intervals.perplexity([log(8)] * 64).value)


@pytest.mark.parametrize(
    ("loss", "passed", "words"),
    [
        (Interval(0.005, 0.001, 0.009), True, "within 1.00%"),
        (Interval(-0.2, -0.3, -0.1), True, "within 1.00%"),
        (Interval(0.005, -0.001, 0.011), False, "not proven"),
        (Interval(0.05, 0.04, 0.06), False, "more than 1.00%"),
        (Interval(0.0, -inf, inf), False, "not proven"),
        (Interval(nan, nan, nan), False, "not proven"),
    ],
    ids=["proven", "better", "unsure", "too much", "one block", "no number"],
)
def test_only_a_proven_loss_within_the_threshold_passes(loss, passed, words):
    """Not knowing is refused like knowing that it is too much, and the reason says which."""
    verdict = judge(loss, NOTHING)

    assert passed == verdict.passed
    assert words in verdict.reason


def test_tasks_refuse_only_what_they_prove():
    """One task in a hundred proves nothing; a quarter of them does."""
    reference = [True] * 80 + [False] * 20
    one, many = [False, *reference[1:]], [False] * 25 + reference[25:]
    verdicts = [judge(NOTHING, intervals.share_loss(reference, now)) for now in (one, many)]

    assert [True, False] == [verdict.passed for verdict in verdicts]
    assert "fewer tasks" in verdicts[1].reason


@given(st.floats(allow_nan=True), st.floats(allow_nan=True), st.floats(0, 1))
def test_the_gate_never_passes_above_its_threshold(low, high, max_loss):
    """Whatever comes in, what passes has an upper end within the threshold."""
    if judge(Interval(low, low, high), NOTHING, max_loss).passed:
        assert not isnan(high)
        assert high <= max_loss


@pytest.mark.parametrize(
    ("name", "shape", "int8", "int4"),
    [
        ("blk.0.attn_q.weight", (64, 64), "Q8_0", "Q4_1"),
        ("blk.0.ffn_up_exps.weight", (64, 32, 8), "Q8_0", "Q4_1"),
        ("token_embd.weight", (64, 1000), "Q8_0", "Q8_0"),
        ("blk.0.attn_norm.weight", (64,), "F32", "F32"),
        ("blk.0.attn_q.bias", (64,), "F32", "F32"),
        ("blk.0.ffn_gate_inp.weight", (64, 8), "F32", "F32"),
        ("blk.0.attn_k.weight", (48, 64), "F16", "F16"),
    ],
)
def test_matrices_are_rounded_and_the_rest_is_not(name, shape, int8, int4):
    """Norms, biases and routers stay in FP32; rows that are no whole blocks become FP16."""
    assert int8 == stored_as(TARGETS["int8"], name, shape, "BF16")
    assert int4 == stored_as(TARGETS["int4"], name, shape, "BF16")
    assert "I32" == stored_as(TARGETS["int8"], name, shape, "I32")


def test_the_longer_option_is_not_worse_for_its_length():
    """Options are weighed by their bytes, and an undecided task is not right."""
    task = Task(question="q", options=("right and long", "bad"))

    assert is_right(task, [-7.0, -3.0])
    assert not is_right(task, [-28.0, -3.0])
    assert not is_right(Task(question="q", options=("ab", "cd")), [-1.0, -1.0])


def test_the_yardstick_ships_and_is_large_enough():
    """There is a text of thousands of words, and tasks whose options all differ."""
    tasks = read_tasks(TASKS)

    assert len(TEXT.read_text(encoding="utf-8").split()) > 2500
    assert 60 <= len(tasks) <= 100
    assert len({task.question for task in tasks}) == len(tasks)
    assert all(len(set(task.options)) == 4 for task in tasks)


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff", b"x" * 4_000_001], ids=range(4))
def test_a_file_that_holds_no_text_is_named(tmp_path, content):
    """An own text that is empty, not UTF-8 or endless gives one sentence with the path."""
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(EngineError, match=r"the text in .*mine\.txt"):
        read_text(tmp_path / "mine.txt")


@pytest.mark.parametrize("content", ["", "[]", "{", '[{"question": "q", "options": ["one"]}]'])
def test_a_file_that_holds_no_tasks_is_named(tmp_path, content):
    """Own tasks with a mistake give one sentence with the path."""
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(EngineError, match=r"mine\.json cannot be read"):
        read_tasks(path)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Interval(0.005, 0.002, 0.008), "the loss is under 1%."),
        (Interval(0.009, 0.002, 0.016), "the loss is not proven to be under 1%."),
        (Interval(0.0366, 0.0268, 0.0465), "the loss is over 1%."),
        (Interval(nan, nan, nan), "the loss is not proven to be under 1%."),
    ],
    ids=["under", "unsure", "over", "no number"],
)
def test_a_loss_that_is_proven_is_called_so(loss, words):
    """Of "under 1 % loss" the report says whether it is so, is not, or cannot be told."""
    speed, whole = summed([Round(1, 1, 1)], 1, None), Interval(1.0, 1.0, 1.0)
    variants = tuple(
        Variant(
            name=name, size_bytes=1, perplexity=whole, loss=lost, tasks=whole, tasks_loss=NOTHING,
            speed=speed, times={"alone": 1.0, "together": 1.0, "prefill": 1.0},
        )
        for name, lost in (("fp32", NOTHING), ("int8", loss))
    )  # fmt: skip
    report = Report(
        model="m", source_kinds="F32 x 1", target="int8", reference="fp32", max_loss=0.01,
        verdict=Verdict(passed=True, reason="r"), published=None, text_tokens=1, tasks=1,
        variants=variants, machine="m", engine="e",
    )  # fmt: skip

    assert words in " ".join(sentences(report))
