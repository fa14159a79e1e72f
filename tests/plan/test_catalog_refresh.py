"""Newer price files: what is taken, what is refused, and what is written."""

import tomllib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.plan.catalog.checking import CatalogueError, parse
from baseload.plan.catalog.reading import load
from baseload.plan.catalog.refreshing import Change, refresh
from baseload.plan.catalog.skypilot import is_skypilot, read
from baseload.plan.catalog.writing import toml_of

TODAY = date(2026, 11, 26)
HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n"
GPUS = "\"{'Gpus': [{'Name': 'A100', 'Count': 8}], 'TotalGpuMemoryInMiB': 327680}\""
LIST = HEAD + (
    "m8i.2xlarge,,,8.0,32.0,,0.42336,0.2025,us-east-1,use1-az6,x86_64\n"
    f"p4d.24xlarge,A100,8.0,96.0,1152.0,{GPUS},20,4.0,us-east-1,use1-az1,x86_64\n"
    f"p4d.24xlarge,A100,8.0,96.0,1152.0,{GPUS},20,6.0,us-east-1,use1-az2,x86_64\n"
    f"p4d.24xlarge,A100,8.0,96.0,1152.0,{GPUS},20,11.0,us-east-1,use1-az4,x86_64\n"
    f"p4d.24xlarge,A100,8.0,96.0,1152.0,{GPUS},30.1,30.1,ap-northeast-1,apne1-az1,x86_64\n"
    f"p5.48xlarge,H100,8.0,192.0,2048.0,{GPUS},55.04,,us-east-1,use1-az1,x86_64\n"
    f"p5e.48xlarge,H200,8.0,192.0,2048.0,{GPUS},,18.7,us-east-1,use1-az3,x86_64\n"
    f"g6f.large,L4,0.125,2.0,8.0,{GPUS},0.2,0.1,us-east-1,use1-az1,x86_64\n"
    f"g5.16xlarge,A10G,1.0,64.0,256.0,{GPUS},4.096,1.5,us-east-1,use1-az1,x86_64\n"
    f"dl1.24xlarge,Gaudi HL-205,8.0,96.0,768.0,{GPUS},13.1,4.0,us-east-1,use1-az1,x86_64\n"
)


@pytest.fixture(scope="module")
def catalogue():
    """Give the catalogue without a user's own rows."""
    return load(today=TODAY)


def _refresh(catalogue, text: str, own=None, **options):
    return refresh(text, "newer", catalogue, own or {}, TODAY, **options)


def _read(text: str):
    return read(HEAD + text, "f.csv", load(today=TODAY).instances)


def test_a_list_of_skypilots_gives_prices(catalogue):
    """Of known machines in their own region: the price, and the median and ends of zones' spot."""
    done = _refresh(catalogue, LIST)

    assert {
        "p4d.24xlarge": {
            "source": "newer", "seen": "2026-11-26", "verified": True, "on_demand_usd_hour": 20.0,
            "spot_usd_hour": 6.0, "spot_range_usd_hour": [4.0, 11.0],
        },
        "p5.48xlarge": {
            "source": "newer", "seen": "2026-11-26", "verified": True, "on_demand_usd_hour": 55.04,
        },
    } == done.raw["instance"]  # fmt: skip
    assert 2 == done.rows


def test_changes_say_old_and_new(catalogue):
    """A price that is confirmed is no change; one that moved says by how much."""
    done = _refresh(catalogue, LIST)
    found = {(change.name, change.field): (change.old, change.new) for change in done.changes}
    (dearer,) = [change for change in done.changes if change.field == "on_demand_usd_hour"]

    assert {
        ("p4d.24xlarge", "on_demand_usd_hour"): (21.957642, 20.0),
        ("p4d.24xlarge", "spot_usd_hour"): (8.0001, 6.0),
        ("p4d.24xlarge", "spot_range_usd_hour"): ((2.4655, 8.1915), (4.0, 11.0)),
    } == found
    assert -0.0892 == pytest.approx(dearer.ratio - 1, abs=1e-4)


def test_machines_of_a_cloud_can_be_taken(catalogue):
    """With cloud and region, a machine that is new becomes a complete row, if its GPU is known."""
    done = _refresh(catalogue, LIST, cloud="aws", region="us-east-1")
    row = done.raw["instance"]["g5.16xlarge"]

    assert ("aws", "us-east-1", "a10g", 1, 64) == tuple(
        row[field] for field in ("cloud", "region", "accelerator", "count", "vcpus")
    )
    assert (256 * 2**30, 4.096, 1.5) == (
        row["memory_bytes"], row["on_demand_usd_hour"], row["spot_usd_hour"],
    )  # fmt: skip
    assert {"g5.16xlarge", "p4d.24xlarge", "p5.48xlarge"} == done.raw["instance"].keys()
    assert (
        "p5e.48xlarge: without a price",
        "dl1.24xlarge: Gaudi HL-205 is not in the catalogue",
    ) == done.left_out


def test_another_number_of_gpus_is_a_doubt(catalogue):
    """Lists have had twelve GPUs in a machine of eight: no price is better than a wrong one."""
    done = _refresh(catalogue, LIST.replace("A100,8.0", "A100,12.0"))

    assert ("p4d.24xlarge: 12 accelerators, not 8",) == done.left_out
    assert {"p5.48xlarge"} == done.raw["instance"].keys()


@pytest.mark.parametrize("price", ["0", "-3", "nan", "inf", "cheap", "1e12"])
@pytest.mark.parametrize("column", ["Price", "SpotPrice"])
def test_a_price_that_is_none_is_refused(column, price):
    """With line and column; nothing of the list is taken."""
    pair = f"{price},1" if column == "Price" else f"1,{price}"
    good = f"p4d.24xlarge,A100,8,96,1152,,1,1,us-east-1,,\np5.48xlarge,H100,8,1,1,,{pair},us-east-1,,\n"

    with pytest.raises(CatalogueError) as caught:
        _read(good)
    assert f"f.csv:3:1: p5.48xlarge.{column}: `{price}` is no price" == str(caught.value)


def test_nonsense_elsewhere_is_nobodys_business():
    """A machine in another region, or one that is not known, is not looked at."""
    text = "p5.48xlarge,H100,8,1,1,,0,0,mars,,\nx9.large,H100,8,1,1,,0,0,us-east-1,,\n"

    assert {} == _read(text).instances


def test_a_list_needs_its_columns():
    """What is missing is named."""
    with pytest.raises(CatalogueError, match="without the column Price, SpotPrice, Region"):
        read("InstanceType,AcceleratorName,AcceleratorCount\n", "f.csv", {})


def test_a_field_as_long_as_a_file_is_told():
    """Python's reader has a bound, and its complaint is passed on."""
    with pytest.raises(CatalogueError, match="not CSV: field larger than"):
        _read("p5.48xlarge," + "x" * 200_000)


def test_forms_are_told_apart():
    """A list has its columns in the first line that is not empty."""
    assert [True, True, False, False] == [
        is_skypilot(text) for text in (LIST, "\ufeff\n" + LIST, "# InstanceType\n", "")
    ]


# -- the catalogue's own form --------------------------------------------------------------------


def test_our_own_form_is_taken(catalogue):
    """Of every kind; a new row shows all of its fields as new."""
    text = '[link.token-ring]\nkind = "network"\nbytes_s = 2e6\nlatency_s = 0.001\n[accelerator.h100]\nusd = 25000\n'
    done = _refresh(catalogue, text)

    known = catalogue.accelerators["h100"].usd
    assert {("h100", "usd", known), ("token-ring", "bytes_s", None)} <= {
        (change.name, change.field, change.old) for change in done.changes
    }
    assert "newer" == done.raw["link"]["token-ring"]["source"]


def test_what_stood_in_the_file_stays(catalogue):
    """Other rows and other fields; small tables are merged."""
    own = parse(
        '[instance."p4d.24xlarge"]\nnote = "ours"\nreserved_1y_usd_hour = 15\n[accelerator.h100]\nflops = { bf16 = 8e14 }\n',
        "own",
    )
    text = '[instance."p4d.24xlarge"]\non_demand_usd_hour = 20\n[accelerator.h100]\nflops = { fp8 = 1e15 }\n'
    raw = _refresh(catalogue, text, own).raw

    assert ("ours", 15, 20) == tuple(
        raw["instance"]["p4d.24xlarge"][field]
        for field in ("note", "reserved_1y_usd_hour", "on_demand_usd_hour")
    )
    assert {"bf16": 8e14, "fp8": 1e15} == raw["accelerator"]["h100"]["flops"]


def test_a_free_machine_is_refused(catalogue):
    """In our own form as well."""
    with pytest.raises(CatalogueError, match="spot_usd_hour: 0 is no price"):
        _refresh(catalogue, '[instance."p4d.24xlarge"]\nspot_usd_hour = 0\n')


def test_mistakes_of_a_newer_file_have_places(catalogue):
    """As those of a user's own."""
    with pytest.raises(
        CatalogueError, match=r"^newer:2:1: instance.p4d.24xlarge.on_demand_usd_hour"
    ):
        _refresh(catalogue, '[instance."p4d.24xlarge"]\non_demand_usd_hour = -1\n')


@pytest.mark.parametrize(
    ("field", "old", "new", "is_jump"),
    [
        ("on_demand_usd_hour", 20.0, 399.0, False),
        ("on_demand_usd_hour", 20.0, 400.0, True),
        ("on_demand_usd_hour", 20.0, 1.0, True),
        ("input_usd_mtok", 0.15, 15.0, True),
        ("bytes_s", 1.0, 1e9, False),
        ("on_demand_usd_hour", None, 1e9, False),
        ("spot_range_usd_hour", (1.0, 2.0), (100.0, 200.0), False),
    ],
)
def test_jumps_are_prices_gone_wild(field, old, new, is_jump):
    """Twenty times as much or as little; only of prices, and only if there was one."""
    assert is_jump == Change(kind="k", name="n", field=field, old=old, new=new).is_jump


@given(spots=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), price=st.floats(0.01, 100))
def test_what_refresh_writes_is_read(tmp_path_factory, spots, price):
    """Whatever a list says of a machine's zones is what the catalogue then says."""
    text = HEAD + "".join(
        f"p4d.24xlarge,A100,8,96,1152,,{price!r},{spot!r},us-east-1,z,\n" for spot in spots
    )
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(toml_of(_refresh(load(today=TODAY), text).raw, "written"))
    row = load(path, today=TODAY).instances["p4d.24xlarge"]

    assert price == pytest.approx(row.on_demand_usd_hour)
    assert (min(spots), max(spots)) == row.spot_range_usd_hour
    assert min(spots) <= row.spot_usd_hour <= max(spots)
    assert "newer" == tomllib.loads(path.read_text())["instance"]["p4d.24xlarge"]["source"]
