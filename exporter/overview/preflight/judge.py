"""The judgement on a preflight: from rows to a report, without I/O.

Every check is decided in three values: it passes if it passes whatever is true of what is not
known, and fails likewise. So more trouble never makes an unfit fleet fit.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

from exporter.config.types import format_duration
from exporter.fleet.kinds import Kind, by_task
from exporter.overview.format import count, duration
from exporter.overview.preflight.fitness import (
    RANKS,
    AgentFitness,
    Found,
    Judge,
    Load,
    chosen_agents,
    kinds_of,
)
from exporter.overview.preflight.report import (
    Capacity,
    Check,
    Finding,
    Report,
    Result,
    Wanted,
    status_of,
)
from exporter.overview.preflight.window import current_or_next
from exporter.overview.rows import AgentRow, ClusterRow, SuiteRow, TargetRow
from exporter.settings.preflights import Machines, PreflightSettings
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from exporter.overview.rows import RunRow
    from exporter.overview.sources import SourceRow, TaskRow


#: What is demanded of agents where nothing is said of them: all have to be fit.
_ALL = Machines()

#: What an agent is that passes a check; of other checks it is fit.
_WORDS = {"clock": "up with the right clock", "idle": "up and idle"}


def judge(
    settings: PreflightSettings,
    *,
    sources: Sequence[SourceRow],
    targets: Sequence[TargetRow],
    runs: Sequence[RunRow],
    now: float,
) -> Report:
    """Judge whether the fleet is fit.

    Args:
        settings: The preflight.
        sources: All sources.
        targets: All targets.
        runs: The runs in flight.
        now: The time, epoch.
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
        all_clusters = [row for row in targets if isinstance(row, ClusterRow)]
        all_suites = [row for row in targets if isinstance(row, SuiteRow)]
        self._load = Load(all_suites, all_clusters, runs)
        judging = Judge(settings, now, self._load)
        self._clusters: list[tuple[TargetRow, Found]] = []
        self._suites: list[tuple[TargetRow, Found]] = []
        if (wanted := settings.clusters) is not None:
            self._clusters = [
                (row, judging.cluster(row))
                for row in all_clusters
                if wanted.takes(row.source, row.name)
            ]
        if (suites := settings.suites) is not None:
            # Suites without a task of their own are known by their runs alone.
            telling = {
                each.name
                for each in sources
                if any(task.name == Kind.SUITE.task for task in each.tasks)
            }
            self._suites = [
                (row, judging.suite(row, told_runnable=row.source in telling))
                for row in all_suites
                if suites.takes(row.source, row.name)
            ]
        clusters = [row for row, _ in self._clusters if isinstance(row, ClusterRow)]
        self._agents = [judging.agent(row) for row in chosen_agents(settings, targets, clusters)]
        self._fit = [each.row for each in self._agents if each.all.result is Result.PASSED]
        self._unlisted = {
            kind: tuple(self._unlisted_sources(kind, named))
            for kind, named in kinds_of(settings).items()
        }

    def report(self) -> Report:
        """Return what all of it comes to."""
        checks = tuple(self._checks())
        status = status_of(checks)
        passed = all(check.result is Result.PASSED for check in checks)
        report = Report(
            name=self._settings.name,
            status=status,
            checks=checks,
            agents_fit=len(self._fit),
            agents_unfit=len(self._agents) - len(self._fit),
            capacity=self._capacity(passed=passed),
        )
        if self._settings.window is None:
            return report
        begin, end = current_or_next(self._settings.window, self._now)
        return msgspec.structs.replace(
            report,
            due=begin <= self._now,
            begin_timestamp_seconds=begin,
            end_timestamp_seconds=end,
        )

    def _checks(self) -> Iterator[Check]:
        settings, agents = self._settings, self._agents
        if settings.agents is not None:
            yield self._counted("agents", Kind.AGENT, self._by_agent(lambda each: each.all))
        if settings.clusters is not None:
            yield self._counted("clusters", Kind.CLUSTER, self._clusters)
        if settings.suites is not None:
            yield self._counted("suites", Kind.SUITE, self._suites)
        if settings.clock is not None:
            yield self._counted("clock", Kind.AGENT, self._by_agent(lambda each: each.clock))
        if settings.users is not None:
            yield self._users(settings.users)
        if settings.idle:
            yield self._counted("idle", Kind.AGENT, self._by_agent(lambda each: each.idle))
        if settings.max_age is not None:
            rows = [*(each.row for each in agents), *(row for row, _ in self._clusters)]
            yield self._age([*rows, *(row for row, _ in self._suites)], settings.max_age)

    def _by_agent(self, found: Callable[[AgentFitness], Found]) -> list[tuple[TargetRow, Found]]:
        return [(each.row, found(each)) for each in self._agents]

    def _counted(self, name: str, kind: Kind, found: Sequence[tuple[TargetRow, Found]]) -> Check:
        """Decide a check by how many targets are fit."""
        # What is demanded of agents holds for each of the checks on them.
        key = "agents" if kind is Kind.AGENT else name
        choice = getattr(self._settings, key)
        demand = choice if isinstance(choice, Machines) else _ALL
        unlisted = self._unlisted.get(kind, ())
        results = Counter(each.result for _, each in found)
        passed, failed, unknown = (
            results[Result.PASSED],
            results[Result.FAILED],
            results[Result.UNKNOWN],
        )
        enough = passed >= demand.needed
        possible = bool(unlisted) or passed + unknown >= demand.needed
        unfit = failed + unknown
        few = unfit <= demand.tolerated and (not unlisted or math.isinf(demand.tolerated))
        if failed > demand.tolerated or not possible:
            result = Result.FAILED
        else:
            result = Result.PASSED if enough and few else Result.UNKNOWN
        return Check(
            name=name,
            result=result,
            reason=_told(f"{kind}", _WORDS.get(name, "fit"), demand, results, unlisted),
            targets=_findings(found),
        )

    def _users(self, needed: int) -> Check:
        """Decide whether the fit agents may carry enough users."""
        carried, unknown = _users_of(self._fit)
        doubtful = [each for each in self._agents if each.all.result is Result.UNKNOWN]
        more, unlimited = _users_of([each.row for each in doubtful])
        unlisted = self._unlisted.get(Kind.AGENT, ())
        if carried >= needed:
            result = Result.PASSED
        elif unknown or unlimited or unlisted or carried + more >= needed:
            result = Result.UNKNOWN
        else:
            result = Result.FAILED
        carry = "any number of users" if math.isinf(carried) else count(int(carried), "user")
        parts = [f"the fit agents may carry {carry}, {needed:,} are needed"]
        if unknown:
            parts.append(f"of {count(unknown, 'fit agent')} no limit is known")
        parts += unlisted
        return Check(
            name="users",
            result=result,
            reason="; ".join(parts),
            targets=_findings(self._by_agent(lambda each: each.all)),
        )

    def _age(self, rows: Iterable[TargetRow], limit: float) -> Check:
        """Decide whether the readings are recent."""
        aged = [
            # Whoever asks a daemon knows its time to the second only.
            (max(0.0, self._now - row.read_timestamp_seconds), row)
            for row in rows
            if row.read_timestamp_seconds is not None and row.active is not False
        ]
        old = [
            (row, Found(Result.UNKNOWN, f"was read {duration(age)} ago"))
            for age, row in aged
            if age > limit
        ]
        oldest = max((age for age, _ in aged), default=None)
        told = "nothing was read" if oldest is None else f"the oldest is {duration(oldest)} old"
        return Check(
            name="max_age",
            result=Result.UNKNOWN if old or oldest is None else Result.PASSED,
            reason=f"of the readings {told}; {format_duration(limit)} is allowed",
            targets=_findings(old),
        )

    def _unlisted_sources(self, kind: Kind, named: frozenset[str]) -> Iterator[str]:
        """Yield what is said of each source whose targets of a kind are not known."""
        for source in self._sources:
            if named and source.name not in named:
                continue
            task = _lister(source, kind)
            if task is None:
                continue
            reason = self._unread(task)
            if reason:
                yield f"the {kind}s of {source.name} are not known: {reason}"
        missing = named - {source.name for source in self._sources}
        yield from (f"there is no source {name}" for name in sorted(missing))

    def _unread(self, task: TaskRow) -> str:
        """Return why a list is not known, empty if it is."""
        success, failure = task.last_success_timestamp_seconds, task.last_failure
        if task.unread or (success is None and failure is not None):
            return failure.reason if failure else "they cannot be read"
        if success is None:
            return "they were not polled yet"
        limit, age = self._settings.max_age, self._now - success
        return f"their list was read {duration(age)} ago" if limit and age > limit else ""

    def _capacity(self, *, passed: bool) -> Capacity:
        users, users_unknown = _users_of(self._fit)
        suites = [row for row, _ in self._suites if isinstance(row, SuiteRow)]
        took = [row.last_run_max_users for row in suites]
        known = [each for each in took if each is not None]
        return Capacity(
            users=users,
            users_unknown=users_unknown,
            suites_users=sum(known) if known else None,
            suites_unknown=len(took) - len(known),
            agents_may_fail=self._may_fail() if passed else None,
            wanted_twice=tuple(self._wanted_twice(suites)),
        )

    def _may_fail(self) -> int | None:
        """Count the fit agents that may fail, whichever they are, until a check fails.

        `None` where no check is about agents.
        """
        settings, fit = self._settings, self._fit
        limits: list[int] = []
        demand = settings.agents
        if demand is None and (settings.clock is not None or settings.idle):
            demand = _ALL
        if demand is not None:
            spare = demand.tolerated - (len(self._agents) - len(fit))
            limits += [len(fit) - demand.needed, *([] if math.isinf(spare) else [int(spare)])]
        if settings.users is not None:
            limits.append(_may_fail_for(settings.users, fit))
        if settings.clusters is not None:
            limits.append(self._may_fail_for_clusters(settings.clusters))
        return max(0, min(limits)) if limits else None

    def _may_fail_for_clusters(self, demand: Machines) -> int:
        """Count the agents that may fail if each takes along all clusters that it is in."""
        fit = [row for row, found in self._clusters if found.result is Result.PASSED]
        unfit = len(self._clusters) - len(fit)
        spare = min(len(fit) - demand.needed, demand.tolerated - unfit)
        members = Counter(
            (row.source, member.agent_id)
            for row in fit
            if isinstance(row, ClusterRow)
            for member in row.members
        )
        taken = sorted((members[row.source, row.id] for row in self._fit), reverse=True)
        return _longest(taken, spare)

    def _wanted_twice(self, suites: Iterable[SuiteRow]) -> Iterator[Wanted]:
        names = {(each.row.source, each.row.id): each.row.name for each in self._agents}
        wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
        for suite in suites:
            for agent_id in self._load.agents_of(suite):
                wanted[suite.source, agent_id].append(suite.name)
        for (source, agent_id), found in sorted(wanted.items()):
            if len(found) > 1:
                name = names.get((source, agent_id), agent_id)
                yield Wanted(source=source, id=agent_id, name=name, suites=tuple(sorted(found)))


def _lister(source: SourceRow, kind: Kind) -> TaskRow | None:
    """Return the task of a source that lists a kind, `None` if none does."""
    tasks = {task.name: task for task in source.tasks}
    for name, kinds in by_task(PROVIDERS[source.provider].kinds, tasks).items():
        if kind in kinds:
            return tasks[name]
    return None


def _told(
    noun: str, fit_word: str, demand: Machines, results: Counter[Result], unlisted: Sequence[str]
) -> str:
    """Tell how many targets are fit, and what is demanded."""
    total, fit = results.total(), results[Result.PASSED]
    if not total and not unlisted:
        return f"no {noun} matches; correct source, include or exclude, or see to the inventory"
    parts = [f"{fit:,} of {count(total, noun)} {'is' if fit == 1 else 'are'} {fit_word}"]
    if fit < demand.needed:
        parts.append(f"{demand.needed:,} {'is' if demand.needed == 1 else 'are'} needed")
    unfit = total - fit
    if unfit > demand.tolerated or (unfit and not math.isinf(demand.tolerated)):
        allowed = int(demand.tolerated)
        parts.append(f"{allowed or 'none'} may be unfit")
    if results[Result.UNKNOWN]:
        parts.append(f"{results[Result.UNKNOWN]:,} not known")
    return "; ".join([", ".join(parts), *unlisted])


def _findings(found: Iterable[tuple[TargetRow, Found]]) -> tuple[Finding, ...]:
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
        if each.result is not Result.PASSED
    ]
    return tuple(sorted(unfit, key=lambda one: (RANKS[one.result], one.source, one.name, one.id)))


def _users_of(rows: Iterable[AgentRow]) -> tuple[float, int]:
    """Return the sum of the known limits, and of how many agents none is known."""
    limits = [row.users_limit for row in rows]
    known = [each for each in limits if each is not None]
    return sum(known), len(limits) - len(known)


def _may_fail_for(needed: float, fit: Sequence[AgentRow]) -> int:
    """Count the agents that may fail, the largest first, until the users find no room."""
    limits = sorted((row.users_limit or 0.0 for row in fit), reverse=True)
    if math.isinf(sum(limits)):
        unlimited = sum(map(math.isinf, limits))
        rest = [each for each in limits if not math.isinf(each)]
        more = _longest(rest, sum(rest) - needed) + 1 if sum(rest) >= needed else 0
        return unlimited - 1 + more
    return _longest(limits, sum(limits) - needed)


def _longest(amounts: Iterable[float], spare: float) -> int:
    """Count the amounts, in their order, whose sum is no more than what there is to spare."""
    number, total = 0, 0.0
    for each in amounts:
        total += each
        if total > spare:
            break
        number += 1
    return number
