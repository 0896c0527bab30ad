"""What the events of an ended run tell: how long each phase took, how the engines left.

A poll a minute apart sees few of the phases; the events name all of them, to the second. They are
free text by nature: only two forms are read, and no text is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter.sources.blazemeter.phases import ENDED, phase_of
from exporter.sources.blazemeter.values import epoch


if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.sources.blazemeter.replies import Event, Id
    from exporter.sources.decode import Surprised


#: Reference section A2, in lower case, lowest first.
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_CHANGED = re.compile(r"Status changed to \S{1,64} \(([0-9]{1,3})\)\s*")
_EXITED = re.compile(r"Taurus completed \(Exit: (-?[0-9]{1,9})\)\s*")


def count_by_level(events: Sequence[Event], surprise: Surprised) -> dict[str, float]:
    """Count events by level, all eight levels; an unknown level is a surprise and not counted."""
    counts = dict.fromkeys(LEVELS, 0.0)
    for event in events:
        level = (event.level or "").lower()
        if level in counts:
            counts[level] += 1
        else:
            surprise("missing_field" if event.level is None else "enum")
    return counts


def worst_exit_code(events: Sequence[Event]) -> float | None:
    """Return the exit code farthest from 0 among the engines' last ones.

    An engine that was tried again counts by its newest exit. `None` when no engine told: one
    that died midway leaves without this event.
    """
    last: dict[Id, float] = {}
    for _, event, code in _matches(events, _EXITED):
        last[event.session_id] = code
    return max(last.values(), key=abs, default=None)


def phase_durations(events: Sequence[Event]) -> dict[str, float]:
    """Return the seconds the run was in each phase it went through, up to its end.

    A run is where its engine that is least far along is (as its own `progress` shows it), so the
    durations add up to the run's. Within one second the vendor's order is not reliable: there the
    lower code goes first.
    """
    durations: dict[str, float] = {}
    engines: dict[Id, float] = {}
    since: float | None = None
    for when, event, code in _matches(events, _CHANGED):
        if engines and since is not None and min(engines.values()) != ENDED:
            phase = phase_of(min(engines.values()))
            durations[phase] = durations.get(phase, 0.0) + when - since
        engines[event.session_id] = code
        since = when
    return durations


def end_of(events: Sequence[Event]) -> float | None:
    """Return when the last engine ended, epoch seconds."""
    ends = [when for when, _, code in _matches(events, _CHANGED) if code == ENDED]
    return max(ends, default=None)


def is_understood(message: str) -> bool:
    """Tell whether a message is of a form that is read, and so holds nothing else."""
    return any(pattern.fullmatch(message) for pattern in (_CHANGED, _EXITED))


def _matches(events: Sequence[Event], pattern: re.Pattern[str]) -> list[tuple[float, Event, float]]:
    """List time, event and number of the messages of one form, oldest first."""
    found: list[tuple[float, Event, float]] = []
    for event in events:
        match = pattern.fullmatch(event.message or "")
        when = epoch(event.t)
        if match is not None and when is not None:
            found.append((when, event, float(match[1])))
    return sorted(found, key=lambda one: (one[0], one[2]))
