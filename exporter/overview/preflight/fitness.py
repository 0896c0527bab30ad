"""The fitness of single targets: what a preflight finds of each one, and why."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from exporter.config.types import format_duration
from exporter.fleet.kinds import Kind
from exporter.overview.format import duration, signed
from exporter.overview.preflight.report import Result
from exporter.overview.rows import AgentRow, ClusterRow, Condition, SuiteRow, TargetRow
from exporter.overview.verdict import is_ended


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.overview.rows import MemberRow, RunRow
    from exporter.settings.preflights import PreflightSettings


class Found(NamedTuple):
    """A target's result with its reason, empty where it passed."""

    result: Result
    reason: str = ""


PASSED = Found(Result.PASSED)

#: The positions of results when targets are sorted.
RANKS = {result: rank for rank, result in enumerate(Result)}


def worst(found: Iterable[Found]) -> Found:
    """Return what fails, else what is unknown, else that all passed."""
    return min(found, key=lambda each: RANKS[each.result], default=PASSED)


class AgentFitness(NamedTuple):
    """What was found of an agent that a test needs.

    Attributes:
        usable: Whether it is up, active, not outdated, and was read lately.
        clock: Whether it is usable and its clock is right, if that is asked.
        idle: Whether it is usable and nothing runs on it, if that is asked.
        all: What all of it comes to.
    """

    row: AgentRow
    usable: Found
    clock: Found
    idle: Found
    all: Found


class Judge:
    """Judges single targets by the settings of one preflight.

    Args:
        settings: The preflight.
        now: The time, epoch.
        load: What runs on which agent.
    """

    def __init__(self, settings: PreflightSettings, now: float, load: Load) -> None:
        self._settings = settings
        self._now = now
        self._load = load

    def agent(self, row: AgentRow) -> AgentFitness:
        """Judge an agent."""
        usable = self._old(row) or _machine(row)
        if usable is not PASSED:
            # The rest decides nothing, and each check on agents is failed by one that is not there.
            return AgentFitness(row, usable, usable, usable, usable)
        clock = self._clock(row)
        idle = self._load.idle(row) if self._settings.idle else PASSED
        return AgentFitness(row, usable, clock, idle, worst((clock, idle)))

    def cluster(self, row: ClusterRow) -> Found:
        """Judge a cluster with its members."""
        if old := self._old(row):
            return old
        if row.outdated and row.active is not False:
            return Found(Result.FAILED, "its controller is outdated")
        if row.state is Condition.INACTIVE or row.reason is not None:
            return _machine(row)
        if not row.members:
            return Found(Result.FAILED, "has no members")
        found = worst(map(_member, row.members))
        if found is PASSED and row.state is not Condition.UP:
            return Found(Result.UNKNOWN, "nothing is known of it")
        return found

    def suite(self, row: SuiteRow, *, told_runnable: bool) -> Found:
        """Judge a suite.

        Args:
            row: The suite.
            told_runnable: Whether its vendor tells at all whether a suite can be run.
        """
        if old := self._old(row):
            return old
        if row.state is Condition.DOWN:
            return Found(Result.FAILED, "the vendor finds it not runnable")
        if row.running:
            return Found(Result.FAILED, "a run is in flight")
        if row.running is None:
            return Found(Result.UNKNOWN, "the vendor does not tell whether it runs")
        if told_runnable and row.state is Condition.UNKNOWN:
            return Found(Result.UNKNOWN, "the vendor does not tell whether it can be run")
        return PASSED

    def _old(self, row: TargetRow) -> Found | None:
        """Return that a reading is too old, `None` where it is not, or where there is none."""
        limit, read = self._settings.max_age, row.read_timestamp_seconds
        # That a target is inactive is told by the list.
        if limit is None or read is None or row.active is False or self._now - read <= limit:
            return None
        return Found(Result.UNKNOWN, f"was read {duration(self._now - read)} ago")

    def _clock(self, row: AgentRow) -> Found:
        limit, delta = self._settings.clock, row.clock_delta_seconds
        if limit is None:
            return PASSED
        if delta is None:
            return Found(Result.UNKNOWN, "the vendor does not tell its clock")
        if abs(delta) <= limit:
            return PASSED
        return Found(
            Result.FAILED, f"its clock is off by {signed(delta)}, {format_duration(limit)} may be"
        )


def _machine(row: TargetRow | MemberRow) -> Found:
    match row.state:
        case Condition.INACTIVE:
            return Found(Result.FAILED, "is inactive")
        case Condition.DOWN:
            return Found(Result.FAILED, f"is down ({row.reason})" if row.reason else "is down")
        case Condition.UNKNOWN:
            return Found(Result.UNKNOWN, "nothing is known of it")
    if row.outdated:
        return Found(
            Result.FAILED, f"is outdated ({row.version})" if row.version else "is outdated"
        )
    return PASSED


def _member(row: MemberRow) -> Found:
    found = _machine(row)
    return found if found is PASSED else Found(found.result, f"member {row.name}: {found.reason}")


class Load:
    """What runs on which agent, as far as the vendors tell.

    Args:
        suites: All suites; one tells where it runs by default.
        clusters: All clusters, for their members.
        runs: The runs in flight; one can tell on which agent it runs.
    """

    def __init__(
        self, suites: Sequence[SuiteRow], clusters: Sequence[ClusterRow], runs: Sequence[RunRow]
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

    def agents_of(self, suite: SuiteRow) -> tuple[str, ...]:
        """Return the ids of the agents on which a suite runs by default."""
        if suite.agent_id:
            return (suite.agent_id,)
        return self._members.get((suite.source, suite.cluster_id), ())

    def idle(self, row: AgentRow) -> Found:
        """Return whether nothing runs on an agent."""
        running = self._by_id.get((row.source, row.id)) or self._by_name.get((row.source, row.name))
        if running:
            return Found(Result.FAILED, f"{running[0]} runs on it")
        if row.busy:
            return Found(Result.FAILED, "is busy")
        if row.jobs_running:
            return Found(Result.FAILED, f"runs {row.jobs_running:.0f} of its jobs")
        if row.busy is None and row.jobs_running is None:
            return Found(Result.UNKNOWN, "nothing tells what runs on it; switch on its task jobs")
        return PASSED


def chosen_agents(
    settings: PreflightSettings, rows: Iterable[TargetRow], clusters: Iterable[ClusterRow]
) -> list[AgentRow]:
    """Return the agents that a test needs; those that the vendor has ended are gone.

    They are those that are chosen, else the members of the chosen clusters, else all.

    Args:
        settings: The preflight.
        rows: All targets.
        clusters: The chosen clusters.
    """
    agents = [row for row in rows if isinstance(row, AgentRow) and not is_ended(row)]
    if settings.agents is not None:
        takes = settings.agents.takes
        return [row for row in agents if takes(row.source, row.name)]
    if settings.clusters is not None:
        members = {(row.source, member.agent_id) for row in clusters for member in row.members}
        return [row for row in agents if (row.source, row.id) in members]
    return agents


def kinds_of(settings: PreflightSettings) -> Mapping[Kind, frozenset[str]]:
    """Return the kinds of targets that a preflight is about, each with the sources it names."""
    named = dict(settings.choices)
    about_agents = (settings.agents, settings.clock, settings.users, settings.idle or None)
    found: dict[Kind, frozenset[str]] = {}
    if settings.clusters is not None:
        found[Kind.CLUSTER] = frozenset(settings.clusters.source)
    if settings.suites is not None:
        found[Kind.SUITE] = frozenset(settings.suites.source)
    if any(each is not None for each in about_agents) or not found:
        choice = named.get("agents") or named.get("clusters")
        found[Kind.AGENT] = frozenset(choice.source) if choice is not None else frozenset()
    return found
