"""The cost that a provider reports in its usage object, as decimal text."""

from __future__ import annotations

from decimal import localcontext

import pytest

from tokenledger_semconv.usage.reported_cost import reported_cost

UPSTREAM = {"upstream_inference_cost": 0.05}
BOTH = "usage.cost + usage.cost_details.upstream_inference_cost"


@pytest.mark.parametrize(
    ("usage", "usd", "source"),
    [
        ({"cost": 0.00012}, "0.00012", "usage.cost"),
        ({"cost": 0}, "0", "usage.cost"),
        ({"cost": {"total_cost": 0.0051}}, "0.0051", "usage.cost.total_cost"),
        ({"cost_in_usd_ticks": 37_756_000}, "0.0037756000", "usage.cost_in_usd_ticks"),
        ({"cost": 0.0025, "is_byok": True, "cost_details": UPSTREAM}, "0.0525", BOTH),
        ({"cost": 0.05, "is_byok": False, "cost_details": UPSTREAM}, "0.05", "usage.cost"),
        ({"cost": 0.05, "cost_details": UPSTREAM}, "0.05", "usage.cost"),
        ({"cost": 0, "cost_details": UPSTREAM}, "0.05", BOTH),
        ({"cost_details": UPSTREAM}, "0.05", BOTH),
        ({"cost": 0.05, "cost_details": {"upstream_inference_cost": None}}, "0.05", "usage.cost"),
    ],
)
def test_every_hosts_field_is_read(usage: dict[str, object], usd: str, source: str) -> None:
    assert reported_cost(usage) == (usd, source)


def test_a_usage_object_without_a_cost_reports_none() -> None:
    assert reported_cost({"prompt_tokens": 10}) is None


@pytest.mark.parametrize(
    "wrong", [True, -1, float("nan"), float("inf"), 10**12, "0.5", None, {}], ids=str
)
def test_what_is_no_amount_is_not_a_cost(wrong: object) -> None:
    assert not reported_cost({"cost": wrong})
    assert not reported_cost({"cost": {"total_cost": wrong}})


@pytest.mark.parametrize("wrong", [True, -1, 1.5, "7", 10**20], ids=str)
def test_ticks_are_a_whole_number(wrong: object) -> None:
    assert not reported_cost({"cost_in_usd_ticks": wrong})


def test_the_apps_decimal_context_does_not_round() -> None:
    with localcontext() as context:
        context.prec = 2
        assert reported_cost({"cost_in_usd_ticks": 329_850_001}) == (
            "0.0329850001",
            "usage.cost_in_usd_ticks",
        )
        usage: dict[str, object] = {"cost": 0.0025, "is_byok": True, "cost_details": UPSTREAM}
        assert reported_cost(usage) == ("0.0525", BOTH)
