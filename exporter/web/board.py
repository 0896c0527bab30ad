"""From snapshots to rows: what the page and the JSON API say, decided once and without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.errors import Reason
from exporter.readings import (
    Agent,
    AgentState,
    Cluster,
    ClusterState,
    Controller,
    Member,
    Reading,
    Recorder,
    RecorderState,
    State,
    Suite,
    Target,
)


if TYPE_CHECKING:
    from exporter.clock import Moment
    from exporter.store import Snapshot


@unique
class Kind(StrEnum):
    """The kinds of targets, in the order in which they are shown."""

    AGENT = "agent"
    CONTROLLER = "controller"
    CLUSTER = "cluster"
    RECORDER = "recorder"
    SUITE = "suite"


@unique
class Condition(StrEnum):
    """How a target or a source is, in the order of urgency."""

    DOWN = "down"
    UNKNOWN = "unknown"
    INACTIVE = "inactive"
    UP = "up"


_KINDS = {kind: place for place, kind in enumerate(Kind)}
_CONDITIONS = {condition: place for place, condition in enumerate(Condition)}


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one target; `None` is unknown.

    A cluster is up when all its members are, down when one of them is. A suite is up when the
    vendor finds it runnable: the verdict on its runs is another matter.

    Attributes:
        id, name: The same for controllers, which have no other id than `host:port`.
        read_timestamp_seconds: When the state was read, epoch.
        age_seconds: How long ago that was.
        labels: The static labels of the source.
    """

    kind: Kind
    provider: str
    source: str
    id: str
    name: str
    state: Condition
    reason: Reason | None = None
    outdated: bool | None = None
    active: bool | None = None
    protected: bool | None = None
    host: str | None = None
    port: str | None = None
    location: str | None = None
    version: str | None = None
    clock_delta_seconds: float | None = None
    ping_duration_seconds: float | None = None
    read_timestamp_seconds: float | None = None
    age_seconds: float | None = None
    last_up_timestamp_seconds: float | None = None
    labels: Mapping[str, str] = {}


class AgentRow(TargetRow, frozen=True, kw_only=True):
    """An agent; infinite limits are no limits."""

    busy: bool | None = None
    users_limit: float | None = None
    job_duration_limit_seconds: float | None = None
    heartbeat_timestamp_seconds: float | None = None


class RecorderRow(TargetRow, frozen=True, kw_only=True):
    """A proxy recorder."""

    recording: bool | None = None


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a cluster; `id` is the member's, `agent_id` the agent's."""

    id: str
    agent_id: str
    name: str
    state: Condition
    reason: Reason | None = None
    outdated: bool | None = None
    clock_delta_seconds: float | None = None
    load_factor: float | None = None


class ClusterRow(TargetRow, frozen=True, kw_only=True):
    """A cluster with its members; the reasons are theirs."""

    controller: str
    members: tuple[MemberRow, ...] = ()

    @property
    def members_down(self) -> int:
        """Count the members that are down."""
        return sum(member.state is Condition.DOWN for member in self.members)


class SuiteRow(TargetRow, frozen=True, kw_only=True):
    """A suite.

    Attributes:
        last_run_passed: The verdict on the newest finished run.
    """

    jobs: float | None = None
    running: bool | None = None
    last_run_passed: bool | None = None
    last_run_end_timestamp_seconds: float | None = None


def target_rows(snapshots: Iterable[Snapshot], now: Moment) -> Iterator[TargetRow]:
    """Make a row of every target, in no particular order."""
    for snapshot in snapshots:
        base = {name: getattr(snapshot, name) for name in ("provider", "source", "labels")}
        for reading in snapshot.readings:
            row = _row(reading, base, now)
            if row is not None:
                yield row


def arranged(rows: Iterable[TargetRow]) -> list[TargetRow]:
    """Sort rows by kind, what needs a look first."""
    return sorted(rows, key=_place)


def _place(row: TargetRow) -> tuple[object, ...]:
    urgency = (_KINDS[row.kind], _CONDITIONS[row.state])
    return (*urgency, row.provider, row.source, row.name.casefold(), row.id)


def _row(reading: Reading, base: dict[str, Any], now: Moment) -> TargetRow | None:
    match reading:
        case Agent():
            return _agent(reading, base, now)
        case Controller(controller=address):
            facts = _facts(reading, None, now)
            return TargetRow(kind=Kind.CONTROLLER, id=address, name=address, **facts, **base)
        case Recorder():
            return _recorder(reading, base, now)
        case Cluster():
            return _cluster(reading, base, now)
        case Suite():
            return _suite(reading, base)
        case _:
            return None


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
        **_reading_time(cluster.state, now),
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


def _suite(suite: Suite, base: dict[str, Any]) -> SuiteRow:
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
        **base,
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
        **_reading_time(target.state, now),
    }


def _reading_time(state: State | ClusterState | None, now: Moment) -> dict[str, Any]:
    if state is None:
        return {"read_timestamp_seconds": None, "age_seconds": None}
    return {
        "read_timestamp_seconds": state.read_at.unix,
        "age_seconds": max(0.0, now.monotonic - state.read_at.monotonic),
    }


def _condition(up: bool | None) -> Condition:  # noqa: FBT001 - three-valued, no flag
    if up is None:
        return Condition.UNKNOWN
    return Condition.UP if up else Condition.DOWN
