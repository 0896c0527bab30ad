"""Reports of preflights as gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.metrics import own
from exporter.overview.preflight.gauges import FAMILIES, gauges
from exporter.overview.preflight.report import Capacity, Check, Report, Result, Status


if TYPE_CHECKING:
    from collections.abc import Mapping


def report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "name": "nightly",
        "status": Status.NOT_KNOWN,
        "checks": (),
        "agents_fit": 3,
        "agents_unfit": 2,
        "capacity": Capacity(users=0.0),
    }
    return Report(**(facts | changes))


def shown(*reports: Report) -> Mapping[str, Mapping[tuple[str, ...], float]]:
    """Return the shown values by family, without empty families."""
    return {family.name: values for family, values in gauges(reports).items() if values}


def test_all_families_of_preflights_are_shown() -> None:
    """Every family of preflights must be written."""
    declared = [family for family in own.OWN_FAMILIES if own.PREFLIGHT in family.labels]

    assert declared == list(FAMILIES)


@pytest.mark.parametrize(
    ("status", "ready"), [(Status.FIT, 1.0), (Status.NOT_FIT, 0.0), (Status.NOT_KNOWN, None)]
)
def test_ready_is_absent_while_it_is_not_known(status: Status, ready: float | None) -> None:
    """The gauge must be absent while it is not known whether the fleet is fit."""
    found = gauges([report(status=status)])[own.PREFLIGHT_READY]

    assert ({} if ready is None else {("nightly",): ready}) == found


def test_due_agents_and_users_are_there_whatever_is_known() -> None:
    """Without a window it is never due, and has none to show."""
    assert {
        "loadfleet_preflight_due": {("nightly",): 0.0},
        "loadfleet_preflight_agents": {("nightly", "fit"): 3, ("nightly", "unfit"): 2},
        "loadfleet_preflight_users": {("nightly",): 0.0},
    } == shown(report())


def test_users_are_infinite_if_one_agent_has_no_limit() -> None:
    """Infinity is what the contract has for no limit."""
    found = gauges([report(capacity=Capacity(users=float("inf")))])[own.PREFLIGHT_USERS]

    assert {("nightly",): float("inf")} == found


def test_a_window_is_shown_with_both_of_its_ends() -> None:
    """A countdown needs both, since PromQL knows no time zones."""
    found = shown(report(due=True, begin_timestamp_seconds=100.0, end_timestamp_seconds=200.0))

    assert [{("nightly",): value} for value in (1.0, 100.0, 200.0)] == [
        found[f"loadfleet_preflight_{name}"]
        for name in ("due", "window_start_timestamp_seconds", "window_end_timestamp_seconds")
    ]


def test_a_check_that_is_not_known_has_no_series() -> None:
    """A check that is not known must have no series."""
    checks = tuple(
        Check(name=name, result=result, reason="")
        for name, result in zip(("agents", "clock", "users"), Result, strict=True)
    )

    found = gauges([report(checks=checks), report(name="weekly", checks=checks[:1])])

    assert {("nightly", "agents"): 0.0, ("nightly", "users"): 1.0, ("weekly", "agents"): 0.0} == (
        found[own.PREFLIGHT_CHECK_PASSED]
    )


def test_one_that_is_gone_leaves_nothing() -> None:
    """Without preflights, every family must be empty, so that old series go."""
    assert {family: {} for family in FAMILIES} == gauges([])
