"""The other shards: whether they share this process's ledger, and what a shard does if not.

Each shard leaves a heartbeat in its state. Where the heartbeats of all others are found, the ledger
holds in sum. Elsewhere a shard has to reckon with the calls of the others without seeing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.lockout.record import digest


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.sharding import Shard
    from exporter.state.base import State


#: Between two heartbeats.
BEAT_SECONDS = 5.0

#: An older heartbeat is that of a shard that is gone.
ALIVE_SECONDS = 30.0

#: Shards that share no ledger prove one after the other within so long.
ROUND_SECONDS = 60.0


class Siblings:
    """The shards of one installation, as one of them sees them.

    Args:
        namespace: The name of the installation.
        shard: The one that looks.
        only_looks: It is none of them, but a command that asks what they watch.
    """

    def __init__(
        self,
        state: State,
        *,
        namespace: str,
        shard: Shard,
        clock: Clock,
        only_looks: bool = False,
    ) -> None:
        self._state = state
        self._shard = shard
        self._clock = clock
        self._only_looks = only_looks
        self._prefix = f"shard/{digest(namespace)}/{shard.total}/"
        #: The backend in which the heartbeats of all others were found.
        self._shared_in = ""
        self._beaten = float("-inf")

    async def beat(self) -> None:
        """Leave a heartbeat and look for those of the others, if it is time to.

        Raises:
            StateError: The state cannot be used.
        """
        if self._shard.total == 1 or self._clock.monotonic() - self._beaten < BEAT_SECONDS:
            return
        self._beaten = self._clock.monotonic()
        if not self._only_looks:
            await self._state.put(f"{self._prefix}{self._shard.index}", b"")
        documents = await self._state.documents(self._prefix)
        alive = {key for key, each in documents.items() if each.age_seconds <= ALIVE_SECONDS}
        shared = alive >= {f"{self._prefix}{index}" for index in range(self._shard.total)}
        self._shared_in = self._state.backend if shared else ""

    def turn_seconds(self) -> float | None:
        """Return after how long this shard's turn to prove comes; `None`: the ledger is shared."""
        if self._shard.total == 1 or self._shared_in == self._state.backend:
            return None
        index = self._shard.total if self._only_looks else self._shard.index
        return ROUND_SECONDS * index / self._shard.total
