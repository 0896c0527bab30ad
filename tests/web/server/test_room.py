"""The choice of connections that are closed to make room for others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from exporter.web.server.room import PLACES, SPARE, Room, affordable_places


if TYPE_CHECKING:
    from collections.abc import Sequence


class Seat:
    """A connection of which only the state is known."""

    def __init__(self, *, is_asking: bool = False, is_unread: bool = False) -> None:
        self.is_asking = is_asking
        self.is_unread = is_unread
        self.is_cut = False

    def cut(self) -> None:
        """Remember it."""
        self.is_cut = True


def seated(room: Room, count: int, *, idle: bool = False, busy: bool = False) -> list[Seat]:
    """Let in connections that are silent, were answered, or have asked."""
    seats = [Seat() for _ in range(count)]
    for seat in seats:
        room.enter(seat)
        if idle or busy:
            room.work(seat)
        if idle:
            room.rest(seat)
    return seats


def cut(*seats: Sequence[Seat]) -> list[list[int]]:
    """Return which of each group were cut off."""
    return [[number for number, seat in enumerate(group) if seat.is_cut] for group in seats]


class TestMakingRoom:
    def test_who_waits_longest_goes_first(self) -> None:
        """The connection that has been idle longest must be closed first."""
        room = Room(10)
        idle = seated(room, 3, idle=True)
        room.work(idle[0])
        room.rest(idle[0])

        made = [room.make(), room.make()]

        assert [True, True] == made
        assert [[1, 2]] == cut(idle)

    def test_a_silent_crowd_leaves_those_who_were_served(self) -> None:
        """Silent connections must be closed before those that were served."""
        room = Room(10)
        idle = seated(room, 2, idle=True)
        silent = seated(room, 5)

        for _ in range(3):
            room.make()

        assert [[], [0, 1, 2]] == cut(idle, silent)

    def test_a_crowd_that_was_served_leaves_newcomers_the_time_to_ask(self) -> None:
        """Connections that are kept for nothing must not shut others out."""
        room = Room(10)
        idle = seated(room, 5, idle=True)
        silent = seated(room, 2)

        for _ in range(3):
            room.make()

        assert [[0, 1, 2], []] == cut(idle, silent)

    def test_a_request_under_way_is_never_cut_off(self) -> None:
        """A connection with a request under way must never be closed to make room."""
        room = Room(3)
        busy = seated(room, 3, busy=True)

        assert room.is_busy
        assert not room.make()
        assert [[]] == cut(busy)

    def test_a_request_that_has_just_come_is_not_cut_off(self) -> None:
        """A connection whose request has just arrived must not be closed."""
        room = Room(10)
        idle = seated(room, 3, idle=True)
        idle[0].is_asking = True

        room.make()

        assert [[1]] == cut(idle)

    def test_who_reads_is_spared_as_long_as_others_can_go(self) -> None:
        """The rest of an answer is worth more than a connection without any."""
        room = Room(10)
        idle = seated(room, 2, idle=True)
        silent = seated(room, 1)
        idle[0].is_unread = True

        made = [room.make() for _ in range(4)]

        assert [True, True, True, False] == made
        assert [[0, 1], [0]] == cut(idle, silent)

    def test_an_answer_nobody_takes_goes_last(self) -> None:
        """Among all that wait the reader is the last to go."""
        room = Room(10)
        idle = seated(room, 2, idle=True)
        silent = seated(room, 1)
        idle[0].is_unread = True

        for _ in range(2):
            room.make()

        assert [[1], [0]] == cut(idle, silent)

    def test_half_a_request_counts_as_silence(self) -> None:
        """A kept connection is no place to say something slowly on."""
        room = Room(10)
        idle = seated(room, 3, idle=True)
        for seat in idle[1:]:
            room.ask(seat)

        room.make()

        assert [[1]] == cut(idle)


class TestPlaces:
    def test_more_connections_than_requests_have_a_place(self) -> None:
        """There must be more connections than requests, so that health can always be asked."""
        room = Room(PLACES)
        seated(room, PLACES, busy=True)
        full = [room.is_full]
        waiting = seated(room, SPARE)
        full.append(room.is_full)

        room.leave(waiting[0])

        assert [False, True, False] == [*full, room.is_full]

    def test_who_left_takes_no_place(self) -> None:
        """An answer that ends after its client was cut off gives no place back twice."""
        room = Room(1)
        (seat,) = seated(room, 1, busy=True)

        room.leave(seat)
        room.rest(seat)

        assert not room.is_busy
        assert not room.make()

    def test_at_the_end_the_silent_are_cut_off(self) -> None:
        """At the end, silent connections must be closed, and those that asked be answered."""
        room = Room(10)
        groups = seated(room, 1), seated(room, 1, idle=True), seated(room, 1, busy=True)

        room.cut_silent()

        assert [[0], [], []] == cut(*groups)

    @pytest.mark.parametrize(
        ("descriptors", "places", "spare"),
        [
            (math.inf, 512, 64),
            (576.0, 512, 64),
            (575.0, 511, 64),
            (100.0, 50, 50),
            (9.0, 5, 5),
            (-20.0, 4, 4),
        ],
    )
    def test_places_follow_the_descriptors(
        self, descriptors: float, places: int, spare: int
    ) -> None:
        """With few of them there are fewer places, half of which may be spare, but always some."""
        found = affordable_places(descriptors)
        room = Room(found)
        seated(room, places + spare - 1, busy=True)
        full = [room.is_full]
        seated(room, 1)

        assert places == found
        assert [False, True] == [*full, room.is_full]
