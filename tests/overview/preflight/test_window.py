"""Windows by the clock on the wall; the expected instants are UTC, reckoned by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from exporter.config.validation import checked
from exporter.overview.preflight.window import current_or_next
from exporter.settings.preflights import Window


def unix(text: str) -> float:
    """Return a time in UTC as seconds of the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def found(now: str, **settings: Any) -> tuple[str, str]:
    """Return begin and end of the window at a time, in UTC."""
    outcome = checked(Window, settings)
    assert not outcome.mistakes
    begin, end = current_or_next(outcome.settings, unix(now))
    return written(begin), written(end)


def written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("now", "begin", "end"),
    [
        ("2026-11-30 12:00", "2026-12-01 00:00", "2026-12-01 02:00"),
        ("2026-12-01 00:00", "2026-12-01 00:00", "2026-12-01 02:00"),
        ("2026-12-01 01:59:59.999", "2026-12-01 00:00", "2026-12-01 02:00"),
        ("2026-12-01 02:00", "2026-12-02 00:00", "2026-12-02 02:00"),
    ],
    ids=["before", "at its begin", "before its end", "at its end"],
)
def test_begins_and_ends_on_time(now: str, begin: str, end: str) -> None:
    """A window must contain its beginning, but not its end."""
    assert (begin, end) == found(now, before="02:00", **{"for": "2h"})


def test_lasts_an_hour_in_utc() -> None:
    """Without a length and a time zone it is the hour before, in UTC."""
    assert ("2026-07-01 21:00", "2026-07-01 22:00") == found("2026-07-01 03:00", before="22:00")


# Zurich is 1 h ahead of UTC, in summer 2 h: from 2026-03-29 01:00 UTC to 2026-10-25 01:00 UTC.
# New York is 5 h behind, in summer 4 h: from 2026-03-08 07:00 UTC to 2026-11-01 06:00 UTC.
# Lord Howe is 10.5 h ahead, in summer 11 h: to 2026-04-04 15:00 UTC, from 2026-10-03 15:30 UTC.
@pytest.mark.parametrize(
    ("zone", "now", "before", "begin", "end"),
    [
        ("Europe/Zurich", "2026-01-10 12:00", "02:00", "2026-01-10 23:00", "2026-01-11 01:00"),
        ("Europe/Zurich", "2026-07-10 12:00", "02:00", "2026-07-10 22:00", "2026-07-11 00:00"),
        # 02:30 does not occur; 2:30 in winter time is 03:30 in summer time.
        ("Europe/Zurich", "2026-03-28 12:00", "02:30", "2026-03-28 23:30", "2026-03-29 01:30"),
        # Two elapsed hours before 04:00, which are three hours on the wall clock.
        ("Europe/Zurich", "2026-03-28 12:00", "04:00", "2026-03-29 00:00", "2026-03-29 02:00"),
        # 02:30 occurs twice, first in summer time.
        ("Europe/Zurich", "2026-10-24 12:00", "02:30", "2026-10-24 22:30", "2026-10-25 00:30"),
        ("Europe/Zurich", "2026-10-25 00:30", "02:30", "2026-10-25 23:30", "2026-10-26 01:30"),
        ("Europe/Zurich", "2026-10-24 12:00", "04:00", "2026-10-25 01:00", "2026-10-25 03:00"),
        ("America/New_York", "2026-03-07 12:00", "02:30", "2026-03-08 05:30", "2026-03-08 07:30"),
        ("America/New_York", "2026-03-07 12:00", "22:00", "2026-03-08 01:00", "2026-03-08 03:00"),
        ("America/New_York", "2026-10-31 12:00", "01:30", "2026-11-01 03:30", "2026-11-01 05:30"),
        ("America/New_York", "2026-11-01 05:30", "01:30", "2026-11-02 04:30", "2026-11-02 06:30"),
        # 01:45 occurs twice, 30 min apart, first in summer time.
        (
            "Australia/Lord_Howe",
            "2026-04-04 00:00",
            "01:45",
            "2026-04-04 12:45",
            "2026-04-04 14:45",
        ),
        # 02:15 does not occur; in winter time it is 15:45 UTC, 02:45 in summer time.
        (
            "Australia/Lord_Howe",
            "2026-10-03 00:00",
            "02:15",
            "2026-10-03 13:45",
            "2026-10-03 15:45",
        ),
        (
            "Australia/Lord_Howe",
            "2026-10-03 15:45",
            "02:15",
            "2026-10-04 13:15",
            "2026-10-04 15:15",
        ),
    ],
)
def test_follows_the_clock_on_the_wall(
    zone: str, now: str, before: str, begin: str, end: str
) -> None:
    """A window must begin at its wall clock time, also on days when the clock changes."""
    assert (begin, end) == found(now, before=before, time_zone=zone, **{"for": "2h"})


@pytest.mark.parametrize("now", ["2026-03-29 01:15", "2026-03-29 00:59"])
def test_ends_on_the_next_day_where_midnight_is_left_out(now: str) -> None:
    """A window must end on the next day where the clock skips midnight, as in Nuuk."""
    begun = found(now, before="23:30", time_zone="America/Nuuk", days=["sat"])

    assert ("2026-03-29 00:30", "2026-03-29 01:30") == begun


@pytest.mark.parametrize(
    ("now", "begin", "end"),
    [
        # 2026-11-30 is a Monday.
        ("2026-11-29 21:59", "2026-11-29 22:00", "2026-11-30 02:00"),
        ("2026-11-29 23:00", "2026-11-29 22:00", "2026-11-30 02:00"),
        ("2026-11-30 02:00", "2026-12-06 22:00", "2026-12-07 02:00"),
        ("2026-11-30 22:00", "2026-12-06 22:00", "2026-12-07 02:00"),
        ("2026-12-28 03:00", "2027-01-03 22:00", "2027-01-04 02:00"),
    ],
    ids=["the day before", "begun the day before", "just over", "not the next day", "new year"],
)
def test_names_the_day_of_the_test(now: str, begin: str, end: str) -> None:
    """A window of Monday may begin on Sunday evening, and there is one a week."""
    assert (begin, end) == found(now, before="02:00", days=["mon"], **{"for": "4h"})


def test_days_are_those_of_its_zone() -> None:
    """Monday morning in Auckland is Sunday evening in UTC."""
    zone = {"time_zone": "Pacific/Auckland", "days": ["mon"]}

    assert ("2026-11-29 17:00", "2026-11-29 18:00") == found(
        "2026-11-29 12:00", before="07:00", **zone
    )


def test_goes_over_the_end_of_the_year() -> None:
    """The window of New Year's Day begins in the old year."""
    assert ("2026-12-31 23:00", "2027-01-01 01:00") == found(
        "2026-12-31 23:30", before="01:00", **{"for": "2h"}
    )


def test_a_window_may_last_a_whole_day() -> None:
    """A window may last a whole day, and the next one begin at its end."""
    day = {"before": "06:00", "for": "24h"}

    assert ("2026-11-30 06:00", "2026-12-01 06:00") == found("2026-11-30 06:00", **day)
