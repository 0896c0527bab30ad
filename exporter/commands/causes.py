"""`Needs attention`: what is wrong, the worst first, and each cause once.

A source that does not answer is one cause, however many of its tasks fail and whatever is known of
its targets from before; many targets that fail alike are one line.
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


#: So many targets that fail for the same reason are named in a line each.
ALIKE = 3

#: So many targets with the same problem, for whatever reasons, are named in a line each.
SAME = 10

#: So many targets of a line that stands for several are named.
NAMED = 3

# With these nothing else is known of a source.
_WHOLE = frozenset({"CredentialsRefused", "SourceDown"})

_TASK = "TaskFailing"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table.

    Attributes:
        what: The problem, as people call it.
        name: The target or the task, or how many of them.
        since_timestamp_seconds: Since when, as far as it is known, epoch.
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
    """Return what needs attention in the order of the problems, the worst first."""
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


def complaints(source: SourceRow, told: Iterable[Cause]) -> Iterator[str]:
    """Yield what is wrong with a source and stands in none of the causes."""
    mine = [cause for cause in told if cause.source == source.name]
    titles = {cause.what for cause in mine}
    if titles.isdisjoint(map(spoken, _WHOLE)):
        if source.auth_failed:
            yield "the credentials were refused, calls are held back"
        elif source.blocked:
            yield "calls are held back"
    if source.vendor_slow and "vendor slow" not in titles:
        yield "the vendor is slow, its time-outs accuse no target"
    alike: dict[str, list[str]] = {}
    for task, failure in _failures(source):
        if not any(failure in cause.reason for cause in mine):
            alike.setdefault(failure, []).append(task)
    yield from (f"{', '.join(tasks)}: {failure}" for failure, tasks in alike.items())


def _sort(trouble: Trouble) -> tuple[str, str, str]:
    problem = trouble.problem
    return problem.severity, problem.alert, problem.source


def _failures(source: SourceRow) -> Iterator[tuple[str, str]]:
    """Yield the tasks whose newest poll failed, with why."""
    for task in source.tasks:
        failure = task.last_failure
        if task.failing and failure is not None:
            yield task.name, f"{failure.reason}: {failure.message}"


def _cause(same: Sequence[Trouble], failures: Mapping[str, str], hidden: int) -> Cause:
    """Make one line of problems that are alike."""
    first = same[0].problem
    names = [each.problem.name or each.problem.id for each in same]
    reasons = dict.fromkeys(each.reason for each in same)
    what, name, reason = first.spoken, names[0], same[0].reason
    if first.title in _WHOLE:
        failed = dict.fromkeys(failures.values())
        reason = "; ".join((reason, *failed))
        if hidden:
            reason += f"; {count(hidden, 'more problem')} of it from before"
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
