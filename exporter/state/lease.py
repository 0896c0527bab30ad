"""The lease of a leader: one document of the state, and the changes that it can go through.

Whoever holds the lease does the work; all others look at the document, take the lease when it is
over or free, and read in it what the leader tells them.
"""

from __future__ import annotations

import math
from struct import Struct

import msgspec

from exporter.clock import LATEST_UNIX


#: A lease lasts so long after each renewal.
LEASE_SECONDS = 15.0

#: No lease of any version lasts longer; one that does is damaged, and nobody would ever poll again.
_LONGEST_SECONDS = 3600.0

#: A member that has given up its lease leaves it to the others for so long.
COURTESY_SECONDS = 2.0

#: Epoch and end of the lease: the same in every version, so that versions respect each other.
_HEADER = Struct(">Qd")

#: The epoch at the beginning of a document; what its holder writes elsewhere depends on it.
FENCE_BYTES = 8


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    holder: str = ""
    process: str = ""
    former: str = ""
    since: float = 0.0
    told: bytes = b""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease; times are seconds of the state's clock.

    Attributes:
        epoch: Higher with each holder.
        expires: When it is over, unless the holder renews it.
        holder: The member that has it; empty while it is free, `?` if the document is of a version
            that is not known.
        process: Which process that is, as `exporter.process.identity` names it.
        former: The member that gave it up, while it is free.
        since: When the holder took it.
        told: What the holder tells all others.
    """

    epoch: int
    expires: float
    holder: str = ""
    process: str = ""
    former: str = ""
    since: float = 0.0
    told: bytes = b""

    @property
    def fence(self) -> bytes:
        """Return what the document begins with for as long as the holder has the lease."""
        return self.encoded()[:FENCE_BYTES]

    def is_held(self, now: float) -> bool:
        """Return whether somebody has it."""
        return bool(self.holder) and 0.0 < self.expires - now <= _LONGEST_SECONDS

    def encoded(self) -> bytes:
        """Return the document's value."""
        content = _Content(
            holder=self.holder,
            process=self.process,
            former=self.former,
            since=self.since,
            told=self.told,
        )
        return _HEADER.pack(self.epoch, self.expires) + msgspec.msgpack.encode(content)


def parsed(value: bytes | None) -> Lease | None:
    """Return the lease of a document, `None` where there is none or it is damaged."""
    if value is None or len(value) < _HEADER.size:
        return None
    epoch, expires = _HEADER.unpack_from(value)
    if not 0.0 <= expires <= LATEST_UNIX or epoch >= 2**63:
        return None
    try:
        content = msgspec.msgpack.decode(value[_HEADER.size :], type=_Content)
    except (ValueError, RecursionError):
        return Lease(epoch=epoch, expires=expires, holder="?")
    return Lease(epoch=epoch, expires=expires, **msgspec.structs.asdict(content))


def taken(lease: Lease | None, *, member: str, process: str, dead: str, now: float) -> Lease:
    """Return the lease after a member has tried to take it: its own if it has it now.

    Args:
        lease: As it is.
        member: Takes it.
        process: Which process the member is.
        dead: A holder that is known to be gone, though its lease goes on.
        now: The state's clock.
    """
    if lease is not None and lease.is_held(now) and lease.holder not in (member, dead):
        return lease
    # Not below the time: also where the store has lost an epoch, the next one is higher.
    epoch = max((lease.epoch if lease is not None else 0) + 1, math.ceil(now * 1000.0))
    return Lease(
        epoch=epoch, expires=now + LEASE_SECONDS, holder=member, process=process, since=now
    )


def renewed(lease: Lease | None, own: Lease, *, told: bytes, now: float) -> Lease:
    """Return the lease after its holder has tried to renew it.

    Args:
        lease: As it is.
        own: As its holder knows it.
        told: What the holder tells.
        now: The state's clock.
    """
    if lease is not None and (lease.epoch, lease.holder) != (own.epoch, own.holder):
        return lease
    return msgspec.structs.replace(own, expires=now + LEASE_SECONDS, told=told)


def released(lease: Lease | None, own: Lease) -> Lease | None:
    """Return the lease after its holder has given it up."""
    if lease is None or (lease.epoch, lease.holder) != (own.epoch, own.holder):
        return lease
    return msgspec.structs.replace(
        own, holder="", process="", former=own.holder, told=lease.told, expires=0.0
    )
