"""The queue of calls that wait for a slot, by priority, so that no kind starves the others."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from enum import Enum, unique
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


@unique
class Priority(Enum):
    """The share of the slots that a call may take."""

    NORMAL = "normal"

    #: Targets that failed or were slow last time. At most half of the slots (rounded down; rounded
    #: up while no normal call is queued), so that they cannot starve the others.
    SLOW = "slow"

    #: Targets whose last reply looked like a refusal and was none. Limited like the slow ones;
    #: while a suspect is unresolved they wait for all others and leave room for one more call.
    SUSPECT = "suspect"


class CallQueue:
    """Calls that wait for a slot, and the slots that are taken.

    Args:
        slots: Calls under way at once, of all priorities together.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._under_way = dict.fromkeys(Priority, 0)
        self._queues: dict[Priority, deque[tuple[int, asyncio.Future[None]]]] = {
            priority: deque() for priority in Priority
        }
        self._order = itertools.count(1)

    def join(self, priority: Priority) -> asyncio.Future[None]:
        """Queue a call; the future resolves with a granted slot and fails when it is refused."""
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[priority].append((next(self._order), slot))
        return slot

    def is_awaited(self, priority: Priority) -> bool:
        """Return whether a call of this priority is queued."""
        return bool(self._head(priority))

    def next(self, *, room: int, suspects: bool) -> Priority | None:
        """Return the priority whose first call may be sent now, `None` if none may.

        Args:
            room: How many more possibly refused calls fit into the last minute's budget.
            suspects: Whether a reply of the last minute may have been a refusal.
        """
        under_way = sum(self._under_way.values())
        if room <= 0 or under_way >= self._slots:
            return None
        heads = {priority: head for priority in Priority if (head := self._head(priority))}
        suspected = self._under_way[Priority.SUSPECT]
        apart = self._under_way[Priority.SLOW] + suspected
        if apart >= max(1, (self._slots + (Priority.NORMAL not in heads)) // 2):
            heads.pop(Priority.SLOW, None)
        others = heads.keys() - {Priority.SUSPECT} or under_way > suspected
        if apart >= max(1, self._slots // 2) or (suspects and (others or room == 1)):
            heads.pop(Priority.SUSPECT, None)
        return min(heads, key=heads.__getitem__, default=None)

    def admit(self, priority: Priority) -> None:
        """Grant the first queued call of a priority its slot."""
        _, slot = self._queues[priority].popleft()
        self._under_way[priority] += 1
        slot.set_result(None)

    def leave(self, priority: Priority) -> None:
        """Free the slot of a call that has ended."""
        self._under_way[priority] -= 1

    def refuse(self, error: Callable[[], Exception], *priorities: Priority) -> None:
        """Fail all queued calls, of some priorities or of all, each with an error of its own."""
        for priority in priorities or Priority:
            queue = self._queues[priority]
            while queue:
                _, slot = queue.popleft()
                if not slot.done():
                    slot.set_exception(error())

    def _head(self, priority: Priority) -> int:
        """Return the number of the first queued call of a priority, 0 when none is queued."""
        queue = self._queues[priority]
        while queue and queue[0][1].done():
            queue.popleft()
        return queue[0][0] if queue else 0
