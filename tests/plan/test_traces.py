import gzip
import json
from statistics import fmean

import msgspec
import pytest

from baseload.plan import calls as reading
from baseload.plan.traces import BLOCKS_MAX, KEPT_MAX, TraceError, inspect, read
from baseload.store.entry import Entry

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.6805900,396,109
2023-11-16 18:15:52.6805900,879,55
"""
BURST = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,0,417,Conversation log
125,ChatGPT,1360,276,1636,Conversation log
"""


def file(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def many(times, prompt=100, answer=10):
    return "time,prompt,answer\n" + "".join(f"{at},{prompt},{answer}\n" for at in times)


def test_azures_trace_is_read(tmp_path):
    """Dates with seven digits of a second, and Azure's names of columns."""
    load = read(file(tmp_path, AZURE))

    assert pytest.approx(3 / 6) == load.rps
    assert ((374, 396, 879), (44, 109, 55)) == (load.prompts, load.answers)
    assert (1.0, pytest.approx(4 / 3), pytest.approx(2 / 3)) == load.gaps
    assert pytest.approx(1 / 3) == load.arrival_cv
    assert pytest.approx(fmean([374, 396, 879])) == load.prompt
    assert 1.0 == load.day_factor


def test_burstgpts_trace_is_read_without_failures(tmp_path):
    """Calls without a token of an answer failed; they are left out and counted."""
    trace = inspect(file(tmp_path, BURST))

    assert (472, 1087, 1360) == trace.load.prompts
    assert pytest.approx(3 / 120) == trace.load.rps
    assert "1 calls without an answer are left out" in trace.notes


def test_mooncakes_trace_tells_what_a_prefix_cache_has(tmp_path):
    """Times are milliseconds; leading blocks that came before are cached, later ones are not."""
    rows = [
        {"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [1, 2]},
        {"timestamp": 2000, "input_length": 1500, "output_length": 5, "hash_ids": [1, 2, 3]},
        {"timestamp": 4000, "input_length": 1024, "output_length": 5, "hash_ids": [9, 2]},
    ]
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))

    load = read(path)

    assert pytest.approx(1024 / 3524) == load.cached
    assert pytest.approx(3 / 4) == load.rps


def test_what_was_cached_long_ago_is_forgotten(tmp_path):
    """A block is cached only while not too many others came since."""

    def cached(others):
        rows = [
            {"hash_ids": [0], "input_length": 512},
            {"hash_ids": list(range(1, others + 1)), "input_length": 1},
            {"hash_ids": [0], "input_length": 512},
        ]
        text = "\n".join(
            json.dumps({"timestamp": at, "output_length": 1, **row}) for at, row in enumerate(rows)
        )
        return read(file(tmp_path, text, "trace.jsonl")).cached

    assert pytest.approx(512 / 1025) == cached(BLOCKS_MAX - 1)
    assert 0.0 == cached(BLOCKS_MAX)


def test_rows_of_the_ledger_are_read(tmp_path):
    """The ledger's time is a call's end: what it took is taken off. Cached tokens are reported."""
    names = Entry.__struct_fields__
    rows = []
    for at, total_s, cached in ((1.8e9, 4.0, 50), (1.8e9 + 1, 3.0, 25)):
        entry = dict.fromkeys(names, "")
        entry |= {"at": at, "total_s": total_s, "prompt_tokens": 100, "cached_tokens": cached}
        rows.append(entry | {"completion_tokens": 7})
    text = "\n".join(
        [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    )

    load = read(file(tmp_path, text))

    assert (pytest.approx(2 / 2), 0.375) == (load.rps, load.cached)
    assert ((100, 100), (7, 7)) == (load.prompts, load.answers)


@pytest.mark.parametrize(
    "text",
    [
        "ts;prompt_tokens;completion_tokens\n1;2;3\n2;2;3\n",
        "ts\tprompt_tokens\tcompletion_tokens\n1\t2\t3\n2\t2\t3\n",
        "answer,arrival,x,prompt\n3,1795685400000,?,2\n3,1795685401000,?,2\n",
        "at,prompt,answer\n2026-11-26T09:30:00Z,2,3\n2026-11-26T10:30:01+01:00,2,3\n\n",
        '{"arrival": 1, "tin": 2, "tout": 3}\n\n{"arrival": 2.0, "tin": 2, "tout": 3}\n',
    ],
)
def test_tables_of_ones_own_are_read(tmp_path, text):
    """Columns are found by name in any order; times are seconds, milliseconds since 1970 or dates."""
    load = read(file(tmp_path, text))

    assert (2.0, 2.0, 3.0) == (load.rps, load.prompt, load.answer)


def test_calls_of_a_coarse_clock_are_spread(tmp_path):
    """Where most calls share their time, they come evenly until the next one; that is said."""
    trace = inspect(file(tmp_path, many([0] * 3 + [3] * 3 + [6] * 3)))

    assert pytest.approx([1.0] * 9) == trace.load.gaps
    assert pytest.approx(0.0) == trace.load.arrival_cv
    assert any("spread evenly" in note for note in trace.notes)


def test_the_busiest_hour_is_the_load(tmp_path):
    """Of two days the hour with most calls gives the rate, and the rest what a day is to it."""
    quiet = [hour * 3600 for hour in range(49)]
    busy = [20 * 3600 + 10 * step for step in range(1, 360)]

    load = read(file(tmp_path, many(quiet + busy)))

    assert pytest.approx(360 / 3600) == load.rps
    assert pytest.approx(408 / (48 * 3600) / 0.1) == load.day_factor


def test_only_so_many_calls_are_kept(tmp_path):
    """Sizes and gaps of a long trace are bounded, their gaps' mean is 1, and it is said."""
    trace = inspect(file(tmp_path, many(step / 10 for step in range(KEPT_MAX + 10))))

    assert {KEPT_MAX} == {len(trace.load.gaps), len(trace.load.prompts), len(trace.load.answers)}
    assert pytest.approx(1.0) == fmean(trace.load.gaps)
    assert any(f"{KEPT_MAX:,}" in note for note in trace.notes)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "trace.csv: has 0 answered calls"),
        ("time,prompt,answer\n1,2,3\n", "trace.csv: has 1 answered calls"),
        ("time,prompt\n1,2\n", "trace.csv:2: no column for the answer's tokens among time, prompt"),
        (many([1, 2]) + "soon,1,1\n", "trace.csv:4: time `soon` is neither seconds nor a date"),
        (many([1, 2]) + "3,-1,1\n", "trace.csv:4: prompt `-1` is no number of tokens"),
        (many([1, 2]) + "3,1,1.5\n", "trace.csv:4: answer `1.5` is no number of tokens"),
        (many([1, 2]) + "3,1\n", "trace.csv:4: answer `None` is no number of tokens"),
        (many(["nan", 2]), "trace.csv:2: time `nan` is no time"),
        (many([5, 5]), "trace.csv: all calls come at the same time"),
        ('{"time": 1, "prompt": 1, "answer": 1}\n[]\n', "trace.csv:2: is no object in JSON"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, what):
    """What cannot be read is refused with the file, the line and what is wrong there."""
    with pytest.raises(TraceError) as caught:
        read(file(tmp_path, text))

    assert str(caught.value).startswith(str(tmp_path / what))


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    """No file, and a file that is no gzip though it is named so, are said to be unreadable."""
    for name in ("none.csv", "trace.csv.gz"):
        (tmp_path / "trace.csv.gz").write_text("time,prompt,answer\n")
        with pytest.raises(TraceError, match="cannot be read"):
            read(tmp_path / name)


def test_what_is_read_is_bounded(tmp_path, monkeypatch):
    """Too many calls and too long a line are refused."""
    monkeypatch.setattr(reading, "ROWS_MAX", 2)
    monkeypatch.setattr(reading, "LINE_MAX", 200)

    with pytest.raises(TraceError, match=r"trace.csv:4: more than 2 calls"):
        read(file(tmp_path, many([1, 2, 3])))
    with pytest.raises(TraceError, match=r"trace.csv:2: longer than 200 bytes"):
        read(file(tmp_path, many([1]).replace("100", "1" * 300)))


def test_a_load_from_a_trace_can_be_written_down(tmp_path):
    """It goes through JSON and comes back the same."""
    load = read(file(tmp_path, AZURE))

    assert load == msgspec.json.decode(msgspec.json.encode(load), type=type(load))
