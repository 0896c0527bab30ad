"""The kinds of targets: what each is called, which reading is about it, and which task lists it.

This is the only list of them. Whoever needs to know what an agent is asks here.
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
    """A kind of target, in the order in which they are shown.

    Attributes:
        reading: The type of what is known of one.
        id_field, name_field: The fields of the reading that hold a target's id and its name.
        id_of, name_of: Return the contents of these fields.
        task: The task that lists them.
        component: The vendor's name for what runs on them, where it has an oldest accepted version.
    """

    reading: type[r.Reading | r.Member]
    id_field: str
    name_field: str
    task: str
    component: str
    id_of: Callable[[Any], str]
    name_of: Callable[[Any], str]

    def __new__(cls, word: str, *columns: Any) -> Self:
        """Make a row of the table; the kind's value is its word."""
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


#: Kinds with rows of their own and a history. A run comes and goes; a member is part of a cluster.
LISTED: tuple[Kind, ...] = tuple(kind for kind in Kind if kind not in {Kind.RUN, Kind.MEMBER})

#: Kinds of which a source can explain a single target.
EXPLAINED: tuple[Kind, ...] = (*LISTED, Kind.RUN)

#: The kind of target a reading is about, by the reading's type.
BY_READING: dict[type[Any], Kind] = {kind.reading: kind for kind in Kind}


def by_task(kinds: Collection[str], tasks: Iterable[str]) -> dict[str, tuple[Kind, ...]]:
    """Return the listed kinds of a source by the task that lists them.

    Suites that have no task of their own are known by their runs.

    Args:
        kinds: The kinds that the source has.
        tasks: All of its tasks.
    """
    found: dict[str, tuple[Kind, ...]] = dict.fromkeys(tasks, ())
    for kind in LISTED:
        known_by_runs = kind is Kind.SUITE and kind.task not in found
        task = Kind.RUN.task if known_by_runs else kind.task
        if kind in kinds and task in found:
            found[task] += (kind,)
    return found


def target_of(reading: r.Reading) -> tuple[Kind, str] | None:
    """Return kind and id of the target a reading is about, `None` if it is about none."""
    kind = BY_READING.get(type(reading))
    return None if kind is None else (kind, kind.id_of(reading))
