"""Changes of targets between two snapshots of a task, for the log.

A target that stays down is not a change, so it is logged once and not at every poll. Its reading
has the time since when it is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from exporter.cooperative import collected, in_turns
from exporter.fleet.kinds import BY_READING, Kind
from exporter.fleet.readings import (
    Agent,
    Cluster,
    ClusterState,
    MemberState,
    Reading,
    State,
    Target,
)


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator


# Looked up once, because an attribute of an enumeration takes a tenth of a target's comparison.
_AGENT, _CLUSTER, _MEMBER = Kind.AGENT, Kind.CLUSTER, Kind.MEMBER

R = TypeVar("R", bound=Reading)

What = Literal["down", "up", "outdated", "gone", "inactive", "active"]


class TargetChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one target.

    Attributes:
        what: The new state; `gone` means no longer in the inventory.
        kind: The kind of target.
        target_id: The target's id.
        target: The target's name.
        reason: The reason why the target is down.
    """

    what: What
    kind: Kind
    target_id: str
    target: str
    reason: str = ""


class Since(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The newest known `up` of a target, and the Unix time since when it has this value."""

    up: bool
    timestamp_seconds: float


#: By kind and id. An entry stays while the target's state is unknown.
SinceByTarget = Mapping[tuple[Kind, str], Since]


class _Condition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    target: str
    up: bool | None = None
    active: bool | None = None
    outdated: bool | None = None
    reason: str = ""


async def changes(
    before: Iterable[Reading], after: Iterable[Reading]
) -> AsyncIterator[TargetChange]:
    """Yield the changes between two snapshots of the same task, pausing for other tasks.

    A new target that is well is not a change, so that a start logs little.
    """
    olds = _conditions(before)
    # A table is built only where the two snapshots list different targets or in another order.
    others: dict[tuple[Kind, str], _Condition] | None = None
    async for key, new in in_turns(_conditions(after)):
        known = None
        if others is None:
            listed, known = next(olds, (key, None))
            if listed != key:
                others = {listed: known, **dict(await collected(olds))} if known else {}
        if others is not None:
            known = others.pop(key, None)
        known = known or _Condition(target=new.target)
        for what in _differences(known, new) if known != new else ():
            yield TargetChange(
                what=what,
                kind=key[0],
                target_id=key[1],
                target=new.target,
                reason=new.reason if what == "down" else "",
            )
    others = dict(await collected(olds)) if others is None else others
    # A target that the vendor listed twice is not gone while it is listed once.
    there = {key async for key, _ in in_turns(_conditions(after))} if others else set()
    for (kind, target_id), lost in others.items():
        if (kind, target_id) in there:
            continue
        yield TargetChange(what="gone", kind=kind, target_id=target_id, target=lost.target)


def dated(reading: R, known: SinceByTarget, found: dict[tuple[Kind, str], Since]) -> R:
    """Return a reading with the time since when its target is up or down, if known.

    That is the time when the exporter first read this state, so the latest possible one.

    Args:
        reading: The reading of the source.
        known: The times after the poll before.
        found: Receives the time of this target.
    """
    match reading:
        case Target(state=state):
            kind = BY_READING[type(reading)]
            at = _dated((kind, kind.id_of(reading)), state, known, found)
            if at == reading.changed_timestamp_seconds:
                return reading
            return msgspec.structs.replace(reading, changed_timestamp_seconds=at)
        case Cluster():
            since = _dated((_CLUSTER, reading.cluster_id), reading.state, known, found)
            members = []
            for member in reading.members:
                key = (_MEMBER, f"{reading.cluster_id}/{member.member_id}")
                at = _dated(key, member.state, known, found)
                members.append(msgspec.structs.replace(member, changed_timestamp_seconds=at))
            return msgspec.structs.replace(
                reading, changed_timestamp_seconds=since, members=tuple(members)
            )
    return reading


def _dated(
    key: tuple[Kind, str],
    state: State | ClusterState | MemberState | None,
    known: SinceByTarget,
    found: dict[tuple[Kind, str], Since],
) -> float | None:
    since = known.get(key)
    if state is None or state.up is None:
        if since is not None:
            found[key] = since
        return None
    if since is None or since.up != state.up:
        since = Since(up=state.up, timestamp_seconds=state.read_at.unix)
    found[key] = since
    return since.timestamp_seconds


def _differences(old: _Condition, new: _Condition) -> Iterator[What]:
    if new.up is False and (old.up is not False or old.reason != new.reason):
        yield "down"
    if new.up is True and old.up is False:
        yield "up"
    if new.outdated is True and not old.outdated:
        yield "outdated"
    if new.active is False and old.active is True:
        yield "inactive"
    if new.active is True and old.active is False:
        yield "active"


def _conditions(readings: Iterable[Reading]) -> Iterator[tuple[tuple[Kind, str], _Condition]]:
    for reading in readings:
        match reading:
            case Agent():
                condition = _condition(reading.agent, reading.state, reading.active)
                yield (_AGENT, reading.agent_id), condition
            case Target():
                kind = BY_READING[type(reading)]
                yield (kind, kind.id_of(reading)), _condition(kind.name_of(reading), reading.state)
            case Cluster():
                condition = _condition(reading.agent_cluster, reading.state, reading.active)
                yield (_CLUSTER, reading.cluster_id), condition
                for member in reading.members:
                    key = (_MEMBER, f"{reading.cluster_id}/{member.member_id}")
                    yield key, _condition(f"{reading.agent_cluster}/{member.agent}", member.state)


def _condition(
    target: str,
    state: State | ClusterState | MemberState | None,
    active: bool | None = None,  # noqa: FBT001 - a field
) -> _Condition:
    if state is None:
        return _Condition(target=target, active=active)
    return _Condition(
        target=target,
        up=state.up,
        active=active,
        outdated=state.outdated,
        reason=state.reason or "",
    )
