"""The report of `status` for a terminal: the verdict, the problems, and a table of the targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.rule import Severity
from exporter.commands.causes import Cause, causes, complaints
from exporter.commands.terminal import Paper, printable, sentence, table
from exporter.overview.format import agents_up, ago, count, duration, signed, words
from exporter.overview.problems import WRONG, Problem, by_target, rank
from exporter.overview.rows import (
    URGENCY,
    AgentRow,
    ClusterRow,
    Condition,
    LocationRow,
    RecorderRow,
    RunRow,
    SuiteRow,
    TargetRow,
    word,
)
from exporter.overview.sources import SourceRow
from exporter.overview.verdict import Headline, Tally


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.commands.terminal import Cell


_SEVERITIES: Mapping[str, str] = {Severity.CRITICAL: "1;31", Severity.WARNING: "33"}
# Plain `down` without a problem needs no attention, so it has no colour.
_STATES = {
    Condition.UP: "32",
    Condition.DOWN: "",
    Condition.UNKNOWN: "33",
    Condition.INACTIVE: "2",
}
_LEVELS = {"good": "32", "unsure": "33", "warn": "33", "bad": "1;31"}
_SIGNS: Mapping[str, str] = {Severity.CRITICAL: "!!", Severity.WARNING: "!"}
_TARGETS = ("STATE", "KIND", "SOURCE", "ID", "NAME", "VERSION", "CLOCK", "PING", "REMARKS")
_WRONG = ("SEVERITY", "WHAT", "NAME", "SOURCE", "SINCE", "REASON")
_TALLIES = ("TARGETS", "CRITICAL", "WARNING", "UP", "DOWN", "UNKNOWN", "INACTIVE")

# On a screen the problems take at most one in this many lines.
_PART = 3

# A problem seen for the first time may be much older, so its age is not shown.
_JUST_SEEN_SECONDS = 2.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment.

    Attributes:
        answer: The verdict.
        problems: Problems by the alert table, the worst first.
        sources: The sources; only faulty ones are written, with the reason.
        targets: The targets of all kinds; written worst first, as many as there is room for.
        runs: Runs in flight, written as a count per phase.
        at: Time of the report, Unix seconds.
        told: The flags that filter the report.
        group: Property by which targets are counted instead of listed.
        tallies: The counts per group.
    """

    answer: Headline
    sources: Sequence[SourceRow]
    targets: Sequence[TargetRow]
    runs: Sequence[RunRow] = ()
    problems: Sequence[Problem] = ()
    at: float | None = None
    told: str = ""
    group: str = ""
    tallies: Sequence[Tally] = ()

    def text(self, paper: Paper) -> str:
        """Return the whole report as text."""
        written = list(sentence(printable(self.answer.text), _LEVELS[self.answer.level], paper))
        if self.answer.details:
            written += sentence(f"({printable(', '.join(self.answer.details))})", "", paper)
        if self.told:
            number = count(len(self.targets), "target")
            written += sentence(f"Only {printable(self.told)}: {number}", "", paper)
        found = causes(self.problems, self.targets, self.sources)
        if found:
            written += ["", "Needs attention", *self._attention(found, paper)]
        lines = [
            printable(f"{source.name}: {line}")
            for source in self.sources
            for line in complaints(source, found)
        ]
        if self.runs:
            phases = Counter(run.phase for run in self.runs)
            counts = ", ".join(f"{number} {phase}" for phase, number in phases.items())
            lines.append(printable(f"Runs in flight: {counts}"))
        if lines:
            written += [""] if found else []
            written += (part for line in lines for part in sentence(line, "", paper))
        if self.tallies:
            written += ["", *self._tallies(paper)]
        elif self.targets:
            room = None if paper.height is None else max(1, paper.height - len(written) - 3)
            shown = sorted(self.targets, key=_urgency)[:room]
            wrong = by_target(each for each in self.problems if each.severity in WRONG)
            cells = (_cells(row, wrong.get(row.target, ())) for row in shown)
            written += ["", *table(_TARGETS, cells, paper)]
            if len(self.targets) > len(shown):
                written.append(f"and {count(len(self.targets) - len(shown), 'more target')}")
        return "\n".join(written) + "\n"

    def _attention(self, found: Sequence[Cause], paper: Paper) -> Iterator[str]:
        room = None if paper.height is None else max(1, paper.height // _PART - 3)
        cells = (
            (
                (cause.severity, _SEVERITIES[cause.severity]),
                (cause.what, ""),
                (printable(cause.name), ""),
                (printable(cause.source), ""),
                (self._since(cause.since_timestamp_seconds), ""),
                (printable(cause.reason), ""),
            )
            for cause in found[:room]
        )
        yield from table(_WRONG, cells, paper, wraps=paper.height is None)
        if room is not None and len(found) > room:
            yield f"and {len(found) - room:,} more"

    def _since(self, unix_seconds: float | None) -> str:
        if self.at is None or unix_seconds is None:
            return ""
        seconds = self.at - unix_seconds
        return ago(seconds) if seconds >= _JUST_SEEN_SECONDS else ""

    def _tallies(self, paper: Paper) -> Iterable[str]:
        return table(
            (printable(self.group).upper(), *_TALLIES), map(_tally_cells, self.tallies), paper
        )


def _urgency(row: TargetRow) -> tuple[int, int]:
    """Return the sort key of a row: by the severity of its problems, then by its state."""
    return rank(row.severity), URGENCY[row.state]


def _tally_cells(tally: Tally) -> tuple[Cell, ...]:
    wrong, counts = dict(tally.wrong), dict(tally.counts)
    return (
        (printable(tally.value) or "(none)", ""),
        (f"{tally.total:,}", ""),
        *((f"{wrong[each]:,}" if wrong.get(each) else "", _SEVERITIES[each]) for each in WRONG),
        *(
            (f"{counts[each]:,}" if counts.get(each) else "", _STATES[each])
            for each in (Condition.UP, Condition.DOWN, Condition.UNKNOWN, Condition.INACTIVE)
        ),
    )


def _cells(row: TargetRow, problems: Iterable[Problem]) -> tuple[Cell, ...]:
    wrong, clock = {each.title: each.severity for each in problems}, row.clock_delta_seconds
    return (
        (row.state, _SEVERITIES.get(row.severity or "", _STATES[row.state])),
        (row.kind, ""),
        (printable(row.source), ""),
        (printable(row.id), ""),
        (printable(row.name) if row.name != row.id else "", ""),
        _marked(printable(row.version or ""), wrong if row.outdated else {}, "Outdated"),
        _marked(signed(clock), wrong if clock is not None else {}, "ClockSkew"),
        (duration(row.ping_duration_seconds), ""),
        (", ".join(_remarks(row)), ""),
    )


def _marked(text: str, wrong: Mapping[str, Severity], ending: str) -> Cell:
    """Return a cell, marked if the row has a problem whose name ends with `ending`."""
    found = [severity for title, severity in wrong.items() if title.endswith(ending)]
    if not found:
        return text, ""
    worst = min(found, key=WRONG.index)
    return f"{text} {_SIGNS[worst]}".lstrip(), _SEVERITIES[worst]


def _remarks(row: TargetRow) -> Iterable[str]:
    if row.reason:
        yield row.reason
    if row.outdated:
        yield "outdated"
    yield from _own_remarks(row)


def _own_remarks(row: TargetRow) -> Iterable[str]:
    match row:
        case AgentRow():
            if row.busy:
                yield "busy"
            if row.managed:
                yield f"managed by the {printable(row.managed)}"
        case RecorderRow(recording=True):
            yield "recording"
        case ClusterRow(state=Condition.INACTIVE):
            yield count(len(row.members), "member")
        # With a reason the poll failed, so the members are unknown.
        case ClusterRow(reason=None):
            up = sum(member.state is Condition.UP for member in row.members)
            yield f"{up} of {len(row.members)} members up"
        case LocationRow() if text := agents_up(row.agents_up, row.agents):
            yield text
        case SuiteRow():
            yield from _suite_remarks(row)
        case _:
            pass


def _suite_remarks(row: SuiteRow) -> Iterable[str]:
    if row.state is Condition.DOWN:
        yield word(row.state, row.kind)
    if row.running:
        yield "running"
    outcome, passed = row.last_run_outcome, row.last_run_passed
    if outcome is not None:
        yield f"last run {words(outcome)}"
    elif passed is not None:
        yield "last run passed" if passed else "last run failed"
    # An aborted run, for instance, has no verdict, so show the newest verdict.
    if passed is False and outcome is not None and outcome.passed is None:
        yield "last verdict not passed"
