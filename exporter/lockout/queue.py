"""The queue of calls that wait for a slot, by priority, so that no kind starves the others."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from enum import StrEnum, unique
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


@unique
class Priority(StrEnum):
    """The share of the slots that a call may take."""

    NORMAL = "normal"

    #: Targets that failed or were slow last time. At most half of the slots (rounded down; rounded
    #: up while no normal call is queued), so that they cannot starve the others.
    SLOW = "slow"


class CallQueue:
    """Calls that wait for a slot, and the slots in use.

    Attributes:
        under_way: How many calls have a slot.
    """

    def __init__(self, slots: int) -> None:
        """Create an empty queue.

        Args:
            slots: The most calls in flight at once, all priorities together.
        """
        self._slots = slots
        self.under_way = self._slow = 0
        self._queues: dict[Priority, deque[tuple[int, asyncio.Future[None]]]] = {
            priority: deque() for priority in Priority
        }
        self._order = itertools.count(1)

    @property
    def is_awaited(self) -> bool:
        """True while a call is queued."""
        return bool(self._head(Priority.NORMAL) or self._head(Priority.SLOW))

    def join(self, priority: Priority) -> asyncio.Future[None]:
        """Queue a call.

        Returns:
            A future that resolves when a slot is granted, and fails when the call is refused.
        """
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[priority].append((next(self._order), slot))
        return slot

    def admit(self) -> bool:
        """Grant a slot to the next call.

        Returns:
            Whether a call was queued and a slot was free.
        """
        if self.under_way >= self._slots:
            return False
        normal, slow = self._head(Priority.NORMAL), self._head(Priority.SLOW)
        half = (self._slots + (not normal)) // 2
        if slow and self._slow < max(1, half) and (not normal or slow < normal):
            priority = Priority.SLOW
        elif normal:
            priority = Priority.NORMAL
        else:
            return False
        _, slot = self._queues[priority].popleft()
        self._count(priority, 1)
        slot.set_result(None)
        return True

    def leave(self, priority: Priority) -> None:
        """Free the slot of a call that has ended."""
        self._count(priority, -1)

    def refuse(self, error: Callable[[], Exception]) -> None:
        """Fail all queued calls, each with a new error."""
        for queue in self._queues.values():
            while queue:
                _, slot = queue.popleft()
                if not slot.done():
                    slot.set_exception(error())

    def _count(self, priority: Priority, calls: int) -> None:
        self.under_way += calls
        if priority is Priority.SLOW:
            self._slow += calls

    def _head(self, priority: Priority) -> int:
        """Return the number of the first queued call of a priority, 0 when none is queued."""
        queue = self._queues[priority]
        while queue and queue[0][1].done():
            queue.popleft()
        return queue[0][0] if queue else 0
