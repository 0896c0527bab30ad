from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.rule import Severity
from exporter.commands.report import Report
from exporter.commands.terminal import Paper
from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Outcome
from exporter.overview.problems import Problem
from exporter.overview.rows import (
    AgentRow,
    ClusterRow,
    Condition,
    LocationRow,
    MemberRow,
    RecorderRow,
    RunRow,
    SuiteRow,
    TargetRow,
)
from exporter.overview.sources import FailureRow, SourceRow, TaskRow
from exporter.overview.verdict import Headline, tallies


if TYPE_CHECKING:
    from collections.abc import Sequence


WELL = Headline(level="good", text="The fleet is well: 1 target up.")


def target(name: str = "bern", state: Condition = Condition.UP, **facts: Any) -> AgentRow:
    known: dict[str, Any] = {"id": f"id-{name}", "provider": "realload", "source": "prod"}
    return AgentRow(kind=Kind.AGENT, name=name, state=state, **known | facts)


def written(
    rows: Sequence[TargetRow] = (),
    sources: Sequence[SourceRow] = (),
    runs: Sequence[RunRow] = (),
    *,
    paper: Paper | None = None,
    problems: Sequence[Problem] = (),
    at: float | None = None,
) -> list[str]:
    report = Report(answer=WELL, sources=sources, targets=rows, runs=runs, problems=problems, at=at)
    return report.text(paper or Paper()).splitlines()


def problem(
    title: str,
    severity: Severity = Severity.CRITICAL,
    *,
    since: float | None = None,
    kind: str = Kind.AGENT,
    **facts: Any,
) -> Problem:
    known: dict[str, Any] = {"source": "prod", "id": "id-bern", "name": "bern", "description": ""}
    return Problem(
        alert=f"LoadFleet{title}",
        severity=severity,
        kind=kind,
        since_timestamp_seconds=since,
        **known | facts,
    )


def source(state: Condition = Condition.UP, **facts: Any) -> SourceRow:
    known: dict[str, Any] = {"up": True, "auth_failed": False, "blocked": False}
    return SourceRow(provider="realload", name="prod", url="", state=state, **known | facts)


def failing(name: str, failure: FailureRow, *, failing: bool = True) -> TaskRow:
    return TaskRow(
        name=name, interval_seconds=60.0, failing=failing, unread=False, last_failure=failure
    )


class TestReport:
    def test_begins_with_the_answer(self) -> None:
        """The report must begin with the answer, and continue with the details."""
        answer = Headline(level="bad", text="The fleet is not well.", details=("1 outdated",))

        lines = Report(answer=answer, sources=[], targets=[]).text(Paper()).splitlines()

        assert ["The fleet is not well.", "(1 outdated)"] == lines

    def test_columns_stand_below_each_other(self) -> None:
        """A cell begins where its heading does, however wide its letters are."""
        lines = written(
            [target("bern"), target("東京"), target("Ü" * 3 + "\N{COMBINING DIAERESIS}")]
        )

        assert [
            "STATE  KIND   SOURCE  ID       NAME  VERSION  CLOCK  PING  REMARKS",
            "up     agent  prod    id-bern  bern",
            "up     agent  prod    id-東京  東京",
            "up     agent  prod    id-ÜÜÜ\N{COMBINING DIAERESIS}   ÜÜÜ\N{COMBINING DIAERESIS}",
        ] == lines[2:]

    def test_what_needs_a_look_comes_first(self) -> None:
        """Targets that are down must come first, whatever their kind."""
        down = RecorderRow(
            kind=Kind.RECORDER,
            id="5",
            name="rec",
            provider="realload",
            source="prod",
            state=Condition.DOWN,
            reason=Reason.NOT_REACHABLE,
        )

        lines = written([target(), down])

        assert ["down", "up"] == [line.split()[0] for line in lines[3:]]
        assert lines[3].endswith("not_reachable")

    def test_says_what_is_special(self) -> None:
        """Each kind has its own remarks."""
        base: dict[str, Any] = {"id": "1", "name": "", "provider": "realload", "source": "prod"}
        up, down = Condition.UP, Condition.DOWN
        member = MemberRow(id="1", agent_id="7", name="", state=down)
        rows: list[TargetRow] = [
            target(outdated=True, busy=True),
            RecorderRow(kind=Kind.RECORDER, state=up, recording=True, **base),
            ClusterRow(kind=Kind.CLUSTER, state=up, controller="c:1", members=(member,), **base),
            ClusterRow(
                kind=Kind.CLUSTER,
                state=up,
                controller="c:1",
                reason=Reason.ACCESS_DENIED,
                members=(member,),
                **base,
            ),
            ClusterRow(
                kind=Kind.CLUSTER,
                state=Condition.INACTIVE,
                controller="c:1",
                members=(member,),
                **base,
            ),
            LocationRow(kind=Kind.LOCATION, state=up, agents=3.0, agents_up=2.0, **base),
            LocationRow(kind=Kind.LOCATION, state=up, agents=2.0, **base),
            SuiteRow(kind=Kind.SUITE, state=up, running=True, last_run_passed=False, **base),
            SuiteRow(kind=Kind.SUITE, state=up, last_run_outcome=Outcome.NO_DATA, **base),
            SuiteRow(
                kind=Kind.SUITE,
                state=up,
                last_run_outcome=Outcome.ABORTED,
                last_run_passed=False,
                **base,
            ),
            target(managed="vendor"),
        ]

        lines = written(rows)

        assert [
            "1 member",
            "outdated, busy",
            "recording",
            "0 of 1 members up",
            "access_denied",
            "2 of 3 agents up",
            "2 agents",
            "running, last run failed",
            "last run no data",
            "last run aborted, last verdict not passed",
            "managed by the vendor",
        ] == [re.split(r"\s{2,}", line)[-1] for line in lines[3:]]

    def test_says_that_a_suite_is_not_runnable(self) -> None:
        """A suite that is down must be called not runnable: no machine is down."""
        suite = SuiteRow(
            kind=Kind.SUITE, id="1", name="", provider="", source="", state=Condition.DOWN
        )

        assert written([suite])[-1].endswith("  not runnable")

    def test_names_what_fails(self) -> None:
        """The report must name failing tasks with their reasons, and sources that are held back."""
        failure = FailureRow(timestamp_seconds=0.0, reason=Reason.TIMEOUT, message="no reply")
        task = failing("agents", failure)
        past = failing("suites", failure, failing=False)

        lines = written(sources=[source(auth_failed=True, blocked=True, tasks=(task, past))])
        held = written(sources=[source(blocked=True)])
        slow = written(sources=[source(vendor_slow=True)])

        assert [
            "prod: the credentials were refused, calls are held back",
            "prod: agents: timeout: no reply",
        ] == lines[1:]
        assert ["prod: calls are held back"] == held[1:]
        assert ["prod: the vendor is slow, so time-outs do not count against targets"] == slow[1:]

    def test_tells_what_fails_alike_once(self) -> None:
        """Tasks that fail for the same reason must share a line."""
        reasons = {"agents": Reason.DNS, "suites": Reason.TIMEOUT, "recorders": Reason.DNS}
        tasks = tuple(
            failing(
                name,
                FailureRow(timestamp_seconds=number, reason=reason, message="no reply"),
            )
            for number, (name, reason) in enumerate(reasons.items())
        )

        lines = written(sources=[source(tasks=tasks)])

        assert [
            "prod: agents, recorders: dns: no reply",
            "prod: suites: timeout: no reply",
        ] == lines[1:]

    def test_counts_runs_in_flight(self) -> None:
        """Runs in flight must be counted by phase."""
        runs = [
            RunRow(provider="", source="", id=str(n), name="", phase=phase, followed=True)
            for n, phase in enumerate(("booting", "running", "running"))
        ]

        assert "Runs in flight: 1 booting, 2 running" == written(runs=runs)[1]

    def test_is_coloured_only_on_request(self) -> None:
        """States have colours where these are known, and pipes get plain text."""
        rows = [target(), target("basel", Condition.DOWN, severity=Severity.CRITICAL)]

        coloured = "\n".join(written(rows, paper=Paper(colour=True)))

        assert "\x1b[1;31mdown \x1b[0m  agent" in coloured
        assert "\x1b[32mup   \x1b[0m  agent" in coloured
        assert written(rows) == re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()

    @pytest.mark.parametrize(
        "name", ["\x1b[2J\x1b[31mred", "a\rb", "a\nb", "\u202egnp.exe", "\x9b2J"]
    )
    def test_names_cannot_steer_the_terminal(self, name: str) -> None:
        """A name from the vendor can neither clear the screen nor begin a line."""
        lines = written([target(name, version=name)])

        assert 4 == len(lines)
        assert all(character.isprintable() for line in lines for character in line)

    def test_fits_the_screen(self) -> None:
        """No line is wrapped, and what has no room is counted."""
        rows = [target(f"agent-{number:04}", version="4.8.24") for number in range(100)]

        lines = written(rows, paper=Paper(width=40, height=10))

        assert 10 == len(lines)
        assert "and 94 more targets" == lines[-1]
        assert {40} == {len(line) for line in lines[3:-1]}
        assert lines[3].endswith("\N{HORIZONTAL ELLIPSIS}")

    def test_cuts_between_wide_letters(self) -> None:
        """A letter of two columns that has room for one only is left out."""
        lines = written([target("東" * 30)], paper=Paper(width=50))

        assert all(50 >= len(line) + line.count("東") for line in lines)

    def test_is_coloured_by_what_is_wrong(self) -> None:
        """A row's colour must follow its severity, not its state."""
        rows = [
            target("bern", severity=Severity.WARNING),
            target("ended", Condition.DOWN, managed="vendor"),
        ]

        coloured = written(rows, paper=Paper(colour=True))

        assert coloured[3].startswith("\x1b[33mup   \x1b[0m")
        assert coloured[4].startswith("down   agent")

    def test_what_is_worst_comes_first(self) -> None:
        """Severity goes before state."""
        rows = [
            target("fine"),
            target("gone", Condition.DOWN),
            target("old", severity=Severity.WARNING),
            target("lost", Condition.DOWN, severity=Severity.CRITICAL),
        ]

        lines = written(rows)

        assert ["id-lost", "id-old", "id-gone", "id-fine"] == [
            line.split()[3] for line in lines[3:]
        ]

    def test_marks_clocks_and_versions(self) -> None:
        """A sign, coloured by severity, stands beside the value that is wrong."""
        row = target(version="4.8.8", outdated=True, clock_delta_seconds=7.5)
        found = [
            problem("AgentOutdated", Severity.CRITICAL),
            problem("AgentClockSkew", Severity.WARNING),
        ]

        plain = written([row], problems=found)[-1]
        coloured = written([row], problems=found, paper=Paper(colour=True))[-1]

        assert "4.8.8 !!  +7.5 s !" in plain
        assert "\x1b[1;31m4.8.8 !!\x1b[0m" in coloured
        assert "\x1b[33m+7.5 s !\x1b[0m" in coloured

    def test_marks_an_outdated_version_that_is_not_known(self) -> None:
        """The vendor may only say that it is too old."""
        row = target(outdated=True)

        assert "  !! " in written([row], problems=[problem("AgentOutdated")])[-1]

    def test_does_not_mark_a_cluster_by_its_members(self) -> None:
        """A cluster has no clock."""
        row = ClusterRow(
            kind=Kind.CLUSTER,
            id="id-bern",
            name="bern",
            provider="realload",
            source="prod",
            state=Condition.UP,
            controller="c:1",
        )
        found = [problem("MemberClockSkew", kind=Kind.CLUSTER)]

        assert "!" not in written([row], problems=found)[-1]

    def test_needs_attention_stands_under_the_answer(self) -> None:
        """Problems must be listed below the answer: severity, name, source, time and reason."""
        row = target(state=Condition.DOWN, reason=Reason.NOT_REACHABLE, problems=("x",))

        lines = written([row], problems=[problem("AgentUnreachable", since=1000.0)], at=1300.0)

        assert [
            "",
            "Needs attention",
            "SEVERITY  WHAT               NAME  SOURCE  SINCE      REASON",
            "critical  agent unreachable  bern  prod    5 min ago  not reachable",
            "",
        ] == lines[1:6]

    def test_a_screen_keeps_room_for_targets(self) -> None:
        """On a small screen, problems must leave room for the table of targets."""
        found = [problem("AgentClockSkew", source=str(number)) for number in range(9)]

        lines = written([target()], problems=found, paper=Paper(width=80, height=18))

        assert "and 6 more" in lines
        assert lines[-1].startswith("up ")

    def test_names_of_problems_cannot_steer_the_terminal(self) -> None:
        """Control characters in a problem's names must not reach the terminal."""
        found = [problem("AgentUnreachable", name="\x1b[2J", source="\x1b[3J")]

        lines = written(problems=found)

        assert all(character.isprintable() for line in lines for character in line)

    def test_counts_groups_in_place_of_targets(self) -> None:
        """Groups must be listed in place of targets, with counts per severity and state."""
        rows = [
            target("a", labels={"site": "bern"}),
            target("b", Condition.DOWN, severity=Severity.CRITICAL, labels={"site": "basel"}),
            target("c", Condition.UNKNOWN),
        ]
        report = Report(
            answer=WELL, sources=(), targets=rows, group="site", tallies=tallies(rows, "site")
        )

        lines = report.text(Paper()).splitlines()

        assert [
            "SITE    TARGETS  CRITICAL  WARNING  UP  DOWN  UNKNOWN  INACTIVE",
            "basel   1        1                      1",
            "(none)  1                                     1",
            "bern    1                           1",
        ] == lines[2:]

    def test_a_sentence_is_parted_between_words(self) -> None:
        """A terminal would part it anywhere."""
        answer = Headline(level="bad", text="The fleet is not well: 1 agent unreachable.")

        lines = Report(answer=answer, sources=(), targets=()).text(Paper(width=30)).splitlines()

        assert ["The fleet is not well: 1 agent", "unreachable."] == lines
