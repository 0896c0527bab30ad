"""The kinds of machines in one form: what tells them apart, and the panels that all have."""

from __future__ import annotations

import msgspec

from exporter.dashboards import states
from exporter.dashboards.dashboard import AGENTS, Context, link
from exporter.dashboards.panels import StateTimeline, TimeSeries
from exporter.dashboards.query import Scope, by, copied, either, labelled, labels_of, on
from exporter.dashboards.tables import Column, Table
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS, Family


#: The labels of machines when all kinds are in one table: `variable` is the one that chooses it.
OFFENDER = (*COMMON_LABELS, "kind", "object", "variable")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine.

    Attributes:
        kind: In capitals, the beginning of its families' names in the catalogue.
        name: The label with the name that people know a machine by; it has a variable.
        alerts: The beginning of its alerts' names.
        legend: The name of its series.
        known: The ending of the family that has a series of each machine, whatever its state.
    """

    kind: str
    name: str
    alerts: str
    legend: str
    known: str = "INFO"

    def family(self, ending: str) -> Family:
        """Return the family of this kind whose name in the catalogue ends so."""
        found: Family = getattr(c, self._of(ending))
        return found

    def has(self, ending: str) -> bool:
        """Return whether the catalogue has such a family."""
        return hasattr(c, self._of(ending))

    def _of(self, ending: str) -> str:
        return f"{self.kind.replace(' ', '_').upper()}_{ending}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that tell one machine from the others."""
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
        known.append(f"{scope.select(self.family(self.known))} * {states.UNKNOWN.code}")
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
    legend="{{agent}} ({{source}})",
)
CONTROLLER = Machine(
    kind="controller",
    name="controller",
    alerts="Controller",
    legend="{{controller}} ({{source}})",
)
MEMBER = Machine(
    kind="cluster member",
    name="agent",
    known="LOAD_FACTOR",
    alerts="Member",
    legend="{{agent}} in {{agent_cluster}} ({{source}})",
)
RECORDER = Machine(
    kind="recorder",
    name="recorder",
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
    """Return the query for when the machines that need attention were last up, in milliseconds."""
    newest = by("max", OFFENDER, _of_all("LAST_UP", scope))
    return f"{newest} * 1000 and {on(OFFENDER)} {offenders(scope)}"


def reasons(scope: Scope) -> str:
    """Return the query for why machines are unreachable, in the label `reason`."""
    return by("max", (*OFFENDER, "reason"), _of_all("FAILURE", scope))


def _of_all(ending: str, scope: Scope) -> str:
    having = [machine for machine in MACHINES if machine.has(ending)]
    return either(*(each.listed(scope.each(each.family(ending))) for each in having))


class MachinePanels(msgspec.Struct, frozen=True, kw_only=True):
    """The panels and columns that every kind of machine has, for one kind."""

    machine: Machine
    scope: Scope
    context: Context

    def states(self, *, width: int = 12, height: int = 8) -> StateTimeline:
        """Make a bar per machine with its states over time."""
        machine = self.machine
        return StateTimeline(
            description="Each one's state over time. Green is well, orange is outdated, red is"
            " unreachable; grey is unknown, or inactive and so not looked at. From"
            f" `{machine.family('UP').name}` and `{machine.family('OUTDATED').name}`.",
            queries={machine.legend: machine.state(self.scope)},
            named=states.MACHINE,
            width=width,
            height=height,
            answers=self._answers("Unreachable", "Outdated"),
        )

    def clocks(self, *, against: str) -> TimeSeries:
        """Make the lines of how far the machines' clocks are off.

        Args:
            against: Whose clock is the right one.
        """
        delta = self.machine.family("CLOCK_DELTA")
        return TimeSeries(
            description=f"How far each clock is off {against}, in both directions. 0 is well;"
            f" beyond the dashed lines results are dated wrongly. From `{delta.name}`.",
            queries={self.machine.legend: self.scope.each(delta)},
            unit="s",
            signed=True,
            steps=states.beyond(self.context.thresholds.clock_skew, states.RED, states.GREEN),
            answers=self._answers("ClockSkew"),
        )

    def now(
        self, more: str, *columns: Column, labels: tuple[str, ...] = (), height: int = 6
    ) -> Table:
        """Make a table of what is known of each machine now.

        Args:
            more: The end of the list of facts in the description.
            columns: Those that only this kind has.
            labels: The labels of its info family that are shown beside the version.
            height: The panel's.
        """
        machine, scope = self.machine, self.scope
        name, info = machine.name, machine.family("INFO")
        shown = (name, "source", "version", *labels, "reason")
        facts = by("max", (*machine.labels, "version", *labels), scope.select(info))
        seen = f"{scope.each(machine.family('LAST_UP'))} * 1000"
        return Table(
            description=f"What is known of each {name} now: why it is not up, its version, its"
            f" clock, {more}. The name shows this {name} alone. From `{info.name}` and its like.",
            columns=(
                self.state(),
                Column("Facts", facts),
                self.reason(),
                self.clock(),
                Column("Ping", scope.each(machine.family("PING_DURATION")), unit="s"),
                Column("Last seen up", seen, unit="dateTimeFromNow"),
                *columns,
            ),
            labels=shown,
            hidden=tuple(label for label in machine.labels if label not in shown),
            links={name: link(AGENTS, name)},
            sort="-Value #A",
            height=height,
            answers=self._answers("Restarted"),
        )

    def state(self) -> Column:
        """Make the column of the state."""
        return Column("State", self.machine.state(self.scope), named=states.MACHINE)

    def reason(self) -> Column:
        """Make the column of the reason why a machine is not up."""
        return Column("Reason", self.scope.each(self.machine.family("FAILURE")))

    def clock(self) -> Column:
        """Make the column of how far a machine's clock is off."""
        steps = states.beyond(self.context.thresholds.clock_skew, states.RED)
        delta = self.scope.each(self.machine.family("CLOCK_DELTA"))
        return Column("Clock", delta, unit="s", steps=steps)

    def starts(self) -> tuple[Column, ...]:
        """Make the columns of when, and how often, a machine's software was started."""
        start = self.machine.family("START")
        running = f"time() - {self.scope.each(start)}"
        steps = states.above(self.context.thresholds.agent_restarted, "text", states.BLUE)
        changes = f"changes({self.scope.select(start)}[$__range])"
        return (
            Column("Running for", running, unit="dtdurations", steps=steps),
            Column("Restarts", by("max", self.machine.labels, changes), unit="none"),
        )

    def limits(self) -> tuple[Column, ...]:
        """Make the columns of a machine's memory limit and protection."""
        memory = self.scope.each(self.machine.family("MEMORY_LIMIT"))
        protected = self.scope.each(self.machine.family("PROTECTED"))
        return (
            Column("Memory", memory, unit="bytes"),
            Column("Protection", protected, named=states.PROTECTED),
        )

    def _answers(self, *endings: str) -> tuple[str, ...]:
        return self.context.answers(*(f"{self.machine.alerts}{ending}" for ending in endings))
