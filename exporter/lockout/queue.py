"""Who may be next: calls wait in lanes, so that one kind of them does not hold up the others."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from enum import Enum, unique
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


@unique
class Lane(Enum):
    """Which places a call may take."""

    NORMAL = "normal"

    #: For what failed or was slow last time: at most half of the places, so that the rest goes on;
    #: of an odd number the larger half while nothing else waits.
    SLOW = "slow"

    #: For what looked like a refusal last time and was none. Like the slow one; and once there is a
    #: suspect, it waits for all others and leaves them room for one of their own.
    DOUBTFUL = "doubtful"


class Lanes:
    """Calls that wait for a place, and those that have one.

    Args:
        places: For calls under way at once, all lanes together.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._under_way = dict.fromkeys(Lane, 0)
        self._queues: dict[Lane, deque[tuple[int, asyncio.Future[None]]]] = {
            lane: deque() for lane in Lane
        }
        self._order = itertools.count(1)

    def join(self, lane: Lane) -> asyncio.Future[None]:
        """Wait in a lane; what is returned is done with the place, or the error in its stead."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[lane].append((next(self._order), place))
        return place

    def is_awaited(self, lane: Lane) -> bool:
        """Tell whether anybody waits in a lane."""
        return bool(self._head(lane))

    def choose(self, *, room: int, suspects: bool) -> Lane | None:
        """Return whose turn it is, `None` if it is nobody's.

        Args:
            room: For so many calls that may be refused there is room.
            suspects: Whether a call was answered so of late that it may have been refused.
        """
        under_way = sum(self._under_way.values())
        if room <= 0 or under_way >= self._places:
            return None
        heads = {lane: head for lane in Lane if (head := self._head(lane))}
        doubtful = self._under_way[Lane.DOUBTFUL]
        apart = self._under_way[Lane.SLOW] + doubtful
        if apart >= max(1, (self._places + (Lane.NORMAL not in heads)) // 2):
            heads.pop(Lane.SLOW, None)
        others = heads.keys() - {Lane.DOUBTFUL} or under_way > doubtful
        if apart >= max(1, self._places // 2) or (suspects and (others or room == 1)):
            heads.pop(Lane.DOUBTFUL, None)
        return min(heads, key=heads.__getitem__, default=None)

    def let_out(self, lane: Lane) -> None:
        """Give the first who waits in a lane a place."""
        _, place = self._queues[lane].popleft()
        self._under_way[lane] += 1
        place.set_result(None)

    def leave(self, lane: Lane) -> None:
        """Take a place back."""
        self._under_way[lane] -= 1

    def refuse(self, error: Callable[[], Exception], *lanes: Lane) -> None:
        """Have all who wait, in some lanes or in all, hear an error, each one of its own."""
        for lane in lanes or Lane:
            queue = self._queues[lane]
            while queue:
                _, place = queue.popleft()
                if not place.done():
                    place.set_exception(error())

    def _head(self, lane: Lane) -> int:
        """Return the number of the first who waits in a lane, 0 when nobody does."""
        queue = self._queues[lane]
        while queue and queue[0][1].done():
            queue.popleft()
        return queue[0][0] if queue else 0
