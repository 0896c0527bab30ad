"""Words and colours of values, once for all dashboards.

The same word has the same colour everywhere: green is well, blue is at work, orange is degraded,
red is failed, grey is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from exporter.alerts.rule import Severity
from exporter.fleet.readings import JOB_STATES, PHASES


GREEN, BLUE, ORANGE, RED, GREY = "green", "blue", "orange", "red", "#808080"
IDLE = "#5f6b7a"

#: From which value on which colour; the first step has no value.
Steps = Sequence[tuple[float | None, str]]

#: The text of a cell without a value.
NO_DATA = "no data"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A value that has a name."""

    code: int
    word: str
    colour: str


def _states(*words: tuple[str, str], first: int = 0) -> tuple[State, ...]:
    return tuple(
        State(code=code, word=word, colour=colour)
        for code, (word, colour) in enumerate(words, start=first)
    )


#: The states of a machine, the most urgent last.
MACHINE = _states(
    ("unknown", GREY),
    ("inactive", IDLE),
    ("up", GREEN),
    ("outdated", ORANGE),
    ("unreachable", RED),
)
UNKNOWN, INACTIVE, UP, OUTDATED, UNREACHABLE = MACHINE

SOURCE = _states(("down", RED), ("up", GREEN), ("credentials refused", "dark-red"))
REFUSED = SOURCE[-1]

VERDICT = _states(("failed", RED), ("passed", GREEN), ("running", BLUE))
RUNNING = VERDICT[-1]

RUNNABLE = _states(("not runnable", RED), ("runnable", GREEN))
PROTECTED = _states(("unprotected", ORANGE), ("protected", GREEN))
CERTIFICATE = _states(("not in use", GREY), ("in use", GREEN))
WORK = _states(("idle", IDLE), ("busy", BLUE))
RECORDING = _states(("idle", IDLE), ("recording", BLUE))
BREAKER = _states(("closed", GREEN), ("open", RED))
SCRAPE = _states(("gone", RED), ("scraped", GREEN))
RELOAD = _states(("refused", RED), ("loaded", GREEN))
DELIVERY = _states(("delivered", GREEN), ("failing", RED))

_PHASE_COLOURS = {
    "pending": "super-light-blue",
    "booting": "light-blue",
    "downloading": "light-purple",
    "ready": "purple",
    "running": BLUE,
    "stopping": "dark-blue",
    "ended": "#4a4a4a",
    "unknown": GREY,
}
#: The colours of a run's phases in their order.
PHASE_COLOURS: Mapping[str, str] = {phase: _PHASE_COLOURS[phase] for phase in PHASES}
#: The phases of a run; code 0 is none of them.
PHASE = _states(*PHASE_COLOURS.items(), first=1)

_JOB_COLOURS = {
    "defined": "super-light-blue",
    "submitted": "light-blue",
    "ready to run": "purple",
    "running": BLUE,
    "completed": "dark-green",
    "invalid": RED,
    "other": GREY,
}
JOB_COLOURS: Mapping[str, str] = {state: _JOB_COLOURS[state] for state in JOB_STATES}

SEVERITY_COLOURS: Mapping[str, str] = {
    Severity.CRITICAL.value: RED,
    Severity.WARNING.value: ORANGE,
    Severity.INFO.value: BLUE,
}


def mappings(states: Iterable[State]) -> list[dict[str, Any]]:
    """Return the value mappings that turn codes into words, and nothing into `NO_DATA`."""
    nothing = {"match": "null+nan", "result": {"text": NO_DATA, "color": GREY}}
    return [
        _mapping((str(state.code), state.word, state.colour) for state in states),
        {"type": "special", "options": nothing},
    ]


def words(colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the value mappings that give words their colours."""
    return [_mapping((word, word, colour) for word, colour in colours.items())]


def _mapping(values: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    return {
        "type": "value",
        "options": {
            value: {"text": text, "color": colour, "index": index}
            for index, (value, text, colour) in enumerate(values)
        },
    }


def thresholds(steps: Steps) -> dict[str, Any]:
    """Return thresholds as Grafana reads them."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": colour} for value, colour in steps],
    }


def beyond(limit: float | None, colour: str, inside: str = "text") -> Steps:
    """Return the steps that colour what is farther from 0 than a limit, on either side."""
    return () if limit is None else ((None, colour), (-limit, inside), (limit, colour))


def above(limit: float | None, colour: str, below: str = "text") -> Steps:
    """Return the steps that colour what is greater than a limit."""
    return () if limit is None else ((None, below), (limit, colour))
