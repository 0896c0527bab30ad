from __future__ import annotations

import math

import pytest

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.recent import Record
from exporter.overview import format as text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (math.nan, ""),
        (math.inf, "unlimited"),
        (0.0, "0 s"),
        (0.0123, "12.3 ms"),
        (1.25, "1.2 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (3_725.0, "1 h 2 min"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float | None, expected: str) -> None:
    """A duration is written in its two largest units."""
    assert expected == text.duration(seconds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ""), (0.0, "0 s"), (-0.0, "0 s"), (1.5, "+1.5 s"), (-90.0, "\N{MINUS SIGN}1 min 30 s")],
)
def test_differences_have_a_sign(seconds: float | None, expected: str) -> None:
    """A clock's difference says its direction."""
    assert expected == text.signed(seconds)


def test_instants_are_utc() -> None:
    """Time stamps do not depend on the machine's zone."""
    assert ("2023-11-14 22:13:20 UTC", "") == (text.instant(1_700_000_000.9), text.instant(None))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (math.nan, "1970-01-01 00:00:00 UTC"),
        (-math.inf, "1000-01-01 00:00:00 UTC"),
        (-1.0, "1969-12-31 23:59:59 UTC"),
        (1e18, "5138-11-16 09:46:40 UTC"),
        (math.inf, "5138-11-16 09:46:40 UTC"),
    ],
)
def test_no_number_is_too_large_for_an_instant(seconds: float, expected: str) -> None:
    """A page must not fail by what a vendor or a file says."""
    assert expected == text.instant(seconds)


@pytest.mark.parametrize(("number", "expected"), [(0, "0 suites"), (1, "1 suite"), (2, "2 suites")])
def test_nouns_follow_numbers(number: int, expected: str) -> None:
    """Nouns must be in the singular for 1 only."""
    assert expected == text.count(number, "suite")


def test_large_numbers_are_grouped() -> None:
    """Large numbers must be grouped by thousands."""
    assert "5,000 targets" == text.count(5_000, "target")


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists_read_as_a_sentence(words: list[str], expected: str) -> None:
    """Commas stand between all but the last two."""
    assert expected == text.listed(words)


@pytest.mark.parametrize(("code", "expected"), [("not_reachable", "not reachable"), (None, "")])
def test_codes_are_words(code: str | None, expected: str) -> None:
    """A reason is read as words, and nothing where there is none."""
    assert expected == text.words(code)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "just now"), (3.9, "3 s ago"), (90.0, "1 min 30 s ago"), (-1.0, "just now")],
)
def test_ages_are_whole_seconds(seconds: float, expected: str) -> None:
    """Ages must be whole seconds."""
    assert expected == text.ago(seconds)


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


class TestTrend:
    def test_nothing_was_read(self) -> None:
        """Without readings, there must be no line."""
        assert text.trend(record()) is None

    def test_the_newest_is_on_the_right(self) -> None:
        """The line goes from the newest reading leftwards; twice as slow is twice as high."""
        found = text.trend(record((0.25, True), (0.125, True)), width=14, height=14, readings=3)

        assert found is not None
        assert ("M12 8h0L7 4", "", 0.25) == (found.line, found.failures, found.longest_seconds)

    def test_older_readings_are_left_out(self) -> None:
        """A line has room for so many readings."""
        found = text.trend(record(*[(9.0, True)], *[(0.5, True)] * 3), readings=3)

        assert found is not None
        assert (0.5, 2) == (found.longest_seconds, found.line.count("L"))

    def test_a_failure_is_a_tick_and_a_gap(self) -> None:
        """A failed reading must be a tick and interrupt the line."""
        found = text.trend(
            record((0.1, True), (None, False), (0.1, True)), width=14, height=14, readings=3
        )

        assert found is not None
        assert ("M12 4h0M2 4h0", "M7 0v14") == (found.line, found.failures)

    def test_unknown_outcomes_are_no_failures(self) -> None:
        """A reading of unknown outcome must be neither line nor tick."""
        found = text.trend(record((None, None)))

        assert found is not None
        assert ("", "", None) == (found.line, found.failures, found.longest_seconds)

    def test_a_ping_of_no_time(self) -> None:
        """A time of 0 is drawn at the bottom and divides nothing."""
        found = text.trend(record((0.0, True)), width=14, height=14, readings=2)

        assert found is not None
        assert "M12 12h0" == found.line


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (None, ""),
        (math.nan, ""),
        (0.0, "0 B"),
        (1023.0, "1,023 B"),
        (1024.0, "1 KiB"),
        (17_179_869_184.0, "16 GiB"),
        (5 * 2.0**50, "5,120 TiB"),
    ],
)
def test_size(octets: float | None, expected: str) -> None:
    """The unit grows with the number."""
    assert expected == text.size(octets)


@pytest.mark.parametrize(
    ("there", "planned", "expected"),
    [(None, None, ""), (2.0, None, "2"), (None, 5.0, "5 planned"), (2.0, 5.0, "2 of 5")],
)
def test_of_planned(there: float | None, planned: float | None, expected: str) -> None:
    """An unknown number must be left out."""
    assert expected == text.of_planned(there, planned)


@pytest.mark.parametrize(
    ("up", "agents", "expected"),
    [
        (None, None, ""),
        (None, 2.0, "2 agents"),
        (None, 1.0, "1 agent"),
        (0.0, 0.0, "no agents"),
        (2.0, 3.0, "2 of 3 agents up"),
    ],
)
def test_agents_up(up: float | None, agents: float | None, expected: str) -> None:
    """When it is unknown how many agents are up, the text must be their number alone."""
    assert expected == text.agents_up(up, agents)
