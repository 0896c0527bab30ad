"""Words and colours of values, once for all dashboards: the same word has the same colour."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from exporter.alerts.recording import Code
from exporter.alerts.rule import Severity
from exporter.fleet.readings import JOB_STATES, PHASES, Outcome


#: What is the same in all dashboards, and in all panels of a type, as Grafana reads it.
SHAPES: Mapping[str, Any] = json.loads(
    files(__package__).joinpath("grafana.json").read_text("utf-8")
)

# Green is well, blue is at work, orange is degraded, red is failed, grey is unknown.
GREEN, BLUE, ORANGE, RED, GREY = "green", "blue", "orange", "red", "#808080"

_COLOURS: Mapping[str, str] = {
    word: colour for colour, words in SHAPES["colours"].items() for word in words
}

#: The text of a cell without a value.
NO_DATA = "no data"

#: From which value on which colour; the first step has no value.
Steps = Sequence[tuple[float | None, str]]

#: Numbers of which one is too many, or enough, and a share that should be whole.
NONE_IS_WELL: Steps = ((None, GREEN), (1, RED))
NONE_IS_BETTER: Steps = ((None, GREEN), (1, ORANGE))
SOME_IS_WELL: Steps = ((None, RED), (1, GREEN))
ALL_IS_WELL: Steps = ((None, RED), (0.9, ORANGE), (1, GREEN))


class State(NamedTuple):
    """A value that has a name."""

    value: int | str
    word: str

    @property
    def colour(self) -> str:
        """The colour of the word."""
        return _COLOURS[self.word]


#: The words for all values of a metric or a label.
States = Sequence[State]


def _states(*words: str, first: int = 0) -> tuple[State, ...]:
    return tuple(State(code, word) for code, word in enumerate(words, start=first))


#: The states of a machine, the most urgent last.
MACHINE = _states(*(code.name.lower() for code in Code))
SOURCE = *_, REFUSED = _states("down", "up", "credentials refused")
VERDICT = *_, RUNNING = _states("not passed", "passed", "running")
TASK = *_, EMPTY = _states("no readings", "read", "nothing listed")
#: A source as an exporter sees it.
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
#: The phases of a run, code 0 is none of them, the states of jobs, and what a finished run was.
PHASE = _states(*PHASES, first=1)
JOB = _states(*JOB_STATES)
OUTCOME = _states(*Outcome)
SEVERITY = tuple(State(each, each) for each in Severity if each is not Severity.NONE)


def mappings(states: States) -> list[dict[str, Any]]:
    """Return the value mappings that turn codes into words, and nothing into `NO_DATA`."""
    nothing = {"match": "null+nan", "result": {"text": NO_DATA, "color": GREY}}
    return [mapping(states), {"type": "special", "options": nothing}]


def mapping(states: States) -> dict[str, Any]:
    """Return the value mapping that gives values their words and colours."""
    options = {
        str(state.value): {"text": state.word, "color": state.colour, "index": index}
        for index, state in enumerate(states)
    }
    return {"type": "value", "options": options}


def thresholds(steps: Steps) -> dict[str, Any]:
    """Return thresholds as Grafana reads them."""
    found = [{"value": value, "color": colour} for value, colour in steps]
    return {"mode": "absolute", "steps": found}


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
