"""The mirror: the leader publishes the results of its polls, and standbys show them.

The outcomes of the polls are in the lease's document. Their snapshots are in the documents of
`memory.py`, of which a standby reads the new ones.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.clock import Moment
from exporter.polling.memory import rebased
from exporter.polling.poller import Kept, TaskStatus


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.polling.memory import Memory
    from exporter.polling.poller import Poller
    from exporter.state.base import Fence


#: Tolerance of a snapshot's time, which is computed from a document's age at each reading.
_JITTER_SECONDS = 1.0


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a task's polls in the leader's message.

    Attributes:
        version: Changes with each document of the task; empty if the leader has written none.
    """

    status: TaskStatus
    version: str = ""


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    """The leader's message to its standbys.

    Attributes:
        written: When the message was written, by both clocks of the leader.
        refused: Whether the credentials were refused.
        certificate_end: The expiry of the vendor's server certificate, in Unix seconds.
    """

    written: Moment
    tasks: dict[str, _Task]
    refused: bool
    certificate_end: float | None = None


class Mirror:
    """The results of one source's polls, published by the leader and shown by standbys."""

    def __init__(self, memory: Memory, *, clock: Clock) -> None:
        """Create a mirror that knows no poll yet.

        Args:
            memory: Holds the snapshots of the tasks.
            clock: The source of time.
        """
        self._memory = memory
        self._clock = clock
        # Part of the versions, so that two processes never write the same version.
        self._member = uuid.uuid4().hex
        self._count = 0
        self._versions: dict[str, str] = {}
        self._understands = True

    async def keep(self, poller: Poller, kept: Kept, fence: Fence | None) -> None:
        """Save the snapshot of a poll for the standbys."""
        if await self._memory.keep(poller.source.settings, kept, fence=fence):
            self._count += 1
            self._versions[kept.snapshot.task] = f"{self._member} {self._count}"

    def tell(self, poller: Poller) -> bytes:
        """Return the message for the standbys: the outcomes of the polls, encoded."""
        return msgspec.msgpack.encode(
            _Message(
                written=self._clock.now(),
                tasks={
                    task: _Task(status=poller.status(task), version=self._versions.get(task, ""))
                    for task in poller.intervals
                },
                refused=poller.auth_failed,
                certificate_end=poller.certificate_end,
            )
        )

    async def hear(self, poller: Poller, content: bytes, age_seconds: float) -> None:
        """Show the results in the leader's message.

        Args:
            poller: The standby's poller.
            content: The message, as `tell` returned it.
            age_seconds: Seconds since the message was written.

        Raises:
            StateError: The state cannot be used.
        """
        try:
            message = msgspec.msgpack.decode(content, type=_Message)
            written = rebased(message.written, 0.0)
            ahead = self._clock.monotonic() - age_seconds - written.monotonic
            statuses = {task: rebased(each.status, ahead) for task, each in message.tasks.items()}
        except (ValueError, RecursionError):
            if self._understands:
                structlog.get_logger("exporter.poll").warning(
                    "leader_not_understood",
                    source=poller.source.settings.name,
                    message="the leader's message is damaged or of another version, and ignored",
                )
            self._understands = False
            return
        self._understands = True
        kept: dict[str, Kept] = {}
        versions: dict[str, str] = {}
        for task in poller.intervals & message.tasks.keys():
            version = message.tasks[task].version
            if version and version != self._versions.get(task):
                newest = await self._memory.newest(poller.source.settings, task)
                if newest is not None and not _is_older(newest, poller.kept.get(task)):
                    kept[task] = newest
                versions[task] = version
        # Only after all documents are read: if one fails, all are read again.
        self._versions |= versions
        poller.mirror(
            statuses, kept, refused=message.refused, certificate_end=message.certificate_end
        )


def _is_older(kept: Kept, known: Kept | None) -> bool:
    """Return whether a document is older than a poll by this process, made without the store."""
    if known is None:
        return False
    return known.snapshot.taken.monotonic - kept.snapshot.taken.monotonic > _JITTER_SECONDS
