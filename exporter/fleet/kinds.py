"""The kinds of targets: what each is called, which reading is about it, and which task lists it.

This is the only list of them. Whoever needs to know what an agent is asks here.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Any, Self

from exporter.fleet.readings import (
    Agent,
    Cluster,
    Controller,
    Member,
    Reading,
    Recorder,
    Run,
    Suite,
)


@unique
class Kind(StrEnum):
    """A kind of target, in the order in which they are shown.

    Attributes:
        reading: The type of what is known of one.
        id_field, name_field: The fields of the reading that hold a target's id and its name.
        task: The task that lists them; also the plural that people read.
        component: The vendor's name for what runs on them, where it has an oldest accepted version.
    """

    reading: type[Reading | Member]
    id_field: str
    name_field: str
    task: str
    component: str

    def __new__(  # noqa: PLR0913, PLR0917 - the columns of the table below
        cls,
        word: str,
        reading: type[Reading | Member],
        id_field: str,
        name_field: str,
        task: str,
        component: str = "",
    ) -> Self:
        """Make a row of the table; the kind's value is its word."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.reading = reading
        kind.id_field = id_field
        kind.name_field = name_field
        kind.task = task
        kind.component = component
        return kind

    AGENT = "agent", Agent, "agent_id", "agent", "agents", "measuring_agent"
    CONTROLLER = (
        "controller",
        Controller,
        "controller",
        "controller",
        "controllers",
        "cluster_controller",
    )
    CLUSTER = "cluster", Cluster, "cluster_id", "agent_cluster", "clusters"
    RECORDER = "recorder", Recorder, "recorder_id", "recorder", "recorders", "proxy_recorder"
    SUITE = "suite", Suite, "suite_id", "suite", "suites"
    RUN = "run", Run, "run_id", "run", "runs"
    MEMBER = "member", Member, "member_id", "agent", "clusters"

    def id_of(self, reading: Any) -> str:
        """Return the id of the target of this kind that a reading is about."""
        target_id: str = getattr(reading, self.id_field)
        return target_id

    def name_of(self, reading: Any) -> str:
        """Return the name of the target of this kind that a reading is about."""
        name: str = getattr(reading, self.name_field)
        return name


#: Kinds with rows of their own and a history. A run comes and goes; a member is part of a cluster.
LISTED: tuple[Kind, ...] = tuple(kind for kind in Kind if kind not in {Kind.RUN, Kind.MEMBER})

#: Kinds of which a source can explain a single target.
EXPLAINED: tuple[Kind, ...] = (*LISTED, Kind.RUN)

_BY_READING: dict[type[Any], Kind] = {kind.reading: kind for kind in Kind}


def kind_of(reading: Reading) -> Kind | None:
    """Return the kind of the target a reading is about, `None` if it is about none."""
    return _BY_READING.get(type(reading))


def target_of(reading: Reading) -> tuple[Kind, str] | None:
    """Return kind and id of the target a reading is about, `None` if it is about none."""
    kind = _BY_READING.get(type(reading))
    return None if kind is None else (kind, kind.id_of(reading))
