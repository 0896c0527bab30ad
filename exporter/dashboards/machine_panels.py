"""The panels that every kind of machine has: states over time, clocks, and tables of facts."""

from __future__ import annotations

import msgspec

from exporter.alerts.rule import PREFIX
from exporter.dashboards import states
from exporter.dashboards.charts import StateTimeline, TimeSeries
from exporter.dashboards.dashboard import Context
from exporter.dashboards.machines import Machine
from exporter.dashboards.panels import Target, above, beyond
from exporter.dashboards.query import Scope, by
from exporter.dashboards.tables import Column


class MachinePanels(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the panels of one kind."""

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
            f" `{machine.up.name}` and `{machine.outdated.name}`.",
            target=Target(machine.state(self.scope), machine.legend),
            named=states.MACHINE,
            width=width,
            height=height,
            answers=self._answers("Unreachable", "Outdated"),
        )

    def clocks(self, title: str, *, against: str) -> TimeSeries:
        """Make lines of how far clocks are off the right one."""
        machine = self.machine
        limit = self.context.thresholds.clock_skew
        return TimeSeries(
            title=title,
            description=f"How far each clock is off {against}, in both directions. 0 is well;"
            " beyond the dashed lines results are dated wrongly. From"
            f" `{machine.clock_delta.name}`.",
            targets=(Target(self.scope.each(machine.clock_delta), machine.legend),),
            unit="s",
            signed=True,
            steps=beyond(limit, states.RED, states.GREEN),
            answers=self._answers("ClockSkew"),
        )

    def state(self) -> Column:
        """Make the column of the state."""
        return Column(
            title="State", expression=self.machine.state(self.scope), named=states.MACHINE
        )

    def reason(self) -> Column:
        """Make the column of why it is not up."""
        return Column(title="Reason", expression=self.scope.each(self.machine.failure))

    def clock(self) -> Column:
        """Make the column of the clock."""
        return Column(
            title="Clock",
            expression=self.scope.each(self.machine.clock_delta),
            unit="s",
            steps=beyond(self.context.thresholds.clock_skew, states.RED),
        )

    def facts(self, *known: str) -> tuple[Column, ...]:
        """Make the columns of what is known of each one now.

        Args:
            known: The labels of its info family that the table shows.
        """
        machine, scope = self.machine, self.scope
        info = by("max", (*machine.labels, *known), scope.select(machine.known))
        columns = [
            self.state(),
            Column(title="Facts", expression=info),
            self.reason(),
            self.clock(),
        ]
        if machine.ping is not None:
            columns.append(Column(title="Ping", expression=scope.each(machine.ping), unit="s"))
        if machine.last_up is not None:
            seen = f"{scope.each(machine.last_up)} * 1000"
            columns.append(Column(title="Last seen up", expression=seen, unit="dateTimeFromNow"))
        return (*columns, *self._starts())

    def limits(self) -> tuple[Column, ...]:
        """Make the columns of what it may take, and whether anyone can use it."""
        machine, columns = self.machine, []
        if machine.memory_limit is not None:
            memory = self.scope.each(machine.memory_limit)
            columns.append(Column(title="Memory", expression=memory, unit="bytes"))
        if machine.protected is not None:
            protected = self.scope.each(machine.protected)
            columns.append(Column(title="Protection", expression=protected, named=states.PROTECTED))
        return tuple(columns)

    def _starts(self) -> tuple[Column, ...]:
        start = self.machine.start
        if start is None:
            return ()
        restarts = f"changes({self.scope.select(start)}[$__range])"
        return (
            Column(
                title="Running for",
                expression=f"time() - {self.scope.each(start)}",
                unit="dtdurations",
                steps=above(self.context.thresholds.agent_restarted, "text", states.BLUE),
            ),
            Column(
                title="Restarts",
                expression=by("max", self.machine.labels, restarts),
                unit="none",
            ),
        )

    def _answers(self, *endings: str) -> tuple[str, ...]:
        names = (f"{PREFIX}{self.machine.alerts}{ending}" for ending in endings)
        return self.context.answers(*names)
