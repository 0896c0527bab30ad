"""The lease of a leader: one document of the state, and its possible changes.

The holder of the lease does the work. All others read the document, take the lease when it is over
or free, and find in it the leader's message to them.
"""

from __future__ import annotations

import math
from struct import Struct

import msgspec

from exporter.clock import LATEST_UNIX


#: How long a lease lasts after each renewal.
LEASE_SECONDS = 15.0

#: A lease with a longer remaining time is damaged, and counts as over.
_LONGEST_SECONDS = 3600.0

#: How long a member that gave its lease up leaves it to the others.
COURTESY_SECONDS = 2.0

#: Epoch and expiry of the lease, in the same format in all versions of the exporter.
_HEADER = Struct(">Qd")

#: Length of the epoch at the start of the document, which is the fence of the holder's writes.
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
        epoch: A number that rises with each new holder.
        expires: When the lease is over, unless the holder renews it.
        holder: The member that has the lease; empty while it is free, `?` if the document is of an
            unknown version.
        process: The holder's process, as `exporter.process.identity` names it.
        former: The member that gave the lease up, while it is free.
        since: When the holder took the lease.
        told: The holder's message to all others.
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
        """The start of the document, which is the same while the holder has the lease."""
        return self.encoded()[:FENCE_BYTES]

    def is_held(self, now: float) -> bool:
        """Return whether a member has the lease."""
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
    """Return the lease in a document, `None` if the document is missing or damaged."""
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
    """Return the lease after a member has tried to take it; unchanged if another member has it.

    Args:
        lease: The lease in the document.
        member: The member that takes the lease.
        process: The member's process.
        dead: A holder whose process has ended, although its lease is not over.
        now: The state's clock.
    """
    if lease is not None and lease.is_held(now) and lease.holder not in (member, dead):
        return lease
    # At least the time in milliseconds: if the store lost an epoch, the next one is still higher.
    epoch = max((lease.epoch if lease is not None else 0) + 1, math.ceil(now * 1000.0))
    return Lease(
        epoch=epoch, expires=now + LEASE_SECONDS, holder=member, process=process, since=now
    )


def renewed(lease: Lease | None, own: Lease, *, told: bytes, now: float) -> Lease:
    """Return the lease after its holder has tried to renew it; unchanged if another member has it.

    Args:
        lease: The lease in the document.
        own: The lease as its holder knows it.
        told: The holder's message to all others.
        now: The state's clock.
    """
    if lease is not None and (lease.epoch, lease.holder) != (own.epoch, own.holder):
        return lease
    return msgspec.structs.replace(own, expires=now + LEASE_SECONDS, told=told)


def released(lease: Lease | None, own: Lease) -> Lease | None:
    """Return the lease after its holder has given it up; unchanged if another member has it."""
    if lease is None or (lease.epoch, lease.holder) != (own.epoch, own.holder):
        return lease
    return msgspec.structs.replace(
        own, holder="", process="", former=own.holder, told=lease.told, expires=0.0
    )
