from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from exporter.commands.terminal import Paper, Report, showing
from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Outcome
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
from exporter.overview.verdict import Headline


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
) -> list[str]:
    report = Report(answer=WELL, sources=sources, targets=rows, runs=runs)
    return report.text(paper or Paper()).splitlines()


def source(state: Condition = Condition.UP, **facts: Any) -> SourceRow:
    known: dict[str, Any] = {"up": True, "auth_failed": False, "blocked": False}
    return SourceRow(provider="realload", name="prod", url="", state=state, **known | facts)


def failing(name: str, failure: FailureRow, *, failing: bool = True) -> TaskRow:
    return TaskRow(
        name=name, interval_seconds=60.0, failing=failing, unread=False, last_failure=failure
    )


class TestReport:
    def test_begins_with_the_answer(self) -> None:
        """The first line tells whether the fleet is well, the second what else there is."""
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
        """Whatever their kind, targets that are down are at the top."""
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
        """What is called down must not be taken for a machine that is down."""
        suite = SuiteRow(
            kind=Kind.SUITE, id="1", name="", provider="", source="", state=Condition.DOWN
        )

        assert written([suite])[-1].endswith("  not runnable")

    def test_names_what_fails(self) -> None:
        """A source whose task fails says why, and one that is held back says so."""
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
        assert ["prod: the vendor is slow, its time-outs accuse no target"] == slow[1:]

    def test_tells_what_fails_alike_once(self) -> None:
        """One cause is one line with all its tasks, and another is a line of its own."""
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
        """Runs are told by their phases."""
        runs = [
            RunRow(provider="", source="", id=str(n), name="", phase=phase, followed=True)
            for n, phase in enumerate(("booting", "running", "running"))
        ]

        assert "Runs in flight: 1 booting, 2 running" == written(runs=runs)[1]

    def test_is_coloured_only_on_request(self) -> None:
        """States have colours where these are known, and pipes get plain text."""
        rows = [target(), target("basel", Condition.DOWN)]

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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestShowing:
    def test_a_terminal_is_given_back(self) -> None:
        """The report takes the second screen, and the last one stays on the first."""
        out = Terminal()

        with showing(out, colour=False) as show:
            show(lambda _: "first\n")
            show(lambda _: "second\n")

        assert (
            "\x1b[?1049h\x1b[?25l"
            "\x1b[Hfirst\x1b[K\x1b[J"
            "\x1b[Hsecond\x1b[K\x1b[J"
            "\x1b[?25h\x1b[?1049lsecond\n"
        ) == out.getvalue()

    def test_a_terminal_is_given_back_after_an_error(self) -> None:
        """Whatever happens, the cursor comes back."""
        out = Terminal()

        with pytest.raises(KeyError), showing(out, colour=False):
            raise KeyError

        assert out.getvalue().endswith("\x1b[?25h\x1b[?1049l")

    def test_a_terminal_has_a_size(self) -> None:
        """What is shown is made to fit."""
        papers: list[Paper] = []

        def write(paper: Paper) -> str:
            papers.append(paper)
            return ""

        with showing(Terminal(), colour=True) as show:
            show(write)

        assert papers[0].colour
        assert papers[0].width
        assert papers[0].height

    def test_a_file_gets_what_is_new(self) -> None:
        """In a file reports stand below each other, none twice in a row, all in full."""
        out = io.StringIO()

        with showing(out, colour=False) as show:
            for text in ("one\n", "one\n", "two\n"):
                show(lambda paper, text=text: text if paper == Paper() else "")  # type: ignore[misc]  # bound to the turn of the loop

        assert "one\n\ntwo\n" == out.getvalue()
