"""Windows of preflights: when the fleet has to be fit, by the clock on the wall of a time zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from exporter.clock import utc
from exporter.settings.preflights import DAYS


if TYPE_CHECKING:
    from datetime import date

    from exporter.settings.preflights import Window


def current_or_next(window: Window, now: float) -> tuple[float, float]:
    """Return the window that is under way, or the next one.

    It ends when the wall clock shows `before`. Where that time occurs twice, as in the night in
    which the clock is set back, the first one counts; where it does not occur, the end is as much
    later as the clock is set forward. The length is that of a stopwatch.

    Args:
        window: Its settings.
        now: The time, epoch.

    Returns:
        Begin and end, epoch; the end is no part of it.
    """
    zone = ZoneInfo(window.time_zone)
    today = utc(now).astimezone(zone).date()
    # From yesterday: where the clock is set forward over midnight, its window can end today.
    # Beyond a week: today's window can be over, and the only day of the week be today's.
    for ahead in range(-1, len(DAYS) + 1):
        day = today + timedelta(days=ahead)
        if DAYS[day.weekday()] not in window.days:
            continue
        end = _ends(window, day, zone)
        if now < end:
            return end - window.seconds, end
    raise AssertionError("a window has a day in each week")


def spoken(begin: float, end: float, time_zone: str) -> str:
    """Write a window as the clock on the wall shows it, such as `Tue 1 Dec, 00:00 to 02:00 UTC`.

    Args:
        begin: Epoch.
        end: Epoch.
        time_zone: Its name in the IANA database.
    """
    zone = ZoneInfo(time_zone)
    first, last = (utc(at).astimezone(zone) for at in (begin, end))
    day = "" if first.date() == last.date() else f"{last:%a} {last.day} {last:%b}, "
    return f"{first:%a} {first.day} {first:%b}, {first:%H:%M} to {day}{last:%H:%M} {time_zone}"


def _ends(window: Window, day: date, zone: ZoneInfo) -> float:
    if window.before is None:
        raise AssertionError("a window without an end is refused with the settings")
    return datetime.combine(day, window.before, zone).timestamp()
