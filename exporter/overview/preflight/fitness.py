"""The fitness of single targets: the results that a preflight finds for them, with reasons."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from exporter.fleet.kinds import Kind
from exporter.overview.format import count, duration, signed, words
from exporter.overview.preflight.report import Result
from exporter.overview.rows import AgentRow, ClusterRow, Condition, SuiteRow, TargetRow
from exporter.overview.verdict import is_ended
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.overview.rows import LocationRow, MemberRow, RunRow
    from exporter.overview.sources import SourceRow
    from exporter.settings.preflights import PreflightSettings


#: The task that counts the jobs on agents.
_JOBS = "jobs"


class Found(NamedTuple):
    """A target's result with the reason, which is empty if the target passed."""

    result: Result
    reason: str = ""


PASSED = Found(Result.PASSED)

#: The positions of results in the order of targets.
RANKS = {result: rank for rank, result in enumerate(Result)}


def worst(found: Iterable[Found]) -> Found:
    """Return the first failure, else the first unknown result, else `PASSED`."""
    return min(found, key=lambda each: RANKS[each.result], default=PASSED)


class AgentFitness(NamedTuple):
    """The findings on an agent that a test needs.

    Attributes:
        clock: Whether the agent is usable and, if that is demanded, its clock is right.
        idle: Whether the agent is usable and, if that is demanded, nothing runs on it.
        all: The worst of these results.
        users: The number of virtual users that the agent can carry, `None` if unknown.
    """

    row: AgentRow
    clock: Found
    idle: Found
    all: Found
    users: float | None


class Fitness:
    """Judges single targets by the demands of one preflight.

    Args:
        settings: The preflight.
        now: The present Unix time.
        work: The runs on each agent.
        locations: All locations, for the limits of their agents.
    """

    def __init__(
        self,
        settings: PreflightSettings,
        now: float,
        work: Work,
        locations: Iterable[LocationRow] = (),
    ) -> None:
        self._settings = settings
        self._work = work
        self._not_before = -math.inf if settings.max_age is None else now - settings.max_age
        self._not_recent = Found(
            Result.UNKNOWN, f"was not read within {duration(settings.max_age)}"
        )
        self._users: dict[tuple[str, str | None], float] = {}
        for row in locations:
            if row.slots is not None and row.threads_per_engine is not None:
                # If two locations have the same name, the smaller limit counts.
                users = row.slots * row.threads_per_engine
                key = (row.source, row.name)
                self._users[key] = min(users, self._users.get(key, users))

    def recent(self, row: TargetRow) -> Found:
        """Return `PASSED` if a target was read within the maximum age, else an unknown result."""
        read = row.read_timestamp_seconds
        return self._not_recent if read is None or read < self._not_before else PASSED

    def agent(self, row: AgentRow) -> AgentFitness:
        """Return the findings on an agent."""
        users = row.users_limit
        if users is None:
            users = self._users.get((row.source, row.location))
        usable = self._old(row) or _machine(row)
        if usable is not PASSED:
            # An agent that is not usable fails each check on agents, whatever the rest is.
            return AgentFitness(row, usable, usable, usable, users)
        clock = self._clock(row)
        idle = self._idle(row) if self._settings.idle else PASSED
        found = PASSED if clock is idle is PASSED else worst((clock, idle))
        return AgentFitness(row, clock, idle, found, users)

    def cluster(self, row: ClusterRow) -> Found:
        """Return the result of a cluster with its members."""
        if old := self._old(row):
            return old
        if row.outdated and row.active is not False:
            return Found(Result.FAILED, "its controller is outdated")
        # A cluster that is down only because of a member has no reason of its own.
        if row.reason is not None or row.state is Condition.INACTIVE:
            return _machine(row)
        if not row.members:
            return Found(Result.FAILED, "has no members")
        found = worst(map(_member, row.members))
        return _machine(row) if found is PASSED else found

    def suite(self, row: SuiteRow, *, told_runnable: bool) -> Found:
        """Return the result of a suite.

        Args:
            row: The suite.
            told_runnable: Whether the vendor reports whether suites are runnable.
        """
        if old := self._old(row):
            return old
        if row.state is Condition.DOWN:
            return Found(Result.FAILED, "is not runnable")
        if row.running:
            return Found(Result.FAILED, "has a run in flight")
        if row.running is None:
            return Found(Result.UNKNOWN, "the vendor does not report whether it runs")
        if told_runnable and row.state is Condition.UNKNOWN:
            return Found(Result.UNKNOWN, "the vendor does not report whether it can be run")
        return self._pace(row)

    def _pace(self, row: SuiteRow) -> Found:
        """Return whether a suite took about as long as usual, if that is demanded and known."""
        factor = None if self._settings.suites is None else self._settings.suites.slower_than_usual
        usual = row.usual_duration_seconds
        took = next((each.duration_seconds for each in row.finished_runs if each.passed), None)
        if factor is None or not usual or took is None or took <= factor * usual:
            return PASSED
        text = f"took {duration(took)}, {took / usual:.1f} times as long as usual"
        return Found(Result.FAILED, text)

    def _old(self, row: TargetRow) -> Found | None:
        """Return an unknown result if the reading is too old; `None` if not, or without one."""
        read = row.read_timestamp_seconds
        # The list shows that a target is inactive, so its reading does not matter.
        if read is None or read >= self._not_before or row.active is False:
            return None
        return self._not_recent

    def _clock(self, row: AgentRow) -> Found:
        limit, delta = self._settings.clock, row.clock_delta_seconds
        if limit is None:
            return PASSED
        if delta is None:
            return Found(Result.UNKNOWN, "the vendor does not report its clock")
        if abs(delta) <= limit:
            return PASSED
        text = f"its clock is off by {signed(delta)}, {duration(limit)} is allowed"
        return Found(Result.FAILED, text)

    def _idle(self, row: AgentRow) -> Found:
        if running := self._work.on(row):
            return Found(Result.FAILED, f"{running[0]} runs on it")
        if row.busy:
            return Found(Result.FAILED, "is busy")
        jobs, read = row.jobs_running, row.jobs_read_timestamp_seconds
        if read is not None and read < self._not_before:
            text = f"its jobs were not read within {duration(self._settings.max_age)}"
            return Found(Result.UNKNOWN, text)
        if jobs:
            return Found(Result.FAILED, f"runs {count(int(jobs), 'job')}")
        if row.busy is None and jobs is None:
            text = f"the vendor does not report what runs on it{self._work.remedy(row)}"
            return Found(Result.UNKNOWN, text)
        return PASSED


def _machine(row: TargetRow | MemberRow) -> Found:
    match row.state:
        case Condition.UP if not row.outdated:
            return PASSED
        case Condition.INACTIVE:
            return Found(Result.FAILED, "is inactive")
        case Condition.DOWN:
            why = f" ({words(row.reason)})" if row.reason else ""
            return Found(Result.FAILED, f"is down{why}")
        case Condition.UNKNOWN:
            return Found(Result.UNKNOWN, "is not known to be up")
    return Found(Result.FAILED, f"is outdated ({row.version})" if row.version else "is outdated")


def _member(row: MemberRow) -> Found:
    found = _machine(row)
    return found if found is PASSED else Found(found.result, f"member {row.name} {found.reason}")


class Work:
    """The runs on each agent, as far as the vendors report them.

    Args:
        suites: All suites, for the agents on which they run by default.
        clusters: All clusters, for their members.
        runs: The runs in flight, for the agents that they name.
        sources: All sources.
    """

    def __init__(
        self,
        suites: Sequence[SuiteRow],
        clusters: Sequence[ClusterRow],
        runs: Sequence[RunRow],
        sources: Sequence[SourceRow],
    ) -> None:
        self._members = {
            (row.source, row.id): tuple(member.agent_id for member in row.members)
            for row in clusters
        }
        self._by_id: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._by_name: dict[tuple[str, str], list[str]] = defaultdict(list)
        for suite in suites:
            if suite.running:
                for agent_id in self.agents_of(suite):
                    self._by_id[suite.source, agent_id].append(suite.name)
        for run in runs:
            if run.agent:
                self._by_name[run.source, run.agent].append(run.suite or run.name)
        self._without_jobs = {
            source.name
            for source in sources
            if _JOBS in PROVIDERS[source.provider].settings.TASKS
            and not any(task.name == _JOBS for task in source.tasks)
        }

    def agents_of(self, suite: SuiteRow) -> tuple[str, ...]:
        """Return the ids of the agents on which a suite runs by default."""
        if suite.agent_id:
            return (suite.agent_id,)
        return self._members.get((suite.source, suite.cluster_id), ())

    def on(self, row: AgentRow) -> Sequence[str]:
        """Return the names of the suites or runs on an agent."""
        by_id = self._by_id.get((row.source, row.id))
        return by_id or self._by_name.get((row.source, row.name)) or ()

    def remedy(self, row: AgentRow) -> str:
        """Return advice to end a sentence with, if a setting can provide what is unknown."""
        return f"; switch on its task {_JOBS}" if row.source in self._without_jobs else ""


def chosen_agents(
    settings: PreflightSettings, rows: Iterable[AgentRow], clusters: Iterable[ClusterRow]
) -> list[AgentRow]:
    """Return the agents that a test needs, without those that the vendor has stopped.

    They are the chosen agents, else the members of the chosen clusters, else all agents.

    Args:
        settings: The preflight.
        rows: All agents.
        clusters: The chosen clusters.
    """
    agents = [row for row in rows if not is_ended(row)]
    if settings.agents is not None:
        takes = settings.agents.takes
        return [row for row in agents if takes(row.source, row.name)]
    if settings.clusters is not None:
        members = {(row.source, member.agent_id) for row in clusters for member in row.members}
        return [row for row in agents if (row.source, row.id) in members]
    return agents


def kinds_of(settings: PreflightSettings) -> Mapping[Kind, frozenset[str]]:
    """Return the kinds of targets that a preflight is about, each with the sources that it names.

    Agents are among them if the preflight demands anything of agents, or nothing of other kinds.
    """
    found: dict[Kind, frozenset[str]] = {}
    about_agents = (settings.agents, settings.clock, settings.users, settings.idle or None)
    nothing_else = settings.clusters is None and settings.suites is None
    if nothing_else or any(each is not None for each in about_agents):
        choice = settings.agents or settings.clusters
        found[Kind.AGENT] = frozenset(choice.source) if choice else frozenset()
    if settings.clusters is not None:
        found[Kind.CLUSTER] = frozenset(settings.clusters.source)
    if settings.suites is not None:
        found[Kind.SUITE] = frozenset(settings.suites.source)
    return found
