"""The leadership: which of several processes with one state does a piece of work.

The leader renews its lease, the standbys look whether it is over. Without the store the last leader
goes on; a standby that has heard nothing for a minute works alone, beside it if need be.
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


#: Between two renewals of a lease.
RENEWAL_SECONDS = LEASE_SECONDS / 3

#: Between two looks of a standby, and after a renewal that failed.
LOOK_SECONDS = 0.5

#: A standby works alone when it has heard nothing for so long.
ALONE_SECONDS = 61.0

#: A leader that cannot do its work keeps its lease for so long before it hands over; each time that
#: was of no use, twice as long, up to the longest.
HAND_OVER_SECONDS = 60.0
_LONGEST_HAND_OVER_SECONDS = 960.0

#: The note of a standby that is this old is deleted: that one is gone.
_FORGOTTEN_SECONDS = 600.0


@unique
class Role(StrEnum):
    """The part of a process in a piece of work."""

    #: It has not looked yet.
    UNDECIDED = "undecided"
    LEADER = "leader"
    STANDBY = "standby"

    #: It works without a lease, since the store cannot be used.
    ALONE = "alone"

    @property
    def works(self) -> bool:
        """True if the process does the work."""
        return self in (Role.LEADER, Role.ALONE)


async def _nothing(*_: object) -> None:
    pass


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of work that one of several processes does, as one of them offers it.

    Attributes:
        described: What the log says of it.
        changed: Called with the role, each time it is another one.
        tells: Returns what the leader tells the standbys.
        hears: Takes what the leader has told, and its age in seconds.
        fails: Whether this process cannot do the work, so that another one should.
        passed: Called when another process does the work than before.
    """

    described: Mapping[str, str]
    changed: Callable[[Role], Awaitable[None]] = _nothing
    tells: Callable[[], bytes] = bytes
    hears: Callable[[bytes, float], Awaitable[None]] = _nothing
    fails: Callable[[], bool] = lambda: False
    passed: Callable[[], object] = lambda: None


class Leadership:
    """One process's part in a piece of work.

    Attributes:
        role: As it is now.
    """

    def __init__(self, state: State, key: str, work: Work, *, clock: Clock) -> None:
        """Prepare; nothing is decided yet.

        Args:
            state: Where the lease is; an operation raises while the store cannot be used.
            key: Of the lease's document.
            work: What is led.
            clock: Where time comes from.
        """
        self._state = state
        self._key = key
        self._work = work
        self._clock = clock
        self._member = uuid.uuid4().hex
        self._process = process.identity()
        self._log = structlog.get_logger("exporter.leadership").bind(**work.described)
        self.role = Role.UNDECIDED
        #: Who was last seen to lead.
        self._leader = ""
        self._own: Lease | None = None
        #: Whether there is something new to tell, and what was heard last.
        self._tells = False
        self._told = b""
        self._patience_seconds = HAND_OVER_SECONDS
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        now = clock.boottime()
        #: Until when a leader may work without another look at its lease, when it renews that, and
        #: when a standby next leaves its note.
        self._valid_until = self._renew_at = self._noted = now
        #: When the store was last used, the document last seen, and the lease first seen given up.
        self._heard = now
        self._seen: float | None = None
        self._given_up: float | None = None

    @property
    def lapsed(self) -> bool:
        """True if the process may not go on before it has looked at its lease.

        So it is when it was stopped, or its machine asleep, for longer than its lease.
        """
        return self.role is Role.LEADER and self._clock.boottime() >= self._valid_until

    @property
    def fence(self) -> Fence | None:
        """Return the condition of the leader's writes; `None` while this process never led."""
        if self._own is None:
            return None
        return Fence(key=self._key, prefix=self._own.fence)

    def tell(self) -> None:
        """Have the standbys told what is new."""
        self._tells = True
        self._wake.set()

    def begin(self) -> None:
        """Begin to take part, if that has not begun; what is decided is told as a change."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="leadership")

    async def rest(self) -> None:
        """Take part no more, without giving the lease up; it lasts for a few seconds."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def step(self) -> None:
        """Renew the lease, or look whether to take it."""
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
        """Return whether another process would take the lease now; false if nobody knows."""
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
        """Take part no more, for good, and give the lease up, so that nobody waits for its end."""
        await self.rest()
        own, self._own = self._own, None
        self.role = Role.UNDECIDED
        try:
            if own is not None:
                await self._change(lambda lease, _: leases.released(lease, own))
            await self._state.delete(f"{self._key}/{self._member}")
        except StateError:
            pass  # then it ends by itself
        # What is told of the work is its owner's, who has this: a cycle with all of a source's
        # metrics in it, which would stay until the garbage collector comes.
        self._work = Work(described=self._work.described)

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception:  # noqa: BLE001 - the loop must outlive a mistake; it is logged
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
        self._log.warning("handed_over", message="another process may have more success")
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
        """Return whether to try to take a lease, which was read when this look had begun."""
        if lease is None:
            # A store that has lost it leaves its holder the time to take it again.
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
        """Go on without the store: a leader as such, who has heard nothing for long alone."""
        now = self._clock.boottime()
        if self.role is Role.LEADER:
            # It has looked at its lease, as far as that is possible.
            self._valid_until = now + LEASE_SECONDS
        elif self.role is Role.UNDECIDED or now - self._heard >= ALONE_SECONDS:
            if self.role is not Role.ALONE:
                self._log.warning("works_alone", message=cause)
            await self._become(Role.ALONE)

    def _hold(self, lease: Lease, began: float) -> None:
        self._own = lease
        self._seen, self._given_up = began, None
        # The lease began later than this, so it is over for us before it is for others.
        self._valid_until = began + LEASE_SECONDS
        self._renew_at = began + RENEWAL_SECONDS

    async def _become(self, role: Role) -> None:
        if role.works:
            self._note_leader(self._member)
        if role is self.role:
            return
        before, self.role = self.role, role
        if role is Role.STANDBY:
            # What leaves at this moment has to see us at our first look.
            self._own, self._told, self._noted = None, b"", 0.0
        if before is not Role.UNDECIDED or role is not Role.LEADER:
            self._log.info("role_changed", role=role.value)
        await self._work.changed(role)

    def _note_leader(self, member: str) -> None:
        """Count a change of the leader; the first one seen is none, nor is a free lease."""
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
    # What is not ours stays to the byte, also if a newer version has written it.
    return (value if after == before or after is None else after.encoded()), after
