"""Content of the strip of preflights; its looks are tested in `tests/web`."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.alerts.rule import Severity
from exporter.overview.preflight.report import Capacity, Report, Status
from exporter.overview.preflight.strip import strip
from exporter.overview.problems import Problem


def report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "name": "nightly",
        "status": Status.FIT,
        "checks": (),
        "agents_fit": 3,
        "agents_unfit": 0,
        "capacity": Capacity(users=0.0),
    }
    return Report(**(facts | changes))


def problem(preflight: str) -> Problem:
    return Problem(
        alert="LoadFleetNotFit",
        severity=Severity.WARNING,
        description="",
        labels={"preflight": preflight},
    )


@pytest.mark.parametrize(("name", "look"), [("nightly", "warning"), ("weekly", "up")])
def test_what_is_fit_is_not_green_while_its_alert_fires(name: str, look: str) -> None:
    """An alert goes on for five minutes, with the severity that users give it."""
    (found,) = strip([report()], [problem(name)])

    assert look == found.look


@pytest.mark.parametrize(
    ("capacity", "told"),
    [
        (Capacity(users=0.0), "3 of 3 agents fit"),
        (Capacity(users=5000.0), "3 of 3 agents fit, for 5,000 users"),
        (
            Capacity(users=1.0, users_unknown=2, agents_may_fail=0),
            "3 of 3 agents fit, for 1 user, 2 without a known limit, no agent may fail",
        ),
        (
            Capacity(users=float("inf"), users_unknown=1, agents_may_fail=2),
            "3 of 3 agents fit, for any number of users, 2 more agents may fail",
        ),
        (Capacity(users=0.0, users_unknown=3), "3 of 3 agents fit, 3 without a known limit"),
    ],
)
def test_agents_and_users_are_told_as_far_as_they_are_known(capacity: Capacity, told: str) -> None:
    """A limit that is not known is not taken for none."""
    (found,) = strip([report(capacity=capacity)], [])

    assert told == found.capacity


def test_without_a_window_there_is_none_to_tell() -> None:
    """A preflight can be asked at any time."""
    (found,) = strip([report()], [])

    assert "" == found.window
