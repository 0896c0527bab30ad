"""Doubted inventories: suddenly empty, or shorter than the vendor's own total."""

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


#: A doubted inventory is accepted after it has been the same for this long.
DOUBTED_SECONDS = 3600.0


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """The doubt about an inventory.

    Attributes:
        since: When the inventory was first like this.
        digest: Digest of the ids of all targets in the inventory.
        over: Whether the inventory has been the same for `DOUBTED_SECONDS` and is accepted.
    """

    since: Moment
    digest: bytes
    over: bool = False


def doubted(
    poll: Poll, known: Collection[Reading], before: Doubt | None, now: Moment
) -> tuple[tuple[Reading, ...], Doubt | None]:
    """Return all readings to show, and the doubt about the inventory if there is one.

    While an inventory is doubted, its missing targets keep their last readings until these expire.

    Args:
        poll: The newest poll.
        known: The readings of the poll before.
        before: The doubt of the poll before.
        now: The time of the newest poll.
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
    """Return the failure of a poll whose inventory is doubted."""
    problem = "a kind of targets is suddenly empty (at the vendor, or after include and exclude)"
    if poll.incomplete:
        problem = "the vendor's list is shorter than its own total"
    minutes = f"{DOUBTED_SECONDS / 60:.0f} minutes"
    message = f"{problem}; missing targets stay until the list has been the same for {minutes}"
    return Failure(reason=Reason.API_ERROR, message=message)


def _kinds(readings: Iterable[Reading]) -> set[Kind]:
    types = set(map(type, readings))
    return {kind for each in types if (kind := BY_READING.get(each))}


def _digest(targets: Collection[tuple[Kind, str]]) -> bytes:
    ids = "\n".join(sorted("\0".join(target) for target in targets))
    return hashlib.blake2b(ids.encode(errors="surrogatepass"), digest_size=16).digest()
