"""A user's own rows: what they override, and how their mistakes are told."""

import tomllib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.checking import KINDS, CatalogueError
from baseload.plan.catalog.reading import OWN, load, overlay, own_file, rows_of
from baseload.plan.catalog.writing import toml_of

TODAY = date(2026, 11, 26)
NEW = """
[accelerator.my-npu]
vendor = "Me"
memory_bytes = 1000
bandwidth_bytes_s = 1e9
flops = { bf16 = 1e12 }
tdp_w = 100
[instance.my-box]
cloud = "cellar"
region = "home"
accelerator = "my-npu"
count = 2
vcpus = 8
memory_bytes = 64000
on_demand_usd_hour = 0.5
"""


def _own(tmp_path, text: str):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return load(path, today=TODAY)


def _told(tmp_path, text: str) -> list[str]:
    """Give the mistakes of a file, without the folder."""
    with pytest.raises(CatalogueError) as caught:
        _own(tmp_path, text)
    return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]


def test_a_field_overrides_a_field(tmp_path):
    """The rest of the row stays; source, day and faith are the user's."""
    shipped = load(today=TODAY).instances["p5.48xlarge"]
    row = _own(tmp_path, '[instance."p5.48xlarge"]\non_demand_usd_hour = 20\n').instances[
        "p5.48xlarge"
    ]

    assert 20.0 == row.on_demand_usd_hour
    assert (shipped.accelerator, shipped.count) == (row.accelerator, row.count)
    assert shipped.spot_range_usd_hour == row.spot_range_usd_hour
    assert ("own.toml", "2026-11-26", True) == (row.source, row.seen, row.verified)


def test_what_a_row_says_of_itself_holds(tmp_path):
    """A user may say where it is from, when it was so, and that it is hearsay."""
    text = '[api."api.deepseek.com/deepseek-flash"]\noutput_usd_mtok = 9\nsource = "a bill"\nseen = "2026-01-31"\nverified = false\n'
    row = _own(tmp_path, text).apis["api.deepseek.com/deepseek-flash"]

    assert (9.0, 0.15) == (row.output_usd_mtok, row.input_usd_mtok)
    assert ("a bill", "2026-01-31", False) == (row.source, row.seen, row.verified)


def test_one_precision_overrides_one(tmp_path):
    """Small tables are merged, so FP8 does not vanish when BF16 is given."""
    row = _own(tmp_path, "[accelerator.h100]\nflops = { bf16 = 8e14 }\n").accelerators["h100"]

    assert (8e14, 1.978e15) == (row.flops["bf16"], row.flops["fp8"])


def test_new_rows_stand_beside_the_others(tmp_path):
    """A new accelerator, and a machine that has it."""
    found = _own(tmp_path, NEW)

    assert 100.0 == found.accelerators["my-npu"].tdp_w
    assert "my-npu" == found.instances["my-box"].accelerator
    assert "h100" in found.accelerators


def test_nothing_leaks_into_the_next_reading(tmp_path):
    """Own rows belong to one reading."""
    _own(tmp_path, NEW)

    assert "my-npu" not in load(today=TODAY).accelerators


def test_it_is_found_beside_the_fleet_file(tmp_path, monkeypatch):
    """Or in this folder, when there is no fleet file; else there is none."""
    (tmp_path / "fleet").mkdir()
    own = tmp_path / "fleet" / OWN
    assert own_file(tmp_path / "fleet" / "fleet.yaml") is None
    own.write_text("")
    monkeypatch.chdir(tmp_path / "fleet")

    assert own == own_file(tmp_path / "fleet" / "fleet.yaml")
    assert own.name == str(own_file())


# -- mistakes ------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path):
    """Each with its line, the way to it, and what to do."""
    text = """\
[instance."p5.48xlarge"]
on_demand_usd_hour = -1
spot_usd_hor = 2
count = 0
[instance."p4d.24xlarge"]
on_demand_usd_hour = "20"
spot_range_usd_hour = [9, 3]
accelerator = "h1000"
"""
    assert [
        "own.toml:2:1: instance.p5.48xlarge.on_demand_usd_hour: must not be negative",
        "own.toml:3:1: instance.p5.48xlarge.spot_usd_hor: no such field (did you mean `spot_usd_hour`?)",
        "own.toml:4:1: instance.p5.48xlarge.count: must be more than 0",
        "own.toml:6:1: instance.p4d.24xlarge.on_demand_usd_hour: expected `float | null`, got `str`",
        "own.toml:7:1: instance.p4d.24xlarge.spot_range_usd_hour: 9 to 3: the lower end comes first",
    ] == _told(tmp_path, text)  # fmt: skip


def test_a_machine_needs_an_accelerator_that_exists(tmp_path):
    """Cross-checked when the rows themselves are sound."""
    assert [
        "own.toml:2:1: instance.p4d.24xlarge.accelerator: `h1000` is not among the accelerators (did you mean `h100`?)"
    ] == _told(tmp_path, '[instance."p4d.24xlarge"]\naccelerator = "h1000"\n')


def test_a_new_row_must_be_complete(tmp_path):
    """What is missing is named, and a known name that may have been meant."""
    (line,) = _told(tmp_path, "[link.nvlink44]\nbytes_s = 1\n")

    assert line.startswith(
        "own.toml:1:1: link.nvlink44: `kind`, `latency_s`: missing (a row that is new"
    )
    assert "did you mean `nvlink4`?" in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[instances.x]\n", "`instances`: no such table (did you mean `instance`?)"),
        ("instance = 3\n", "instance: not a table of rows"),
        ("[instance]\ncount = 3\n", "instance: not a table of rows"),
        ("[instance\n", "not TOML: "),
        ("[link.nvlink4]\nname = 'x'\n", "link.nvlink4.name: no such field"),
        ("[link.nvlink4]\nlatency_s = inf\n", "must be a finite number"),
        ("[link.nvlink4]\nlatency_s = nan\n", "must be a finite number"),
        ("[link.nvlink4]\nbytes_s = 0\n", "must be more than 0"),
        ("[link.nvlink4]\nseen = '2026-13-01'\n", "`2026-13-01` is no day"),
        ("[link.nvlink4]\nsource = ' '\n", "is empty (say where"),
        ("[link.nvlink4]\nkind = 'wire'\n", "invalid enum value"),
        ("[link.nvlink4]\nverified = 1\n", "expected `bool`, got `int`"),
        (
            "[accelerator.h100]\nflops = { fp16 = 1 }\n",
            "`fp16`: no such name (did you mean `bf16`?)",
        ),
        ("[accelerator.h100]\nrange = { memory = [1, 2] }\n", "`memory`: no such name"),
        ("[accelerator.h100]\nrange = { tdp_w = [2, 1] }\n", "the lower end comes first"),
        ("[api.'api.deepseek.com/deepseek-flash']\npeak_share = 2\n", "at most 1"),
        ('[link."a\\u001bb"]\n', "a name has 1 to 100 signs"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path, text, says):
    """In a sentence, without a traceback."""
    assert any(says in line for line in _told(tmp_path, text))


def test_files_that_cannot_be_read_are_told(tmp_path):
    """Not there, a folder, or not text."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")

    for path, says in (
        ("none.toml", "No such file"),
        (".", "Is a directory"),
        ("bytes.toml", "not UTF-8"),
    ):
        with pytest.raises(CatalogueError, match=says):
            load(tmp_path / path, today=TODAY)


def test_a_hostile_file_does_not_flood(tmp_path):
    """After two hundred mistakes nobody reads on."""
    text = "".join(f"[link.l{number}]\nbytes_s = -1\n" for number in range(5000))

    assert 200 < len(_told(tmp_path, text)) < 210


_KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
_VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.integers(0, 9), max_size=3), st.dictionaries(_KEYS, st.integers(0, 9), max_size=3),
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(sorted(KINDS)),
        st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=3),
    )
)
def test_what_is_written_is_read(raw):
    """Any names and any values come back from TOML as they were."""
    assert {kind: rows for kind, rows in raw.items() if rows} == tomllib.loads(
        toml_of(raw, "a head\n\nof lines")
    )


@given(price=st.floats(1e-6, 1e6), name=st.sampled_from(sorted(load(today=TODAY).instances)))
def test_only_what_is_given_changes(tmp_path_factory, price, name):
    """Whatever machine gets whatever price, all other rows are as they were."""
    path = tmp_path_factory.getbasetemp() / "price.toml"
    path.write_text(toml_of({"instance": {name: {"on_demand_usd_hour": price}}}))
    before, after = rows_of(load(today=TODAY)), rows_of(load(path, today=TODAY))

    assert price == after["instance"][name].on_demand_usd_hour
    after["instance"][name] = before["instance"][name]
    assert before == after


def test_a_price_of_ones_own_is_seen_where_it_stands():
    """It has the day and the place of the user's file, not those of the price that it replaces."""
    rows = rows_of(load(today=TODAY))
    before = rows["instance"]["p5.48xlarge"]
    overlay(rows, '[instance."p5.48xlarge"]\nspot_usd_hour = 20.0\n', "mine.toml", TODAY)
    after = rows["instance"]["p5.48xlarge"]

    assert before.spot_seen
    assert ("", "", "mine.toml") == (after.spot_seen, after.spot_source, after.source)
    assert before.reserved_seen == after.reserved_seen
