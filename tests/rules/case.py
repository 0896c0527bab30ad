"""An alert about a target, or about the exporter, and what it has to do with series."""

from __future__ import annotations

import msgspec

from tests.rules.histories import History, Phase, Values, labelled


EPOCH = "1970-01-01 00:00:00 +0000 UTC"

#: The second at which a limit is exceeded, one step too late to fire before the end.
LATE = 35 * 60


class Case(msgspec.Struct, frozen=True):
    """An alert that history alone does not decide.

    Attributes:
        alert: The alert's name without the prefix.
        severity: The alert's severity.
        labels: The target's labels beside the source, such as `agent_id agent=x`.
        task: The task that lists the target; empty for a source, `None` for the exporter itself.
        kind: The kind by which the target is counted, if it is.
        bad, well: The exposed values while it fires, and while its target is read and well.
        text: Its description for a source `prod`, with what `details` add.
        page: The end of its link to the board.
        silent: Values beside the bad ones with which it does not fire.
        also: Values beside the bad ones with which it fires as well.
        details: Values for its description.
        hold, keep: Minutes until it fires, and for which it outlives its condition.
        suffices: Whether it fires if only one of two exporters has the bad values.
    """

    alert: str
    severity: str
    labels: str
    task: str | None
    kind: str
    bad: Values
    well: Values
    text: str
    page: str
    silent: dict[str, Values] = {}
    also: dict[str, Values] = {}
    details: Values = {}
    hold: float = 5
    keep: float = 5
    suffices: bool = False

    @property
    def name(self) -> str:
        """The alert's name, with its labels where several cases are of one alert."""
        return f"{self.alert} {self.labels}" if "=" in self.labels else self.alert

    @property
    def start(self) -> Phase:
        """Return the first minutes of an alert that fires for one minute and ends."""
        return Phase(self.hold + 1, self.exposed(self.bad))

    def exposed(self, values: Values) -> Values:
        """Return series with those of a source that answers and whose list is read."""
        beside = {"exporter_build_info": "1"}
        if self.task is not None:
            task = self.task or "suites"
            beside |= {
                "source_up": "1",
                f"source_task_up task={task}": "1",
                f"exporter_poll_interval_seconds task={task}": "60",
            }
        if self.kind:
            beside[f"source_targets kind={self.kind}"] = "5"
        return beside | values

    def always(self, title: str, *phases: Phase) -> History:
        """Return a history in which it fires as soon as it can."""
        return self.until(None, title, *phases)

    def never(self, title: str, *phases: Phase) -> History:
        """Return a history in which it does not fire."""
        return self.always(title, *phases)._replace(fires=None)

    def until(self, minute: float | None, title: str, *phases: Phase) -> History:
        """Return a history in which it fires, without a gap, until a minute."""
        labels = self.fires(f"{self.name}: {title}")
        return History(self.name, self.alert, title, phases, self.hold, minute, labels)

    def fires(self, source: str) -> dict[str, str]:
        """Return the alert's labels, without an exporter for a target or a preflight."""
        whose = "instance" if self.task is None else "provider source"
        whose = "" if self.labels == "preflight" else whose
        return labelled(
            f"alertname=LoadFleet{self.alert} severity={self.severity} {whose} {self.labels}",
            source,
        )
