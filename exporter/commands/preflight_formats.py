"""Output formats of preflight results: table, JSON, JUnit XML and GitHub Actions.

Names come from the vendors, so control characters are replaced in every format.
"""

from __future__ import annotations

import html
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from exporter.commands.terminal import Paper, printable, sentence, table
from exporter.overview import document
from exporter.overview.format import count, duration, listed, stamp
from exporter.overview.preflight.fitness import RANKS
from exporter.overview.preflight.report import Capacity, Check, Report, Result, Status, overall
from exporter.overview.preflight.window import spoken


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exporter.commands.terminal import Cell
    from exporter.overview.preflight.report import Finding


FORMATS = ("table", "json", "junit", "github")

#: Maximum number of targets written per preflight or check; JSON has all of them.
MOST_TARGETS = 20

#: Environment variable with the file that takes Markdown for the page of a GitHub Actions job.
SUMMARY_FILE = "GITHUB_STEP_SUMMARY"

_WORDS = {Status.FIT: "fit", Status.NOT_FIT: "not fit", Status.NOT_KNOWN: "not known to be fit"}
_SIGNS = {
    Result.PASSED: "\N{HEAVY CHECK MARK}",
    Result.FAILED: "\N{HEAVY BALLOT X}",
    Result.UNKNOWN: "?",
}
_COLOURS = {Result.PASSED: "32", Result.FAILED: "1;31", Result.UNKNOWN: "33"}
_LEVELS = {Result.FAILED: "error", Result.UNKNOWN: "warning"}
_STATUS_COLOURS = {Status.FIT: "32", Status.NOT_FIT: "1;31", Status.NOT_KNOWN: "33"}

_CHECKS = ("RESULT", "CHECK", "REASON")
_TARGETS = ("RESULT", "KIND", "SOURCE", "NAME", "REASON")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The results of preflights.

    Attributes:
        at: Time of the results, Unix seconds.
        lost: Error of the requests after that time; empty if none failed.
    """

    reports: tuple[Report, ...]
    at: float
    lost: str = ""

    @property
    def status(self) -> Status:
        """The overall result."""
        return overall(self.reports)

    @property
    def summary(self) -> str:
        """The reasons why the fleet is not fit, without numbers that change all the time."""
        return "; ".join(
            f"{printable(report.name)} is {_WORDS[report.status]} ({_short(report)})"
            for report in self.reports
            if report.status is not Status.FIT
        )


def unanswered(why: str, *, at: float) -> Answer:
    """Return an answer of unknown result for a request that failed, so that reports show it."""
    check = Check(name="answer", result=Result.UNKNOWN, reason=why)
    report = Report(
        name="preflight",
        status=Status.NOT_KNOWN,
        checks=(check,),
        agents_fit=0,
        agents_unfit=0,
        capacity=Capacity(users=0.0),
    )
    return Answer(reports=(report,), at=at)


def write(answer: Answer, *, form: str, colour: bool, environ: Mapping[str, str]) -> None:
    """Write an answer to stdout, and to the job summary of GitHub Actions if there is one.

    Args:
        answer: The answer.
        form: One of `FORMATS`.
        colour: Whether the table has colour.
        environ: The environment, which may name the summary's file.
    """
    if form == "table":
        sys.stdout.write(as_table(answer, Paper.of_output(colour=colour)))
        return
    if form == "json":
        data = {"status": answer.status, "preflights": answer.reports}
        body = msgspec.json.encode(document.plain(data)) + b"\n"
    elif form == "junit":
        body = as_junit(answer).encode()
    else:
        body = as_annotations(answer).encode()
        if name := environ.get(SUMMARY_FILE):
            _append(Path(name), as_markdown(answer))
    sys.stdout.buffer.write(body)


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        # Not an error of the command: the annotations and the exit code report the results, too.
        print(
            f"preflight: cannot write the summary to {path} ({error.strerror});"
            f" correct ${SUMMARY_FILE}",
            file=sys.stderr,
        )


# -- For people ---------------------------------------------------------------------------------


def as_table(answer: Answer, paper: Paper) -> str:
    """Return a text with the checks, unfit targets and capacity of each preflight."""
    return "\n".join(
        "\n".join(_lines(report, answer.at, paper)) + "\n" for report in answer.reports
    )


def _lines(report: Report, at: float, paper: Paper) -> Iterator[str]:
    title = f"{printable(report.name)}: {_WORDS[report.status]}"
    yield from sentence(title, _STATUS_COLOURS[report.status], paper)
    yield ""
    checks = (
        (_result(check.result), (check.name, ""), _cell(check.reason)) for check in report.checks
    )
    yield from table(_CHECKS, checks, paper, wraps=True)
    unfit = _unfit(report)
    if unfit:
        yield ""
        shown = unfit[:MOST_TARGETS]
        rows = ((_result(each.result), *map(_cell, _named(each))) for each in shown)
        yield from table(_TARGETS, rows, paper, wraps=True)
    if more := _more(unfit):
        yield from sentence(f"{more}; --format=json has all of them", "", paper)
    notes = list(_notes(report, at))
    if notes:
        yield ""
    for note in notes:
        yield from sentence(printable(note), "", paper)


def _result(result: Result) -> Cell:
    # The word is for terminals that cannot show the sign.
    return f"{_SIGNS[result]} {result}", _COLOURS[result]


def _cell(text: str) -> Cell:
    return printable(text), ""


def _named(finding: Finding) -> tuple[str, str, str, str]:
    return str(finding.kind), finding.source, finding.name, finding.reason


def _short(report: Report) -> str:
    parts = []
    for result, word in ((Result.FAILED, "failed"), (Result.UNKNOWN, "not known")):
        names = [check.name for check in report.checks if check.result is result]
        parts += [f"{word}: {', '.join(names)}"] if names else []
    return "; ".join(parts)


def _unfit(report: Report) -> list[Finding]:
    """Return the unfit targets, each once with all its reasons, the worst first."""
    found: dict[tuple[str, str, str], list[Finding]] = {}
    for check in report.checks:
        for each in check.targets:
            found.setdefault((each.kind, each.source, each.id), []).append(each)
    merged = [
        msgspec.structs.replace(
            min(several, key=lambda each: RANKS[each.result]),
            reason="; ".join(dict.fromkeys(each.reason for each in several)),
        )
        for several in found.values()
    ]
    return sorted(merged, key=lambda each: RANKS[each.result])


def _more(findings: Sequence[Finding]) -> str:
    left = len(findings) - MOST_TARGETS
    return f"and {left:,} more" if left > 0 else ""


def _notes(report: Report, at: float) -> Iterator[str]:
    """Yield sentences on the capacity of the fit agents and on the window."""
    if report.agents_fit:
        yield f"Capacity: {'; '.join(_capacity(report))}"
    for wanted in report.capacity.wanted_twice:
        yield f"agent {wanted.name} of {wanted.source} is needed at once by {listed(wanted.suites)}"
    begin, end = report.begin_timestamp_seconds, report.end_timestamp_seconds
    if begin is None or end is None:
        return
    window = f"Window: {spoken(begin, end, report.time_zone)}"
    if report.due:
        yield f"{window}, for {duration(max(0.0, end - at))} more"
    else:
        yield f"{window}, in {duration(max(0.0, begin - at))}"


def _capacity(report: Report) -> Iterator[str]:
    found = report.capacity
    agents = count(report.agents_fit, "fit agent")
    if found.users_unknown >= report.agents_fit:
        yield f"{agents} with unknown limit of users"
    else:
        yield f"{agents} may carry {_users(found.users)}"
        if found.users_unknown:
            yield f"the limit of {found.users_unknown:,} of them is unknown"
    if found.suites_users is not None:
        unknown = f", {found.suites_unknown:,} of them unknown" if found.suites_unknown else ""
        yield f"the suites ran {_users(found.suites_users)} in their last runs{unknown}"
    left = found.agents_may_fail
    if left is not None:
        yield f"{count(left, 'more agent') if left else 'no agent'} may fail"


def _users(number: float) -> str:
    return "any number of users" if math.isinf(number) else count(int(number), "user")


# -- JUnit --------------------------------------------------------------------------------------


def as_junit(answer: Answer) -> str:
    """Return JUnit XML for Jenkins, GitLab and others: a suite per preflight, a case per check."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for number, report in enumerate(answer.reports):
        lines += _suite(report, number, answer.at)
    return "\n".join([*lines, "</testsuites>", ""])


def _suite(report: Report, number: int, at: float) -> Iterator[str]:
    results = [check.result for check in report.checks]
    attributes = {
        "package": "preflight",
        "id": number,
        "name": report.name,
        "timestamp": stamp(at).removesuffix("Z"),
        # The schema requires a host name, but no problem is on this host.
        "hostname": "localhost",
        "tests": len(results),
        "failures": results.count(Result.FAILED),
        "errors": results.count(Result.UNKNOWN),
        "time": 0,
    }
    yield f"  <testsuite{_attributes(attributes)}>"
    yield "    <properties/>"
    for check in report.checks:
        yield from _case(report, check)
    yield f"    <system-out>{_xml(_notes(report, at))}</system-out>"
    yield "    <system-err/>"
    yield "  </testsuite>"


def _case(report: Report, check: Check) -> Iterator[str]:
    case = _attributes({"classname": f"preflight.{report.name}", "name": check.name, "time": 0})
    if check.result is Result.PASSED:
        yield f"    <testcase{case}/>"
        return
    element = "failure" if check.result is Result.FAILED else "error"
    yield f"    <testcase{case}>"
    yield (
        f"      <{element}{_attributes({'type': check.result, 'message': check.reason})}>"
        f"{_xml(_failure_lines(check))}</{element}>"
    )
    yield "    </testcase>"


def _failure_lines(check: Check) -> Iterator[str]:
    """Yield the reason of a check and its unfit targets."""
    yield check.reason
    for each in check.targets[:MOST_TARGETS]:
        yield f"{each.kind} {each.name} of {each.source}: {each.reason}"
    if more := _more(check.targets):
        yield more


def _attributes(values: Mapping[str, object]) -> str:
    return "".join(f' {name}="{_xml([str(value)])}"' for name, value in values.items())


def _xml(lines: Iterable[str]) -> str:
    return html.escape("\n".join(map(printable, lines)))


# -- GitHub -------------------------------------------------------------------------------------


def as_annotations(answer: Answer) -> str:
    """Return workflow commands: an annotation per check not passed, a notice per fit preflight."""
    return "".join(
        f"{line}\n" for report in answer.reports for line in _annotations(report, answer.at)
    )


def _annotations(report: Report, at: float) -> Iterator[str]:
    if report.status is Status.FIT:
        yield _annotation("notice", f"{report.name}: fit", _notes(report, at))
    for check in report.checks:
        if check.result in _LEVELS:
            title = f"{report.name}: {check.name}"
            yield _annotation(_LEVELS[check.result], title, _failure_lines(check))


def _annotation(level: str, title: str, lines: Iterable[str]) -> str:
    escaped = _escaped(printable(title)).replace(":", "%3A").replace(",", "%2C")
    text = "%0A".join(_escaped(printable(line)) for line in lines)
    return f"::{level} title={escaped}::{text}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25")


def as_markdown(answer: Answer) -> str:
    """Return the answer as Markdown for the page of a job."""
    return "".join(f"{line}\n" for report in answer.reports for line in _section(report, answer.at))


def _section(report: Report, at: float) -> Iterator[str]:
    yield f"### {_markdown(report.name)}: {_WORDS[report.status]}"
    yield ""
    yield from _rows(
        _CHECKS, ((_result(each.result)[0], each.name, each.reason) for each in report.checks)
    )
    unfit = _unfit(report)
    if unfit:
        shown = unfit[:MOST_TARGETS]
        yield from _rows(_TARGETS, ((_result(each.result)[0], *_named(each)) for each in shown))
    for note in (*filter(None, [_more(unfit)]), *_notes(report, at)):
        yield _markdown(note)
        yield ""


def _rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading.capitalize() for heading in headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(map(_markdown, row))} |"
    yield ""


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>&|~@#!$])", r"\\\1", printable(text))
