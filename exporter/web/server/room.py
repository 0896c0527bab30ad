"""The places of connections: when all are taken, a connection without a request is closed.

Closing an unused connection costs little, because its client just connects again. Refusing a new
connection costs its client the response, and if that client is a liveness probe, the exporter is
restarted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Iterator


#: The most connections with a request in flight.
PLACES = 512

#: Additional places for connections without a request yet, so that requests for health and
#: readiness are answered also while all `PLACES` are busy.
SPARE = 64

#: The fewest connections with which the server works.
_FEWEST = 8


def affordable_places(descriptors: float) -> int:
    """Return the limit of connections with a request, given descriptors for all connections."""
    all_places = int(min(PLACES + SPARE, max(_FEWEST, descriptors)))
    return all_places - min(all_places // 2, SPARE)


class Seated(Protocol):
    """A connection that has a place in the `Room`."""

    @property
    def is_asking(self) -> bool:
        """True if the client has sent something that the server has not read yet."""

    @property
    def is_unread(self) -> bool:
        """True if the client has not read all of its last response yet."""

    def cut(self) -> None:
        """Close the connection at once."""


class Room:
    """The connections of a server, in three groups: silent, idle and busy.

    A silent connection has no complete request yet, an idle one was answered, and a busy one has a
    request in flight.

    Attributes:
        places: The limit of busy connections.
    """

    def __init__(self, places: int) -> None:
        """Create an empty room."""
        self.places = places
        self._all: set[Seated] = set()
        # In the order of their waiting, the longest first.
        self._silent: dict[Seated, None] = {}
        self._idle: dict[Seated, None] = {}
        self._busy: set[Seated] = set()

    @property
    def is_busy(self) -> bool:
        """True while the limit of busy connections is reached."""
        return len(self._busy) >= self.places

    @property
    def is_full(self) -> bool:
        """True while there is no place for another connection."""
        return len(self._all) >= self.places + min(self.places, SPARE)

    def enter(self, seat: Seated) -> None:
        """Add a new connection."""
        self._all.add(seat)
        self._silent[seat] = None

    def make(self) -> bool:
        """Make room: close the least important connection.

        That is the connection that has waited longest in the larger one of the groups silent and
        idle. So silent clients do not displace those that were served, and idle connections do not
        keep new clients out.

        Returns:
            Whether a connection was closed.
        """
        for seat in self._waiting():
            self.leave(seat)
            seat.cut()
            return True
        return False

    def ask(self, seat: Seated) -> None:
        """Note that a part of a request has arrived."""
        if seat in self._idle:
            del self._idle[seat]
            self._silent[seat] = None

    def work(self, seat: Seated) -> None:
        """Note that a request is in flight."""
        if self._take_out(seat):
            self._busy.add(seat)

    def rest(self, seat: Seated) -> None:
        """Note that all requests were answered, or that only a refusal is being sent."""
        if self._take_out(seat):
            self._idle[seat] = None

    def leave(self, seat: Seated) -> None:
        """Remove a connection."""
        self._take_out(seat)
        self._all.discard(seat)

    def cut_silent(self) -> None:
        """Close all silent connections, including those in a TLS handshake."""
        for seat in list(self._silent):
            self.leave(seat)
            seat.cut()

    def _take_out(self, seat: Seated) -> bool:
        """Take a connection out of its group; return whether it is still in the room."""
        self._silent.pop(seat, None)
        self._idle.pop(seat, None)
        self._busy.discard(seat)
        return seat in self._all

    def _waiting(self) -> Iterator[Seated]:
        crowds = sorted((self._silent, self._idle), key=len, reverse=True)
        for crowd in crowds:
            yield from (seat for seat in crowd if not (seat.is_asking or seat.is_unread))
        # Last, clients that do not read their responses.
        yield from (seat for seat in self._idle if not seat.is_asking)
