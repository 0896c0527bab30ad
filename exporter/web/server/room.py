"""The places of connections: who has a request under way keeps its own, the others make room.

A client connects anew when a connection that it does not use is closed, so that costs it next to
nothing; not to be let in costs it the answer, and if that was one on liveness, us our life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Iterator


#: The most requests under way, one to a connection.
PLACES = 512

#: So many places beyond those: for who has not asked yet, since even who finds all busy is
#: answered on health and readiness.
SPARE = 64

#: With fewer connections nothing can be served.
_FEWEST = 8


def affordable_places(descriptors: float) -> int:
    """Return how many requests may be under way when connections may take so many descriptors."""
    all_places = int(min(PLACES + SPARE, max(_FEWEST, descriptors)))
    return all_places - min(all_places // 2, SPARE)


class Seated(Protocol):
    """A connection, as far as its place is concerned."""

    @property
    def is_asking(self) -> bool:
        """True if something came from the client that was not read yet."""

    @property
    def is_unread(self) -> bool:
        """True if the client has not taken all of its last answer yet."""

    def cut(self) -> None:
        """End at once."""


class Room:
    """The connections of a server, by what they do; each is in one group at most.

    Attributes:
        places: How many requests may be under way.
    """

    def __init__(self, places: int) -> None:
        """Open an empty room."""
        self.places = places
        self._all: set[Seated] = set()
        # By the time since when they wait, the longest first.
        self._silent: dict[Seated, None] = {}
        self._idle: dict[Seated, None] = {}
        self._busy: set[Seated] = set()

    @property
    def is_busy(self) -> bool:
        """True while as many requests are under way as may be."""
        return len(self._busy) >= self.places

    @property
    def is_full(self) -> bool:
        """True while there is no place for another connection, unless one is made."""
        return len(self._all) >= self.places + min(self.places, SPARE)

    def enter(self, seat: Seated) -> None:
        """Take in a new connection."""
        self._all.add(seat)
        self._silent[seat] = None

    def make(self) -> bool:
        """Cut off the connection that is needed least, return whether there was one.

        The larger crowd gives way, of those who never asked or have not asked to the end, and of
        those who were answered: the silent do not drive out who is served, nor do connections
        that are kept keep newcomers from asking. Who waits longest goes first.
        """
        for seat in self._waiting():
            self.leave(seat)
            seat.cut()
            return True
        return False

    def ask(self, seat: Seated) -> None:
        """Note that a part of a request has come."""
        if seat in self._idle:
            del self._idle[seat]
            self._silent[seat] = None

    def work(self, seat: Seated) -> None:
        """Note that a request is under way."""
        if self._take_out(seat):
            self._busy.add(seat)

    def rest(self, seat: Seated) -> None:
        """Note that all requests were answered, or that only a refusal is under way."""
        if self._take_out(seat):
            self._idle[seat] = None

    def leave(self, seat: Seated) -> None:
        """Forget a connection."""
        self._take_out(seat)
        self._all.discard(seat)

    def cut_silent(self) -> None:
        """Cut off who has no request that could be waited for, TLS that never began included."""
        for seat in list(self._silent):
            self.leave(seat)
            seat.cut()

    def _take_out(self, seat: Seated) -> bool:
        """Take a connection out of its group, return whether it is still there."""
        self._silent.pop(seat, None)
        self._idle.pop(seat, None)
        self._busy.discard(seat)
        return seat in self._all

    def _waiting(self) -> Iterator[Seated]:
        crowds = sorted((self._silent, self._idle), key=len, reverse=True)
        for crowd in crowds:
            yield from (seat for seat in crowd if not (seat.is_asking or seat.is_unread))
        # An answer that nobody takes must not cost others theirs.
        yield from (seat for seat in self._idle if not seat.is_asking)
