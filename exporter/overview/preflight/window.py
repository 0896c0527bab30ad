"""Windows of preflights: when the fleet has to be fit, by the local time of a time zone."""

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
    """Return the present window, or the next one.

    A window ends at the local time `before`. If that time occurs twice, as in the night in which
    clocks are set back, the first one counts. If it does not occur because clocks are set forward,
    the end is later by the length of the gap. The length of a window is real time.

    Args:
        window: The settings of the window.
        now: The present Unix time.

    Returns:
        Beginning and end as Unix times; the end is not part of the window.
    """
    zone = ZoneInfo(window.time_zone)
    today = utc(now).astimezone(zone).date()
    # From yesterday, because its window can end today if clocks are set forward over midnight.
    # Up to the same day of next week, because today's window can be over and be the only one of
    # the week.
    for ahead in range(-1, len(DAYS) + 1):
        day = today + timedelta(days=ahead)
        if DAYS[day.weekday()] not in window.days:
            continue
        end = _ends(window, day, zone)
        if now < end:
            return end - window.seconds, end
    raise AssertionError("a window has a day in each week")


def spoken(begin: float, end: float, time_zone: str) -> str:
    """Return a window in local time, such as `Tue 1 Dec, 00:00 to 02:00 UTC`.

    Args:
        begin: The beginning, a Unix time.
        end: The end, a Unix time.
        time_zone: The name of the time zone in the IANA database.
    """
    zone = ZoneInfo(time_zone)
    first, last = (utc(at).astimezone(zone) for at in (begin, end))
    day = "" if first.date() == last.date() else f"{last:%a} {last.day} {last:%b}, "
    return f"{first:%a} {first.day} {first:%b}, {first:%H:%M} to {day}{last:%H:%M} {time_zone}"


def _ends(window: Window, day: date, zone: ZoneInfo) -> float:
    if window.before is None:
        raise AssertionError("a window without an end is refused with the settings")
    return datetime.combine(day, window.before, zone).timestamp()
