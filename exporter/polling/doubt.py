"""Inventories that are not believed yet: empty after a full one, or cut short."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.kinds import BY_READING, target_of
from exporter.sources.base import Failure


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from exporter.fleet.kinds import Kind
    from exporter.fleet.readings import Reading
    from exporter.sources.base import Poll


#: An inventory is believed when it has been the same for so long.
DOUBTED_SECONDS = 3600.0


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """The doubt about an inventory.

    Attributes:
        since: When the inventory was first so.
        digest: Of the ids of all targets in it.
        over: Whether it has been the same for so long that it is believed.
    """

    since: Moment
    digest: bytes
    over: bool = False


def doubted(
    poll: Poll, known: Collection[Reading], before: Doubt | None, now: Moment
) -> tuple[tuple[Reading, ...], Doubt | None]:
    """Return all readings to show, and the doubt about the inventory if there is one.

    While an inventory is not believed, the targets that it lacks are shown as they were known
    before, until that is too old.

    Args:
        poll: What was read now.
        known: The readings of before.
        before: The doubt of before.
        now: When it was read.
    """
    there = _kinds(poll.readings) | {kind for kind, count in poll.elsewhere.items() if count}
    emptied = _kinds(known).intersection(poll.inventory) - there
    if not poll.incomplete and not emptied:
        return poll.readings, None
    listed = {target for each in poll.readings if (target := target_of(each))}
    doubt = Doubt(since=now, digest=_digest(listed))
    if before is not None and before.digest == doubt.digest:
        doubt = before
    if now.monotonic - doubt.since.monotonic >= DOUBTED_SECONDS:
        return poll.readings, msgspec.structs.replace(doubt, over=True)
    missing = (
        each
        for each in known
        if (target := target_of(each)) and target[0] in poll.inventory and target not in listed
    )
    return (*poll.readings, *missing), doubt


def failure_of(poll: Poll) -> Failure:
    """Return the failure that a doubted inventory is."""
    what = (
        "there are none of a kind of targets any more (at the vendor, or after include and exclude)"
    )
    if poll.incomplete:
        what = "the vendor's list is shorter than its own total"
    message = f"{what}; those that are missing stay until this has been so for"
    message += f" {DOUBTED_SECONDS / 60:.0f} minutes"
    return Failure(reason=Reason.API_ERROR, message=message)


def _kinds(readings: Iterable[Reading]) -> set[Kind]:
    types = set(map(type, readings))
    return {kind for each in types if (kind := BY_READING.get(each))}


def _digest(targets: Collection[tuple[Kind, str]]) -> bytes:
    ids = "\n".join(sorted("\0".join(target) for target in targets))
    return hashlib.blake2b(ids.encode(errors="surrogatepass"), digest_size=16).digest()
