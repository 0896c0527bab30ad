"""The summary of a target's records: its present condition, and its availability in three spans.

All functions are pure. A time without readings is unknown, neither up nor down. But an outage
continues through such a time, until a reading has another condition.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.history.records import (
    HOUR,
    PING_UNITS,
    Condition,
    Records,
    SuiteResult,
    Tally,
    Transition,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


Look = Literal["up", "down", "partly", "inactive", "unknown"]

#: The hours of each span, by its name.
SPANS: Mapping[str, int] = {"24h": 24, "7d": 168, "30d": 720}

#: The hours of a cell of the timeline. The timeline of a day has no cells, as it is made from
#: transitions.
_CELLS: Mapping[str, int] = {"7d": 1, "30d": 6}

_LOOKS: Mapping[Condition, Look] = {
    Condition.UP: "up",
    Condition.DOWN: "down",
    Condition.INACTIVE: "inactive",
    Condition.GONE: "unknown",
}


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a timeline; `partly` means up and down within one cell."""

    begin_timestamp_seconds: float
    end_timestamp_seconds: float
    state: Look


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which the target was down.

    Attributes:
        end_timestamp_seconds: The end, `None` while the target is still down.
        repaired: Whether the target was up afterwards.
    """

    begin_timestamp_seconds: float
    end_timestamp_seconds: float | None = None
    repaired: bool = False


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A target's availability in the newest hours, including the present hour.

    Attributes:
        span: The name of the span, a key of `SPANS`.
        uptime_ratio: The share of the `up` readings among the `up` and `down` readings; `None` if
            there are none.
        readings_up, readings_down: The number of readings with this condition.
        outages: The number of outages that overlap the span.
        longest_outage_seconds: The length of the longest of these outages, including its time
            before the span; an outage that is not over counts until now.
        mean_repair_seconds: The mean length of the outages that ended within the span with the
            target up again, including their time before the span.
        timeline: The segments from the beginning of the span until now, without a gap.
    """

    span: str
    begin_timestamp_seconds: float
    end_timestamp_seconds: float
    uptime_ratio: float | None
    readings_up: int
    readings_down: int
    outages: int
    longest_outage_seconds: float | None
    mean_repair_seconds: float | None
    timeline: tuple[Segment, ...]


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """The readings of one hour.

    Attributes:
        ping_min_seconds, ping_mean_seconds, ping_max_seconds: The least, mean and greatest
            duration of the pings; `None` without pings.
    """

    begin_timestamp_seconds: float
    readings_up: int
    readings_down: int
    ping_min_seconds: float | None = None
    ping_mean_seconds: float | None = None
    ping_max_seconds: float | None = None

    @classmethod
    def of(cls, hour: int, tally: Tally) -> Hour:
        """Return the readings of an hour, numbered since the epoch."""
        pings = None
        if tally.ping_min is not None and tally.ping_max is not None:
            mean = tally.ping_sum / tally.pings
            pings = [each / PING_UNITS for each in (tally.ping_min, mean, tally.ping_max)]
        lowest, mean_seconds, highest = pings or (None, None, None)
        return cls(
            begin_timestamp_seconds=float(hour * HOUR),
            readings_up=tally.up,
            readings_down=tally.down,
            ping_min_seconds=lowest,
            ping_mean_seconds=mean_seconds,
            ping_max_seconds=highest,
        )


class TargetHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The history of one target.

    Attributes:
        in_memory_since_timestamp_seconds: The Unix time at which a history in memory begins;
            `None` for a history in a file.
        condition: The newest known condition; `None` if there was never one.
        outdated: Whether the target's software is known to be too old.
        since_timestamp_seconds: The Unix time at which that condition was first read.
        spans: The availability by span, the shortest first.
        transitions: The transitions, the newest first.
        runs: The finished runs of a suite, the newest first.
        hours: The hours with readings, the oldest first.
    """

    in_memory_since_timestamp_seconds: float | None = None
    condition: Condition | None = None
    outdated: bool | None = None
    since_timestamp_seconds: float | None = None
    spans: tuple[Span, ...] = ()
    transitions: tuple[Transition, ...] = ()
    runs: tuple[SuiteResult, ...] = ()
    hours: tuple[Hour, ...] = ()


def summarized(records: Records, now: float) -> TargetHistory:
    """Return the history of a target, computed from its records at a Unix time."""
    transitions = settled(records.transitions, now)
    newest = transitions[-1] if transitions else None
    return TargetHistory(
        condition=newest.condition if newest else None,
        outdated=newest.outdated if newest else None,
        since_timestamp_seconds=since(transitions),
        spans=tuple(span(name, transitions, records.hours, now) for name in SPANS),
        transitions=tuple(reversed(transitions)),
        runs=tuple(reversed(records.runs)),
        hours=tuple(Hour.of(hour, tally) for hour, tally in records.hours.items()),
    )


def settled(transitions: Iterable[Transition], now: float) -> list[Transition]:
    """Return transitions in the order of their readings, with time stamps that do not decrease.

    While the clock was ahead, time stamps were too late. The time stamps after the correction are
    right, and limit the earlier ones.
    """
    limit = now
    found = []
    for each in reversed(list(transitions)):
        if each.timestamp_seconds > limit:
            each = msgspec.structs.replace(each, timestamp_seconds=limit)  # noqa: PLW2901
        limit = each.timestamp_seconds
        found.append(each)
    found.reverse()
    return found


def since(transitions: Sequence[Transition]) -> float | None:
    """Return the Unix time at which the present condition began, `None` without transitions.

    A change of `outdated` alone does not begin a condition.
    """
    found = None
    for each in reversed(transitions):
        if each.condition is not transitions[-1].condition:
            break
        found = each.timestamp_seconds
    return found


def outages(transitions: Iterable[Transition]) -> Iterator[Outage]:
    """Yield the outages, the oldest first; only the last one can lack an end."""
    begin = None
    for each in transitions:
        if each.condition is Condition.DOWN:
            begin = each.timestamp_seconds if begin is None else begin
        elif begin is not None:
            yield Outage(
                begin_timestamp_seconds=begin,
                end_timestamp_seconds=each.timestamp_seconds,
                repaired=each.condition is Condition.UP,
            )
            begin = None
    if begin is not None:
        yield Outage(begin_timestamp_seconds=begin)


def hours_of(name: str, now: float) -> range:
    """Return the hours of a span, numbered since the epoch; the last is the present hour."""
    present = int(now) // HOUR
    return range(present - SPANS[name] + 1, present + 1)


def span(
    name: str, transitions: Sequence[Transition], hours: Mapping[int, Tally], now: float
) -> Span:
    """Return the availability of a target in a span.

    Args:
        name: The name of the span, a key of `SPANS`.
        transitions: The transitions as `settled` returns them.
        hours: The hours with readings.
        now: The end of the span, a Unix time.
    """
    wanted = hours_of(name, now)
    begin = float(wanted[0] * HOUR)
    found = [hours[hour] for hour in wanted if hour in hours]
    up, down = sum(hour.up for hour in found), sum(hour.down for hour in found)
    within = [
        each
        for each in outages(transitions)
        if each.end_timestamp_seconds is None or each.end_timestamp_seconds > begin
    ]
    lengths = [
        (now if each.end_timestamp_seconds is None else each.end_timestamp_seconds)
        - each.begin_timestamp_seconds
        for each in within
    ]
    repairs = [length for each, length in zip(within, lengths, strict=True) if each.repaired]
    cell = _CELLS.get(name)
    parts = (
        _by_transitions(transitions, hours, wanted, now)
        if cell is None
        else _by_cells(hours, wanted, now, cell)
    )
    return Span(
        span=name,
        begin_timestamp_seconds=begin,
        end_timestamp_seconds=now,
        uptime_ratio=up / (up + down) if up + down else None,
        readings_up=up,
        readings_down=down,
        outages=len(within),
        longest_outage_seconds=max(lengths, default=None),
        mean_repair_seconds=sum(repairs) / len(repairs) if repairs else None,
        timeline=tuple(_joined(parts)),
    )


def _by_transitions(
    transitions: Sequence[Transition], hours: Mapping[int, Tally], wanted: range, now: float
) -> Iterator[Segment]:
    """Yield segments by the transitions; each hour without readings is unknown."""
    times = [float("-inf"), *(each.timestamp_seconds for each in transitions), now]
    looks: list[Look] = ["unknown", *(_LOOKS[each.condition] for each in transitions)]
    parts = list(zip(pairwise(times), looks, strict=True))
    position = 0
    for hour in wanted:
        begin, end = float(hour * HOUR), min(now, float((hour + 1) * HOUR))
        if hour not in hours:
            yield _segment(begin, end, "unknown")
            continue
        while parts[position][0][1] <= begin and position + 1 < len(parts):
            position += 1
        for (first, last), look in parts[position:]:
            if first >= end:
                break
            yield _segment(max(begin, first), min(end, last), look)


def _by_cells(
    hours: Mapping[int, Tally], wanted: range, now: float, size: int
) -> Iterator[Segment]:
    """Yield a segment for each cell, by the readings of its hours."""
    for first in range(wanted[0], wanted[-1] + 1, size):
        last = min(first + size, wanted[-1] + 1)
        found = [hours[hour] for hour in range(first, last) if hour in hours]
        yield _segment(float(first * HOUR), min(now, float(last * HOUR)), _look(found))


def _look(found: Sequence[Tally]) -> Look:
    up, down = any(hour.up for hour in found), any(hour.down for hour in found)
    if up and down:
        return "partly"
    if up or down:
        return "up" if up else "down"
    return "inactive" if any(hour.inactive for hour in found) else "unknown"


def _segment(begin: float, end: float, state: Look) -> Segment:
    return Segment(begin_timestamp_seconds=begin, end_timestamp_seconds=end, state=state)


def _joined(parts: Iterable[Segment]) -> Iterator[Segment]:
    """Yield the segments without empty ones, joining neighbours with the same state."""
    open_part: Segment | None = None
    for part in parts:
        if part.end_timestamp_seconds <= part.begin_timestamp_seconds:
            continue
        if open_part is not None and open_part.state == part.state:
            open_part = msgspec.structs.replace(
                open_part, end_timestamp_seconds=part.end_timestamp_seconds
            )
            continue
        if open_part is not None:
            yield open_part
        open_part = part
    if open_part is not None:
        yield open_part
