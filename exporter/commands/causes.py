"""The table `Needs attention`: problems grouped by their cause, the worst first.

A source that does not answer is one cause, which hides the problems of its tasks and targets.
Many targets that fail for the same reason share one line.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

from exporter.overview.attention import Trouble, troubles
from exporter.overview.format import count
from exporter.overview.problems import spoken


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exporter.overview.problems import Problem
    from exporter.overview.rows import TargetRow
    from exporter.overview.sources import SourceRow


#: Up to this many targets that fail for the same reason have a line each.
ALIKE = 3

#: Up to this many targets with the same problem, for different reasons, have a line each.
SAME = 10

#: A line for several targets names this many of them.
NAMED = 3

# Alerts that mean that nothing of a source can be polled.
_WHOLE = frozenset({"CredentialsRefused", "SourceDown"})

_TASK = "TaskFailing"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table.

    Attributes:
        what: The problem in words.
        name: The target or the task, or the number of targets.
        since_timestamp_seconds: Start of the problem, Unix seconds, if known.
    """

    severity: str
    what: str
    name: str
    source: str
    reason: str
    since_timestamp_seconds: float | None = None


def causes(
    problems: Iterable[Problem], rows: Iterable[TargetRow], sources: Sequence[SourceRow]
) -> list[Cause]:
    """Return the lines of the table in the order of the problems, the worst first."""
    found = troubles(problems, rows)
    failures = {source.name: dict(_failures(source)) for source in sources}
    whole = {each.problem.source: each for each in reversed(found) if each.problem.title in _WHOLE}
    number = Counter(map(_sort, found))
    reasons = Counter((*_sort(each), each.reason) for each in found)
    hidden: Counter[str] = Counter()
    parts: dict[tuple[str, ...], list[Trouble]] = defaultdict(list)
    for each in found:
        problem, sort = each.problem, _sort(each)
        if whole.get(problem.source, each) is not each:
            hidden[problem.source] += 1
        elif problem.title == _TASK:
            failure = failures.get(problem.source, {}).get(problem.name, "")
            parts[*sort, failure].append(each)
        elif problem.kind and reasons[*sort, each.reason] > ALIKE:
            parts[*sort, each.reason].append(each)
        elif problem.kind and number[sort] > SAME:
            parts[sort].append(each)
        else:
            parts[*sort, problem.kind, problem.id, problem.name].append(each)
    return [
        _cause(same, failures.get(same[0].problem.source, {}), hidden[same[0].problem.source])
        for same in parts.values()
    ]


def complaints(source: SourceRow, found: Iterable[Cause]) -> Iterator[str]:
    """Yield the faults of a source that none of the found causes mentions."""
    mine = [cause for cause in found if cause.source == source.name]
    titles = {cause.what for cause in mine}
    if titles.isdisjoint(map(spoken, _WHOLE)):
        if source.auth_failed:
            yield "the credentials were refused, calls are held back"
        elif source.blocked:
            yield "calls are held back"
    if source.vendor_slow and "vendor slow" not in titles:
        yield "the vendor is slow, so time-outs do not count against targets"
    alike: dict[str, list[str]] = {}
    for task, failure in _failures(source):
        if not any(failure in cause.reason for cause in mine):
            alike.setdefault(failure, []).append(task)
    yield from (f"{', '.join(tasks)}: {failure}" for failure, tasks in alike.items())


def _sort(trouble: Trouble) -> tuple[str, str, str]:
    problem = trouble.problem
    return problem.severity, problem.alert, problem.source


def _failures(source: SourceRow) -> Iterator[tuple[str, str]]:
    """Yield each task whose newest poll failed, with the reason."""
    for task in source.tasks:
        failure = task.last_failure
        if task.failing and failure is not None:
            yield task.name, f"{failure.reason}: {failure.message}"


def _cause(same: Sequence[Trouble], failures: Mapping[str, str], hidden: int) -> Cause:
    """Merge problems with the same cause into one line."""
    first = same[0].problem
    names = [each.problem.name or each.problem.id for each in same]
    reasons = dict.fromkeys(each.reason for each in same)
    what, name, reason = first.spoken, names[0], same[0].reason
    if first.title in _WHOLE:
        failed = dict.fromkeys(failures.values())
        reason = "; ".join((reason, *failed))
        if hidden:
            reason += f"; {count(hidden, 'older problem')} of this source"
    elif first.title == _TASK:
        name = ", ".join(names)
        reason = failures.get(names[0], reason)
    elif len(same) > 1:
        noun, _, _ = what.partition(" ")
        name = count(len(same), noun)
        more = len(names) - NAMED
        listed = ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
        reason = f"{same[0].reason}: {listed}" if same[0].reason and len(reasons) == 1 else listed
    began = [each.problem.since_timestamp_seconds for each in same]
    return Cause(
        severity=first.severity,
        what=what,
        name=name,
        source=first.source,
        reason=reason,
        since_timestamp_seconds=min((since for since in began if since is not None), default=None),
    )
