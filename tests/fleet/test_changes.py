from __future__ import annotations

import pytest

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.changes import TargetChange, changes
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    Controller,
    Member,
    MemberState,
    Reading,
    Recorder,
    RecorderState,
    State,
    Suite,
)


NOW = Moment(unix=1.0, monotonic=1.0)


def agent(up: bool | None = True, *, active: bool = True, outdated: bool = False) -> Agent:
    reason = Reason.NOT_REACHABLE if up is False else None
    state = AgentState(read_at=NOW, up=up, reason=reason, outdated=outdated)
    return Agent(agent_id="46", agent="Local", active=active, state=state if active else None)


async def found(before: list[Reading], after: list[Reading]) -> list[TargetChange]:
    return [change async for change in changes(before, after)]


async def whats(before: list[Reading], after: list[Reading]) -> list[str]:
    return [each.what for each in await found(before, after)]


class TestChanges:
    async def test_a_first_look_at_a_healthy_fleet_is_quiet(self) -> None:
        """A start must not fill the log with what is well."""
        assert [] == await whats([], [agent()])

    async def test_a_first_look_names_what_is_down(self) -> None:
        """Somebody who starts the exporter wants to know what is wrong already."""
        expected = TargetChange(
            what="down", kind=Kind.AGENT, target_id="46", target="Local", reason="not_reachable"
        )

        assert [expected] == await found([], [agent(up=False)])

    async def test_what_stays_down_is_no_change(self) -> None:
        """A dead agent is one line, not one line a minute."""
        assert [] == await whats([agent(up=False)], [agent(up=False)])

    async def test_coming_back_is_a_change(self) -> None:
        """The end of an outage must be in the log as well."""
        assert ["up"] == await whats([agent(up=False)], [agent()])

    async def test_becoming_outdated_is_a_change(self) -> None:
        """An outdated agent spoils a test although it answers."""
        assert ["outdated"] == await whats([agent()], [agent(outdated=True)])

    async def test_leaving_the_inventory_is_a_change(self) -> None:
        """Somebody deleted it, and the series ended for that reason."""
        assert ["gone"] == await whats([agent()], [])

    @pytest.mark.parametrize(
        ("before", "after", "expected"), [(True, False, "inactive"), (False, True, "active")]
    )
    async def test_switching_the_watch_is_a_change(
        self, before: bool, after: bool, expected: str
    ) -> None:
        """An agent that is no longer watched cannot page, so the log must tell why."""
        assert [expected] == await whats([agent(active=before)], [agent(active=after)])

    async def test_another_reason_is_a_change(self) -> None:
        """A target that fails in a new way is worth a line."""
        state = AgentState(read_at=NOW, up=False, reason=Reason.TIMEOUT)
        timed_out = Agent(agent_id="46", agent="Local", active=True, state=state)

        assert ["timeout"] == [each.reason for each in await found([agent(up=False)], [timed_out])]

    async def test_controllers_recorders_and_members_are_compared(self) -> None:
        """Every kind of machine that can page must be in the log."""
        down = State(read_at=NOW, up=False, reason=Reason.TIMEOUT)
        member = Member(
            member_id="71",
            agent_id="59",
            agent="Ubuntu",
            state=MemberState(read_at=NOW, up=False, reason=Reason.NOT_CONNECTED),
        )
        unjudged = Member(member_id="72", agent_id="60", agent="Debian")

        seen = await found(
            [],
            [
                Controller(controller="c:1", state=down),
                Recorder(
                    recorder_id="4",
                    recorder="R",
                    state=RecorderState(read_at=NOW, up=False, reason=Reason.TIMEOUT),
                ),
                Cluster(
                    cluster_id="14",
                    agent_cluster="C2",
                    controller="c:1",
                    members=(member, unjudged),
                ),
                Suite(suite_id="1", suite="Nightly"),
            ],
        )

        assert [
            ("controller", "c:1", "timeout"),
            ("recorder", "R", "timeout"),
            ("member", "C2/Ubuntu", "not_connected"),
        ] == [(change.kind, change.target, change.reason) for change in seen]
