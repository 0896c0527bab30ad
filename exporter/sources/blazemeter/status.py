"""The status of a run, by the vendor's codes, and its course, by its events.

The two published lists, of codes and of names, correspond by position. The code decides: names
have been spelt differently over time (`DATA_RECIEVED`, `BOOT-STARTING`).

A poll a minute apart sees few of the phases; the events name all of them, to the second. They are
free text by nature: only two forms are read, and no text is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from exporter.sources.blazemeter.replies import Epoch, Event, ReadyStatus, Status, epoch, ratio
from exporter.sources.decode import Id, Surprised, finite, measured


#: Name and phase by code: all of the published lists; the phases are read from the names.
STATUSES: dict[float, tuple[str, str]] = {
    0: ("UNKNOWN", "unknown"),
    5: ("CREATE", "pending"),
    10: ("CONFIGURING_DEPENDENCIES", "pending"),
    14: ("PREPARING_PROVISIONING", "pending"),
    15: ("INITIALIZING", "booting"),
    20: ("RETRYING", "booting"),
    25: ("BOOT_STARTING", "booting"),
    40: ("BOOT_COMPLETE", "booting"),
    45: ("INSTANCE_ALIVE", "booting"),
    50: ("INIT_SCRIPT", "downloading"),
    60: ("FILES_DOWNLOADED", "downloading"),
    70: ("JMETER_ENGINE_INIT", "ready"),
    71: ("TAURUS_ENGINE_INIT", "ready"),
    80: ("JMETER_CONSOLE_INIT", "ready"),
    90: ("TAURUS_ENGINE_READY", "ready"),
    99: ("JETPACK_DATA_RECEIVED", "running"),
    100: ("DATA_RECEIVED", "running"),
    120: ("FINALIZING", "stopping"),
    130: ("TERMINATING", "stopping"),
    135: ("TAURUS_BZT_DONE", "stopping"),
    136: ("TAURUS_IMAGE_DONE", "stopping"),
    140: ("ENDED", "ended"),
    150: ("NULL", "unknown"),
}

#: At this code a run is over. 150 is beyond it: its meaning is not documented, but nothing runs.
ENDED = 140

# A run that waits for its start has not begun to make load.
_BEFORE_LOAD = frozenset({"pending", "booting", "downloading", "ready", "unknown"})

#: The levels of events in lower case, lowest first.
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_CODES = {name.casefold(): code for code, (name, _) in STATUSES.items()}

_CHANGED = re.compile(r"Status changed to (?P<name>\S{1,64}) \((?P<number>[0-9]{1,3})\)\s*")
_EXITED = re.compile(r"Taurus completed \((?P<name>Exit): (?P<number>-?[0-9]{1,9})\)\s*")


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a run.

    Attributes:
        over: Whether it is no longer in flight.
        code: The vendor's number for it.
        engines, engines_planned: The engines that are there, and how many there are to be.
        engines_missing: Whether fewer are there than are to be, in any part of the run.
        delayed_start: Whether the engines that are there wait for the others or for somebody.
    """

    phase: str
    over: bool
    code: float | None = None
    engines: float | None = None
    engines_planned: float | None = None
    engines_missing: bool | None = None
    delayed_start: bool | None = None
    engines_ratio: Mapping[str, float] = {}
    data_available: bool | None = None
    locations: tuple[str, ...] = ()


class RunEvents(msgspec.Struct, frozen=True, kw_only=True):
    """The findings in the events of an ended run; all absent when the reply had no events.

    Attributes:
        ended: When the last engine ended, epoch seconds.
        exit_code: The exit code farthest from 0 among the engines' last ones.
        levels: How many events there were of each of `LEVELS`.
        phase_durations: Seconds by phase.
    """

    ended: Epoch | None = None
    exit_code: float | None = None
    levels: Mapping[str, float] = {}
    phase_durations: Mapping[str, float] = {}


def read_status(status: Status, surprise: Surprised) -> RunStatus:
    """Read where a run stands, by the name of the status where the code is missing or unknown.

    A name or a code that is not in the table is a surprise of kind `enum`; such a code says
    nothing, however large it is.
    """
    code, sessions = finite(status.progress), status.sessions
    if code is not None and code < 0:
        code = None  # old versions of the vendor's API say "no data" by -1
    named = _CODES.get((status.status or "").strip().casefold())
    if (status.status is not None and named is None) or (code is not None and code not in STATUSES):
        surprise("enum")
    if code is None and named is None:
        surprise("missing_field")
    known = code if code in STATUSES else named
    phase = _phase_of(known)
    ready = [session.ready_status for session in sessions or () if session.ready_status]
    counts = [(_there(each), measured(each.planned_servers_count)) for each in ready]
    missing = [
        there < planned for there, planned in counts if there is not None and planned is not None
    ]
    delays = [each.is_delayed_start for each in ready if each.is_delayed_start is not None]
    groups = {} if status.statuses is None else msgspec.structs.asdict(status.statuses)
    shares = {group: ratio(percent, surprise) for group, percent in groups.items()}
    return RunStatus(
        phase=phase,
        over=known is not None and known >= ENDED,
        code=named if code is None else code,
        engines=_sum(there for there, _ in counts),
        engines_planned=_sum(planned for _, planned in counts),
        engines_missing=any(missing) if missing else None,
        delayed_start=any(delays) and phase in _BEFORE_LOAD if delays else None,
        engines_ratio={group: share for group, share in shares.items() if share is not None},
        data_available=status.is_data_available,
        locations=tuple(session.location_id for session in sessions or () if session.location_id),
    )


def engine_errors(status: RunStatus, events: RunEvents, *, ci_errors: bool | None) -> bool | None:
    """Return whether a run lost an engine or one ended in an error, `None` while that is unknown.

    Args:
        status: Where the run stands. The servers of its engines stay on it after the end.
        events: What its events say.
        ci_errors: Whether the vendor lists errors beside the failure criteria, if that was read.
    """
    if not status.over:
        return None
    signs = [] if ci_errors is None else [ci_errors]
    if events.exit_code is not None:
        signs.append(events.exit_code != 0)
    if status.engines_missing is not None:
        signs.append(status.engines_missing)
    return any(signs) if signs else None


def read_events(events: Sequence[Event] | None, surprise: Surprised) -> RunEvents:
    """Read the events of an ended run."""
    if events is None:
        return RunEvents()
    changes = _matches(events, _CHANGED)
    # An engine that was tried again counts by its newest exit. One that died midway leaves without
    # this event.
    exits = {event.session_id: code for _, event, code in _matches(events, _EXITED)}
    return RunEvents(
        ended=max((when for when, _, code in changes if code == ENDED), default=None),
        exit_code=max(exits.values(), key=abs, default=None),
        levels=_count_by_level(events, surprise),
        phase_durations=_phase_durations(changes),
    )


def is_understood(message: str) -> bool:
    """Return whether a message is of a form that is read, and so holds nothing else."""
    return any(pattern.fullmatch(message) for pattern in (_CHANGED, _EXITED))


def _there(ready: ReadyStatus) -> float | None:
    return None if ready.servers is None else float(len(ready.servers))


def _sum(counts: Iterable[float | None]) -> float | None:
    """Add up the counts that are known; without any there is no sum."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _phase_of(code: float | None) -> str:
    return STATUSES[code][1] if code in STATUSES else "unknown"


def _count_by_level(events: Sequence[Event], surprise: Surprised) -> dict[str, float]:
    """Count events by level, all eight levels; an unknown level is a surprise and not counted."""
    counts = dict.fromkeys(LEVELS, 0.0)
    for event in events:
        level = (event.level or "").lower()
        if level in counts:
            counts[level] += 1
        else:
            surprise("missing_field" if event.level is None else "enum")
    return counts


def _phase_durations(changes: Sequence[tuple[float, Event, float]]) -> dict[str, float]:
    """Return the seconds the run was in each phase it went through, up to its end.

    A run is where its engine that is least far along is (as its own `progress` shows it), so the
    durations add up to the run's.
    """
    durations: dict[str, float] = {}
    engines: dict[Id, float] = {}
    since = 0.0
    for when, event, code in changes:
        if engines and min(engines.values()) != ENDED:
            phase = _phase_of(min(engines.values()))
            durations[phase] = durations.get(phase, 0.0) + when - since
        engines[event.session_id] = code
        since = when
    return durations


def _matches(events: Sequence[Event], pattern: re.Pattern[str]) -> list[tuple[float, Event, float]]:
    """List time, event and number of the messages of one form, oldest first.

    Within one second the vendor's order is not reliable: there the lower number goes first. A code
    that is not known gives way to a name that is.
    """
    found: list[tuple[float, Event, float]] = []
    for event in events:
        match = pattern.fullmatch(event.message or "")
        when = epoch(event.t)
        if match is not None and when is not None:
            number = float(match["number"])
            if number not in STATUSES:
                number = float(_CODES.get(match["name"].casefold(), number))
            found.append((when, event, number))
    return sorted(found, key=lambda one: (one[0], one[2]))
