"""From snapshots to rows: what the page and the JSON API say, decided once and without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    Controller,
    Member,
    MinVersion,
    Reading,
    Recorder,
    RecorderState,
    State,
    Suite,
    SuiteRun,
    Target,
)
from exporter.overview.rows import (
    AgentRow,
    ClusterRow,
    Condition,
    FinishedRun,
    Kind,
    MemberRow,
    RecorderRow,
    SuiteRow,
    TargetRow,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot


_KINDS = {kind: place for place, kind in enumerate(Kind)}
_CONDITIONS = {condition: place for place, condition in enumerate(Condition)}


def target_rows(snapshots: Iterable[Snapshot], now: Moment) -> Iterator[TargetRow]:
    """Make a row of every target, in no particular order."""
    known = tuple(snapshots)
    minimums = _minimum_versions(known)
    for snapshot in known:
        base = {name: getattr(snapshot, name) for name in ("provider", "source", "labels")}
        oldest = minimums.get((snapshot.provider, snapshot.source), {})
        for reading in snapshot.readings:
            row = _row(reading, base, oldest, snapshot.taken, now)
            if row is not None:
                yield row


def _minimum_versions(snapshots: Sequence[Snapshot]) -> dict[tuple[str, str], dict[Kind, str]]:
    """Return the oldest accepted versions by source and kind.

    The names of components (`component` in the metrics) end in the kind of what they run on.
    """
    found: dict[tuple[str, str], dict[Kind, str]] = {}
    for snapshot in snapshots:
        for reading in snapshot.readings:
            if isinstance(reading, MinVersion):
                word = reading.component.rpartition("_")[2]
                if word in _KINDS:
                    source = found.setdefault((snapshot.provider, snapshot.source), {})
                    source[Kind(word)] = reading.version
    return found


def arranged(rows: Iterable[TargetRow]) -> list[TargetRow]:
    """Sort rows by kind, what needs a look first."""
    return sorted(rows, key=_place)


def _place(row: TargetRow) -> tuple[object, ...]:
    urgency = (_KINDS[row.kind], _CONDITIONS[row.state])
    return (*urgency, row.provider, row.source, row.name.casefold(), row.id)


def _row(
    reading: Reading, base: dict[str, Any], oldest: dict[Kind, str], taken: Moment, now: Moment
) -> TargetRow | None:
    match reading:
        case Agent():
            return _agent(reading, base | _minimum(oldest, Kind.AGENT), now)
        case Controller(controller=address):
            facts = base | _minimum(oldest, Kind.CONTROLLER) | _facts(reading, None, now)
            return TargetRow(kind=Kind.CONTROLLER, id=address, name=address, **facts)
        case Recorder():
            return _recorder(reading, base | _minimum(oldest, Kind.RECORDER), now)
        case Cluster():
            return _cluster(reading, base, now)
        case Suite():
            return _suite(reading, base, taken, now)
        case _:
            return None


def _minimum(oldest: dict[Kind, str], kind: Kind) -> dict[str, str | None]:
    return {"minimum_version": oldest.get(kind)}


def _agent(agent: Agent, base: dict[str, Any], now: Moment) -> AgentRow:
    state = agent.state or AgentState(read_at=now, up=None)
    return AgentRow(
        kind=Kind.AGENT,
        id=agent.agent_id,
        name=agent.agent,
        busy=state.busy,
        users_limit=state.users_limit,
        job_duration_limit_seconds=state.job_duration_limit_seconds,
        heartbeat_timestamp_seconds=state.heartbeat_timestamp_seconds,
        **_facts(agent, agent.active, now),
        **base,
    )


def _recorder(recorder: Recorder, base: dict[str, Any], now: Moment) -> RecorderRow:
    state = recorder.state or RecorderState(read_at=now, up=None)
    return RecorderRow(
        kind=Kind.RECORDER,
        id=recorder.recorder_id,
        name=recorder.recorder,
        recording=state.recording,
        **_facts(recorder, None, now),
        **base,
    )


def _cluster(cluster: Cluster, base: dict[str, Any], now: Moment) -> ClusterRow:
    members = tuple(_member(member) for member in cluster.members)
    return ClusterRow(
        kind=Kind.CLUSTER,
        id=cluster.cluster_id,
        name=cluster.agent_cluster,
        state=_cluster_condition(cluster, members),
        active=cluster.active,
        controller=cluster.controller,
        members=members,
        ping_duration_seconds=cluster.state.ping_duration_seconds if cluster.state else None,
        **_reading_time(cluster.state.read_at if cluster.state else None, now),
        **base,
    )


def _cluster_condition(cluster: Cluster, members: tuple[MemberRow, ...]) -> Condition:
    if cluster.active is False:
        return Condition.INACTIVE
    conditions = {member.state for member in members}
    if Condition.DOWN in conditions:
        return Condition.DOWN
    if cluster.state is None or Condition.UNKNOWN in conditions:
        return Condition.UNKNOWN
    return Condition.UP


def _member(member: Member) -> MemberRow:
    state = member.state
    return MemberRow(
        id=member.member_id,
        agent_id=member.agent_id,
        name=member.agent,
        state=_condition(state.up if state else None),
        reason=state.reason if state else None,
        outdated=state.outdated if state else None,
        clock_delta_seconds=state.clock_delta_seconds if state else None,
        load_factor=member.load_factor,
    )


def _suite(suite: Suite, base: dict[str, Any], taken: Moment, now: Moment) -> SuiteRow:
    last = suite.last_run
    return SuiteRow(
        kind=Kind.SUITE,
        id=suite.suite_id,
        name=suite.suite,
        state=_condition(suite.healthy),
        jobs=suite.jobs,
        running=suite.running,
        last_run_passed=last.passed if last else None,
        last_run_end_timestamp_seconds=last.end_timestamp_seconds if last else None,
        finished_runs=tuple(_finished(run) for run in suite.history or (last,) if run),
        **_reading_time(taken, now),
        **base,
    )


def _finished(run: SuiteRun) -> FinishedRun:
    return FinishedRun(
        id=run.run_id,
        passed=run.passed,
        start_timestamp_seconds=run.start_timestamp_seconds,
        end_timestamp_seconds=run.end_timestamp_seconds,
        duration_seconds=run.duration_seconds,
    )


def _facts(target: Target, active: bool | None, now: Moment) -> dict[str, Any]:  # noqa: FBT001 - three-valued, no flag
    state = target.state or State(read_at=now, up=None)
    return {
        "state": Condition.INACTIVE if active is False else _condition(state.up),
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
        **_reading_time(target.state.read_at if target.state else None, now),
    }


def _reading_time(read_at: Moment | None, now: Moment) -> dict[str, Any]:
    if read_at is None:
        return {"read_timestamp_seconds": None, "age_seconds": None}
    return {
        "read_timestamp_seconds": read_at.unix,
        "age_seconds": max(0.0, now.monotonic - read_at.monotonic),
    }


def _condition(up: bool | None) -> Condition:  # noqa: FBT001 - three-valued, no flag
    if up is None:
        return Condition.UNKNOWN
    return Condition.UP if up else Condition.DOWN
