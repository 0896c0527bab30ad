"""The kinds of targets: the name, reading and task of each kind.

This is the only list of kinds in the exporter.
"""

from __future__ import annotations

from enum import StrEnum, unique
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from exporter.fleet import readings as r


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


@unique
class Kind(StrEnum):
    """A kind of target; the order of the kinds is the order in which pages show them.

    Attributes:
        reading: The type of its readings.
        id_field, name_field: The fields of a reading with the target's id and its name.
        id_of, name_of: Return these fields of a reading.
        task: The task that lists the targets.
        component: The vendor's name for the software on the targets, if the vendor states an oldest
            accepted version of it.
    """

    reading: type[r.Reading | r.Member]
    id_field: str
    name_field: str
    task: str
    component: str
    id_of: Callable[[Any], str]
    name_of: Callable[[Any], str]

    def __new__(cls, word: str, *columns: Any) -> Self:
        """Create a kind from its value and the columns of its row below."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.reading, kind.id_field, kind.name_field, kind.task, kind.component = columns
        kind.id_of = attrgetter(kind.id_field)
        kind.name_of = attrgetter(kind.name_field)
        return kind

    AGENT = "agent", r.Agent, "agent_id", "agent", "agents", "measuring_agent"
    CONTROLLER = (
        "controller",
        r.Controller,
        "controller",
        "controller",
        "controllers",
        "cluster_controller",
    )
    CLUSTER = "cluster", r.Cluster, "cluster_id", "agent_cluster", "clusters", ""
    LOCATION = "location", r.Location, "location_id", "location_name", "agents", ""
    RECORDER = "recorder", r.Recorder, "recorder_id", "recorder", "recorders", "proxy_recorder"
    SUITE = "suite", r.Suite, "suite_id", "suite", "suites", ""
    RUN = "run", r.Run, "run_id", "run", "runs", ""
    MEMBER = "member", r.Member, "member_id", "agent", "clusters", ""


#: Kinds that pages list and that have a history: without runs, which end, and members of clusters.
LISTED: tuple[Kind, ...] = tuple(kind for kind in Kind if kind not in {Kind.RUN, Kind.MEMBER})

#: Kinds for which a source can explain a single target.
EXPLAINED: tuple[Kind, ...] = (*LISTED, Kind.RUN)

#: The kind of target a reading is about, by the reading's type.
BY_READING: dict[type[Any], Kind] = {kind.reading: kind for kind in Kind}


def by_task(kinds: Collection[str], tasks: Iterable[str]) -> dict[str, tuple[Kind, ...]]:
    """Return the listed kinds of a source by the task that lists them.

    If a source has no task for suites, its task for runs lists them.

    Args:
        kinds: The kinds of the source.
        tasks: The tasks of the source.
    """
    found: dict[str, tuple[Kind, ...]] = dict.fromkeys(tasks, ())
    for kind in LISTED:
        known_by_runs = kind is Kind.SUITE and kind.task not in found
        task = Kind.RUN.task if known_by_runs else kind.task
        if kind in kinds and task in found:
            found[task] += (kind,)
    return found


def target_of(reading: r.Reading) -> tuple[Kind, str] | None:
    """Return kind and id of a reading's target, `None` if the reading has no target."""
    kind = BY_READING.get(type(reading))
    return None if kind is None else (kind, kind.id_of(reading))
