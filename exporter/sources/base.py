"""What every vendor's package offers, so that nothing else has to know one.

A provider is a settings model and a way to make a `Source` from it. A source is polled one task
at a time; what it learnt comes back as readings, what went wrong as failures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

import msgspec

from exporter.clock import Clock
from exporter.errors import Reason
from exporter.fleet.readings import Reading
from exporter.lockout.ledger import Ledger
from exporter.metrics.telemetry import SourceMetrics
from exporter.sharding import Shard
from exporter.sources.settings import SourceSettings


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A call within a poll that failed without saying anything about a target.

    Attributes:
        reason: Under which it is counted.
        message: One sentence for the log, made by us and free of secrets.
        target: The id of the target whose call it was, if it was one's.
    """

    reason: Reason
    message: str
    target: str = ""


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """What one poll of a task learnt.

    Attributes:
        readings: The new snapshot of the task, whole.
        failures: What went wrong on the way; the readings stand nevertheless.
    """

    readings: tuple[Reading, ...]
    failures: tuple[Failure, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One target, looked at now.

    Attributes:
        reading: What was read from the reply.
        reply: The reply's fields that the decoder knows; all others are named, not shown.
    """

    reading: Reading
    reply: Any


class Source(Protocol):
    """One configured account or portal of a vendor."""

    @property
    def settings(self) -> SourceSettings:
        """The settings it was made from."""
        ...

    @property
    def up(self) -> bool:
        """Whether the newest call to the vendor's API was answered validly."""
        ...

    @property
    def auth_failed(self) -> bool:
        """Whether calls are held back because the credentials were refused."""
        ...

    @property
    def blocked(self) -> bool:
        """Whether no call may be sent now: the next poll would fail without one."""
        ...

    async def poll(self, task: str) -> Poll:
        """Read everything a task covers.

        Raises:
            PollError: Nothing could be learnt; the snapshot of the task stays until it expires.
        """
        ...

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Look at one known target now.

        Raises:
            LookupError: There is no such kind, or no such target in the inventory.
            PollError: The look failed.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class SourceContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a source is given beside its settings.

    Attributes:
        ledger: The lock-out guard's ledger, which outlives a reload.
        random: For the jitter of retries.
        shard: Which of the targets of a spread task are ours.
        known: What is known by task from before a reload changed the source's settings.
        up: Whether it was up before.
    """

    telemetry: SourceMetrics
    clock: Clock
    ledger: Ledger
    random: Random
    shard: Shard = Shard()
    known: Mapping[str, tuple[Reading, ...]] = {}
    up: bool = False


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor.

    Attributes:
        name: The value of the `provider` label and of the configuration's key.
        settings: Its settings model.
        connect: Makes a source; sends nothing yet.
        tasks: Its tasks with their default intervals in seconds; `None` is off by default.
        kinds: Its kinds of targets that `explain` knows.
        spread: Tasks whose calls per target can be divided over several processes; any other
            task belongs to one of them as a whole.
    """

    name: str
    settings: type[SourceSettings]
    connect: Callable[[Any, SourceContext], Source]
    tasks: Mapping[str, float | None]
    kinds: tuple[str, ...]
    spread: frozenset[str] = frozenset()
