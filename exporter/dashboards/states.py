"""Words and colours of values for all dashboards; the same word always has the same colour."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from exporter.alerts.recording import Code
from exporter.alerts.rule import Severity
from exporter.fleet.readings import JOB_STATES, PHASES, Outcome


#: The JSON that all dashboards, or all panels of a type, have in common.
SHAPES: Mapping[str, Any] = json.loads(
    files(__package__).joinpath("grafana.json").read_text("utf-8")
)

# Green: good. Blue: at work. Orange: degraded. Red: failed. Grey: unknown.
GREEN, BLUE, ORANGE, RED, GREY = "green", "blue", "orange", "red", "#808080"

_COLOURS: Mapping[str, str] = {
    word: colour for colour, words in SHAPES["colours"].items() for word in words
}

#: The text of a cell without a value.
NO_DATA = "no data"

#: Colours, each with the value from which on it applies; the first step has no value.
Steps = Sequence[tuple[float | None, str]]

#: Steps for numbers that should be 0, or not 0, and for a share that should be 100 %.
NONE_IS_WELL: Steps = ((None, GREEN), (1, RED))
NONE_IS_BETTER: Steps = ((None, GREEN), (1, ORANGE))
SOME_IS_WELL: Steps = ((None, RED), (1, GREEN))
ALL_IS_WELL: Steps = ((None, RED), (0.9, ORANGE), (1, GREEN))


class State(NamedTuple):
    """A value with the word shown for it."""

    value: int | str
    word: str

    @property
    def colour(self) -> str:
        """The colour of the word."""
        return _COLOURS[self.word]


#: The values of a metric or a label, with their words.
States = Sequence[State]


def _states(*words: str, first: int = 0) -> tuple[State, ...]:
    return tuple(State(code, word) for code, word in enumerate(words, start=first))


#: The states of a machine; a more urgent state comes later.
MACHINE = _states(*(code.name.lower() for code in Code))
SOURCE = *_, REFUSED = _states("down", "up", "credentials refused")
VERDICT = *_, RUNNING = _states("not passed", "passed", "running")
TASK = *_, EMPTY = _states("no readings", "read", "nothing listed")
#: The states of a source from the view of an exporter.
SEEN = *_, HELD_BACK, SLOW, STANDS_BY = _states(
    "no readings", "answers", "calls held back", "vendor slow", "stands by"
)
RUNNABLE = _states("not runnable", "runnable")
PROTECTED = _states("unprotected", "protected")
CERTIFICATE = _states("not in use", "in use")
WAITING = _states("no", "waits to be started")
COMPLAINT = _states("none", "internal error")
ENGINES = _states("all well", "lost or in error")
USE = _states("disabled", "in use")
WORK = _states("idle", "busy")
DIRECTION = _states("behind", "right", "ahead", first=-1)
RECORDING = _states("idle", "recording")
SCRAPE = _states("gone", "scraped")
RELOAD = _states("refused", "loaded")
STORE = _states("in memory", "kept")
FITNESS = _states("not known", "not fit", "fit")
DUE = _states("not due", "due")
CHECK = _states("not passed", "passed")
DELIVERY = _states("delivered", "failing")
#: The phases of a run from code 1 on, the states of jobs, and the outcomes of finished runs.
PHASE = _states(*PHASES, first=1)
JOB = _states(*JOB_STATES)
OUTCOME = _states(*Outcome)
SEVERITY = tuple(State(each, each) for each in Severity if each is not Severity.NONE)


def mappings(states: States) -> list[dict[str, Any]]:
    """Return the value mappings of codes to words, and of a missing value to `NO_DATA`."""
    nothing = {"match": "null+nan", "result": {"text": NO_DATA, "color": GREY}}
    return [mapping(states), {"type": "special", "options": nothing}]


def mapping(states: States) -> dict[str, Any]:
    """Return the value mapping of values to words and colours."""
    options = {
        str(state.value): {"text": state.word, "color": state.colour, "index": index}
        for index, state in enumerate(states)
    }
    return {"type": "value", "options": options}


def thresholds(steps: Steps) -> dict[str, Any]:
    """Return thresholds in Grafana's JSON model."""
    found = [{"value": value, "color": colour} for value, colour in steps]
    return {"mode": "absolute", "steps": found}


def beyond(limit: float | None, colour: str, inside: str = "text") -> Steps:
    """Return the steps that colour values beyond a limit on either side of 0."""
    return () if limit is None else ((None, colour), (-limit, inside), (limit, colour))


def above(limit: float | None, colour: str, below: str = "text") -> Steps:
    """Return the steps that colour values from a limit on."""
    return () if limit is None else ((None, below), (limit, colour))


def expiring(limit: float | None) -> Steps:
    """Return the steps that colour a remaining time: orange below a limit, red below 0."""
    soon: Steps = ((0, "text"),) if limit is None else ((0, ORANGE), (limit, "text"))
    return ((None, RED), *soon)
