"""The status of a run by the vendor's codes, and the findings in its events.

The vendor publishes a list of codes and a list of names, which correspond by position. The code has
precedence, because the spelling of names has varied (`DATA_RECIEVED`, `BOOT-STARTING`).

Polls a minute apart miss most of the phases, while the events record all of them with a resolution
of a second. Events are free text: only two forms are read, and no text is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from exporter.sources.blazemeter.replies import Epoch, Event, ReadyStatus, Status, epoch, ratio
from exporter.sources.decode import Id, Surprised, finite, measured


#: The published codes with their names, and the phases derived from the names.
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

#: A run with this code or a higher one is over. The meaning of 150 is not documented, but such a
#: run does nothing any more.
ENDED = 140

# The phases before a run makes load; only in these can a run wait for its start.
_BEFORE_LOAD = frozenset({"pending", "booting", "downloading", "ready", "unknown"})

#: The levels of events in lower case, lowest first.
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_CODES = {name.casefold(): code for code, (name, _) in STATUSES.items()}

_CHANGED = re.compile(r"Status changed to (?P<name>\S{1,64}) \((?P<number>[0-9]{1,3})\)\s*")
_EXITED = re.compile(r"Taurus completed \((?P<name>Exit): (?P<number>-?[0-9]{1,9})\)\s*")


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a run.

    Attributes:
        phase: The phase of the run, such as `running`.
        over: Whether the run is no longer in flight.
        code: The vendor's code of the status.
        engines, engines_planned: The numbers of present and of planned engines.
        engines_missing: Whether a session has fewer engines than planned.
        delayed_start: Whether the present engines wait for other engines or for a manual start.
        engines_ratio: The ratio of engines in each phase, from 0 to 1.
        data_available: Whether the run has results.
        locations: The vendor's ids of the locations on which the run runs.
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
    """The findings in the events of a finished run; all empty if the reply had no events.

    Attributes:
        ended: The end of the last engine, as a Unix timestamp.
        exit_code: The exit code farthest from 0 among the last exit codes of all engines.
        levels: The number of events by level.
        phase_durations: The duration of each phase in seconds.
    """

    ended: Epoch | None = None
    exit_code: float | None = None
    levels: Mapping[str, float] = {}
    phase_durations: Mapping[str, float] = {}


def read_status(status: Status, surprise: Surprised) -> RunStatus:
    """Return the status of a run, by its code or, if that is missing or unknown, by its name.

    A name or a code that is not in `STATUSES` counts as a surprise of kind `enum`. An unknown code
    never means that the run is over, however large it is.
    """
    code, sessions = finite(status.progress), status.sessions
    if code is not None and code < 0:
        code = None  # old versions of the API send -1 for "no data"
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
    """Return whether a run lost an engine or an engine failed, `None` if that is unknown.

    Args:
        status: The run's status, which still counts the servers of its engines after the end.
        events: The findings in the run's events.
        ci_errors: Whether the vendor lists errors apart from failure criteria, if that was read.
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
    """Return the findings in the events of a finished run."""
    if events is None:
        return RunEvents()
    changes = _matches(events, _CHANGED)
    # The newest exit of an engine counts, because an engine can be retried. An engine that died in
    # the middle of the run has no exit event.
    exits = {event.session_id: code for _, event, code in _matches(events, _EXITED)}
    return RunEvents(
        ended=max((when for when, _, code in changes if code == ENDED), default=None),
        exit_code=max(exits.values(), key=abs, default=None),
        levels=_count_by_level(events, surprise),
        phase_durations=_phase_durations(changes),
    )


def is_understood(message: str) -> bool:
    """Return whether a message has one of the known forms, which cannot hold a secret."""
    return any(pattern.fullmatch(message) for pattern in (_CHANGED, _EXITED))


def _there(ready: ReadyStatus) -> float | None:
    return None if ready.servers is None else float(len(ready.servers))


def _sum(counts: Iterable[float | None]) -> float | None:
    """Return the sum of the known counts, or `None` if no count is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _phase_of(code: float | None) -> str:
    return STATUSES[code][1] if code in STATUSES else "unknown"


def _count_by_level(events: Sequence[Event], surprise: Surprised) -> dict[str, float]:
    """Return the number of events of all levels; an unknown level counts as a surprise only."""
    counts = dict.fromkeys(LEVELS, 0.0)
    for event in events:
        level = (event.level or "").lower()
        if level in counts:
            counts[level] += 1
        else:
            surprise("missing_field" if event.level is None else "enum")
    return counts


def _phase_durations(changes: Sequence[tuple[float, Event, float]]) -> dict[str, float]:
    """Return the seconds that the run was in each phase, up to its end.

    The phase of a run is that of its slowest engine, as in the run's own `progress`, so the phases
    add up to the duration of the run.
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
    """Return time, event and number of the messages of one form, oldest first.

    The vendor's order is not reliable within a second, so lower numbers go first there. For an
    unknown code the code of a known name is used.
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
