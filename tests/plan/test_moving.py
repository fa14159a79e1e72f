"""Times of loading and sending, what networks buy, and `baseload plan move`."""

import json
from datetime import date

import msgspec
import pytest
from typer.testing import CliRunner, Result

from baseload.cli import app
from baseload.cli.plan_move import size_of
from baseload.plan.catalog.reading import load
from baseload.plan.hardware.machines import hardware_of
from baseload.plan.hardware.memory import weights_bytes
from baseload.plan.models.known import find
from baseload.plan.speed.layout import Build, Layout
from baseload.plan.transport.moving import Cargo, loaded, moving, own_network
from baseload.plan.transport.spanning import best_of, spanning

ROWS = load(today=date(2026, 11, 26))
V3 = find("deepseek-v3")
P5 = hardware_of("p5.48xlarge", ROWS)
LINKS = [row for row in ROWS.links.values() if row.kind == "network"]


def _build(layout: Layout) -> Build:
    return Build(accelerator=P5.accelerator, layout=layout, precision="fp8")


def _run(*words: str) -> Result:
    env = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["plan", "move", *words], env=env)


def _said(result: Result) -> str:
    signs = {ord(sign): " " for sign in "│╭╮╰╯─"}
    return " ".join((result.stdout + result.stderr).translate(signs).split())


# -- loading --------------------------------------------------------------------------------------


def test_drives_add_up_until_a_loader_is_slower():
    """141 GB from one and eight drives of 7 GB/s; the usual loader takes 41 s from either."""
    cargo = Cargo(what="70B", size_bytes=141e9, machine_bytes=141e9)
    one, eight = (loaded(cargo, ROWS.storage["nvme-gen4"], drives) for drives in (1, 8))

    assert (pytest.approx(141 / 7), pytest.approx(141 / 56)) == (one.seconds, eight.seconds)
    assert one.loader_s["safetensors"] == eight.loader_s["safetensors"]
    assert pytest.approx(41.1, abs=0.1) == one.loader_s["safetensors"]
    assert one.loader_s["serverlessllm"] == one.seconds


def test_what_is_slowest_is_named():
    """Storage, the instance's network, or the buses; an array is shared by machines."""
    cargo = Cargo(what="weights", size_bytes=1e12, machine_bytes=1e12, hardware=P5)
    thin = hardware_of("g6e.8xlarge", ROWS)
    storage = ROWS.storage["flashblade-s"]
    joined = msgspec.structs.replace(cargo, machines=4)

    assert "storage" == loaded(cargo, storage).limit
    assert "network" == loaded(msgspec.structs.replace(cargo, hardware=thin), storage).limit
    assert pytest.approx(4.0) == loaded(joined, storage).seconds / loaded(cargo, storage).seconds
    disk = ROWS.storage["nvme-gen5"]
    assert "bus" == loaded(msgspec.structs.replace(cargo, hardware=thin), disk, 8).limit


def test_a_start_has_its_parts_with_sources():
    """A cloud's machine comes first; one's own is there; bytes that are no weights start nothing."""
    cargo = Cargo(what="weights", size_bytes=671e9, machine_bytes=671e9, hardware=P5)
    cloud = moving(cargo, ROWS).start
    own = moving(
        msgspec.structs.replace(cargo, hardware=hardware_of("8xh100", ROWS)), ROWS
    ).start  # fmt: skip

    assert cloud is not None
    assert own is not None
    assert ["machine", "image", "weights", "warm-up"] == [part.what for part in cloud.parts]
    assert all(part.source for part in cloud.parts)
    assert (300.0, 480.0) == (cloud.low_s - own.low_s, cloud.high_s - own.high_s)
    assert None is moving(msgspec.structs.replace(cargo, is_weights=False), ROWS).start


def test_storage_is_the_machines_disk_where_it_has_one():
    """p5 has drives; a machine without any loads from object storage."""
    bare = next(row.name for row in ROWS.instances.values() if not row.disk_bytes)
    cargo = Cargo(what="weights", size_bytes=1e9, machine_bytes=1e9, hardware=P5)
    other = msgspec.structs.replace(cargo, hardware=hardware_of(bare, ROWS))

    assert ("nvme-gen4", "s3") == (moving(cargo, ROWS).storage, moving(other, ROWS).storage)
    assert "sata-ssd" == moving(cargo, ROWS, storage="sata-ssd").storage


# -- sending --------------------------------------------------------------------------------------


def test_a_petabyte_takes_hours():
    """11.1 h over 200 Gb/s, 42 minutes over the 3.2 Tb/s of a p5; $90,000 of egress."""
    cargo = Cargo(what="bytes", size_bytes=1e15, machine_bytes=1e15, hardware=P5)
    found = moving(cargo, ROWS)
    hours = {each.link: each.seconds / 3600 for each in found.sent}

    assert 11.1 == round(hours["infiniband-hdr"], 1)
    assert 42 == round(hours["p5.48xlarge's own"] * 60)
    assert pytest.approx(90_000.0) == found.egress_usd
    eight = moving(cargo, ROWS, links=8).sent
    assert pytest.approx(hours["infiniband-hdr"] / 8) == next(
        each.seconds / 3600 for each in eight if each.link == "infiniband-hdr"
    )


# -- networks -------------------------------------------------------------------------------------


def test_a_replica_in_one_machine_needs_no_network():
    """There is nothing to compare."""
    assert None is spanning(V3, _build(Layout(tp=8)), LINKS)


def test_a_pipeline_hands_on_hidden_states_and_residuals_only():
    """28,672 bytes a token between two stages, which is little; sums over machines are a lot."""
    stages = spanning(V3, _build(Layout(tp=8, pp=2)), LINKS)
    sums = spanning(V3, _build(Layout(tp=16)), LINKS)

    assert stages is not None
    assert sums is not None
    assert pytest.approx(2 * 7168 * 2) == stages.between_bytes_token
    assert pytest.approx(122 * 2 * 15 / 16 * 7168 * 2) == sums.between_bytes_token
    for kind in ("infiniband", "ethernet"):
        near, far = best_of(stages, kind), best_of(sums, kind)
        assert near is not None
        assert far is not None
        assert near.reading.share < far.reading.share


def test_better_networks_never_make_turns_longer():
    """More bandwidth and less delay: less of the network, and shorter turns, within both kinds."""
    found = spanning(V3, _build(Layout(tp=16, pp=2)), LINKS)
    assert found is not None
    by_name = {each.network: each for each in found.networks}
    for better, worse in (
        ("infiniband-xdr", "infiniband-ndr"), ("infiniband-ndr", "infiniband-hdr"),
        ("infiniband-ndr", "roce-400"), ("roce-400", "efa-p5"), ("ethernet-100", "ethernet-25"),
    ):  # fmt: skip
        for kind in ("writing", "reading"):
            fast, slow = getattr(by_name[better], kind), getattr(by_name[worse], kind)
            assert fast.network_s < slow.network_s
            assert fast.seconds < slow.seconds


def test_the_network_is_a_part_of_the_turn():
    """What it takes at least is never more than the whole turn; ports are one each, or one."""
    found = spanning(V3, _build(Layout(tp=16, pp=2)), LINKS)

    assert found is not None
    assert len(LINKS) == len(found.networks)
    for each in found.networks:
        for turn in (each.writing, each.reading):
            assert 0 < turn.network_s < turn.seconds
            assert turn.share == turn.network_s / turn.seconds
        assert (1 if each.network.startswith("ethernet") else 8) == each.ports


def test_a_machine_whose_bus_is_unknown_has_its_network_all_the_same():
    """A CPU's socket has no link in the catalogue: nothing hides what the network takes."""
    build = Build(
        accelerator=ROWS.accelerators["epyc-9654"], layout=Layout(pp=2, per_machine=1),
        precision="bf16",
    )  # fmt: skip
    shape = find("deepseek-r1-distill-qwen-7b")
    found = spanning(shape, build, [ROWS.links["ethernet-10"]])

    assert found is not None
    sent_s = 64 * 2 * shape.hidden * 2 / 1.25e9 + 3e-5
    assert pytest.approx(sent_s) == found.networks[0].writing.network_s


def test_an_instances_network_is_shared_by_its_accelerators():
    """3.2 Tb/s of a p5 are 50 GB/s for each of eight; one's own machines have none that is known."""
    own = own_network(P5, ROWS)

    assert own is not None
    assert 5e10 == own.bytes_s
    assert None is own_network(hardware_of("8xh100", ROWS), ROWS)


# -- the verb -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("141GB", 141e9), ("1PB", 1e15), ("1.5 TiB", 1.5 * 2**40), ("7", 7), ("2k", 2000)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    """Thousands, and powers of two with an i."""
    assert size == size_of(text)


def test_bytes_are_answered_without_a_model():
    """Storage, and links with egress; nothing starts, and no network is compared."""
    result = _run("--bytes", "1PB")

    assert 0 == result.exit_code
    assert "infiniband-hdr ? 1 200 11.1 h" in _said(result)
    assert "Out of a cloud: $90,000" in _said(result)
    assert "start from nothing" not in _said(result)


def test_a_model_is_spread_over_as_few_machines_as_it_takes():
    """671 GB do not fit into 8 x 80 GB: two machines, each of which loads its part."""
    result = _run("--model", "deepseek-v3", "--hardware", "p5.48xlarge")

    assert 0 == result.exit_code
    assert "into each of 2 machines" in _said(result)
    assert "Between 2 machines of 8 (tp8 pp2)" in _said(result)
    assert "infiniband-xdr instead of ethernet-100: turns that write are" in _said(result)


def test_data_has_all_of_it():
    """`--json` has both answers; a machine's part is what its accelerators hold."""
    result = _run("--model", "deepseek-v3", "--hardware", "8xh100", "--tp", "16", "--pp", "2",
                  "--calls", "32", "--json")  # fmt: skip
    found = json.loads(result.stdout)
    part = 8 * weights_bytes(V3, Layout(tp=16, pp=2), "fp8")

    assert (4, 32, "") == (found["moving"]["machines"], found["spanning"]["answers"],
                           found["misfit"])  # fmt: skip
    assert pytest.approx(part) == found["moving"]["machine_bytes"]


def test_a_replica_that_does_not_fit_is_told_of():
    """Times are given all the same, with the reason why it would not start."""
    result = _run("--model", "deepseek-v3", "--hardware", "8xh100", "--tp", "8")

    assert 0 == result.exit_code
    assert "It does not fit there: its weights alone need 85.0 GB" in _said(result)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bytes", "much"), "write 141GB"),
        (("--bytes", "0GB"), "write 141GB"),
        (("--bytes", "1GB", "--model", "deepseek-v3"), "--model"),
        (("--bytes", "1GB", "--tp", "2"), "--tp"),
        ((), "--model"),
        (("--model", "deepseek-v3", "--tp", "2"), "--hardware 8xh100"),
        (("--model", "deepseek-v3", "--tp", "3", "--hardware", "8xh100"), "128 heads"),
        (("--model", "deepseek-v3", "--pp", "4", "--tp", "8", "--hardware", "2x8xh100"),
         "takes 4 machines"),
        (("--model", "deepseek-v3", "--hardware", "8xa100-80"), "cannot calculate with fp8"),
        (("--bytes", "1GB", "--storage", "tape"), "no such row"),
        (("--bytes", "1GB", "--egress-usd", "nan"), "--egress-usd"),
    ],
)  # fmt: skip
def test_mistakes_of_use_end_with_2(words, said):
    """One sentence names the option; nothing is printed as an answer."""
    result = _run(*words)

    assert (2, "") == (result.exit_code, result.stdout)
    assert said in _said(result)
