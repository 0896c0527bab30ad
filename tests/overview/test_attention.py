from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.errors import Reason
from exporter.fleet.readings import MinVersion, SourceHealth
from exporter.overview.attention import troubles
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Agent, Reading


def agent(**state: object) -> Agent:
    known = fakes.agent().state
    assert known is not None
    return fakes.agent(state=fakes.changed(known, **state))


async def told(*readings: Reading) -> list[tuple[str, str]]:
    """Return the alerts that hold of a fleet with their reasons."""
    picture = await fakes.FakeView(*readings, sources=[fakes.source(up=False)]).picture()
    found = troubles(picture.problems, picture.targets)
    return [(each.problem.title, each.reason) for each in found]


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (agent(clock_delta_seconds=7200.0), ("AgentClockSkew", "clock +2 h")),
        (agent(outdated=True), ("AgentOutdated", "outdated: 4.8.24, needs 4.9.1")),
        (agent(outdated=True, version=""), ("AgentOutdated", "outdated: needs 4.9.1")),
        (
            fakes.cluster(reason=Reason.HTTP_5XX),
            ("ClusterUnusable", "http 5xx"),
        ),
        (
            fakes.cluster(fakes.member("one", up=False)),
            ("MemberUnreachable", "not reachable"),
        ),
        (
            fakes.suite(passed=False),
            ("SuiteFailed", "Suite nightly did not pass in its newest run with a verdict"),
        ),
        (SourceHealth(), ("SourceDown", "No poll returns readings")),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_reason_is_short(reading: Reading, expected: tuple[str, str]) -> None:
    """A reason must be short, and not repeat the other columns."""
    minimum = MinVersion(component="measuring_agent", version="4.9.1")

    assert [expected] == await told(reading, minimum)


async def test_what_is_only_of_interest_is_left_out() -> None:
    """Problems of severity info must be left out."""
    assert [] == await told(fakes.agent(protected=False))
