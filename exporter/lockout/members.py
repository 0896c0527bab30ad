"""The members of a ledger: the processes that call, and their turns while they share no ledger.

Each member writes a heartbeat to the state. While all members reach the store, the ledger counts
the calls of all. Otherwise a member does not see the others' calls, and allows for them by the
heartbeats that it saw last. `ledger.py` says what the member may send then; its `Turn` says how
long it waits.

The times are chosen so that at most four calls are refused in any minute, summed over up to three
calling members, whenever the store fails, comes back or loses its data:

* When the store fails, a member does not know the other members' last refusals. So all members send
  nothing for `QUIET_SECONDS`, until those refusals are over a minute old. After a short outage the
  store is back before that. If no other member has called, there is no such pause.
* From then on each member causes at most one possibly refused call in 61 seconds.
* When the store is back, the ledger in it lacks the refusals that other members kept in memory. A
  member's own refusals are dropped, too, if another member wrote its record first. So the members
  do not rely on the ledger for `SETTLING_SECONDS`, until the last member is back and its refusals
  are old. Until then the members in the store together cause one possibly refused call in 61
  seconds.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import StateError
from exporter.lockout.record import Turn, digest
from exporter.state.base import RETRY_SECONDS


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.sharding import Shard
    from exporter.state.base import Document, State


#: Interval between two heartbeats.
BEAT_SECONDS = 5.0

#: A member whose heartbeat is older is gone.
ALIVE_SECONDS = 30.0

#: A heartbeat that is older is deleted.
FORGOTTEN_SECONDS = 600.0

#: A member that has not called for this long is a standby.
ACTIVE_SECONDS = 300.0

#: Shards without a store for several hosts take turns to send a proof; all turns take this long.
ROUND_SECONDS = 60.0

#: A member's turn while the store is unreachable: the minute in which the vendor counts refusals,
#: and a second more.
TURN_SECONDS = 61.0

#: A call that is in flight when the store fails may be refused up to this much later.
LATE_SECONDS = 10.0

QUIET_SECONDS = TURN_SECONDS + LATE_SECONDS

#: The other members use the store again after `RETRY_SECONDS` at most, and their refusals, which
#: may be `LATE_SECONDS` late, count for a turn.
SETTLING_SECONDS = RETRY_SECONDS + LATE_SECONDS + TURN_SECONDS

_PREFIX = "member/"


class _Heartbeat(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The content of a member's heartbeat.

    Attributes:
        namespace: Digest of the installation's name.
        calls: Whether the member has called within `ACTIVE_SECONDS` while it shared the ledger.
    """

    namespace: str
    index: int
    total: int
    calls: bool


class Members:
    """The processes that use one ledger, as one of these processes sees them."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        state: State,
        *,
        namespace: str,
        shard: Shard,
        clock: Clock,
        only_looks: bool = False,
        shared: bool = False,
    ) -> None:
        """Create a view without any members yet.

        Args:
            state: The state that contains the ledger.
            namespace: The name of the installation.
            shard: This process's shard.
            clock: The source of time.
            only_looks: Whether this process is a command, such as `status`, and not a member.
            shared: Whether the store serves several hosts.
        """
        self._state = state
        self._namespace = digest(namespace)
        self._shard = shard
        self._clock = clock
        self._only_looks = only_looks
        self._shared = shared
        self._key = f"{_PREFIX}{uuid.uuid4().hex}"
        #: The members last seen, by their keys; `None` until the store was reached once.
        self._seen: dict[str, _Heartbeat] | None = None
        #: The backend in which the heartbeats of all shards were found.
        self._shared_in = ""
        self._beaten = float("-inf")
        self._called = float("-inf")
        #: The last seen `State.whole`; `None` until the state was used.
        self._whole: bool | None = None
        self._gone_at = self._back_at = float("-inf")

    def count(self) -> int:
        """Return how many members were last seen, including this one, without commands."""
        if self._seen is None:
            return self._shard.total
        return max(1, len(self._ids()))

    async def beat(self) -> None:
        """Write this member's heartbeat and read the others', if `BEAT_SECONDS` have passed.

        Raises:
            StateError: The state cannot be used.
        """
        if not self._shared and self._shard.total == 1:
            return
        self._follow()
        now = self._clock.monotonic()
        if now - self._beaten < BEAT_SECONDS:
            return
        self._beaten = now
        if not self._only_looks:
            heartbeat = _Heartbeat(
                namespace=self._namespace,
                index=self._shard.index,
                total=self._shard.total,
                calls=now - self._called <= ACTIVE_SECONDS,
            )
            # Not to `shared`: while this member uses memory, it shares no ledger, and the others
            # must not find its heartbeat in the store.
            await self._state.put(self._key, msgspec.msgpack.encode(heartbeat))
            self._follow()
        with suppress(StateError):
            await self._look()

    async def leave(self) -> None:
        """Delete the heartbeat before the process ends; never raises."""
        # While the state is in memory there is nothing to delete, and trying may take seconds.
        if self._beaten > float("-inf") and not self._only_looks and not self._in_memory:
            with suppress(StateError):
                await self._state.shared.delete(self._key)

    def turn_seconds(self) -> float | None:
        """Return how long after a minute's pause this member's turn to send a proof comes.

        Returns:
            Seconds; `None` while the ledger counts the calls of all members.
        """
        if not self._shared:
            if self._shard.total == 1 or self._shared_in == self._state.backend:
                return None
            index = self._shard.total if self._only_looks else self._shard.index
            return ROUND_SECONDS * index / self._shard.total
        self._follow()
        return None if self._is_settled else self._until_turn()

    def turn(self) -> Turn | None:
        """Return this member's turn for a report; `None` while the ledger is shared."""
        seconds, now = self.turn_seconds(), self._clock.monotonic()
        if seconds is None:
            if now - self._called > ACTIVE_SECONDS:
                # The next heartbeat is due at once: it shows the others that this member calls.
                self._beaten = float("-inf")
            self._called = now
            return None
        quiet_seconds = 0.0
        if any(each.calls for each in self._others()):
            quiet_seconds = max(0.0, self._gone_at + QUIET_SECONDS - now)
        return Turn(seconds=seconds, quiet_seconds=quiet_seconds)

    @property
    def _is_settled(self) -> bool:
        """True if the ledger is shared, and all refusals that it may lack are over a minute old."""
        if self._whole is False:
            return False
        age_seconds = self._clock.monotonic() - self._back_at
        return age_seconds >= SETTLING_SECONDS or not self._others()

    @property
    def _in_memory(self) -> bool:
        return self._state.backend != self._state.shared.backend

    def _others(self) -> list[_Heartbeat]:
        return [each for key, each in (self._seen or {}).items() if key != self._key]

    def _follow(self) -> None:
        """Note when the store fails and when it comes back."""
        whole = self._state.whole
        if self._state.now() is None or whole is self._whole:
            return
        now = self._clock.monotonic()
        if whole and self._gone_at > float("-inf"):
            self._back_at = now
        elif not whole and (self._whole or self._in_memory):
            self._gone_at = now
        self._whole = whole

    def _ids(self) -> list[str]:
        """Return the sorted keys of the members last seen, including this one."""
        own = () if self._only_looks else (self._key,)
        return sorted({*(self._seen or ()), *own})

    def _until_turn(self) -> float:
        if self._seen is None:
            index, number = self._shard.index, self._shard.total
            if self._only_looks:
                index, number = number, number + 1
        else:
            ids = self._ids()
            number = len(ids) + self._only_looks
            index = number - 1 if self._only_looks else ids.index(self._key)
        now = self._state.now()
        minute_later = (self._clock.time() if now is None else now) + TURN_SECONDS
        return (index * TURN_SECONDS - minute_later) % (number * TURN_SECONDS)

    async def _look(self) -> None:
        documents = await self._state.shared.documents(_PREFIX)
        alive = {
            key: heartbeat
            for key, each in documents.items()
            if each.age_seconds <= ALIVE_SECONDS and (heartbeat := _decoded(each)) is not None
        }
        # A member without a heartbeat may still keep its state in memory.
        self._seen = alive if self._is_settled else {**(self._seen or {}), **alive}
        shards = {
            each.index
            for each in alive.values()
            if (each.namespace, each.total) == (self._namespace, self._shard.total)
        }
        backend = self._state.shared.backend
        self._shared_in = backend if len(shards) == self._shard.total else ""
        if not self._only_looks:
            for key, each in documents.items():
                if each.age_seconds > FORGOTTEN_SECONDS:
                    await self._state.shared.delete(key)


def _decoded(document: Document) -> _Heartbeat | None:
    try:
        return msgspec.msgpack.decode(document.value, type=_Heartbeat)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
