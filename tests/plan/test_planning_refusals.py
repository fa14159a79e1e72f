"""What does not do, and what is asked in a way that means nothing."""

import pytest

from baseload.errors import BaseloadError
from baseload.plan.planning import make
from baseload.plan.remarks import gathered
from baseload.plan.request import Machine
from baseload.plan.result import Refused
from tests.plan import plans


def _refused(plan, objective):
    return next(each for each in plan.refused if each.objective == objective)


@pytest.mark.parametrize(
    ("objective", "option", "more"),
    [("ttft_p95_s", "ttft", {"ttft": 0.001}), ("tpot_p95_s", "tpot", {"tpot": 0.001})],
)
def test_too_slow_says_by_how_much_and_what_would_do(objective, option, more):
    """Nothing keeps it; the nearest that is named does, when it is asked for."""
    plan = make(plans.asked(**more))
    refused = _refused(plan, objective)
    words = refused.nearest.split()

    assert ((), None) == (plan.ways, plan.mix)
    assert ("north-big", "0.001 s") == (refused.name, refused.wanted)
    assert float(refused.found.split()[0]) / 0.001 - 1 == pytest.approx(refused.over, rel=0.01)
    assert f"--{option}-p95" == words[0]
    assert make(plans.asked(**{option: float(words[1])}, of=plans.load(0.01))).ways


def test_too_small_says_how_much_is_missing():
    """The split that comes nearest is told; a narrower precision where that would fit."""
    plan = make(plans.asked(precision="bf16", tenures=("on_demand",)))
    refused = _refused(plan, "memory")

    assert ("north-small", "71 GB") == (refused.name, refused.wanted)
    assert "22 GB of 1 x small in bf16" == refused.found
    assert 71 / 22 - 1 == pytest.approx(refused.over, rel=0.05)
    assert "" == refused.nearest
    narrow = _refused(make(plans.asked("deepseek-r1-distill-qwen-14b", precision="bf16")), "memory")
    assert "--precision int8, if its answers are good enough" == narrow.nearest


def test_what_hardware_cannot_do():
    """A precision whose speed on some hardware is not known is not reckoned with."""
    plan = make(plans.asked(precision="fp32"))
    refused = _refused(plan, "capability")

    assert ("north-big", "fp32") == (refused.name, refused.wanted)
    assert "how fast big is in fp32 is not known" == refused.found


def test_no_price_is_told_once():
    """A way of paying that no machine has a rate for leaves nothing, and says so."""
    plan = make(plans.asked(tenures=("reserved_3y",)))

    assert ["price"] == [each.objective for each in plan.refused]
    assert "north-big, north-small-4, north-small" == plan.refused[0].name


def test_own_hardware_without_a_price_says_how_to_give_one():
    """An accelerator that the catalogue cannot price takes one from the command line, 0 too."""
    machines = (Machine(accelerator="small", per_machine=4),)
    request = plans.asked(plans.QWEN_7B, tenures=("owned",), hardware=machines)
    refused = _refused(make(request), "price")
    priced = plans.asked(plans.QWEN_7B, tenures=("owned",), hardware=machines,
                         settings={"owned.accelerator_usd": 0.0})  # fmt: skip

    assert "--set owned.accelerator_usd=N" in refused.nearest
    assert ["own 4xsmall"] == [way.name.partition(",")[0] for way in make(priced).ways]


def test_too_few_machines():
    """It says how many it takes, and which load those that are there would take."""
    machines = (Machine(accelerator="big", per_machine=8, machines_max=2),)
    request = plans.asked(of=plans.load(60.0), tenures=("owned",), hardware=machines)
    refused = _refused(make(request), "machines")
    less = float(refused.nearest.partition("--rps ")[2].split()[0])
    fits = plans.asked(of=plans.load(less * 0.99), tenures=("owned",), hardware=machines)

    assert "2 machines" == refused.found
    assert 1 == len(make(fits).ways)


def test_cold_starts_refuse_services_that_are_seldom_called():
    """Where more than a few calls meet a start, an objective for 95 of 100 cannot be kept."""
    seldom = plans.asked(plans.QWEN_7B, of=plans.load(0.001), survive=0, tenures=("serverless",))
    often = plans.asked(plans.QWEN_7B, of=plans.load(0.5), survive=0, tenures=("serverless",))
    refused = _refused(make(seldom), "ttft_p95_s")
    way = make(often).ways[0]

    assert "of calls that meet a cold start" in refused.found
    assert ("serverless", 1, 0) == (way.tenure, way.replicas, way.standby)
    assert 0.0004 * 3600 * 730 == pytest.approx(way.usd_month, rel=1e-3)


def test_a_service_has_its_standby_too():
    """One instance more is kept awake by its part of the calls, and is paid for."""
    usual = {"model": plans.QWEN_7B, "of": plans.load(0.5), "tenures": ("serverless",)}
    one, two = (make(plans.asked(survive=survive, **usual)).ways[0] for survive in (0, 1))

    assert ("north-runs", "$0.0004/s") == (one.figures[0].what, one.figures[0].value)
    assert 2 * one.usd_month == pytest.approx(two.usd_month, rel=1e-3)
    assert 1 == two.standby


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"settings": {"owned.peu": 1.3}}, "--set owned.peu: .*did you mean `owned.pue`"),
        ({"settings": {"owned.servers": 3.0}}, "--set owned.servers: no input has this name"),
        ({"clouds": ("nort",)}, "--cloud nort: .*did you mean `north`"),
        ({"region": "north-9"}, "--region north-9: .*did you mean `north-"),
        ({"hardware": (Machine(accelerator="bigg", per_machine=8),)}, "--hardware bigg: .*`big`"),
        (
            {"of": plans.load(prompt=200_000.0)},
            "contexts of 131,072 tokens, and a call has 200,400",
        ),
        ({"model": "no-such-model"}, "no-such-model"),
    ],
)
def test_names_that_are_not_known(more, said):
    """Each is a mistake of the request, told with what was probably meant."""
    with pytest.raises(BaseloadError, match=said):
        make(plans.asked(**more))


def test_inputs_that_mean_nothing():
    """What a cost refuses is told as a setting's mistake."""
    machines = (Machine(accelerator="big", per_machine=8),)
    request = plans.asked(tenures=("owned",), hardware=machines, settings={"owned.pue": 0.5})

    with pytest.raises(BaseloadError, match=r"--set: pue: 0\.5 is below 1"):
        make(request)


def test_known_settings_count():
    """More overhead of the site makes own machines dearer by their power's part alone."""
    usual = {"tenures": ("owned",), "hardware": (Machine(accelerator="big", per_machine=8),)}
    low, high = (
        make(plans.asked(settings={"owned.pue": pue}, **usual)).ways[0] for pue in (1.0, 2.0)
    )

    assert 2 * low.costs["power"] == pytest.approx(high.costs["power"])
    assert high.usd_month - low.usd_month == pytest.approx(low.costs["power"])


def test_what_a_trace_s_reader_knows_is_told():
    """Its notes come with the plan; so does how many of its calls no replica could take."""
    sizes = {"prompts": (1000,) * 99 + (140_000,), "answers": (400,) * 100, "gaps": (1.0,) * 100}
    request = plans.asked(of=plans.load(**sizes), ttft=20.0, notes=("a day is missing.",))
    notes = make(request).notes

    assert "a day is missing." in notes
    assert any(note.startswith("1.0% of the trace's calls are longer") for note in notes)


def test_refusals_that_say_the_same_are_told_once():
    """Names are joined, the nearest comes first, and what cannot be compared last of its kind."""

    def refused(name, objective, over):
        return Refused(name=name, objective=objective, wanted="1", found="2", over=over)

    many = [
        refused("a", "price", None), refused("b", "memory", 0.5), refused("c", "price", None),
        refused("d", "memory", 0.1), refused("e", "tpot_p95_s", 0.3), refused("f", "ttft_p95_s", 0.4),
        refused("g", "mix", None),
    ]  # fmt: skip

    assert ["g", "e", "f", "d", "b", "a, c"] == [each.name for each in gathered(many)]
