"""The sentence that sums a plan up."""

from baseload.plan.report import answer
from baseload.plan.report.words import TIMES
from baseload.plan.result import Mix, Plan, Share
from tests.plan import sample


def _with(*shares: tuple[int, str, int, float]) -> Plan:
    """Make a plan whose mix has these ways (by rank), roles, replicas and shares."""
    made = sample.plan()
    mix = Mix(
        shares=tuple(
            Share(way=made.ways[rank - 1].name, role=role, replicas=replicas, share=share, usd_month=1.0)
            for rank, role, replicas, share in shares
        ),
        usd_month=12_345.0, usd_horizon=1.0, availability=0.99, is_optimal=True,
    )  # fmt: skip
    return sample.plan(mix=mix)


def test_a_mix_of_spot_floor_and_api():
    """Each role has its words, and calls are shared with an API by the per cent."""
    assert answer.headline(sample.plan()) == (
        f"Run 1 {TIMES} p5.48xlarge on spot above a floor of 1 {TIMES} p5.48xlarge on demand, and at"
        " the peak call the API deepseek-v4-flash at api.deepseek.com for 3 % of calls: $18,290 a"
        " month, first token in 412 ms for 95 of 100 calls."
    )


def test_reserve_is_named_by_its_kind():
    """What waits hot and what waits cold are told apart."""
    plan = _with((2, "base", 3, 1.0), (2, "hot", 1, 0.0), (5, "cold", 4, 0.0))

    assert answer.headline(plan) == (
        f"Run 2 {TIMES} p4de.24xlarge (reserved 3 y), with 1 {TIMES} p4de.24xlarge (reserved 3 y) in"
        f" hot reserve, with 1 {TIMES} p5.48xlarge on demand in cold reserve: $12,345 a month, first"
        " token in 731 ms for 95 of 100 calls."
    )


def test_an_api_alone_is_called_not_run():
    """Nothing is run where somebody else does, and what is not known is not promised."""
    plan = _with((4, "base", 0, 1.0))

    assert answer.headline(plan) == (
        "Call the API deepseek-v4-flash at api.deepseek.com: $12,345 a month."
    )


def test_without_a_mix_the_cheapest_way_is_the_answer():
    """The first way is named with its reserve."""
    assert answer.headline(sample.plan(mix=None)) == (
        f"Run 1 {TIMES} p5.48xlarge on spot, 1 of 4 replicas in reserve: $10,366 a month, first token"
        " in 412 ms for 95 of 100 calls."
    )


def test_where_nothing_does_the_objective_is_named():
    """It says which objective fails, by how much, and what would do."""
    assert answer.headline(sample.nothing()) == (
        "Nothing keeps the objectives. 1 x p5.48xlarge, bf16, tp 1, spot comes nearest and fails on "
        "first token, p95: 1.31 s (31 % over), wanted 1 s. What would do: 3.2 requests/s, or 1.4 s."
    )


def test_where_nothing_was_tried_that_is_said():
    """No way and no refusal is an answer too."""
    plan = sample.plan(ways=(), refused=(), mix=None)

    assert "Nothing keeps the objectives: there is no way to try." == answer.headline(plan)
    assert () == answer.keys(plan)


def test_a_share_of_an_unknown_way_is_named_all_the_same():
    """A mix may rest on a way that the plan does not list."""
    share = Share(way="elsewhere", role="base", replicas=2, share=1.0, usd_month=5.0)
    mix = Mix(shares=(share,), usd_month=5.0, usd_horizon=180.0, availability=0.9, is_optimal=True)

    assert f"Run 2 {TIMES} elsewhere: $5.00 a month." == answer.headline(sample.plan(mix=mix))


def test_numbers_beside_the_sentence_are_those_of_the_mix():
    """Cost, horizon and availability are the mix's; a million tokens follow from the load."""
    keys = {key.name: key for key in answer.keys(sample.plan())}
    tokens_month = 4.0 * 0.6 * 86_400 * 365.25 / 12 * 1600

    assert "$18,290" == keys["A month"].value
    assert f"${18_290.3 / tokens_month * 1e6:.2f} a million tokens" == keys["A month"].beside
    assert "$658,451" == keys["Over 36 months"].value
    assert "99.987 %" == keys["Availability"].value
    assert ("4", "1 may fail, used to 43 %") == keys["Replicas"][1:]
