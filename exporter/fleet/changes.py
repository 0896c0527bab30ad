"""Changes of targets between two snapshots of a task: the lines people want to find in the log.

A target that stays down is not a change, so it is logged once and not at every poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.cooperative import collected, in_turns
from exporter.fleet.kinds import BY_READING, Kind
from exporter.fleet.readings import Agent, Cluster, MemberState, Reading, State, Target


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator


# Looked up once: an attribute of an enumeration's class costs a tenth of a target's comparison.
_AGENT, _MEMBER = Kind.AGENT, Kind.MEMBER

What = Literal["down", "up", "outdated", "gone", "inactive", "active"]


class TargetChange(msgspec.Struct, frozen=True, kw_only=True):
    """One target that is not what it was.

    Attributes:
        what: What it is now; `gone` is no longer in the inventory.
        kind: `agent`, `controller`, `member`, `recorder`.
        reason: Why it is down.
    """

    what: What
    kind: Kind
    target_id: str
    target: str
    reason: str = ""


class _Condition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    target: str
    up: bool | None = None
    active: bool | None = None
    outdated: bool | None = None
    reason: str = ""


async def changes(
    before: Iterable[Reading], after: Iterable[Reading]
) -> AsyncIterator[TargetChange]:
    """Compare two snapshots of the same task, in turns with everybody else.

    What is seen for the first time and is well makes no change, so that a start is quiet.
    """
    old = dict(await collected(_conditions(before)))
    async for key, new in in_turns(_conditions(after)):
        known = old.pop(key, None) or _Condition(target=new.target)
        for what in _differences(known, new) if known != new else ():
            yield TargetChange(
                what=what,
                kind=key[0],
                target_id=key[1],
                target=new.target,
                reason=new.reason if what == "down" else "",
            )
    for (kind, target_id), lost in old.items():
        yield TargetChange(what="gone", kind=kind, target_id=target_id, target=lost.target)


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
                for member in reading.members:
                    key = (_MEMBER, f"{reading.cluster_id}/{member.member_id}")
                    yield key, _condition(f"{reading.agent_cluster}/{member.agent}", member.state)


def _condition(
    target: str,
    state: State | MemberState | None,
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
