"""The kinds of machines in one form: what tells them apart, and the panels that all have."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.about import Uid
from exporter.alerts.rule import PREFIX
from exporter.dashboards import states
from exporter.dashboards.panels import StateTimeline, TimeSeries
from exporter.dashboards.query import Scope, by, either, labelled, labels_of
from exporter.dashboards.tables import Column, Table, link
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.metrics.catalogue import Family


class Machines(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen machines of a kind.

    Attributes:
        kind: In capitals, the beginning of its families' names in the catalogue.
        name: The label with the name that people know a machine by; it has a variable.
        legend: The name of its series.
        known: The ending of the family that has a series of each machine, whatever its state.
    """

    scope: Scope
    kind: str
    name: str
    legend: str
    known: str = "INFO"

    def family(self, ending: str) -> Family:
        """Return the family of this kind whose name in the catalogue ends so."""
        found: Family = getattr(c, f"{self.kind.replace(' ', '_').upper()}_{ending}")
        return found

    def select(self, ending: str) -> str:
        """Select the series of such a family."""
        return self.scope.select(self.family(ending))

    def each(self, ending: str) -> str:
        """Select one series per machine of such a family."""
        return self.scope.each(self.family(ending))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that tell one machine from the others."""
        return labels_of(self.family("UP"))

    def codes(self) -> str:
        """Return the query for the codes of `states.MACHINE`, one series per machine."""
        up = self.select("UP")
        known = [
            f"({up} == 0) + {states.UNREACHABLE.value}",
            f"({self.select('OUTDATED')} == 1) * {states.OUTDATED.value}",
            f"({up} == 1) * {states.UP.value}",
        ]
        if self.kind in {"agent", "cluster"}:
            known.append(f"({self.select('ACTIVE')} == 0) + {states.INACTIVE.value}")
        known.append(f"{self.select(self.known)} * {states.UNKNOWN.value}")
        return by("max", self.labels, either(*known))

    def count(self, state: states.State) -> str:
        """Return the query for how many are in a state; without any machine there is no number."""
        return f"sum({self.codes()} == bool {state.value})"

    def listed(self, expression: str) -> str:
        """Relabel one of its queries for a table of all kinds."""
        named = f'label_replace({expression}, "object", "$1", "{self.name}", "(.*)")'
        return labelled(labelled(named, "kind", self.kind), "variable", self.name)

    def over_time(
        self, *, width: int = 12, height: int = 8, down: str = "Unreachable"
    ) -> StateTimeline:
        """Make a bar per machine with its states over time.

        Args:
            width: The panel's, in columns.
            height: The panel's.
            down: The ending of the name of the alert about one that is down.
        """
        return StateTimeline(
            "Each one's state over time. Green is well, orange is outdated, red is unreachable;"
            f" grey is unknown, or inactive and so not looked at. From `{self.family('UP').name}`"
            f" and `{self.family('OUTDATED').name}`.",
            queries={self.legend: self.codes()},
            named=states.MACHINE,
            width=width,
            height=height,
            answers=self._alerts(down, "Outdated"),
        )

    def clocks(self, *, against: str) -> TimeSeries:
        """Make the lines of how far the machines' clocks are off the right one."""
        return TimeSeries(
            f"How far each clock is off {against}, in both directions. 0 is well; beyond the dashed"
            " lines results are dated wrongly.",
            queries={self.legend: self.each("CLOCK_DELTA")},
            unit="s",
            signed=True,
            steps=lambda limits: states.beyond(limits.clock_skew, states.RED, states.GREEN),
            answers=self._alerts("ClockSkew"),
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
        name = self.name
        shown = (name, "source", "version", *labels, "reason")
        facts = by("max", (*self.labels, "version", *labels), self.select("INFO"))
        seen = f"{self.each('LAST_UP')} * 1000"
        return Table(
            f"What is known of each {name} now: why it is not up, its version, its clock, {more}."
            f" The name shows this {name} alone. From `{self.family('INFO').name}` and its like.",
            columns=(
                Column("State", self.codes(), named=states.MACHINE),
                Column("Facts", facts, hidden=True),
                Column("Reason", self.each("FAILURE"), hidden=True),
                self.clock(),
                Column("Ping", self.each("PING_DURATION"), unit="s"),
                Column("Last seen up", seen, unit="dateTimeFromNow"),
                *columns,
            ),
            labels=shown,
            hidden=tuple(label for label in self.labels if label not in shown),
            links={name: link(Uid.AGENTS, name)},
            height=height,
            answers=self._alerts("Restarted", "Flapping"),
        )

    def clock(self) -> Column:
        """Make the column of how far a machine's clock is off."""
        return Column(
            "Clock",
            self.each("CLOCK_DELTA"),
            unit="s",
            steps=lambda limits: states.beyond(limits.clock_skew, states.RED),
        )

    def starts(self) -> tuple[Column, ...]:
        """Make the columns of when, and how often, a machine's software was started."""
        running = f"time() - {self.each('START')}"
        changes = by("max", self.labels, f"changes({self.select('START')}[$__range])")
        return (
            Column(
                "Running for",
                running,
                unit="dtdurations",
                steps=lambda limits: states.above(limits.agent_restarted, "text", states.BLUE),
            ),
            Column("Restarts", changes),
        )

    def limits(self) -> tuple[Column, ...]:
        """Make the columns of a machine's memory limit and protection."""
        return (
            Column("Memory", self.each("MEMORY_LIMIT"), unit="bytes"),
            Column("Protection", self.each("PROTECTED"), named=states.PROTECTED),
        )

    def _alerts(self, *endings: str) -> tuple[str, ...]:
        # A cluster member's begin with its last word.
        *_, word = self.kind.title().split()
        return tuple(f"{PREFIX}{word}{ending}" for ending in endings)


def machines(scope: Scope) -> tuple[Machines, Machines, Machines, Machines, Machines]:
    """Return the agents, controllers, clusters, their members and proxy recorders of a scope."""
    of = partial(Machines, scope=scope)
    return (
        of(kind="agent", name="agent", legend="{{agent}} ({{source}})"),
        of(kind="controller", name="controller", legend="{{controller}} ({{source}})"),
        of(
            kind="cluster",
            name="agent_cluster",
            legend="{{agent_cluster}} ({{source}})",
            known="MEMBERS",
        ),
        of(
            kind="cluster member",
            name="agent",
            legend="{{agent}} in {{agent_cluster}} ({{source}})",
            known="LOAD_FACTOR",
        ),
        of(kind="recorder", name="recorder", legend="{{recorder}} ({{source}})"),
    )
