"""A rule, the row of the alert table: a condition, the kind of target, and the texts of alerts."""

from __future__ import annotations

from enum import StrEnum, unique

import msgspec

from exporter.alerts.about import About, Uid
from exporter.alerts.expression import Expression, Writing
from exporter.alerts.texts import Detail, Text


#: The beginning of all alerts' names.
PREFIX = "LoadFleet"

#: The alert that always fires. A service that expects it can raise an alarm when it stops.
HEARTBEAT = f"{PREFIX}Heartbeat"

#: Seconds for which a condition must hold before its alert fires: five polls at an interval of a
#: minute, so that a single bad poll pages nobody.
HOLD_SECONDS = 300.0

#: Seconds for which an alert keeps firing after its condition ends, so that a flapping target
#: causes one page and not many.
KEEP_SECONDS = 300.0


@unique
class Severity(StrEnum):
    """The urgency of an alert: critical alerts page, warnings become tickets, info disturbs nobody.

    The heartbeat has severity `none`, as it reports no problem.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """The base URLs of links in alerts; empty if unknown.

    Attributes:
        runbook_url: The folder of the runbooks.
        board_url: The exporter's board.
        grafana_url: The Grafana with the dashboards.
    """

    runbook_url: str
    board_url: str = ""
    grafana_url: str = ""


class Rule(msgspec.Struct, frozen=True):
    """An alerting rule.

    Attributes:
        expression: The condition; each series of its result is one alert.
        summary: One plain sentence, the same for all alerts of the rule.
        description: The event and the affected target, as the template of a `Text`.
        about: The kind of target that the alerts are about; `None` for alerts about an exporter.
        hold_seconds: How long an alert is pending before it fires (`for`).
        keep_seconds: How long an alert keeps firing after its condition ends (`keep_firing_for`).
        built_in: Whether the exporter can evaluate the rule itself. It cannot if the condition
            needs history, samples of other exporters, or the exporter's absence.
        details: Sentences at the end of the description, in place of those of `about`.
    """

    name: str
    severity: Severity
    expression: Expression
    summary: str
    description: str
    about: About | None = None
    hold_seconds: float = HOLD_SECONDS
    keep_seconds: float = KEEP_SECONDS
    built_in: bool = True
    details: tuple[Detail, ...] | None = None

    @property
    def runbook(self) -> str:
        """The runbook's file name."""
        return f"{self.name}.md"

    def annotations(self, links: Links) -> dict[str, Text]:
        """Return the annotations by name, without links whose base URL is unknown."""
        about, details = self.about, self.details
        if details is None:
            details = about.details if about is not None else ()
        texts = {
            "summary": Text(self.summary),
            "description": Text(self.description, details),
            "runbook_url": Text(f"{links.runbook_url.rstrip('/')}/{self.runbook}"),
        }
        if links.board_url:
            page = about.page if about is not None else ""
            texts["board_url"] = Text(f"{links.board_url.rstrip('/')}/{page}")
        if links.grafana_url:
            board = about.dashboard if about is not None else Uid.EXPORTER
            query = about.chosen if about is not None else ""
            texts["dashboard_url"] = Text(f"{links.grafana_url.rstrip('/')}/d/{board}{query}")
        return texts

    def promql(self, writing: Writing, *, keep: bool = True) -> str:
        """Return the condition as PromQL.

        Args:
            writing: The options of the PromQL.
            keep: Whether a firing alert keeps firing while nothing is known about its target.
        """
        condition = self.expression.promql(writing)
        if self.about is None or not keep:
            return condition
        # Two rules with the same name differ in their severity.
        same = f'alertname="{self.name}", alertstate="firing", severity="{self.severity}"'
        firing = f"ALERTS{{{same}}}"
        listing = self.about.listing
        read = self.about.read().promql(writing)
        return (
            f"{condition} or max without (alertname, alertgroup, alertstate, severity) ({firing})"
            f" and on ({', '.join(listing.on)}) {listing.unknown().promql(writing)}"
            f" unless on ({', '.join(self.about.on)}) ({read})"
        )
