"""The mirror: what the leader tells of its polls, and the standby shows of them.

How the polls have gone stands in the lease's document; what they have learnt stands in the
memory's documents, of which a standby reads those that are new.
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


#: When a snapshot was taken comes out so differently each time that it is read.
_JITTER_SECONDS = 1.0


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the polls of a task, as the leader tells it.

    Attributes:
        version: Another one with each document of it; empty if the leader has written none.
    """

    status: TaskStatus
    version: str = ""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """The leader's message to its standbys.

    Attributes:
        written: When, by both clocks of the leader.
        refused: Whether the credentials were refused.
        certificate_end: When the certificate of the vendor's server ends, epoch seconds.
    """

    written: Moment
    tasks: dict[str, _Task]
    refused: bool
    certificate_end: float | None = None


class Mirror:
    """The polls of one source, as one process tells of them and others show them."""

    def __init__(self, memory: Memory, *, clock: Clock) -> None:
        """Know of no poll yet.

        Args:
            memory: Holds what the polls have learnt.
            clock: Where time comes from.
        """
        self._memory = memory
        self._clock = clock
        # Tells its versions from those of all other processes.
        self._member = uuid.uuid4().hex
        self._count = 0
        self._versions: dict[str, str] = {}
        self._understands = True

    async def keep(self, poller: Poller, kept: Kept, fence: Fence | None) -> None:
        """Write what a poll has learnt, to be told of."""
        if await self._memory.keep(poller.source.settings, kept, fence=fence):
            self._count += 1
            self._versions[kept.snapshot.task] = f"{self._member} {self._count}"

    def tell(self, poller: Poller) -> bytes:
        """Return how the polls have gone."""
        return msgspec.msgpack.encode(
            _Told(
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
        """Show what the leader has told.

        Args:
            poller: The one that polls nothing meanwhile.
            content: As `tell` returned it.
            age_seconds: Since it was written.

        Raises:
            StateError: The state cannot be used.
        """
        try:
            told = msgspec.msgpack.decode(content, type=_Told)
            written = rebased(told.written, 0.0)
            ahead = self._clock.monotonic() - age_seconds - written.monotonic
            statuses = {task: rebased(each.status, ahead) for task, each in told.tasks.items()}
        except (ValueError, RecursionError):
            if self._understands:
                message = "it is damaged, or of another version; nothing of it is shown"
                structlog.get_logger("exporter.poll").warning(
                    "leader_not_understood", source=poller.source.settings.name, message=message
                )
            self._understands = False
            return
        self._understands = True
        kept: dict[str, Kept] = {}
        versions: dict[str, str] = {}
        for task in poller.intervals & told.tasks.keys():
            version = told.tasks[task].version
            if version and version != self._versions.get(task):
                newest = await self._memory.newest(poller.source.settings, task)
                if newest is not None and not _is_older(newest, poller.kept.get(task)):
                    kept[task] = newest
                versions[task] = version
        # Not before all are read: what is not shown is to be read again.
        self._versions |= versions
        poller.mirror(statuses, kept, refused=told.refused, certificate_end=told.certificate_end)


def _is_older(kept: Kept, known: Kept | None) -> bool:
    """Return whether what is known is newer, as after polls of our own without the store."""
    if known is None:
        return False
    return known.snapshot.taken.monotonic - kept.snapshot.taken.monotonic > _JITTER_SECONDS
