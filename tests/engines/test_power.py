"""Joules and watts: counters that begin anew, sensors that fail, and whose the joules are.

Sensors are trees made by hand and a double of NVML; no real sensor of power is proved here.
"""

import itertools
import threading
import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines.energy import WINDOW_S, Energy, sensors_of
from baseload.engines.power import GAP_S_MAX, STALE_S, Level, Meter, Tally
from baseload.engines.sensors import Reading, find_sensors
from tests.engines.engine_kit import WAIT_MAX_S, until
from tests.engines.hardware.machines import FakeGpu, FakeNvml, amd_card, rapl, tree

JOULES = "nvmlDeviceGetTotalEnergyConsumption"
WATTS = "nvmlDeviceGetPowerUsage"
NO_NVML = FakeNvml(fails="Driver Not Loaded")
ZONE = "sys/class/powercap/intel-rapl:0"


def found(root, module=NO_NVML):
    """Give the sensors of a machine by their names."""
    with ExitStack() as stack:
        return {sensor.name: sensor for sensor in find_sensors(stack, root, module)}


def engine(name, kind="vllm", *gpus):
    """Give a backend with an engine."""
    return Backend(name=name, engine=kind, model="m", serve=Serve(gpus=gpus))


# -- sensors ---------------------------------------------------------------------------------------


def test_packages_and_their_memory_are_found_once(tmp_path):
    """Neither cores, nor the whole machine, nor the second view of a package is counted twice."""
    sensors = found(rapl(tmp_path, 5_000_000, dram_uj=1_000_000))

    assert {"package-0": 5.0, "package-0-dram": 1.0} == {
        name: sensor.read().joules for name, sensor in sensors.items()
    }
    assert 262_143.32885 == sensors["package-0"].range_j


def test_what_cannot_be_read_is_absent(tmp_path):
    """A counter that fails to be read, as for who is not root, is no sensor, and not one at 0."""
    rapl(tmp_path)
    (tmp_path / ZONE / "energy_uj").unlink()
    (tmp_path / ZONE / "energy_uj").mkdir()  # Fails for root as well.

    assert {} == found(tmp_path)


def test_a_machine_without_sensors_has_none(tmp_path):
    """Nothing is made up where nothing is."""
    tree(tmp_path, {f"{ZONE}/name": "package-0"})

    assert {} == found(tmp_path)


def test_nvml_tells_joules_watts_and_load():
    """Millijoules, milliwatts and per cent become joules, watts and a part of one."""
    sensors = found("/nowhere", FakeNvml(FakeGpu(0, millijoules=2500, milliwatts=300_000, busy=80)))

    assert Reading(2.5, 300.0, 0.8) == sensors["gpu0"].read()


def test_a_gpu_that_tells_no_joules_still_tells_watts():
    """Each of the three may be missing for itself; a GPU that tells none is absent."""
    old, dead = FakeGpu(0, lacks=(JOULES,)), FakeGpu(1, lacks=(JOULES, WATTS))
    dead.lacks += ("nvmlDeviceGetUtilizationRates",)
    sensors = found("/nowhere", FakeNvml(old, dead))

    assert ["gpu0"] == list(sensors)
    assert Reading(None, 300.0, 0.8) == sensors["gpu0"].read()


def test_amds_cards_tell_by_the_kernel(tmp_path):
    """Microwatts, microjoules where a card has them, and its load."""
    amd_card(tmp_path, 0)
    amd_card(tmp_path, 1, **{"hwmon/hwmon3/energy1_input": 7_000_000})

    sensors = found(tmp_path)

    assert Reading(None, 142.0, 0.73) == sensors["gpu0"].read()
    assert Reading(7.0, 142.0, 0.73) == sensors["gpu1"].read()


# -- what is counted -------------------------------------------------------------------------------


def test_a_counter_is_subtracted_from_itself():
    """Where it began does not matter, and watts are what was counted over the time."""
    tally = Tally()
    tally.add(Reading(1000.0), 10.0)
    tally.add(Reading(1050.0), 12.0)

    assert Level(50.0, 25.0, None) == tally.level(12.0)


def test_a_counter_that_begins_anew_loses_nothing():
    """Past the end of its range, joules go on."""
    tally = Tally(range_j=100.0)
    tally.add(Reading(90.0), 0.0)
    tally.add(Reading(30.0), 1.0)

    assert 40.0 == tally.level(1.0).joules


def test_a_driver_that_is_loaded_anew_counts_by_watts():
    """A counter without a range that falls is no wrap: that step is worked out from watts."""
    tally = Tally()
    tally.add(Reading(9000.0, 100.0), 0.0)
    tally.add(Reading(3.0, 100.0), 2.0)
    tally.add(Reading(103.0, 100.0), 3.0)

    assert 300.0 == tally.level(3.0).joules


def test_missed_readings_lose_nothing():
    """A counter jumps over what was missed; watts go on in a straight line."""
    counter, watts = Tally(), Tally()
    for at, joules in ((0.0, 0.0), (1.0, None), (2.0, None), (3.0, 30.0)):
        counter.add(Reading(joules), at)
        watts.add(Reading(None, None if joules is None else 10.0), at)

    assert 30.0 == counter.level(3.0).joules
    assert 30.0 == watts.level(3.0).joules


def test_long_silence_is_not_made_up():
    """Watts of a time in which nothing was heard are not added, and not shown as being so now."""
    tally = Tally()
    tally.add(Reading(None, 100.0), 0.0)
    silent = tally.level(STALE_S + 1)
    tally.add(Reading(None, 100.0), GAP_S_MAX + 1)

    assert Level(0.0) == silent
    assert 0.0 == tally.level(GAP_S_MAX + 1).joules


@given(st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 90)), min_size=1, max_size=60))
def test_any_course_is_counted_whole(steps):
    """However a counter with a range moves, less than once around between readings, all is counted."""
    tally, now, total = Tally(range_j=100.0), 0.0, 0.0
    tally.add(Reading(0.0), now)
    for passed_s, joules in steps:
        now, total = now + passed_s, total + joules
        tally.add(Reading(total % 100.0), now)

    assert total == pytest.approx(tally.level(now).joules, abs=1e-6)


def test_the_meter_reads_on_its_own(tmp_path):
    """A real thread reads files as they change, until it is stopped."""
    rapl(tmp_path, 0)
    meter = Meter(lambda stack: find_sensors(stack, tmp_path, NO_NVML), sample_s=0.01)
    meter.start()
    meter.start()
    until(lambda: "package-0" in meter.levels())
    tree(tmp_path, {f"{ZONE}/energy_uj": 42_000_000})
    until(lambda: meter.levels()["package-0"].joules == 42.0)
    (tmp_path / ZONE / "energy_uj").unlink()
    time.sleep(0.05)
    tree(tmp_path, {f"{ZONE}/energy_uj": 50_000_000})
    until(lambda: meter.levels()["package-0"].joules == 50.0)
    meter.stop()
    tree(tmp_path, {f"{ZONE}/energy_uj": 99_000_000})

    assert 50.0 == meter.levels()["package-0"].joules


def test_a_driver_that_hangs_shows_no_watts():
    """Joules stay as they were, and what was true ten seconds ago is not shown as being so now."""
    now, hang, hangs = [0.0], threading.Event(), threading.Event()
    reads = itertools.count()

    class Hanging:
        name, range_j = "gpu0", None

        def read(self):
            if next(reads) > 2:
                hangs.set()
                hang.wait(WAIT_MAX_S)
            return Reading(5.0, 300.0)

    meter = Meter(lambda _stack: [Hanging()], clock=lambda: now[0], sample_s=0.001)
    meter.start()
    assert hangs.wait(WAIT_MAX_S)
    alive = meter.levels()["gpu0"]
    now[0] = 60.0
    dark = meter.levels()["gpu0"]
    hang.set()
    meter.stop()

    assert Level(0.0, 300.0) == alive
    assert Level(0.0) == dark


def test_trouble_with_a_driver_ends_only_the_meter():
    """Whatever looking for sensors raises, there are no levels, and nothing else happens."""

    def broken(_stack):
        raise RuntimeError("a driver's own")

    meter = Meter(broken)
    meter.start()
    meter.stop()

    assert {} == meter.levels()


# -- whose they are --------------------------------------------------------------------------------


def test_engines_draw_what_their_devices_draw():
    """Named GPUs, or all; llama.cpp without names the processor; a URL nothing."""
    known = ["gpu0", "gpu1", "package-0", "package-0-dram"]

    assert ["gpu1"] == sensors_of(engine("a", "vllm", 1), known)
    assert ["gpu0", "gpu1"] == sensors_of(engine("a", "sglang"), known)
    assert ["package-0", "package-0-dram"] == sensors_of(engine("a", "llama.cpp"), known)
    assert ["gpu0"] == sensors_of(engine("a", "llama.cpp", 0), known)
    assert [] == sensors_of(Backend(name="a", url="http://a/v1"), known)
    assert [] == sensors_of(engine("a"), ["package-0"])


def test_joules_per_token_are_those_of_the_window():
    """What was drawn and written in five minutes counts; older looks do not."""
    energy, engines = Energy(), {"a": engine("a")}
    energy.note(engines, {"gpu0": Level(1000.0, 50.0, 0.5)}, {"a": 1}, 0.0)
    energy.note(engines, {"gpu0": Level(1300.0, 60.0, 0.6)}, {"a": 100}, WINDOW_S + 1)

    assert (1300.0, 60.0, 3.0, 0.6) == energy.drawn["a"]
    assert {"a": 3.0} == energy.per_token()


def test_without_tokens_the_last_known_holds():
    """Nobody divides by nothing: before the first token it is absent, later it stays."""
    energy, engines = Energy(), {"a": engine("a")}
    energy.note(engines, {"gpu0": Level(10.0, 5.0)}, {}, 0.0)
    first = energy.drawn["a"]
    energy.note(engines, {"gpu0": Level(20.0, 5.0)}, {"a": 10}, 1.0)
    energy.note(engines, {"gpu0": Level(90.0, 5.0)}, {}, WINDOW_S * 3)

    assert first.joules_per_token is None
    assert 2.0 == energy.drawn["a"].joules_per_token
    assert 90.0 == energy.drawn["a"].joules


def test_engines_on_one_gpu_share_by_tokens():
    """Each has its tokens' part of joules and watts, equal parts before there are any."""
    energy = Energy()
    engines = {"a": engine("a", "vllm", 0), "b": engine("b", "vllm", 0)}
    energy.note(engines, {"gpu0": Level(100.0, 40.0)}, {}, 0.0)
    equal = [energy.drawn[name].joules for name in "ab"]
    energy.note(engines, {"gpu0": Level(200.0, 40.0)}, {"a": 30, "b": 10}, 1.0)

    assert [50.0, 50.0] == equal
    assert [125.0, 75.0] == [energy.drawn[name].joules for name in "ab"]
    assert [30.0, 10.0] == [energy.drawn[name].watts for name in "ab"]


def test_a_sensor_that_went_dark_leaves_no_watts():
    """Of two GPUs one of which tells no watts, the sum is not known, and so is absent."""
    energy = Energy()
    energy.note({"a": engine("a")}, {"gpu0": Level(1.0, 5.0), "gpu1": Level(1.0)}, {}, 0.0)

    assert energy.drawn["a"].watts is None
    assert energy.drawn["a"].gpu_busy is None


def test_without_sensors_nothing_is_known():
    """An engine on a machine without sensors is absent, not 0."""
    energy = Energy()
    energy.note({"a": engine("a")}, {}, {"a": 5}, 0.0)

    assert {} == energy.drawn
    assert {} == energy.per_token()


@given(
    st.lists(
        st.tuples(st.floats(0, 500), st.integers(0, 50), st.integers(0, 50), st.booleans()),
        min_size=1, max_size=40,
    )
)  # fmt: skip
def test_parts_add_up_to_the_whole(looks):
    """Whatever engines write, what they drew together is what the GPU drew while they were there."""
    energy, total, now = Energy(), 0.0, 0.0
    engines = {"a": engine("a"), "b": engine("b")}
    for joules, wrote_a, wrote_b, is_late in looks:
        total, now = total + joules, now + (400 if is_late else 2)
        energy.note(engines, {"gpu0": Level(total, 1.0)}, {"a": wrote_a, "b": wrote_b}, now)

    assert total == pytest.approx(sum(one.joules for one in energy.drawn.values()))
