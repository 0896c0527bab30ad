"""The election of a leader: one of several processes with the same state does some work.

The leader renews its lease, and the standbys check whether the lease is over. While the store
cannot be used, the last leader continues. A standby that has not reached the store for a minute
then works alone, possibly beside the leader.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum, unique
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter import process
from exporter.errors import StateError
from exporter.state import lease as leases
from exporter.state.base import Fence
from exporter.state.lease import COURTESY_SECONDS, LEASE_SECONDS, Lease


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.state.base import State


#: Interval between two renewals of a lease.
RENEWAL_SECONDS = LEASE_SECONDS / 3

#: Interval between two checks of the lease by a standby, and after a failed renewal.
LOOK_SECONDS = 0.5

#: A standby works alone when it has not reached the store for this long.
ALONE_SECONDS = 61.0

#: How long a leader that cannot do its work keeps its lease before it hands over. The time doubles
#: with each hand-over, up to the longest, until the leader does its work again.
HAND_OVER_SECONDS = 60.0
_LONGEST_HAND_OVER_SECONDS = 960.0

#: A standby's note, a document that shows that the standby is alive, is deleted after this time.
_FORGOTTEN_SECONDS = 600.0


@unique
class Role(StrEnum):
    """The role of a process."""

    #: The process has not checked the lease yet.
    UNDECIDED = "undecided"
    LEADER = "leader"
    STANDBY = "standby"

    #: The process works without a lease, because the store cannot be used.
    ALONE = "alone"

    @property
    def works(self) -> bool:
        """True if the process does the work."""
        return self in (Role.LEADER, Role.ALONE)


async def _nothing(*_: object) -> None:
    pass


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The work of the leader, as callbacks of one process.

    Attributes:
        described: The fields of log events that describe the work.
        changed: Called with the new role after each change of the role.
        tells: Returns the leader's message to the standbys.
        hears: Called with a new message of the leader, and its age in seconds.
        fails: Returns whether this process cannot do the work, so that another process should.
        passed: Called when the leader has changed.
    """

    described: Mapping[str, str]
    changed: Callable[[Role], Awaitable[None]] = _nothing
    tells: Callable[[], bytes] = bytes
    hears: Callable[[bytes, float], Awaitable[None]] = _nothing
    fails: Callable[[], bool] = lambda: False
    passed: Callable[[], object] = lambda: None


class Leadership:
    """One process's part in the election.

    Attributes:
        role: The current role.
    """

    def __init__(self, state: State, key: str, work: Work, *, clock: Clock) -> None:
        """Prepare the election; the role is undecided before `begin`.

        Args:
            state: Holds the lease; an operation raises while the store cannot be used.
            key: The key of the lease's document.
            work: The work of the leader.
            clock: The source of time.
        """
        self._state = state
        self._key = key
        self._work = work
        self._clock = clock
        self._member = uuid.uuid4().hex
        self._process = process.identity()
        self._log = structlog.get_logger("exporter.leadership").bind(**work.described)
        self.role = Role.UNDECIDED
        #: The last seen leader.
        self._leader = ""
        self._own: Lease | None = None
        #: Whether the leader has a new message, and the message that a standby received last.
        self._tells = False
        self._told = b""
        self._patience_seconds = HAND_OVER_SECONDS
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        now = clock.boottime()
        #: When the leader has to check its lease before it continues, when the leader renews its
        #: lease, and when a standby writes its next note.
        self._valid_until = self._renew_at = self._noted = now
        #: When the store was last reached, when the lease's document was last seen, and when this
        #: process first saw that its own lease was given up.
        self._heard = now
        self._seen: float | None = None
        self._given_up: float | None = None

    @property
    def lapsed(self) -> bool:
        """True if a leader must check its lease before it continues.

        That is so after the process was stopped, or its machine slept, for longer than the lease.
        """
        return self.role is Role.LEADER and self._clock.boottime() >= self._valid_until

    @property
    def fence(self) -> Fence | None:
        """The condition of the leader's writes; `None` while this process has no lease."""
        if self._own is None:
            return None
        return Fence(key=self._key, prefix=self._own.fence)

    def tell(self) -> None:
        """Send the standbys a new message."""
        self._tells = True
        self._wake.set()

    def begin(self) -> None:
        """Take part in the election from now on; the role is reported by `Work.changed`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="leadership")

    async def rest(self) -> None:
        """Stop renewing the lease, without giving it up; it lasts for some more seconds."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def step(self) -> None:
        """Renew the lease as the leader, or check as a standby whether to take it."""
        began = self._clock.boottime()
        try:
            if self.role is Role.LEADER:
                await self._lead(began)
            else:
                await self._look(began)
        except StateError as error:
            await self._miss(str(error))
        else:
            self._heard = began

    async def has_standby(self) -> bool:
        """Return whether another process would take the lease now; false without the store."""
        try:
            notes = await self._state.documents(f"{self._key}/")
            for key, note in notes.items():
                if note.age_seconds > _FORGOTTEN_SECONDS:
                    await self._state.delete(key)
        except StateError:
            return False
        return any(
            note.age_seconds < LEASE_SECONDS and not key.endswith(self._member)
            for key, note in notes.items()
        )

    async def leave(self) -> None:
        """Leave the election for good and give the lease up, so that a standby takes it at once."""
        await self.rest()
        own, self._own = self._own, None
        self.role = Role.UNDECIDED
        try:
            if own is not None:
                await self._change(lambda lease, _: leases.released(lease, own))
            await self._state.delete(f"{self._key}/{self._member}")
        except StateError:
            pass  # the lease then expires by itself
        # Break the reference cycle through the callbacks. Else the owner, with all metrics of its
        # source, stays until the next garbage collection.
        self._work = Work(described=self._work.described)

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception:  # noqa: BLE001 - a bug must not end the loop; it is logged
                self._log.exception("leadership_crashed")
            self._wake.clear()
            waits = {
                asyncio.ensure_future(self._clock.sleep(LOOK_SECONDS)),
                asyncio.ensure_future(self._wake.wait()),
            }
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()

    async def _lead(self, began: float) -> None:
        own = self._own
        if own is None or not (self._tells or began >= self._renew_at):
            return
        if self._work.fails():
            if await self._hands_over(own):
                await self._become(Role.STANDBY)
                return
        elif self._led_seconds(own) >= HAND_OVER_SECONDS:
            self._patience_seconds = HAND_OVER_SECONDS
        self._tells = False
        told = self._work.tells()
        try:
            lease = await self._change(
                lambda lease, now: leases.renewed(lease, own, told=told, now=now)
            )
        except StateError:
            self._tells = True
            raise
        if lease is not None and (lease.epoch, lease.holder) == (own.epoch, own.holder):
            self._hold(lease, began)
        else:
            self._log.warning("lease_lost")
            await self._become(Role.STANDBY)

    async def _hands_over(self, own: Lease) -> bool:
        if self._led_seconds(own) < self._patience_seconds or not await self.has_standby():
            return False
        self._patience_seconds = min(2 * self._patience_seconds, _LONGEST_HAND_OVER_SECONDS)
        await self._change(lambda lease, _: leases.released(lease, own))
        self._log.warning("handed_over", message="a standby may reach the vendor")
        return True

    def _led_seconds(self, own: Lease) -> float:
        now = self._state.now()
        return 0.0 if now is None else now - own.since

    async def _look(self, began: float) -> None:
        document = await self._state.get(self._key)
        lease = leases.parsed(document.value) if document is not None else None
        now = self._state.now()
        dead = lease.holder if lease is not None and process.has_ended(lease.process) else ""
        if now is not None and self._may_take(lease, now, dead, began):
            lease = await self._change(
                lambda lease, now: leases.taken(
                    lease, member=self._member, process=self._process, dead=dead, now=now
                )
            )
            if lease is not None and lease.holder == self._member:
                self._hold(lease, began)
                self._tells = True
                await self._become(Role.LEADER)
                return
        await self._become(Role.STANDBY)
        if lease is not None:
            self._note_leader(lease.holder)
        if began >= self._noted:
            self._noted = began + RENEWAL_SECONDS
            await self._state.put(f"{self._key}/{self._member}", b"")
        if lease is not None and document is not None and lease.holder and lease.told != self._told:
            self._told = lease.told
            await self._work.hears(lease.told, document.age_seconds)

    def _may_take(self, lease: Lease | None, now: float, dead: str, began: float) -> bool:
        """Return whether to try to take a lease, which was read after `began`."""
        if lease is None:
            # If the store has lost the lease, its holder gets time to write it again.
            return self._seen is None or began - self._seen >= LEASE_SECONDS
        self._seen = began
        if lease.former != self._member:
            self._given_up = None
        elif self._given_up is None:
            self._given_up = began
        if self._given_up is not None and began - self._given_up < COURTESY_SECONDS:
            return False
        return not lease.is_held(now) or lease.holder in (self._member, dead)

    async def _miss(self, cause: str) -> None:
        """Continue without the store: a leader leads on, a standby works alone after a minute."""
        now = self._clock.boottime()
        if self.role is Role.LEADER:
            # A failed check counts as a check, so that a leader continues without the store.
            self._valid_until = now + LEASE_SECONDS
        elif self.role is Role.UNDECIDED or now - self._heard >= ALONE_SECONDS:
            if self.role is not Role.ALONE:
                self._log.warning("works_alone", message=cause)
            await self._become(Role.ALONE)

    def _hold(self, lease: Lease, began: float) -> None:
        self._own = lease
        self._seen, self._given_up = began, None
        # The lease starts after `began`, so it ends for this process before it ends for others.
        self._valid_until = began + LEASE_SECONDS
        self._renew_at = began + RENEWAL_SECONDS

    async def _become(self, role: Role) -> None:
        if role.works:
            self._note_leader(self._member)
        if role is self.role:
            return
        before, self.role = self.role, role
        if role is Role.STANDBY:
            # The next check writes this standby's note at once, in case the leader is leaving.
            self._own, self._told, self._noted = None, b"", 0.0
        if before is not Role.UNDECIDED or role is not Role.LEADER:
            self._log.info("role_changed", role=role.value)
        await self._work.changed(role)

    def _note_leader(self, member: str) -> None:
        """Report a change of the leader, except for the first leader seen and a free lease."""
        if member and member != self._leader:
            if self._leader:
                self._work.passed()
            self._leader = member

    async def _change(self, change: Callable[[Lease | None, float], Lease | None]) -> Lease | None:
        return await self._state.update(self._key, partial(_changed, change))


def _changed(
    change: Callable[[Lease | None, float], Lease | None], value: bytes | None, now: float
) -> tuple[bytes | None, Lease | None]:
    before = leases.parsed(value)
    after = change(before, now)
    # An unchanged document stays as it is, also if a newer version has written it.
    return (value if after == before or after is None else after.encoded()), after
