"""Handmade plans for what shows plans: made to look like real ones, and saying nothing of prices.

`plan()` has a mix, ways of every tenure, marks of every kind; `nothing()` has only refusals;
`wide(n)` has many ways; `hostile()` has names that would do harm if they were not escaped.
"""

from math import ceil

from baseload.plan.load import Load, Objectives
from baseload.plan.result import (
    Crossing,
    Curve,
    Figure,
    Formula,
    Lever,
    Mix,
    Plan,
    Refused,
    Share,
    Speed,
    Way,
)
from baseload.plan.speed.layout import Layout

MONTH_HOURS = 730.0
AWS = "https://github.com/skypilot-org/skypilot-catalog/blob/master/catalogs/v8/aws/vms.csv"
YAML = "https://github.com/ai-dynamo/aiconfigurator/blob/main/systems/h100_sxm.yaml"
LOAD = Load(
    rps=4.0, prompt=1200.0, answer=400.0, prompt_cv=0.9, answer_cv=0.7, cached=0.25, day_factor=0.6
)
ASKED = Objectives(ttft_p95_s=1.0, tpot_p95_s=0.05, survive=1)
DAYS = tuple(10 ** (3 + step / 10) for step in range(36))


def figure(what, value, source=AWS, seen="2026-10-30", is_verified=True, is_stale=False):
    """Make a figure of the catalogue."""
    return Figure(
        what=what, value=value, source=source, seen=seen, is_verified=is_verified, is_stale=is_stale
    )


def speed(ttft, tpot, batch, knee, use, joules):
    """Make speeds whose medians are a fixed part of what 95 of 100 see."""
    return Speed(
        ttft_p50_s=ttft * 0.55, ttft_p95_s=ttft, tpot_p50_s=tpot * 0.85, tpot_p95_s=tpot,
        batch=batch, knee_rps=knee, utilisation=use, joules_token=joules,
    )  # fmt: skip


H100 = figure("h100 memory bandwidth", "3.35 TB/s", YAML, "2026-09-01")
H100_WATTS = figure("h100 power", "700 W", YAML, "2026-09-01")
FORMULAS = (
    Formula(
        what="weights", formula="parameters * bits / 8 + scales",
        numbers="32.76e9 * 8 / 8 + 0.02 %", result="33.6 GB",
    ),
    Formula(
        what="KV cache for a token", formula="2 * layers * kv heads * head * bytes",
        numbers="2 * 64 * 8 * 128 * 2", result="262,144 B",
    ),
    Formula(
        what="time of a turn", formula="(weights + batch * context * kv) / (bandwidth * efficiency)",
        numbers="(33.6 GB + 14.2 * 1,400 * 262,144 B) / (2 * 3.35 TB/s * 0.8)", result="7.24 ms",
    ),
)  # fmt: skip


def way(name, tenure, hardware, month, **more):
    """Make a way; what a test does not care about has a usual value."""
    usual = {
        "costs": {"compute": month}, "availability": 0.9995, "usd_horizon": month * 36,
        "usd_mtok": month / 10_098, "figures": (), "formulas": FORMULAS,
    }  # fmt: skip
    return Way(name=name, tenure=tenure, hardware=hardware, usd_month=month, **(usual | more))


def _ways():
    two, four = Layout(tp=2), Layout(tp=4)
    spot = figure("p5.48xlarge spot, us-east-1", "$14.20/h", AWS, "2026-06-30", is_stale=True)
    return (
        way(
            "1 x p5.48xlarge, fp8, tp 2, spot", "spot", "p5.48xlarge", 10_366.0, cloud="aws",
            precision="fp8", layout=two, accelerators=8, replicas=3, standby=1,
            speed=speed(0.412, 0.0121, 14.2, 3.1, 0.43, 2.1), availability=0.9912, start_s=410.0,
            figures=(spot, H100),
        ),
        way(
            "2 x p4de.24xlarge, bf16, tp 4, reserved_3y", "reserved_3y", "p4de.24xlarge", 19_230.0,
            cloud="aws", precision="bf16", layout=four, accelerators=16, replicas=3, standby=1,
            speed=speed(0.731, 0.0274, 22.4, 1.9, 0.7, 4.6), availability=0.9997, start_s=520.0,
            figures=(figure("p4de.24xlarge reserved 3 y", "$13.17/h", AWS, "2026-10-30"),),
        ),
        way(
            "8 x h100, fp8, tp 2, owned", "owned", "h100", 21_900.0, precision="fp8", layout=two,
            accelerators=8, replicas=3, standby=1, speed=speed(0.412, 0.0121, 14.2, 3.1, 0.43, 2.1),
            availability=0.99982, start_s=95.0,
            costs={
                "capital": 13_390.0, "power": 1_810.0, "colocation": 2_240.0, "staff": 3_200.0,
                "network": 420.0, "finance": 840.0,
            },
            figures=(
                H100, H100_WATTS,
                figure("h100 price", "$30,000", "a dealer's offer", "2026-09-20", is_verified=False),
            ),
        ),
        way(
            "API deepseek-v4-flash", "api", "deepseek-v4-flash", 26_300.0, cloud="api.deepseek.com",
            costs={"tokens": 26_300.0}, availability=0.995,
            speed=None, figures=(figure(
                "deepseek-v4-flash prices", "$0.22/$0.66 per Mtok",
                "https://api-docs.deepseek.com/quick_start/pricing", "2026-08-21", is_stale=True,
            ),),
        ),
        way(
            "1 x p5.48xlarge, fp8, tp 2, on_demand", "on_demand", "p5.48xlarge", 40_179.2, cloud="aws",
            precision="fp8", layout=two, accelerators=8, replicas=3, standby=1,
            speed=speed(0.412, 0.0121, 14.2, 3.1, 0.43, 2.1), availability=0.9996, start_s=410.0,
            figures=(figure("p5.48xlarge on demand, us-east-1", "$55.04/h"), H100),
        ),
    )  # fmt: skip


def _latency(one, worst, base):
    """Draw a curve that rises as one over what is left before 1.08 of the knee."""
    steps = [one.speed.knee_rps * step / 20 for step in range(1, 25)]
    end = one.speed.knee_rps * 1.25
    rise = (worst - base) / (1 / (1 - 1 / 1.25) - 1)
    ys = tuple(base + rise * (1 / (1 - min(x, end * 0.985) / end) - 1) for x in steps)
    return Curve(way=one.name, x=tuple(steps), y=ys)


def _cost(one, rps=LOAD.rps):
    """Draw a machine's cost as steps, and what is paid by the call as a line."""
    if one.speed is None:
        return Curve(
            way=one.name, x=DAYS, y=tuple(one.usd_month * day / LOAD.requests_day for day in DAYS)
        )
    each = one.usd_month / (one.replicas + one.standby)
    need = [ceil(day / 0.6 / 86_400 / (one.speed.knee_rps * 0.85)) + 1 for day in DAYS]
    return Curve(way=one.name, x=DAYS, y=tuple(each * max(2, count) for count in need))


LEVERS = (
    Lever(what="spot price", low="$10.20/h", high="$25.80/h", usd_month_low=7_446.0, usd_month_high=18_834.0),
    Lever(what="requests a second", low="2", high="8", usd_month_low=7_800.0, usd_month_high=20_732.0),
    Lever(what="answer tokens", low="200", high="800", usd_month_low=8_300.0, usd_month_high=17_100.0),
    Lever(what="efficiency of bandwidth", low="0.9", high="0.6", usd_month_low=9_900.0, usd_month_high=13_100.0),
    Lever(what="replicas that may fail", low="0", high="2", usd_month_low=7_774.0, usd_month_high=12_957.0),
    Lever(what="cached part of prompts", low="60 %", high="0 %", usd_month_low=9_800.0, usd_month_high=11_200.0),
)  # fmt: skip
REFUSED = (
    Refused(
        name="1 x p5.48xlarge, bf16, tp 1, spot", objective="ttft_p95_s", wanted="1 s",
        found="1.31 s", nearest="3.2 requests/s, or 1.4 s",
    ),
    Refused(
        name="g4dn.12xlarge, fp8", objective="capability", wanted="fp8", found="fp16, int8 on t4",
        nearest="int8",
    ),
    Refused(
        name="2 x l40s, bf16, tp 2", objective="tpot_p95_s", wanted="50 ms", found="78 ms",
        nearest="fp8 on the same",
    ),
    Refused(
        name="1 x a100-80, bf16", objective="memory", wanted="71.2 GB", found="64.8 GB",
        nearest="2 x a100-80, or fp8",
    ),
    Refused(
        name="aws lambda", objective="capability", wanted="a GPU", found="none, 15 minutes at most"
    ),
)  # fmt: skip


def plan(**more):
    """Make a plan as a person would get it."""
    ways = _ways()
    spot, reserved, owned, api, demand = (one.name for one in ways)
    mix = Mix(
        shares=(
            Share(way=spot, role="base", replicas=3, share=0.72, usd_month=7_774.5),
            Share(way=demand, role="floor", replicas=1, share=0.25, usd_month=10_044.8),
            Share(way=api, role="peak", replicas=0, share=0.03, usd_month=471.0),
        ),
        usd_month=18_290.3, usd_horizon=658_450.8, availability=0.99987, is_optimal=True,
        why="N-1 costs $2,591 a month; the floor on demand costs $7,453 a month.",
    )  # fmt: skip
    served = [one for one in ways if one.speed is not None]
    made = {
        "model": "deepseek-r1-distill-qwen-32b", "load": LOAD, "objectives": ASKED, "months": 36,
        "today": "2026-11-26", "ways": ways, "refused": REFUSED, "mix": mix,
        "cost_curves": tuple(_cost(one) for one in ways),
        "ttft_curves": tuple(_latency(one, 1.0, one.speed.ttft_p50_s * 0.6) for one in served),
        "tpot_curves": tuple(_latency(one, one.speed.tpot_p95_s * 1.6, one.speed.tpot_p50_s * 0.7) for one in served),
        "crossings": (
            Crossing(cheaper_below=api, cheaper_above=spot, requests_day=40_865.0, usd_month=5_183.0),
            Crossing(cheaper_below=api, cheaper_above=owned, requests_day=86_335.0, usd_month=10_950.0),
            Crossing(cheaper_below=api, cheaper_above=reserved, requests_day=75_808.0, usd_month=9_615.0),
            Crossing(cheaper_below=api, cheaper_above=demand, requests_day=158_395.0, usd_month=20_089.6),
        ),
        "levers": LEVERS,
        "notes": (
            "TPOT is (end to end - TTFT) / (tokens - 1).",
            "Spot prices differ between zones by a factor of 2 to 5; the planned one is typical.",
        ),
    }  # fmt: skip
    return Plan(**(made | more))


def nothing():
    """Make a plan in which nothing keeps the objectives."""
    return plan(
        ways=(), mix=None, cost_curves=(), ttft_curves=(), tpot_curves=(), crossings=(), levers=()
    )


def wide(count=40):
    """Make a plan of many ways."""
    some = _ways()
    names = [f"{number} {some[number % 5].name}" for number in range(count)]
    ways = tuple(
        way(
            name, some[n % 5].tenure, some[n % 5].hardware, some[n % 5].usd_month * (1 + n / 10),
            layout=some[n % 5].layout, speed=some[n % 5].speed, replicas=some[n % 5].replicas,
            figures=some[n % 5].figures, precision=some[n % 5].precision, standby=1,
        )
        for n, name in enumerate(names)
    )  # fmt: skip
    ways = tuple(sorted(ways, key=lambda one: one.usd_month))
    served = [one for one in ways if one.speed is not None]
    return plan(
        ways=ways, mix=None, cost_curves=tuple(_cost(one) for one in ways),
        ttft_curves=tuple(_latency(one, 1.0, 0.2) for one in served),
        tpot_curves=tuple(_latency(one, 0.05, 0.01) for one in served),
        crossings=(), refused=REFUSED * 30,
    )  # fmt: skip


EVIL = '<script>alert("x")</script>&\'"</svg>]]>-->[bold red]\x1b[31m\u202egnp'


def hostile():
    """Make a plan whose every text is an attack."""
    evil = way(
        EVIL, "spot", EVIL, 100.0, cloud=EVIL, precision=EVIL, layout=Layout(tp=2), replicas=2,
        speed=speed(0.4, 0.01, 4.0, 2.0, 0.5, 1.0), costs={EVIL: 100.0},
        figures=(figure(EVIL, EVIL, f"javascript:{EVIL}", EVIL), figure("b", "c", f"https://a/{EVIL}")),
        formulas=(Formula(what=EVIL, formula=EVIL, numbers=EVIL, result=EVIL),),
    )  # fmt: skip
    return plan(
        model=EVIL, today=EVIL, ways=(evil,), notes=(EVIL,),
        refused=(Refused(name=EVIL, objective=EVIL, wanted=EVIL, found=EVIL, nearest=EVIL),),
        mix=Mix(
            shares=(Share(way=EVIL, role="base", replicas=2, share=1.0, usd_month=100.0),),
            usd_month=100.0, usd_horizon=3_600.0, availability=0.99, is_optimal=False, why=EVIL,
        ),
        cost_curves=(_cost(evil),), ttft_curves=(_latency(evil, 1.0, 0.2),), tpot_curves=(),
        crossings=(Crossing(cheaper_below=EVIL, cheaper_above=EVIL, requests_day=2e4, usd_month=99.0),),
        levers=(Lever(what=EVIL, low=EVIL, high=EVIL, usd_month_low=80.0, usd_month_high=120.0),),
    )  # fmt: skip
