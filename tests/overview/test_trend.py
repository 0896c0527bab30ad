from __future__ import annotations

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.history import Record
from exporter.overview.trend import trend


def record(*readings: tuple[float | None, bool | None]) -> Record:
    """Make a history of ping times and outcomes, the oldest first."""
    found = Record()
    for number, (seconds, up) in enumerate(readings):
        found.add(
            Moment(unix=float(number), monotonic=float(number)),
            up=up,
            reason=Reason.TIMEOUT if up is False else None,
            duration_seconds=seconds,
        )
    return found


def test_nothing_was_read() -> None:
    """There is no line without readings."""
    assert trend(record()) is None


def test_the_newest_is_on_the_right() -> None:
    """The line goes from the newest reading leftwards; twice as slow is twice as high."""
    found = trend(record((0.25, True), (0.125, True)), width=14, height=14, readings=3)

    assert found is not None
    assert ("M12 8h0L7 4", "", 0.25) == (found.line, found.failures, found.longest_seconds)


def test_older_readings_are_left_out() -> None:
    """A line has room for so many readings."""
    found = trend(record(*[(9.0, True)], *[(0.5, True)] * 3), readings=3)

    assert found is not None
    assert (0.5, 2) == (found.longest_seconds, found.line.count("L"))


def test_a_failure_is_a_tick_and_a_gap() -> None:
    """Where the target was down there is no line but a tick, and the line begins anew."""
    found = trend(record((0.1, True), (None, False), (0.1, True)), width=14, height=14, readings=3)

    assert found is not None
    assert ("M12 4h0M2 4h0", "M7 0v14") == (found.line, found.failures)


def test_unknown_outcomes_are_no_failures() -> None:
    """Where nothing is known there is neither line nor tick."""
    found = trend(record((None, None)))

    assert found is not None
    assert ("", "", None) == (found.line, found.failures, found.longest_seconds)


def test_a_ping_of_no_time() -> None:
    """A time of 0 is drawn at the bottom and divides nothing."""
    found = trend(record((0.0, True)), width=14, height=14, readings=2)

    assert found is not None
    assert "M12 12h0" == found.line
