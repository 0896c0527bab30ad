"""The kinds of machines in one form: what tells them apart, and how each one's state is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.dashboards import states
from exporter.dashboards.query import by, copied, either, labelled
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS, Family


if TYPE_CHECKING:
    from exporter.dashboards.query import Scope


#: The labels of machines when all kinds are in one table: `variable` is the one that chooses it.
OFFENDER = (*COMMON_LABELS, "kind", "object", "variable")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine.

    Attributes:
        name: The label that people know it by, for which there is a variable.
        known: A family of which each one has a series, whatever its state.
        alerts: What the names of its alerts begin with.
        legend: What its series are called.

    What a kind does not have is `None`.
    """

    kind: str
    name: str
    alerts: str
    legend: str
    known: Family
    up: Family
    failure: Family
    outdated: Family
    clock_delta: Family
    active: Family | None = None
    last_up: Family | None = None
    ping: Family | None = None
    start: Family | None = None
    memory_limit: Family | None = None
    protected: Family | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells one from the others."""
        return (*COMMON_LABELS, *self.up.labels)

    def state(self, scope: Scope) -> str:
        """Return the query for the codes of `states.MACHINE`, one series per machine."""
        up = scope.select(self.up)
        known = [
            f"({up} == 0) + {states.UNREACHABLE.code}",
            f"({scope.select(self.outdated)} == 1) * {states.OUTDATED.code}",
            f"({up} == 1) * {states.UP.code}",
        ]
        if self.active is not None:
            known.append(f"({scope.select(self.active)} == 0) + {states.INACTIVE.code}")
        known.append(f"{scope.select(self.known)} * {states.UNKNOWN.code}")
        return by("max", self.labels, either(*known))

    def count(self, scope: Scope, state: states.State) -> str:
        """Return the query for how many are in a state; without any machine there is no number."""
        return f"sum({self.state(scope)} == bool {state.code})"

    def listed(self, expression: str) -> str:
        """Relabel one of its queries for a table of all kinds."""
        named = copied(expression, "object", self.name)
        return labelled(labelled(named, "kind", self.kind), "variable", self.name)


AGENT = Machine(
    kind="agent",
    name="agent",
    alerts="Agent",
    known=c.AGENT_INFO,
    up=c.AGENT_UP,
    failure=c.AGENT_FAILURE,
    outdated=c.AGENT_OUTDATED,
    active=c.AGENT_ACTIVE,
    last_up=c.AGENT_LAST_UP,
    clock_delta=c.AGENT_CLOCK_DELTA,
    ping=c.AGENT_PING_DURATION,
    start=c.AGENT_START,
    memory_limit=c.AGENT_MEMORY_LIMIT,
    protected=c.AGENT_PROTECTED,
    legend="{{agent}} ({{source}})",
)
CONTROLLER = Machine(
    kind="controller",
    name="controller",
    alerts="Controller",
    known=c.CONTROLLER_INFO,
    up=c.CONTROLLER_UP,
    failure=c.CONTROLLER_FAILURE,
    outdated=c.CONTROLLER_OUTDATED,
    last_up=c.CONTROLLER_LAST_UP,
    clock_delta=c.CONTROLLER_CLOCK_DELTA,
    ping=c.CONTROLLER_PING_DURATION,
    start=c.CONTROLLER_START,
    memory_limit=c.CONTROLLER_MEMORY_LIMIT,
    protected=c.CONTROLLER_PROTECTED,
    legend="{{controller}} ({{source}})",
)
MEMBER = Machine(
    kind="cluster member",
    name="agent",
    alerts="Member",
    known=c.CLUSTER_MEMBER_LOAD_FACTOR,
    up=c.CLUSTER_MEMBER_UP,
    failure=c.CLUSTER_MEMBER_FAILURE,
    outdated=c.CLUSTER_MEMBER_OUTDATED,
    clock_delta=c.CLUSTER_MEMBER_CLOCK_DELTA,
    legend="{{agent}} in {{agent_cluster}} ({{source}})",
)
RECORDER = Machine(
    kind="recorder",
    name="recorder",
    alerts="Recorder",
    known=c.RECORDER_INFO,
    up=c.RECORDER_UP,
    failure=c.RECORDER_FAILURE,
    outdated=c.RECORDER_OUTDATED,
    last_up=c.RECORDER_LAST_UP,
    clock_delta=c.RECORDER_CLOCK_DELTA,
    ping=c.RECORDER_PING_DURATION,
    memory_limit=c.RECORDER_MEMORY_LIMIT,
    protected=c.RECORDER_PROTECTED,
    legend="{{recorder}} ({{source}})",
)
MACHINES = (AGENT, CONTROLLER, MEMBER, RECORDER)


def all_states(scope: Scope) -> str:
    """Return the query for the states of all kinds of machines."""
    return either(*(machine.listed(machine.state(scope)) for machine in MACHINES))


def offenders(scope: Scope) -> str:
    """Return the query for the states of all machines that need attention."""
    return by("max", OFFENDER, f"({all_states(scope)}) >= {states.OUTDATED.code}")


def last_up(scope: Scope) -> str:
    """Return the query for when those were last seen up, in milliseconds."""
    seen = either(
        *(
            machine.listed(scope.each(machine.last_up))
            for machine in MACHINES
            if machine.last_up is not None
        )
    )
    newest = by("max", OFFENDER, seen)
    return f"{newest} * 1000 and on ({', '.join(OFFENDER)}) {offenders(scope)}"


def reasons(scope: Scope) -> str:
    """Return the query for why the unreachable ones are so, in the label `reason`."""
    known = either(*(machine.listed(scope.each(machine.failure)) for machine in MACHINES))
    return by("max", (*OFFENDER, "reason"), known)
