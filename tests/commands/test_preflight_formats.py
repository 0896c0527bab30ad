from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from exporter.commands.preflight_formats import (
    MOST_TARGETS,
    Answer,
    as_annotations,
    as_junit,
    as_markdown,
    as_table,
    unanswered,
    write,
)
from exporter.commands.terminal import Paper
from exporter.fleet.kinds import Kind
from exporter.overview.preflight.report import (
    Capacity,
    Check,
    Finding,
    Report,
    Result,
    Wanted,
    status_of,
)
from tests.support.junit import parsed


if TYPE_CHECKING:
    from pathlib import Path


AT = 1_700_000_000.0

#: Characters that would control a terminal, XML, a GitHub job or Markdown.
EVIL = '\x1b[2J\x00\n::error::%0A<b>&"|`x`$y$[l](u)\u202e\ud800\r##[group]'


def finding(name: str, result: Result = Result.FAILED, reason: str = "is down") -> Finding:
    return Finding(
        kind=Kind.AGENT, source="prod", id=f"id-{name}", name=name, result=result, reason=reason
    )


def check(name: str, result: Result, *targets: Finding) -> Check:
    return Check(name=name, result=result, reason=f"{name} is so", targets=targets)


def report(*checks: Check, name: str = "tonight", **facts: Any) -> Report:
    known: dict[str, Any] = {"agents_fit": 2, "agents_unfit": 1, "capacity": Capacity(users=300.0)}
    return Report(name=name, status=status_of(checks), checks=checks, **(known | facts))


def answer(*reports: Report) -> Answer:
    return Answer(reports=reports, at=AT)


PASSED = check("clusters", Result.PASSED)
FAILED = check("agents", Result.FAILED, finding("a"), finding("b", reason="is outdated"))
UNKNOWN = check("clock", Result.UNKNOWN, finding("c", Result.UNKNOWN, "tells no clock"))
MIXED = answer(report(PASSED, FAILED, UNKNOWN))
CROWD = answer(report(check("agents", Result.FAILED, *(finding(f"{n:02}") for n in range(23)))))
HOSTILE = answer(report(check("agents", Result.FAILED, finding(EVIL, reason=EVIL))))


class TestTable:
    def test_it_has_checks_targets_and_what_the_fleet_can_take(self) -> None:
        """Each check has a sign, a word and its reason, and below stand the unfit targets."""
        assert [
            "tonight: not fit",
            "",
            "RESULT     CHECK     REASON",
            "✔ passed   clusters  clusters is so",
            "✘ failed   agents    agents is so",
            "? unknown  clock     clock is so",
            "",
            "RESULT     KIND   SOURCE  NAME  REASON",
            "✘ failed   agent  prod    a     is down",
            "✘ failed   agent  prod    b     is outdated",
            "? unknown  agent  prod    c     tells no clock",
            "",
            "Capacity: 2 fit agents may carry 300 users",
        ] == as_table(MIXED, Paper()).splitlines()

    def test_a_target_that_fails_several_checks_stands_once(self) -> None:
        """A target that fails several checks must be listed once, with all reasons."""
        dark = finding("a", Result.UNKNOWN, "tells no clock")
        found = report(
            check("clock", Result.UNKNOWN, dark),
            check("agents", Result.FAILED, finding("a")),
            check("idle", Result.FAILED, finding("a")),
        )

        told = as_table(answer(found), Paper()).splitlines()

        assert ["✘ failed  agent  prod    a     tells no clock; is down"] == [
            line for line in told if "agent " in line
        ]

    def test_of_many_targets_the_first_are_told(self) -> None:
        """Of many targets, the first ones must be listed, and the number of the others."""
        told = as_table(CROWD, Paper())

        assert MOST_TARGETS == told.count("is down")
        assert "and 3 more; --format=json has all of them\n" in told

    def test_several_are_apart(self) -> None:
        """Each of several preflights must have a title."""
        told = as_table(answer(report(PASSED), report(UNKNOWN, name="other")), Paper())

        assert "\n\nother: not known to be fit\n" in told
        assert told.startswith("tonight: fit\n")

    @pytest.mark.parametrize(
        ("facts", "note"),
        [
            (
                {
                    "due": True,
                    "begin_timestamp_seconds": AT - 60,
                    "end_timestamp_seconds": AT + 90,
                    "time_zone": "UTC",
                },
                "Window: Tue 14 Nov, 22:12 to 22:14 UTC, for 1 min 30 s more",
            ),
            (
                {
                    "begin_timestamp_seconds": AT + 3600,
                    "end_timestamp_seconds": AT + 7200,
                    "time_zone": "Europe/Zurich",
                },
                "Window: Wed 15 Nov, 00:13 to 01:13 Europe/Zurich, in 1 h",
            ),
            (
                {
                    "capacity": Capacity(
                        users=float("inf"),
                        users_unknown=1,
                        suites_users=1200.0,
                        suites_unknown=1,
                        agents_may_fail=1,
                    )
                },
                (
                    "Capacity: 2 fit agents may carry any number of users; the limit of 1 of them"
                    " is unknown; the suites ran 1,200 users in their last runs, 1 of them unknown;"
                    " 1 more agent may fail"
                ),
            ),
            (
                {"capacity": Capacity(users=0.0, users_unknown=2)},
                "Capacity: 2 fit agents with unknown limit of users",
            ),
            (
                {
                    "capacity": Capacity(
                        users=1.0,
                        wanted_twice=(Wanted(source="prod", id="7", name="a", suites=("x", "y")),),
                    )
                },
                "agent a of prod is needed at once by x and y",
            ),
        ],
        ids=["a window that is due", "one that comes", "capacity", "no limit", "wanted twice"],
    )
    def test_what_else_there_is_to_know(self, facts: dict[str, Any], note: str) -> None:
        """Notes below the tables must be whole sentences."""
        assert note in as_table(answer(report(PASSED, **facts)), Paper()).splitlines()

    def test_the_worst_is_coloured(self) -> None:
        """On a terminal the answer and the results are seen at once."""
        told = as_table(MIXED, Paper(colour=True, width=60))

        assert told.startswith("\x1b[1;31mtonight: not fit\x1b[0m\n")
        assert "\x1b[33m? unknown\x1b[0m" in told

    def test_no_name_steers_the_terminal(self) -> None:
        """Names come from the vendor."""
        told = as_table(HOSTILE, Paper())

        assert told.replace("\n", "").isprintable()
        assert 9 == len(told.splitlines())


class TestJUnit:
    def test_a_suite_per_preflight_and_a_case_per_check(self) -> None:
        """A failed check is a failure, an unknown one an error."""
        root = parsed(as_junit(answer(*MIXED.reports, report(PASSED, name="other"))))

        first, second = root
        assert (("tonight", "3", "1", "1"), ("other", "1", "0", "0")) == tuple(
            tuple(suite.get(key) for key in ("name", "tests", "failures", "errors"))
            for suite in (first, second)
        )
        assert [
            ("clusters", []),
            ("agents", ["failure"]),
            ("clock", ["error"]),
        ] == [(case.get("name"), [each.tag for each in case]) for case in first.iter("testcase")]

    def test_a_failure_tells_its_reason_and_targets(self) -> None:
        """A failure in the JUnit report must hold its reason and its targets."""
        (failure,) = parsed(as_junit(MIXED)).iter("failure")

        assert "agents is so" == failure.get("message")
        assert (
            "agents is so\nagent a of prod: is down\nagent b of prod: is outdated" == failure.text
        )

    def test_of_many_targets_the_first_are_told(self) -> None:
        """Servers cut off what is long."""
        (failure,) = parsed(as_junit(CROWD)).iter("failure")

        assert failure.text is not None
        assert MOST_TARGETS == failure.text.count("is down")
        assert failure.text.endswith("\nand 3 more")

    def test_no_name_breaks_it(self) -> None:
        """No character that XML has not, and none that ends a text."""
        (failure,) = parsed(as_junit(HOSTILE)).iter("failure")

        assert failure.text is not None
        assert 2 == len(failure.text.splitlines())
        assert failure.text.replace("\n", "").isprintable()

    def test_no_answer_is_an_error(self) -> None:
        """A report that is missing would be passed over by servers that look at reports alone."""
        root = parsed(as_junit(unanswered("nobody listens", at=AT)))

        assert ["nobody listens"] == [error.get("message") for error in root.iter("error")]


#: A command in the log of a job, as GitHub's runner reads it.
_COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")


def commands(text: str) -> list[tuple[str, str, str]]:
    """Return level, title and text of each line, unescaped."""
    found = []
    for line in text.splitlines():
        match = _COMMAND.fullmatch(line)
        assert match is not None, line
        title = match[2].replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        found.append((match[1], title, match[3].replace("%0A", "\n").replace("%25", "%")))
    return found


class TestGitHub:
    def test_an_annotation_per_check_that_does_not_pass(self) -> None:
        """GitHub shows ten of a level, so there is none per target."""
        assert [
            (
                "error",
                "tonight: agents",
                "agents is so\nagent a of prod: is down\nagent b of prod: is outdated",
            ),
            ("warning", "tonight: clock", "clock is so\nagent c of prod: tells no clock"),
        ] == commands(as_annotations(MIXED))

    def test_a_notice_where_it_is_fit(self) -> None:
        """A fit fleet must be a notice."""
        assert [("notice", "a, b: 100%: fit", "Capacity: 2 fit agents may carry 300 users")] == (
            commands(as_annotations(answer(report(PASSED, name="a, b: 100%"))))
        )

    def test_no_name_is_a_command(self) -> None:
        """A line begins with ours alone."""
        ((level, _, text),) = commands(as_annotations(HOSTILE))

        assert "error" == level
        assert "%0A<b>" in text
        assert text.replace("\n", "").isprintable()

    def test_the_summary_has_tables(self) -> None:
        """The summary must have the terminal's tables, as Markdown."""
        assert [
            "### tonight: not fit",
            "",
            "| Result | Check | Reason |",
            "| --- | --- | --- |",
            "| ✔ passed | clusters | clusters is so |",
            "| ✘ failed | agents | agents is so |",
            "| ? unknown | clock | clock is so |",
            "",
            "| Result | Kind | Source | Name | Reason |",
            "| --- | --- | --- | --- | --- |",
            "| ✘ failed | agent | prod | a | is down |",
            "| ✘ failed | agent | prod | b | is outdated |",
            "| ? unknown | agent | prod | c | tells no clock |",
            "",
            "Capacity: 2 fit agents may carry 300 users",
            "",
        ] == as_markdown(MIXED).splitlines()

    def test_no_name_writes_on_the_page(self) -> None:
        """Characters that Markdown or HTML would interpret must be escaped in names."""
        told = as_markdown(HOSTILE)

        rows = [re.sub(r"\\.", "", line) for line in told.splitlines() if "✘" in line]
        assert [4, 6] == [row.count("|") for row in rows]
        assert [] == re.findall(r"[<>&`*_\[\]@#!~$]", "".join(rows))
        assert told.replace("\n", "").isprintable()

    def test_the_summary_is_added_to_what_is_there(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Other steps of the job have written theirs."""
        path = tmp_path / "summary"
        path.write_text("before\n")

        write(MIXED, form="github", colour=False, environ={"GITHUB_STEP_SUMMARY": str(path)})

        assert path.read_text(encoding="utf-8") == f"before\n{as_markdown(MIXED)}"
        assert as_annotations(MIXED) == capsys.readouterr().out

    def test_a_summary_that_cannot_be_written_is_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The annotations are there nevertheless."""
        path = tmp_path / "gone" / "summary"

        write(MIXED, form="github", colour=False, environ={"GITHUB_STEP_SUMMARY": str(path)})

        told = capsys.readouterr()
        assert as_annotations(MIXED) == told.out
        assert "preflight: cannot write the summary" in told.err
