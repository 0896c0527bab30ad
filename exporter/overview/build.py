"""Makes the rows of targets and runs from snapshots, without I/O, for the pages and the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.fleet import readings as r
from exporter.fleet.kinds import BY_READING, LISTED, Kind
from exporter.overview.problems import rank
from exporter.overview.rows import (
    URGENCY,
    AgentRow,
    ClusterRow,
    Condition,
    FinishedRun,
    LocationRow,
    MemberRow,
    RecorderRow,
    RunRow,
    SuiteRow,
    TargetRow,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot


#: The phase of a run that is known only from its suite; also the state of a running job.
_RUNNING = "running"

#: The phase of a run that is no longer in flight.
_ENDED = "ended"

# Types compared by identity, for each target: an `isinstance` that fails takes six times as long.
_OF_RUNS = (r.Suite, r.Run)

_PHASE_ORDER = {phase: position for position, phase in enumerate(r.PHASES)}
_CONDITIONS = {None: Condition.UNKNOWN, True: Condition.UP, False: Condition.DOWN}
_KIND_OF_COMPONENT = {kind.component: kind for kind in LISTED if kind.component}


def target_rows(snapshots: Iterable[Snapshot], now: Moment) -> Iterator[TargetRow]:
    """Return an iterator over the rows of all targets, in no particular order."""
    known = tuple(snapshots)
    minimums, jobs = _minimum_versions(known), _jobs(known)
    for snapshot in known:
        oldest = minimums.get((snapshot.provider, snapshot.source), {})
        for reading in snapshot.readings:
            kind = BY_READING.get(type(reading))
            if kind not in LISTED:
                continue
            about: dict[str, Any] = {
                "provider": snapshot.provider,
                "source": snapshot.source,
                "labels": snapshot.labels,
                "restored": snapshot.restored,
                "kind": kind,
                "id": kind.id_of(reading),
                "name": kind.name_of(reading),
                "minimum_version": oldest.get(kind),
            }
            match reading:
                case r.Agent() | r.Controller() | r.Recorder():
                    if kind is Kind.AGENT:
                        about |= jobs.get((snapshot.source, about["id"]), {})
                    yield _machine(reading, about, now)
                case r.Cluster():
                    yield _cluster(reading, about, now)
                case r.Location():
                    yield _location(reading, about)
                case r.Suite():
                    yield _suite(reading, about, snapshot.taken)


def _minimum_versions(snapshots: Sequence[Snapshot]) -> dict[tuple[str, str], dict[Kind, str]]:
    """Return the oldest accepted versions by source and kind."""
    found: dict[tuple[str, str], dict[Kind, str]] = {}
    for snapshot in snapshots:
        for reading in snapshot.readings:
            if type(reading) is r.MinVersion and reading.component in _KIND_OF_COMPONENT:
                source = found.setdefault((snapshot.provider, snapshot.source), {})
                source[_KIND_OF_COMPONENT[reading.component]] = reading.version
    return found


def _jobs(snapshots: Sequence[Snapshot]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the fields about jobs for the rows of agents whose jobs were counted."""
    return {
        (snapshot.source, reading.agent_id): {
            "jobs_running": reading.counts.get(_RUNNING, 0.0),
            "jobs_read_timestamp_seconds": reading.read_at.unix,
        }
        for snapshot in snapshots
        for reading in snapshot.readings
        if type(reading) is r.AgentJobs and reading.counts is not None
    }


def arranged(rows: Iterable[TargetRow]) -> list[TargetRow]:
    """Return rows sorted by kind, the most urgent of each kind first."""
    return sorted(rows, key=_urgency)


def _urgency(row: TargetRow) -> tuple[object, ...]:
    order = (LISTED.index(row.kind), rank(row.severity), URGENCY[row.state])
    return (*order, row.provider, row.source, row.name.casefold(), row.id)


def _machine(target: r.Target, about: dict[str, Any], now: Moment) -> TargetRow:
    active = target.active if isinstance(target, r.Agent) else None
    state = target.state or r.State(read_at=now, up=None)
    facts: dict[str, Any] = {
        "state": Condition.INACTIVE if active is False else _CONDITIONS[state.up],
        "reason": None if active is False else state.reason,
        "outdated": state.outdated,
        "active": active,
        "protected": target.protected,
        "host": target.host or None,
        "port": target.port or None,
        "location": target.location or None,
        "version": state.version or None,
        "clock_delta_seconds": state.clock_delta_seconds,
        "ping_duration_seconds": state.ping_duration_seconds,
        "last_up_timestamp_seconds": target.last_up_timestamp_seconds,
        "changed_timestamp_seconds": target.changed_timestamp_seconds,
        "read_timestamp_seconds": target.state.read_at.unix if target.state else None,
    }
    match target:
        case r.Agent():
            agent = target.state or r.AgentState(read_at=now, up=None)
            return AgentRow(
                managed=target.managed or None,
                disk_free_bytes=agent.disk_free_bytes,
                busy=agent.busy,
                users_limit=agent.users_limit,
                job_duration_limit_seconds=agent.job_duration_limit_seconds,
                heartbeat_timestamp_seconds=agent.heartbeat_timestamp_seconds,
                usual_ping_seconds=target.usual_ping_seconds,
                **about,
                **facts,
            )
        case r.Recorder():
            recording = target.state.recording if target.state else None
            return RecorderRow(recording=recording, **about, **facts)
        case _:
            return TargetRow(**about, **facts)


def _cluster(cluster: r.Cluster, about: dict[str, Any], now: Moment) -> ClusterRow:
    members = tuple(_member(member) for member in cluster.members)
    state = cluster.state or r.ClusterState(read_at=now)
    return ClusterRow(
        state=_cluster_condition(cluster, members),
        reason=None if cluster.active is False else state.reason,
        outdated=state.outdated,
        active=cluster.active,
        controller=cluster.controller,
        members=members,
        ping_duration_seconds=state.ping_duration_seconds,
        changed_timestamp_seconds=cluster.changed_timestamp_seconds,
        read_timestamp_seconds=cluster.state.read_at.unix if cluster.state else None,
        **about,
    )


def _cluster_condition(cluster: r.Cluster, members: tuple[MemberRow, ...]) -> Condition:
    if cluster.active is False:
        return Condition.INACTIVE
    if cluster.state is not None and cluster.state.up is False:
        return Condition.DOWN
    conditions = {member.state for member in members}
    if Condition.DOWN in conditions:
        return Condition.DOWN
    # Inactive members do not count.
    if cluster.state is None or Condition.UNKNOWN in conditions:
        return Condition.UNKNOWN
    return Condition.UP


def _member(member: r.Member) -> MemberRow:
    state = member.state
    return MemberRow(
        id=member.member_id,
        agent_id=member.agent_id,
        name=member.agent,
        state=Condition.INACTIVE
        if member.active is False
        else _CONDITIONS[state.up if state else None],
        reason=state.reason if state else None,
        outdated=state.outdated if state else None,
        version=(state.version or None) if state else None,
        clock_delta_seconds=state.clock_delta_seconds if state else None,
        load_factor=member.load_factor,
        changed_timestamp_seconds=member.changed_timestamp_seconds,
    )


def _location(location: r.Location, about: dict[str, Any]) -> LocationRow:
    up = location.agents_up
    known = _CONDITIONS[None if up is None else up > 0]
    return LocationRow(
        state=Condition.INACTIVE if location.active is False else known,
        active=location.active,
        agents=location.agents,
        agents_up=up,
        slots=location.slots,
        threads_per_engine=location.threads_per_engine,
        read_timestamp_seconds=None if up is None else location.read_at.unix,
        **about,
    )


def _suite(suite: r.Suite, about: dict[str, Any], taken: Moment) -> SuiteRow:
    last, usual = suite.last_run, suite.usual or r.Usual(runs=0)
    return SuiteRow(
        state=_CONDITIONS[suite.healthy],
        agent_id=suite.agent_id,
        cluster_id=suite.cluster_id,
        jobs=suite.jobs,
        running=suite.running,
        last_run_outcome=last.outcome if last else None,
        last_run_passed=suite.last_run_passed,
        last_run_max_users=last.max_users if last else None,
        last_run_end_timestamp_seconds=last.end_timestamp_seconds if last else None,
        finished_runs=tuple(_finished(run) for run in suite.history or (last,) if run),
        read_timestamp_seconds=taken.unix,
        usual_runs=usual.runs or None,
        usual_duration_seconds=usual.duration_seconds,
        usual_error_ratio=usual.error_ratio,
        usual_boot_seconds=usual.boot_seconds,
        **about,
    )


def _finished(run: r.SuiteRun) -> FinishedRun:
    return FinishedRun(
        id=run.run_id,
        outcome=run.outcome,
        passed=run.passed,
        start_timestamp_seconds=run.start_timestamp_seconds,
        end_timestamp_seconds=run.end_timestamp_seconds,
        duration_seconds=run.duration_seconds,
        error_ratio=run.error_ratio,
        boot_seconds=run.boot_seconds,
    )


def runs_in_flight(snapshots: Iterable[Snapshot]) -> list[RunRow]:
    """Return each run in flight once, sorted by phase, then the oldest first.

    A run with a reading of its own takes precedence over the same run in its suite's reading, even
    if the former has ended.
    """
    known = [
        (snapshot, reading)
        for snapshot in snapshots
        for reading in snapshot.readings
        if type(reading) in _OF_RUNS
    ]
    names: dict[tuple[str, str], str] = {}
    runs: dict[tuple[str, str], RunRow] = {}
    for snapshot, reading in known:
        if isinstance(reading, r.Suite):
            names[snapshot.source, reading.suite_id] = reading.suite
            if reading.current_run is not None:
                row = _run_of_suite(reading, reading.current_run, snapshot)
                runs.setdefault((row.source, row.id or f"of {row.suite_id}"), row)
    for snapshot, reading in known:
        if isinstance(reading, r.Run):
            suite = names.get((snapshot.source, reading.suite_id), "")
            runs[snapshot.source, reading.run_id] = run_row(reading, snapshot, suite=suite)
    return sorted((row for row in runs.values() if row.phase != _ENDED), key=_flight_order)


def _run_of_suite(suite: r.Suite, run: r.SuiteRun, snapshot: Snapshot) -> RunRow:
    return RunRow(
        provider=snapshot.provider,
        source=snapshot.source,
        id=run.run_id,
        name=suite.suite,
        phase=_RUNNING,
        followed=False,
        suite_id=suite.suite_id,
        suite=suite.suite,
        start_timestamp_seconds=run.start_timestamp_seconds,
    )


def run_row(run: r.Run, snapshot: Snapshot, *, suite: str = "") -> RunRow:
    """Return the row of a run that has a reading of its own."""
    return RunRow(
        provider=snapshot.provider,
        source=snapshot.source,
        id=run.run_id,
        name=run.run or run.run_id,
        phase=run.phase,
        followed=True,
        suite_id=run.suite_id,
        suite=suite or run.suite_id,
        agent=run.agent,
        location=run.location,
        outcome=run.outcome,
        delayed_start=run.delayed_start,
        internal_error=run.internal_error,
        engines=run.engines,
        engines_planned=run.engines_planned,
        engine_errors=run.engine_errors,
        start_timestamp_seconds=run.start_timestamp_seconds,
    )


def _flight_order(row: RunRow) -> tuple[object, ...]:
    phase = _PHASE_ORDER.get(row.phase, len(_PHASE_ORDER))
    return (phase, row.start_timestamp_seconds or 0.0, row.source, row.id)
