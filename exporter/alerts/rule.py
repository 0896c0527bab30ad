"""A row of the alert table: a condition, the targets of its alerts, and their texts."""

from __future__ import annotations

from enum import StrEnum, unique

import msgspec

from exporter.alerts.about import About, Uid
from exporter.alerts.expression import Expression, Writing
from exporter.alerts.texts import Detail, Text


#: The beginning of all alerts' names.
PREFIX = "LoadFleet"

#: The alert that always fires, by which others notice that no alerts come.
HEARTBEAT = f"{PREFIX}Heartbeat"

#: How long a condition must hold: five polls, so that a blip pages nobody.
HOLD_SECONDS = 300.0

#: How long an alert outlives its condition: what goes up and down is one page and not many.
KEEP_SECONDS = 300.0


@unique
class Severity(StrEnum):
    """The urgency of an alert: it disturbs somebody's sleep, somebody's ticket list, or nobody.

    The heartbeat has none: it is no trouble.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses that alerts link to; an empty one is not known.

    Attributes:
        runbook_url: The folder of the runbooks.
        board_url: The exporter's board.
        grafana_url: The Grafana that has the dashboards.
    """

    runbook_url: str
    board_url: str = ""
    grafana_url: str = ""


class Rule(msgspec.Struct, frozen=True):
    """A row, by position as rows are: a condition, and what its alerts say.

    Attributes:
        expression: Each series of its result is an alert of its own.
        summary: One plain sentence, the same for all its instances.
        description: The event and the instance it happened to, as the template of a `Text`.
        about: The kind of target that its alerts are about; `None` for alerts about an exporter.
        hold_seconds: How long it is pending before it fires (`for`).
        keep_seconds: How long it goes on firing when the condition is over (`keep_firing_for`).
        built_in: Whether the exporter can judge the row itself. It cannot where the condition
            needs history or the exporter's absence.
        details: Sentences that end the description, in place of those that belong to `about`.
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
        """Return its annotations; links whose address is not known are left out."""
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
        """Return its condition in PromQL.

        Args:
            writing: How it is written.
            keep: Whether an alert that fires goes on while nothing is known of its target.
        """
        condition = self.expression.promql(writing)
        if self.about is None or not keep:
            return condition
        # Two rows of one name differ in their severity.
        same = f'alertname="{self.name}", alertstate="firing", severity="{self.severity}"'
        firing = f"ALERTS{{{same}}}"
        listing = self.about.listing
        read = self.about.read().promql(writing)
        return (
            f"{condition} or max without (alertname, alertgroup, alertstate, severity) ({firing})"
            f" and on ({', '.join(listing.on)}) {listing.unknown().promql(writing)}"
            f" unless on ({', '.join(self.about.on)}) ({read})"
        )
