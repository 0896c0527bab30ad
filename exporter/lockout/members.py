"""The members of a ledger: the processes that call, and what each does while it sees no others.

Each member leaves a heartbeat in the state. While the state is whole, the ledger holds in sum.
While it is not, a member has to reckon with the calls of the others without seeing them, and goes
by the heartbeats it saw last. `ledger.py` has what it may send then, its `Turn` how long it waits.

The times are chosen so that at most four calls are refused in any minute, in sum over up to three
members that call, whenever the store goes, comes back or loses its data:

* What was refused before the store went is unknown to a member that had no part in it, so the
  members send nothing for `QUIET_SECONDS`: then it is over a minute old. A store that was away
  for a moment is used again by then. If no other member has called, nothing is unknown.
* From then on each member causes one possibly refused call in 61 seconds at most.
* A member that comes back finds the ledger without what was refused in the memory of others, and
  its own refusals are dropped if another wrote its record first. So nobody trusts the ledger until
  the last has come back and its refusals are old: `SETTLING_SECONDS`. Until then the members in the
  store cause one possibly refused call in 61 seconds in sum.
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


#: Between two heartbeats.
BEAT_SECONDS = 5.0

#: An older heartbeat is that of a member that is gone, and is deleted after a while.
ALIVE_SECONDS = 30.0
FORGOTTEN_SECONDS = 600.0

#: A member that has not called for so long is a standby.
ACTIVE_SECONDS = 300.0

#: Shards without a store for several hosts prove one after the other within so long.
ROUND_SECONDS = 60.0

#: How long a member's turn is while the store is away: the ledger's window.
TURN_SECONDS = 61.0

#: A call that is under way when the store goes may be judged so much later.
LATE_SECONDS = 10.0

QUIET_SECONDS = TURN_SECONDS + LATE_SECONDS

#: The others try the store again this late at most, and their refusals count for a turn.
SETTLING_SECONDS = RETRY_SECONDS + LATE_SECONDS + TURN_SECONDS

_PREFIX = "member/"


class _Heartbeat(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The content of a member's heartbeat.

    Attributes:
        namespace: Digest of the installation's name.
        calls: Whether it has called lately, as one who shares the ledger.
    """

    namespace: str
    index: int
    total: int
    calls: bool


class Members:
    """The processes that use one ledger, as one of them sees them."""

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
        """Begin without having seen anybody.

        Args:
            state: Where the ledger is.
            namespace: The name of the installation.
            shard: The one that looks.
            clock: Where time comes from.
            only_looks: It is no member, but a command that asks what they watch.
            shared: Whether the store is one for several hosts.
        """
        self._state = state
        self._namespace = digest(namespace)
        self._shard = shard
        self._clock = clock
        self._only_looks = only_looks
        self._shared = shared
        self._key = f"{_PREFIX}{uuid.uuid4().hex}"
        #: The members last seen, by their keys; `None`: the store was never reached.
        self._seen: dict[str, _Heartbeat] | None = None
        #: The backend in which the heartbeats of all shards were found.
        self._shared_in = ""
        self._beaten = float("-inf")
        self._called = float("-inf")
        #: Whether the state is whole; `None` until it was used.
        self._whole: bool | None = None
        self._gone_at = self._back_at = float("-inf")

    def count(self) -> int:
        """Return how many members were last seen, this one included; commands are none."""
        if self._seen is None:
            return self._shard.total
        return max(1, len(self._ids()))

    async def beat(self) -> None:
        """Leave a heartbeat and look for those of the others, if it is time to.

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
            # In memory, while the state is: nobody is to see it in the store then.
            await self._state.put(self._key, msgspec.msgpack.encode(heartbeat))
            self._follow()
        with suppress(StateError):
            await self._look()

    async def leave(self) -> None:
        """Delete the heartbeat, for an orderly stop; never raises."""
        # Without the store there is none, and to try it may take seconds.
        if self._beaten > float("-inf") and not self._only_looks and not self._in_memory:
            with suppress(StateError):
                await self._state.shared.delete(self._key)

    def turn_seconds(self) -> float | None:
        """Return how long after a minute this member's turn to prove comes.

        Returns:
            Seconds; `None` while the ledger holds in sum.
        """
        if not self._shared:
            if self._shard.total == 1 or self._shared_in == self._state.backend:
                return None
            index = self._shard.total if self._only_looks else self._shard.index
            return ROUND_SECONDS * index / self._shard.total
        self._follow()
        return None if self._is_settled else self._until_turn()

    def turn(self) -> Turn | None:
        """Return what a participant that reports has to heed; `None` while the ledger is shared."""
        seconds, now = self.turn_seconds(), self._clock.monotonic()
        if seconds is None:
            if now - self._called > ACTIVE_SECONDS:
                # Others have to reckon with it from now on.
                self._beaten = float("-inf")
            self._called = now
            return None
        quiet_seconds = 0.0
        if any(each.calls for each in self._others()):
            quiet_seconds = max(0.0, self._gone_at + QUIET_SECONDS - now)
        return Turn(seconds=seconds, quiet_seconds=quiet_seconds)

    @property
    def _is_settled(self) -> bool:
        """True if the ledger is shared, and all refusals that it may lack are old."""
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
        """Note when the store goes and comes back."""
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
        """Return the keys of the members last seen, this one's among them, in their order."""
        own = () if self._only_looks else (self._key,)
        return sorted({*(self._seen or ()), *own})

    def _until_turn(self) -> float:
        if self._seen is None:
            place, number = self._shard.index, self._shard.total
            if self._only_looks:
                place, number = number, number + 1
        else:
            ids = self._ids()
            number = len(ids) + self._only_looks
            place = number - 1 if self._only_looks else ids.index(self._key)
        now = self._state.now()
        minute_later = (self._clock.time() if now is None else now) + TURN_SECONDS
        return (place * TURN_SECONDS - minute_later) % (number * TURN_SECONDS)

    async def _look(self) -> None:
        documents = await self._state.shared.documents(_PREFIX)
        alive = {
            key: heartbeat
            for key, each in documents.items()
            if each.age_seconds <= ALIVE_SECONDS and (heartbeat := _decoded(each)) is not None
        }
        # Who is not back yet may be in memory.
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
