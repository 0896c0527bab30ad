from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from exporter.fleet.readings import PHASES
from exporter.sources.blazemeter.replies import Envelope, Event, Status
from exporter.sources.blazemeter.status import STATUSES, RunStatus, read_events, read_status
from tests.sources.blazemeter.support import no_surprise, reply


if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.sources.blazemeter.status import RunEvents


#: The vendor's levels, lowest first.
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def status_in(name: str) -> Status:
    """Return the status of a fixture."""
    result = reply(name, Envelope[Status]).result
    assert result is not None
    return result


def events_of(name: str) -> tuple[Event, ...]:
    """Return the events of a status fixture."""
    events = status_in(name).events
    assert events is not None
    return events


def read(events: Sequence[Event]) -> RunEvents:
    """Read events; a surprise is an error."""
    return read_events(events, no_surprise)


def read_code(name: str | None, progress: float | None) -> tuple[RunStatus, list[str]]:
    """Read a status, and return it with the surprises on the way."""
    surprises: list[str] = []
    return read_status(Status(status=name, progress=progress), surprises.append), surprises


def changed(t: float, code: int, session: str = "a") -> Event:
    """Make the event of an engine that enters a status."""
    return Event(t=t, message=f"Status changed to NAME ({code})", level="INFO", session_id=session)


def exited(t: float, code: int, session: str = "a") -> Event:
    """Make the event of an engine that leaves."""
    return Event(t=t, message=f"Taurus completed (Exit: {code})", level="INFO", session_id=session)


class TestCode:
    @pytest.mark.parametrize(
        ("code", "name", "phase"),
        [
            (0, "UNKNOWN", "unknown"),
            (5, "CREATE", "pending"),
            (14, "PREPARING_PROVISIONING", "pending"),
            (15, "INITIALIZING", "booting"),
            (45, "INSTANCE_ALIVE", "booting"),
            (50, "INIT_SCRIPT", "downloading"),
            (60, "FILES_DOWNLOADED", "downloading"),
            (70, "JMETER_ENGINE_INIT", "ready"),
            (90, "TAURUS_ENGINE_READY", "ready"),
            (99, "JETPACK_DATA_RECEIVED", "running"),
            (100, "DATA_RECEIVED", "running"),
            (120, "FINALIZING", "stopping"),
            (136, "TAURUS_IMAGE_DONE", "stopping"),
            (140, "ENDED", "ended"),
            (150, "NULL", "unknown"),
        ],
    )
    def test_has_its_phase(self, code: int, name: str, phase: str) -> None:
        """The first and the last status of each phase, by code, by name and by both."""
        for status in ((name, code), (name, None), (None, code)):
            found, surprises = read_code(*status)

            assert (phase, code, []) == (found.phase, found.code, surprises)

    def test_is_one_of_23(self) -> None:
        """The table must have the 23 published codes, and phases of the metric only."""
        names = {name for name, _ in STATUSES.values()}
        phases = {phase for _, phase in STATUSES.values()}

        assert (23, 23) == (len(STATUSES), len(names))
        assert phases <= set(PHASES)

    def test_goes_with_the_name_in_the_documented_sample(self) -> None:
        """The events of the vendor's sample pair ten names with their codes."""
        texts = [event.message or "" for event in events_of("master_status.ended")]
        matches = [re.search(r"Status changed to (\w+) \((\d+)\)", text) for text in texts]
        pairs = {(match[1], int(match[2])) for match in matches if match}

        assert 10 == len(pairs)
        assert pairs == {(name, read_code(name, None)[0].code) for name, _ in pairs}

    @pytest.mark.parametrize(
        ("fixture", "phase", "over"),
        [
            ("master_status.booting", "booting", False),
            ("master_status.running", "running", False),
            ("master_status.terminating", "stopping", False),
            ("master_status.ended", "ended", True),
            ("master_status.ended.no_data", "ended", True),
        ],
    )
    def test_of_a_fixture(self, fixture: str, phase: str, over: bool) -> None:
        """Only ENDED is the end; TERMINATING comes before it in every run."""
        found = read_status(status_in(fixture), no_surprise)

        assert (phase, over) == (found.phase, found.over)

    @pytest.mark.parametrize(
        ("name", "code", "phase"),
        [("DATA_RECIEVED", 100, "running"), ("BOOT-STARTING", 25, "booting")],
    )
    def test_counts_when_the_name_is_not_listed(self, name: str, code: int, phase: str) -> None:
        """A name that is spelt otherwise changes nothing but the count of surprises."""
        found, surprises = read_code(name, code)

        assert (phase, code, ["enum"]) == (found.phase, found.code, surprises)

    @pytest.mark.parametrize("code", [101, 139.5, 160, 1e300])
    @pytest.mark.parametrize("name", ["SOMETHING", None])
    def test_that_is_not_listed_is_unknown(self, code: float, name: str | None) -> None:
        """An unknown code must give the phase unknown and a surprise."""
        found, surprises = read_code(name, code)

        assert ("unknown", False, ["enum"]) == (found.phase, found.over, surprises)

    @pytest.mark.parametrize("code", [77, 101, 139.5, 160, 1e300])
    @pytest.mark.parametrize(
        ("name", "phase", "over"),
        [
            ("CREATE", "pending", False),
            ("data_received", "running", False),
            ("Ended", "ended", True),
        ],
    )
    def test_that_is_not_listed_gives_way_to_a_name(
        self, code: float, name: str, phase: str, over: bool
    ) -> None:
        """A known name must give the phase of an unknown code, which is shown as it is."""
        found, surprises = read_code(name, code)

        assert (phase, over, code) == (found.phase, found.over, found.code)
        assert ["enum"] == surprises

    @pytest.mark.parametrize("code", [None, -1])
    @pytest.mark.parametrize(
        ("name", "phase", "surprises"),
        [
            ("DATA_RECEIVED", "running", []),
            ("Data_Received", "running", []),
            ("SOMETHING", "unknown", ["enum", "missing_field"]),
            (None, "unknown", ["missing_field"]),
        ],
    )
    def test_that_is_missing_is_read_from_the_name(
        self, code: float | None, name: str | None, phase: str, surprises: list[str]
    ) -> None:
        """The name decides only without a code; by -1 the vendor says that there is none."""
        found, met = read_code(name, code)

        assert (phase, False, surprises) == (found.phase, found.over, met)

    @pytest.mark.parametrize(
        ("code", "over"), [(0, False), (100, False), (136, False), (140, True), (150, True)]
    )
    def test_says_whether_the_run_is_over(self, code: int, over: bool) -> None:
        """A run is in flight up to 136; at 140 and 150 it is not."""
        assert over is read_code(None, code)[0].over


class TestPhaseDurations:
    def test_of_the_documented_sample(self) -> None:
        """97 seconds to the first data, 3,588 of load and 15 of teardown."""
        durations = read(events_of("master_status.ended")).phase_durations

        assert {
            "pending": 54.0,
            "downloading": 23.0,
            "ready": 20.0,
            "running": 3588.0,
            "stopping": 15.0,
        } == durations

    def test_of_a_run_that_failed(self) -> None:
        """Booting must have its duration if the engines report it."""
        durations = read(events_of("master_status.ended.error_events")).phase_durations

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

        assert {"booting": 30.0, "running": 90.0} == read(events[::-1]).phase_durations

    def test_end_with_the_last_engine(self) -> None:
        """Events after the end of the last engine must not count as a phase."""
        events = [changed(100, 100), changed(160, 140), changed(900, 140)]

        assert {"running": 60.0} == read(events).phase_durations

    def test_know_a_name_whose_code_is_not_listed(self) -> None:
        """A status's name must give the phase and the end if its code is unknown."""
        events = [
            Event(t=100 + 60 * number, message=f"Status changed to {name} ({code})", level="INFO")
            for number, (name, code) in enumerate(
                [("DATA_RECEIVED", 101), ("SOMETHING", 77), ("Ended", 145)]
            )
        ]

        found = read(events)

        assert ({"running": 60.0, "unknown": 60.0}, 220) == (found.phase_durations, found.ended)

    def test_skip_what_has_no_time(self) -> None:
        """A time that is missing, in milliseconds or negative is no time."""
        events = [changed(100, 100), changed(160, 140)]
        odd = [
            Event(message="Status changed to INIT_SCRIPT (50)", level="INFO", session_id="a"),
            changed(1e12, 50),
            changed(-5, 50),
        ]

        assert {"running": 60.0} == read([*events, *odd]).phase_durations

    def test_need_the_exact_form(self) -> None:
        """A longer message that quotes a status change is not one."""
        events = [
            changed(100, 100),
            Event(
                t=120, message="note: Status changed to ENDED (140)", level="INFO", session_id="a"
            ),
            changed(160, 140),
        ]

        assert {"running": 60.0} == read(events).phase_durations

    def test_of_nothing(self) -> None:
        """No events, no durations."""
        assert {} == read(()).phase_durations


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
        assert code == read(events_of(fixture)).exit_code

    def test_is_the_worst_of_the_engines(self) -> None:
        """The code farthest from 0 wins, negative ones too."""
        events = [exited(1, 0, "a"), exited(2, -3, "b"), exited(3, 1, "c")]

        assert read(events).exit_code == -3.0

    def test_counts_the_newest_of_an_engine(self) -> None:
        """An engine that was tried again and then succeeded did succeed."""
        events = [exited(9, 0, "a"), exited(1, 1, "a")]

        assert read(events).exit_code == 0.0


class TestLevels:
    def test_of_the_documented_sample(self) -> None:
        """75 of 77 events inform, two warn; all eight levels are there."""
        counts = read(events_of("master_status.ended")).levels

        assert dict.fromkeys(LEVELS, 0.0) | {"info": 75.0, "warning": 2.0} == counts

    def test_of_a_run_that_failed(self) -> None:
        """Each level has its own count."""
        counts = read(events_of("master_status.ended.error_events")).levels

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
        """An unknown level must be a surprise, and not be counted."""
        surprises: list[str] = []

        counts = read_events([Event(level="SHOUT"), Event()], surprises.append).levels

        assert sum(counts.values()) == 0
        assert ["enum", "missing_field"] == surprises


def test_end_is_the_last_engines() -> None:
    """A run ends with the last engine's ENDED."""
    events = [changed(100, 100), changed(160, 140, "a"), changed(170, 140, "b")]

    assert 170 == read(events).ended
    assert read(events[:1]).ended is None
