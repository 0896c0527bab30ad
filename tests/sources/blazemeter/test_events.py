from __future__ import annotations

import pytest

from exporter.sources.blazemeter.events import (
    LEVELS,
    count_by_level,
    end_of,
    phase_durations,
    worst_exit_code,
)
from exporter.sources.blazemeter.replies import Event, StatusReply
from tests.sources.blazemeter.support import reply


def events_of(name: str) -> tuple[Event, ...]:
    """Return the events of a status fixture."""
    result = reply(name, StatusReply).result
    assert result is not None
    assert result.events is not None
    return result.events


def changed(t: float, code: int, session: str = "a") -> Event:
    """Make the event of an engine that enters a status."""
    return Event(t=t, message=f"Status changed to NAME ({code})", level="INFO", session_id=session)


def exited(t: float, code: int, session: str = "a") -> Event:
    """Make the event of an engine that leaves."""
    return Event(t=t, message=f"Taurus completed (Exit: {code})", level="INFO", session_id=session)


class TestPhaseDurations:
    def test_of_the_documented_sample(self) -> None:
        """97 seconds to the first data, 3,588 of load and 15 of teardown."""
        durations = phase_durations(events_of("master_status.ended"))

        assert {
            "pending": 54.0,
            "downloading": 23.0,
            "ready": 20.0,
            "running": 3588.0,
            "stopping": 15.0,
        } == durations

    def test_of_a_run_that_failed(self) -> None:
        """Booting shows up where the engines tell of it."""
        durations = phase_durations(events_of("master_status.ended.error_events"))

        assert {
            "pending": 8.0,
            "booting": 46.0,
            "downloading": 24.0,
            "ready": 19.0,
            "running": 564.0,
            "stopping": 16.0,
        } == durations

    def test_follow_the_engine_that_is_least_far_along(self) -> None:
        """Two engines: the run boots as long as one of them does."""
        events = [
            changed(100, 25, "a"),
            changed(101, 25, "b"),
            changed(110, 100, "a"),
            changed(130, 100, "b"),
            changed(200, 140, "a"),
            changed(220, 140, "b"),
        ]

        assert {"booting": 30.0, "running": 90.0} == phase_durations(events[::-1])

    def test_end_with_the_last_engine(self) -> None:
        """What is said after the end is no phase."""
        events = [changed(100, 100), changed(160, 140), changed(900, 140)]

        assert {"running": 60.0} == phase_durations(events)

    def test_skip_what_has_no_time(self) -> None:
        """A time that is missing, in milliseconds or negative is no time."""
        events = [changed(100, 100), changed(160, 140)]
        odd = [
            Event(message="Status changed to INIT_SCRIPT (50)", session_id="a"),
            changed(1e12, 50),
            changed(-5, 50),
        ]

        assert {"running": 60.0} == phase_durations([*events, *odd])

    def test_need_the_exact_form(self) -> None:
        """A longer message that quotes a status change is not one."""
        events = [
            changed(100, 100),
            Event(t=120, message="note: Status changed to ENDED (140)", session_id="a"),
            changed(160, 140),
        ]

        assert {"running": 60.0} == phase_durations(events)

    def test_of_nothing(self) -> None:
        """No events, no durations."""
        assert {} == phase_durations(())


class TestExitCode:
    @pytest.mark.parametrize(
        ("fixture", "code"),
        [
            ("master_status.ended", 0.0),
            ("master_status.ended.error_events", 1.0),
            ("master_status.ended.no_data", None),
        ],
    )
    def test_of_fixtures(self, fixture: str, code: float | None) -> None:
        """The code is read from the engine's last words; without them there is none."""
        assert code == worst_exit_code(events_of(fixture))

    def test_is_the_worst_of_the_engines(self) -> None:
        """The code farthest from 0 wins, negative ones too."""
        events = [exited(1, 0, "a"), exited(2, -3, "b"), exited(3, 1, "c")]

        assert worst_exit_code(events) == -3.0

    def test_counts_the_newest_of_an_engine(self) -> None:
        """An engine that was tried again and then succeeded did succeed."""
        events = [exited(9, 0, "a"), exited(1, 1, "a")]

        assert worst_exit_code(events) == 0.0


class TestLevels:
    def test_of_the_documented_sample(self) -> None:
        """75 of 77 events inform, two warn; all eight levels are there."""
        counts = count_by_level(events_of("master_status.ended"), fail)

        assert dict.fromkeys(LEVELS, 0.0) | {"info": 75.0, "warning": 2.0} == counts

    def test_of_a_run_that_failed(self) -> None:
        """Each level has its own count."""
        counts = count_by_level(events_of("master_status.ended.error_events"), fail)

        assert {
            "debug": 0.0,
            "info": 11.0,
            "notice": 1.0,
            "warning": 1.0,
            "error": 1.0,
            "critical": 1.0,
            "alert": 0.0,
            "emergency": 0.0,
        } == counts

    def test_skip_unknown_levels(self) -> None:
        """A level nobody documented is a surprise and not counted."""
        surprises: list[str] = []

        counts = count_by_level([Event(level="SHOUT"), Event()], surprises.append)

        assert sum(counts.values()) == 0
        assert ["enum", "missing_field"] == surprises


def test_end_is_the_last_engines() -> None:
    """A run ends with the last engine's ENDED."""
    events = [changed(100, 100), changed(160, 140, "a"), changed(170, 140, "b")]

    assert end_of(events) == 170
    assert end_of(events[:1]) is None


def fail(kind: str) -> None:
    """Stand for a surprise where there must be none."""
    raise AssertionError(kind)
