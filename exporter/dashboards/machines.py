"""The kinds of machines in one form: what tells them apart, and the panels that all have."""

from __future__ import annotations

import msgspec

from exporter.dashboards import states
from exporter.dashboards.dashboard import Context
from exporter.dashboards.panels import StateTimeline, TimeSeries, above, beyond
from exporter.dashboards.query import Scope, by, copied, either, labelled, labels_of, on
from exporter.dashboards.tables import Column
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS, Family


#: The labels of machines when all kinds are in one table: `variable` is the one that chooses it.
OFFENDER = (*COMMON_LABELS, "kind", "object", "variable")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine.

    Attributes:
        name: The label that people know it by, for which there is a variable.
        families: What the names of its families begin with in the catalogue.
        known: The family of which each one has a series, whatever its state.
        alerts: What the names of its alerts begin with.
        legend: What its series are called.
    """

    kind: str
    name: str
    families: str
    known: Family
    alerts: str
    legend: str

    def family(self, ending: str) -> Family:
        """Return the family with this ending of a name in the catalogue.

        Raises:
            AttributeError: There is none of this kind.
        """
        found: Family = getattr(c, f"{self.families}_{ending}")
        return found

    def has(self, ending: str) -> bool:
        """Return whether the catalogue has a family with this ending for this kind."""
        return hasattr(c, f"{self.families}_{ending}")

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells one from the others."""
        return labels_of(self.family("UP"))

    def state(self, scope: Scope) -> str:
        """Return the query for the codes of `states.MACHINE`, one series per machine."""
        up = scope.select(self.family("UP"))
        known = [
            f"({up} == 0) + {states.UNREACHABLE.code}",
            f"({scope.select(self.family('OUTDATED'))} == 1) * {states.OUTDATED.code}",
            f"({up} == 1) * {states.UP.code}",
        ]
        if self.has("ACTIVE"):
            known.append(f"({scope.select(self.family('ACTIVE'))} == 0) + {states.INACTIVE.code}")
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
    families="AGENT",
    known=c.AGENT_INFO,
    alerts="Agent",
    legend="{{agent}} ({{source}})",
)
CONTROLLER = Machine(
    kind="controller",
    name="controller",
    families="CONTROLLER",
    known=c.CONTROLLER_INFO,
    alerts="Controller",
    legend="{{controller}} ({{source}})",
)
MEMBER = Machine(
    kind="cluster member",
    name="agent",
    families="CLUSTER_MEMBER",
    known=c.CLUSTER_MEMBER_LOAD_FACTOR,
    alerts="Member",
    legend="{{agent}} in {{agent_cluster}} ({{source}})",
)
RECORDER = Machine(
    kind="recorder",
    name="recorder",
    families="RECORDER",
    known=c.RECORDER_INFO,
    alerts="Recorder",
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
    newest = by("max", OFFENDER, _of_all("LAST_UP", scope))
    return f"{newest} * 1000 and {on(OFFENDER)} {offenders(scope)}"


def reasons(scope: Scope) -> str:
    """Return the query for why the unreachable ones are so, in the label `reason`."""
    return by("max", (*OFFENDER, "reason"), _of_all("FAILURE", scope))


def _of_all(ending: str, scope: Scope) -> str:
    having = [machine for machine in MACHINES if machine.has(ending)]
    return either(*(each.listed(scope.each(each.family(ending))) for each in having))


class MachinePanels(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the panels and columns that every kind has, for one kind."""

    machine: Machine
    scope: Scope
    context: Context

    def states(self, title: str, *, width: int = 12, height: int = 8) -> StateTimeline:
        """Make a bar per machine with its states over time."""
        machine = self.machine
        return StateTimeline(
            title=title,
            description="Each one's state over time. Green is well, orange is outdated, red is"
            " unreachable; grey is unknown, or inactive and so not looked at. From"
            f" `{machine.family('UP').name}` and `{machine.family('OUTDATED').name}`.",
            queries={machine.legend: machine.state(self.scope)},
            named=states.MACHINE,
            width=width,
            height=height,
            answers=self._answers("Unreachable", "Outdated"),
        )

    def clocks(self, title: str, *, against: str) -> TimeSeries:
        """Make lines of how far clocks are off the right one."""
        delta = self.machine.family("CLOCK_DELTA")
        return TimeSeries(
            title=title,
            description=f"How far each clock is off {against}, in both directions. 0 is well;"
            f" beyond the dashed lines results are dated wrongly. From `{delta.name}`.",
            queries={self.machine.legend: self.scope.each(delta)},
            unit="s",
            signed=True,
            steps=beyond(self.context.thresholds.clock_skew, states.RED, states.GREEN),
            answers=self._answers("ClockSkew"),
        )

    def state(self) -> Column:
        """Make the column of the state."""
        return Column("State", self.machine.state(self.scope), named=states.MACHINE)

    def reason(self) -> Column:
        """Make the column of why it is not up."""
        return Column("Reason", self.scope.each(self.machine.family("FAILURE")))

    def clock(self) -> Column:
        """Make the column of the clock."""
        steps = beyond(self.context.thresholds.clock_skew, states.RED)
        delta = self.scope.each(self.machine.family("CLOCK_DELTA"))
        return Column("Clock", delta, unit="s", steps=steps)

    def facts(self, *known: str) -> tuple[Column, ...]:
        """Make the columns of what is known of each one now, as far as its kind has it.

        Args:
            known: The labels of its info family that the table shows.
        """
        machine, scope = self.machine, self.scope
        info = by("max", (*machine.labels, *known), scope.select(machine.known))
        columns = [self.state(), Column("Facts", info), self.reason(), self.clock()]
        if machine.has("PING_DURATION"):
            columns.append(Column("Ping", scope.each(machine.family("PING_DURATION")), unit="s"))
        if machine.has("LAST_UP"):
            seen = f"{scope.each(machine.family('LAST_UP'))} * 1000"
            columns.append(Column("Last seen up", seen, unit="dateTimeFromNow"))
        if machine.has("START"):
            start = machine.family("START")
            steps = above(self.context.thresholds.agent_restarted, "text", states.BLUE)
            running = f"time() - {scope.each(start)}"
            restarts = by("max", machine.labels, f"changes({scope.select(start)}[$__range])")
            columns.append(Column("Running for", running, unit="dtdurations", steps=steps))
            columns.append(Column("Restarts", restarts, unit="none"))
        return tuple(columns)

    def limits(self) -> tuple[Column, ...]:
        """Make the columns of what it may take, and whether anyone can use it."""
        memory = self.scope.each(self.machine.family("MEMORY_LIMIT"))
        protected = self.scope.each(self.machine.family("PROTECTED"))
        return (
            Column("Memory", memory, unit="bytes"),
            Column("Protection", protected, named=states.PROTECTED),
        )

    def _answers(self, *endings: str) -> tuple[str, ...]:
        return self.context.answers(*(f"{self.machine.alerts}{ending}" for ending in endings))
