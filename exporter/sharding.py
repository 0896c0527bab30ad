"""Sharding: several processes each poll a part of the fleet.

Every process knows its index and the number of shards. A stable hash of the target decides which
shard polls it, so that the processes need not communicate. A task that reads all targets with one
call cannot be divided and belongs to one shard.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One shard.

    Attributes:
        index: The shard's number, from 0.
        total: The number of shards.
    """

    index: int = 0
    total: int = 1

    def owns(self, *key: str) -> bool:
        """Return whether the target or task with this key belongs to this shard."""
        return self.total == 1 or _bucket("\0".join(key), self.total) == self.index

    def tasks(
        self, source: str, intervals: Mapping[str, float], spread: Collection[str]
    ) -> dict[str, float]:
        """Return the tasks of a source that this shard polls, with their intervals in seconds.

        Every shard polls the tasks in `spread`, each for its own targets.
        """
        return {
            task: seconds
            for task, seconds in intervals.items()
            if task in spread or self.owns(source, task)
        }

    def shows_health(
        self, source: str, intervals: Mapping[str, float], spread: Collection[str]
    ) -> bool:
        """Return whether this shard exposes the health of a source. It must poll that source."""
        if any(task in spread for task in intervals):
            return self.owns(source)
        return self.owns(source, next(iter(intervals), ""))

    @classmethod
    def of(cls, index: int | None, total: int, *, host: str) -> Shard:
        """Return the shard with this index, or with the number at the end of the host's name.

        Kubernetes names the pods of a StatefulSet `<name>-0`, `<name>-1` and so on.

        Raises:
            ConfigurationError: There are several shards and the index is unknown.
        """
        if index is not None or total == 1:
            return cls(index=index or 0, total=total)
        ordinal = re.search(r"-([0-9]{1,9})$", host.partition(".")[0])
        if ordinal is None or int(ordinal[1]) >= total:
            problem = (
                f"sharding.shard: is missing, and the host's name {host!r} does not end in a"
                f" number below total_shards, {total}; give --shard"
            )
            raise ConfigurationError([problem])
        return cls(index=int(ordinal[1]), total=total)


def _bucket(key: str, buckets: int) -> int:
    """Return the bucket of a key by jump consistent hashing.

    When a bucket is added, only the keys that it receives move (Lamping and Veach, 2014).
    """
    state = int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8], "big")
    bucket, following = 0, 0
    while following < buckets:
        bucket = following
        state = (state * 2862933555777941757 + 1) & (2**64 - 1)
        following = int((bucket + 1) * (2**31 / ((state >> 33) + 1)))
    return bucket
