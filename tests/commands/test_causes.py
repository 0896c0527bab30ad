from __future__ import annotations

from typing import Any

from exporter.alerts.rule import Severity
from exporter.commands.causes import Cause, causes, complaints
from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.overview.problems import Problem
from exporter.overview.rows import AgentRow, Condition
from exporter.overview.sources import FailureRow, SourceRow, TaskRow


def agents(number: int, reason: Reason = Reason.NOT_REACHABLE) -> list[AgentRow]:
    return [
        AgentRow(
            kind=Kind.AGENT,
            id=str(each),
            name=f"agent-{each}",
            provider="realload",
            source="prod",
            state=Condition.DOWN,
            reason=reason,
            problems=("AgentUnreachable",),
        )
        for each in range(number)
    ]


def problem(title: str, **facts: Any) -> Problem:
    known: dict[str, Any] = {"severity": Severity.CRITICAL, "source": "prod", "description": ""}
    return Problem(alert=f"LoadFleet{title}", **known | facts)


def unreachable(rows: list[AgentRow], **facts: Any) -> list[Problem]:
    return [
        problem("AgentUnreachable", kind=row.kind, id=row.id, name=row.name, **facts)
        for row in rows
    ]


def source(**failures: str) -> SourceRow:
    tasks = tuple(
        TaskRow(
            name=name,
            interval_seconds=60.0,
            failing=True,
            unread=True,
            last_failure=FailureRow(timestamp_seconds=0.0, reason=Reason.DNS, message=message),
        )
        for name, message in failures.items()
    )
    return SourceRow(
        provider="realload",
        name="prod",
        url="",
        state=Condition.DOWN,
        up=False,
        auth_failed=False,
        blocked=False,
        tasks=tasks,
    )


def told(found: list[Cause]) -> list[tuple[str, str, str]]:
    return [(entry.what, entry.name, entry.reason) for entry in found]


class TestCauses:
    def test_few_targets_are_named_each(self) -> None:
        """Three lines are quicker read than their sum."""
        rows = agents(3)

        found = causes(unreachable(rows), rows, [])

        assert ["agent-0", "agent-1", "agent-2"] == [entry.name for entry in found]

    def test_many_that_fail_alike_are_one(self) -> None:
        """Targets that fail alike must share a line: the number, the reason and the first names."""
        rows = agents(12)

        found = causes(unreachable(rows), rows, [])

        assert [
            (
                "agent unreachable",
                "12 agents",
                "not reachable: agent-0, agent-1, agent-2 and 9 more",
            )
        ] == told(found)

    def test_another_reason_is_another_line(self) -> None:
        """Targets with another reason must have a line of their own."""
        rows = [*agents(4), agents(5, Reason.TIMEOUT)[4]]

        found = causes(unreachable(rows), rows, [])

        assert [("4 agents", ""), ("agent-4", "timeout")] == [
            (entry.name, entry.reason if entry.reason == "timeout" else "") for entry in found
        ]

    def test_very_many_are_one_line_whatever_their_reasons(self) -> None:
        """A reason of its own for each does not fill the screen."""
        rows = agents(11)
        failed = [
            problem("SuiteFailed", kind=Kind.SUITE, id=row.id, name=row.name, description=row.id)
            for row in rows
        ]

        found = causes(failed, [], [])

        assert [("suite failed", "11 suites", "agent-0, agent-1, agent-2 and 8 more")] == told(
            found
        )

    def test_the_earliest_since_counts(self) -> None:
        """Several that are one line began with the first."""
        rows = agents(4)
        found = causes(
            [
                each
                for row, since in zip(rows, (30.0, 10.0, 20.0, 40.0), strict=True)
                for each in unreachable([row], since_timestamp_seconds=since)
            ],
            rows,
            [],
        )

        assert [10.0] == [entry.since_timestamp_seconds for entry in found]

    def test_a_source_that_is_down_is_told_once(self) -> None:
        """A source that is down must be one cause, which includes its tasks and targets."""
        rows = agents(2)
        problems = [
            problem("SourceDown", description="Nothing is known of it."),
            problem("TaskFailing", name="agents"),
            *unreachable(rows),
        ]

        found = causes(problems, rows, [source(agents="no such host", suites="no such host")])

        assert [
            (
                "source down",
                "",
                "Nothing is known of it; dns: no such host; 3 older problems of this source",
            )
        ] == told(found)

    def test_another_source_is_another_cause(self) -> None:
        """Only the source's own targets are explained by it."""
        rows = agents(1)
        problems = [problem("SourceDown", source="lab"), *unreachable(rows)]

        found = causes(problems, rows, [])

        assert ["source down", "agent unreachable"] == [entry.what for entry in found]

    def test_tasks_that_fail_alike_are_one(self) -> None:
        """The cause is that of the calls."""
        problems = [problem("TaskFailing", name=name) for name in ("agents", "suites", "runs")]
        row = source(agents="no such host", suites="no such host", runs="another")

        found = causes(problems, [], [row])

        assert [
            ("task failing", "agents, suites", "dns: no such host"),
            ("task failing", "runs", "dns: another"),
        ] == told(found)

    def test_what_is_only_of_interest_is_left_out(self) -> None:
        """Problems of severity info must be left out."""
        assert [] == causes([problem("AgentRestarted", severity=Severity.INFO)], [], [])


class TestComplaints:
    def test_what_an_entry_tells_is_not_told_again(self) -> None:
        """Complaints of a source must leave out the causes that an entry names already."""
        row = source(agents="no such host", suites="another")
        found = causes([problem("TaskFailing", name="agents")], [], [row])

        assert ["suites: dns: another"] == list(complaints(row, found))
