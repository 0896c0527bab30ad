"""Judges a preflight: from rows to a report, without I/O.

Every check has one of three results. It passes only if it would pass whatever the unknown facts
are, and fails only if it would fail whatever they are; otherwise it is unknown. So missing readings
never make an unfit fleet fit.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from exporter.fleet.kinds import Kind, by_task
from exporter.overview.format import count, duration, words
from exporter.overview.preflight.capacity import capacity, users_of
from exporter.overview.preflight.fitness import (
    PASSED,
    RANKS,
    AgentFitness,
    Fitness,
    Found,
    Work,
    chosen_agents,
    kinds_of,
    worst,
)
from exporter.overview.preflight.report import Check, Finding, Report, Result, status_of
from exporter.overview.preflight.window import current_or_next
from exporter.overview.rows import AgentRow, ClusterRow, LocationRow, SuiteRow, TargetRow
from exporter.settings.preflights import ALL, Machines, PreflightSettings
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from exporter.overview.rows import RunRow
    from exporter.overview.sources import SourceRow, TaskRow


#: If the newest poll failed, the list counts as unknown once it is older than this many intervals.
_LIST_INTERVALS = 3

#: The words for one target that passed a check, and for several.
_FIT = ("is fit", "are fit")
_RIGHT_CLOCK = ("is up with the right clock", "are up with the right clock")
_IDLE = ("is up and idle", "are up and idle")


#: The keys that choose targets, in a reason.
CHOICE = "source, include or exclude"


def judge(
    settings: PreflightSettings,
    *,
    sources: Sequence[SourceRow],
    targets: Sequence[TargetRow],
    runs: Sequence[RunRow],
    now: float,
) -> Report:
    """Return the report on whether the fleet is fit.

    Args:
        settings: The preflight.
        sources: All sources.
        targets: All targets.
        runs: The runs in flight.
        now: The present Unix time.
    """
    return _Preflight(settings, sources, targets, runs, now).report()


class _Preflight:
    """One preflight at one moment."""

    def __init__(
        self,
        settings: PreflightSettings,
        sources: Sequence[SourceRow],
        targets: Sequence[TargetRow],
        runs: Sequence[RunRow],
        now: float,
    ) -> None:
        self._settings = settings
        self._now = now
        self._sources = sources
        agents = [row for row in targets if isinstance(row, AgentRow)]
        clusters = [row for row in targets if isinstance(row, ClusterRow)]
        suites = [row for row in targets if isinstance(row, SuiteRow)]
        locations = (row for row in targets if isinstance(row, LocationRow))
        self._work = Work(suites, clusters, runs, sources)
        self._all_agents = agents
        self._fitness = fitness = Fitness(settings, now, self._work, locations)
        self._clusters: list[tuple[ClusterRow, Found]] = []
        self._suites: list[tuple[SuiteRow, Found]] = []
        if (machines := settings.clusters) is not None:
            self._clusters = [
                (row, fitness.cluster(row))
                for row in clusters
                if machines.takes(row.source, row.name)
            ]
        if (choice := settings.suites) is not None:
            # Without a task of their own suites are known only by their runs, and their vendor does
            # not report whether they are runnable.
            reporting = {
                each.name
                for each in sources
                if any(task.name == Kind.SUITE.task for task in each.tasks)
            }
            self._suites = [
                (row, fitness.suite(row, told_runnable=row.source in reporting))
                for row in suites
                if choice.takes(row.source, row.name)
            ]
        chosen = chosen_agents(settings, agents, [row for row, _ in self._clusters])
        self._agents = [fitness.agent(row) for row in chosen]
        self._fit = [each for each in self._agents if each.all.result is Result.PASSED]
        self._named = kinds_of(settings)
        self._unlisted = {kind: tuple(self._gaps(kind)) for kind in self._named}

    def report(self) -> Report:
        """Return the report of the preflight."""
        checks, window = tuple(self._checks()), self._settings.window
        begin, end = current_or_next(window, self._now) if window else (None, None)
        return Report(
            name=self._settings.name,
            status=status_of(checks),
            checks=checks,
            agents_fit=len(self._fit),
            agents_unfit=len(self._agents) - len(self._fit),
            capacity=capacity(
                self._settings,
                agents=self._agents,
                clusters=self._clusters,
                suites=[row for row, _ in self._suites],
                work=self._work,
                all_agents=self._all_agents,
                passed=all(check.result is Result.PASSED for check in checks),
            ),
            due=begin is not None and begin <= self._now,
            begin_timestamp_seconds=begin,
            end_timestamp_seconds=end,
            time_zone=window.time_zone if window else "",
        )

    def _checks(self) -> Iterator[Check]:
        settings = self._settings
        if settings.agents is not None:
            yield self._counted("agents", Kind.AGENT, self._by_agent(lambda each: each.all))
        if settings.clusters is not None:
            yield self._counted("clusters", Kind.CLUSTER, self._clusters)
        if settings.suites is not None:
            yield self._counted("suites", Kind.SUITE, self._suites)
        if settings.clock is not None:
            clocks = self._by_agent(lambda each: each.clock)
            yield self._counted("clock", Kind.AGENT, clocks, _RIGHT_CLOCK)
        if settings.users is not None:
            yield self._carrying(settings.users)
        if settings.idle:
            yield self._idle()
        if settings.max_age is not None:
            yield self._recent(settings.max_age)

    def _by_agent(self, found: Callable[[AgentFitness], Found]) -> list[tuple[AgentRow, Found]]:
        return [(each.row, found(each)) for each in self._agents]

    def _counted(
        self,
        name: str,
        kind: Kind,
        found: Sequence[tuple[TargetRow, Found]],
        phrases: tuple[str, str] = _FIT,
        unread: Iterable[str] = (),
    ) -> Check:
        """Decide a check by the number of targets that pass it.

        The numbers demanded for a kind of target apply to each check on that kind.

        Args:
            name: The name of the check.
            kind: The kind of the targets.
            found: The targets with their results.
            phrases: The words for one target that passes, and for several.
            unread: Phrases about further facts that are not known.
        """
        choice = getattr(self._settings, f"{kind}s")
        demand = choice if isinstance(choice, Machines) else ALL
        unlisted = tuple(dict.fromkeys((*self._unlisted[kind], *unread)))
        results = Counter(each.result for _, each in found)
        passed, failed = results[Result.PASSED], results[Result.FAILED]
        unknown = results[Result.UNKNOWN]
        if failed > demand.tolerated or (not unlisted and passed + unknown < demand.needed):
            result = Result.FAILED
        elif passed >= demand.needed and (
            math.isinf(demand.tolerated) or (not unlisted and failed + unknown <= demand.tolerated)
        ):
            result = Result.PASSED
        else:
            result = Result.UNKNOWN
        return Check(
            name=name,
            result=result,
            reason=_reason(kind, phrases, demand, results, unlisted),
            targets=_findings(found),
        )

    def _carrying(self, needed: int) -> Check:
        """Decide whether the fit agents can carry enough users."""
        carried, unknown = users_of(self._fit)
        doubtful = [each for each in self._agents if each.all.result is Result.UNKNOWN]
        more, more_unknown = users_of(doubtful)
        unlisted = self._unlisted[Kind.AGENT]
        if carried >= needed:
            result = Result.PASSED
        elif unknown or more_unknown or unlisted or carried + more >= needed:
            result = Result.UNKNOWN
        else:
            result = Result.FAILED
        carry = "any number of users" if math.isinf(carried) else count(int(carried), "user")
        parts = [f"the fit agents may carry {carry}, {needed:,} {_is(needed)} needed"]
        if unknown:
            parts.append(f"{count(unknown, 'fit agent')} {_has(unknown)} no known limit")
        no_limit = Found(Result.UNKNOWN, "its limit of users is not known")
        found = [
            (each.row, worst((each.all, no_limit)) if each.users is None else each.all)
            for each in self._agents
        ]
        return Check(
            name="users",
            result=result,
            reason="; ".join((*parts, *unlisted)),
            targets=_findings(found),
        )

    def _idle(self) -> Check:
        """Decide whether nothing runs on the agents."""
        # Running suites, and the clusters on which they run, also show what runs on an agent.
        kinds, named = (Kind.CLUSTER, Kind.SUITE), self._named[Kind.AGENT]
        unread = [text for kind in kinds for text in self._unlisted_by(named, kind)]
        found = self._by_agent(lambda each: each.idle)
        return self._counted("idle", Kind.AGENT, found, _IDLE, unread)

    def _recent(self, limit: float) -> Check:
        """Decide whether the readings are recent."""
        phrase = f"read within {duration(limit)}"
        found: Mapping[Kind, Sequence[tuple[TargetRow, Found]]] = {
            Kind.AGENT: self._by_agent(lambda each: each.all),
            Kind.CLUSTER: self._clusters,
            Kind.SUITE: self._suites,
        }
        parts = [
            self._counted(
                "max_age",
                kind,
                [(row, self._fitness.recent(row)) for row, _ in found[kind]],
                (f"was {phrase}", f"were {phrase}"),
            )
            for kind in self._named
        ]
        return Check(
            name="max_age",
            result=min((each.result for each in parts), key=RANKS.__getitem__),
            reason="; ".join(each.reason for each in parts),
            targets=tuple(target for each in parts for target in each.targets),
        )

    def _gaps(self, kind: Kind) -> Iterator[str]:
        """Yield phrases on why the known targets of a kind may not be all that are needed."""
        settings, named = self._settings, self._named[kind]
        if kind is Kind.AGENT and settings.agents is None and settings.clusters is not None:
            yield from self._gaps(Kind.CLUSTER)
            strange = {
                (row.source, member.agent_id) for row, _ in self._clusters for member in row.members
            }.difference((row.source, row.id) for row in self._all_agents)
            if strange:
                members = count(len(strange), "member")
                yield f"{members} of the clusters {_is(len(strange))} not among the agents"
        else:
            missing = named - {source.name for source in self._sources}
            yield from (f"there is no source {name}" for name in sorted(missing))
        yield from self._unlisted_by(named, kind)

    def _unlisted_by(self, named: Collection[str], kind: Kind) -> Iterator[str]:
        """Yield phrases on why the targets of a kind are not known, for some sources or for all."""
        for source in self._sources:
            task = None if named and source.name not in named else _lister(source, kind)
            reason = self._unread(task) if task else ""
            if reason:
                yield f"the {kind}s of {source.name} are not known: {reason}"

    def _unread(self, task: TaskRow) -> str:
        """Return the reason why a list is not known, empty if it is known."""
        # A poll in which only some pings failed has read the list.
        read = task.last_attempt_timestamp_seconds if task.up else None
        read = task.last_success_timestamp_seconds if read is None else read
        failure = "the newest poll was skipped"
        if task.last_failure is not None:
            failure = f"the newest poll failed ({words(task.last_failure.reason)})"
        if task.unread:
            return failure
        if read is None:
            return failure if task.last_failure else "they were not polled yet"
        limit = self._settings.max_age
        if limit is not None and self._now - read > limit:
            return f"their list was not read within {duration(limit)}"
        # While a list is read only in part, targets drop out once their readings are too old.
        late = not task.up and self._now - read > _LIST_INTERVALS * task.interval_seconds
        return failure if late else ""


def _lister(source: SourceRow, kind: Kind) -> TaskRow | None:
    """Return the task of a source that lists a kind, `None` if none does."""
    tasks = {task.name: task for task in source.tasks}
    for name, kinds in by_task(PROVIDERS[source.provider].kinds, tasks).items():
        if kind in kinds:
            return tasks[name]
    return None


def _reason(
    noun: str,
    phrases: tuple[str, str],
    demand: Machines,
    results: Counter[Result],
    unlisted: Sequence[str],
) -> str:
    """Return a phrase with the number of targets that pass a check, and the demanded numbers."""
    (one, several), total, passed = phrases, results.total(), results[Result.PASSED]
    if not total:
        remedy = f"; correct {CHOICE}, or check the inventory"
        return "; ".join(unlisted) or f"no {noun} matches{remedy if demand.needed else ''}"
    parts = [f"{passed:,} of {count(total, noun)} {one if 1 in (total, passed) else several}"]
    unfit = total - passed
    if passed < demand.needed and (demand.min_up is not None or unfit <= demand.tolerated):
        parts.append(f"{demand.needed:,} {_is(demand.needed)} needed")
    if unfit and not math.isinf(demand.tolerated):
        allowed = int(demand.tolerated)
        parts.append(f"{f'{allowed:,}' if allowed else 'none'} may be unfit")
    if unknown := results[Result.UNKNOWN]:
        parts.append(f"{unknown:,} {_is(unknown)} not known")
    return "; ".join([", ".join(parts), *unlisted])


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _findings(found: Iterable[tuple[TargetRow, Found]]) -> tuple[Finding, ...]:
    """Return the targets that are not fit, the worst first, otherwise in the order of the rows."""
    unfit = [
        Finding(
            kind=row.kind,
            source=row.source,
            id=row.id,
            name=row.name,
            result=each.result,
            reason=each.reason,
        )
        for row, each in found
        if each is not PASSED
    ]
    return tuple(sorted(unfit, key=_rank))


def _rank(finding: Finding) -> int:
    return RANKS[finding.result]
