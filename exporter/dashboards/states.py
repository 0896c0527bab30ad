"""Words and colours of values, once for all dashboards.

The same word has the same colour everywhere: green is well, blue is at work, orange is degraded,
red is failed, grey is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from exporter.alerts.recording import Code
from exporter.alerts.rule import Severity
from exporter.fleet.readings import JOB_STATES, PHASES, Outcome


GREEN, BLUE, ORANGE, RED, GREY = "green", "blue", "orange", "red", "#808080"
IDLE = "#5f6b7a"

#: From which value on which colour; the first step has no value.
Steps = Sequence[tuple[float | None, str]]

#: Numbers of which one is too many.
NONE_IS_WELL: Steps = ((None, GREEN), (1, RED))
NONE_IS_BETTER: Steps = ((None, GREEN), (1, ORANGE))

SOME_IS_WELL: Steps = ((None, RED), (1, GREEN))

#: A share that should be whole.
ALL_IS_WELL: Steps = ((None, RED), (0.9, ORANGE), (1, GREEN))

#: The text of a cell without a value.
NO_DATA = "no data"


class State(NamedTuple):
    """A value that has a name."""

    value: int | str
    word: str
    colour: str


#: The words for all values of a metric or a label.
States = Sequence[State]


def _states(*words: tuple[str, str], first: int = 0) -> tuple[State, ...]:
    return tuple(State(code, *word) for code, word in enumerate(words, start=first))


_OF_CODES = {
    Code.UNKNOWN: GREY,
    Code.INACTIVE: IDLE,
    Code.UP: GREEN,
    Code.OUTDATED: ORANGE,
    Code.UNREACHABLE: RED,
}
#: The states of a machine, the most urgent last.
MACHINE = _states(*((code.name.lower(), _OF_CODES[code]) for code in Code))

SOURCE = _states(("down", RED), ("up", GREEN), ("credentials refused", "dark-red"))
REFUSED = SOURCE[-1]

VERDICT = _states(("not passed", RED), ("passed", GREEN), ("running", BLUE))
RUNNING = VERDICT[-1]

RUNNABLE = _states(("not runnable", RED), ("runnable", GREEN))
PROTECTED = _states(("unprotected", ORANGE), ("protected", GREEN))
CERTIFICATE = _states(("not in use", GREY), ("in use", GREEN))
WAITING = _states(("no", IDLE), ("waits to be started", BLUE))
COMPLAINT = _states(("none", GREEN), ("internal error", RED))
ENGINES = _states(("all well", GREEN), ("lost or in error", ORANGE))
USE = _states(("disabled", IDLE), ("in use", GREEN))
WORK = _states(("idle", IDLE), ("busy", BLUE))
DIRECTION = (State(-1, "behind", GREY), State(0, "right", GREEN), State(1, "ahead", GREY))
RECORDING = _states(("idle", IDLE), ("recording", BLUE))
TASK = _states(("no readings", RED), ("read", GREEN), ("nothing listed", "dark-red"))
EMPTY = TASK[-1]
#: A source as an exporter sees it.
SEEN = _states(
    ("no readings", RED),
    ("answers", GREEN),
    ("calls held back", "dark-red"),
    ("vendor slow", ORANGE),
    ("stands by", IDLE),
)
*_, HELD_BACK, SLOW, STANDS_BY = SEEN
SCRAPE = _states(("gone", RED), ("scraped", GREEN))
RELOAD = _states(("refused", RED), ("loaded", GREEN))
STORE = _states(("in memory", ORANGE), ("kept", GREEN))
DELIVERY = _states(("delivered", GREEN), ("failing", RED))

_COLOURS = {
    "pending": "super-light-blue",
    "booting": "light-blue",
    "downloading": "light-purple",
    "ready": "purple",
    "running": BLUE,
    "stopping": "dark-blue",
    "stuck": RED,
    "ended": "#4a4a4a",
    "unknown": GREY,
    "defined": "super-light-blue",
    "submitted": "light-blue",
    "ready to run": "purple",
    "completed": "dark-green",
    "invalid": RED,
    "other": GREY,
}
#: The phases of a run, code 0 is none of them, and the states of jobs.
PHASE = _states(*((phase, _COLOURS[phase]) for phase in PHASES), first=1)
JOB = _states(*((state, _COLOURS[state]) for state in JOB_STATES))

_OF_OUTCOMES = {
    Outcome.PASSED: GREEN,
    Outcome.FAILED: RED,
    Outcome.INCOMPLETE: ORANGE,
    Outcome.ABORTED: "light-purple",
    Outcome.ERROR: "dark-red",
    Outcome.NO_DATA: "dark-orange",
    Outcome.NO_VERDICT: GREY,
}
#: What a finished run was.
OUTCOME = _states(*((outcome.value, _OF_OUTCOMES[outcome]) for outcome in Outcome))

SEVERITY = (
    State(Severity.CRITICAL, Severity.CRITICAL, RED),
    State(Severity.WARNING, Severity.WARNING, ORANGE),
    State(Severity.INFO, Severity.INFO, BLUE),
)


def mappings(states: States) -> list[dict[str, Any]]:
    """Return the value mappings that turn codes into words, and nothing into `NO_DATA`."""
    nothing = {"match": "null+nan", "result": {"text": NO_DATA, "color": GREY}}
    return [mapping(states), {"type": "special", "options": nothing}]


def mapping(states: States) -> dict[str, Any]:
    """Return the value mapping that gives values their words and colours."""
    return {
        "type": "value",
        "options": {
            str(value): {"text": word, "color": colour, "index": index}
            for index, (value, word, colour) in enumerate(states)
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


def expiring(limit: float | None) -> Steps:
    """Return the steps that colour the time that is left, before and after it is too short."""
    soon: Steps = ((0, "text"),) if limit is None else ((0, ORANGE), (limit, "text"))
    return ((None, RED), *soon)
