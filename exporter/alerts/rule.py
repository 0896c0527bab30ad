"""A row of the alert table: a condition, and what an alert says of it."""

from __future__ import annotations

from enum import StrEnum, unique

import msgspec

from exporter.alerts.expression import Expression
from exporter.alerts.text import Text


#: What all names begin with.
PREFIX = "LoadFleet"

#: The labels that tell a source.
SOURCE = ("provider", "source")

#: How long a condition must hold: five polls, so that a blip pages nobody.
HOLD_SECONDS = 300.0

#: How long an alert outlives its condition or its data: a lost scrape, or a restart of the
#: exporter, must neither resolve a page nor repeat it.
KEEP_SECONDS = 300.0


@unique
class Severity(StrEnum):
    """Whom an alert disturbs: somebody's sleep, somebody's ticket list, nobody."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A row: from what condition on there is an alert, and what it says.

    Attributes:
        expression: Each series of its result is an alert of its own.
        hold_seconds: How long it is pending before it fires (`for`).
        keep_seconds: How long it goes on firing when the series is gone (`keep_firing_for`).
        summary: One plain sentence, the same for all its instances.
        description: What happened to which instance.
        built_in: Whether the exporter can judge it itself; it cannot tell of its own absence.
    """

    name: str
    expression: Expression
    severity: Severity
    summary: str
    description: Text
    hold_seconds: float = HOLD_SECONDS
    keep_seconds: float = KEEP_SECONDS
    built_in: bool = True

    @property
    def runbook(self) -> str:
        """The runbook's file name."""
        return f"{self.name}.md"

    def annotations(self, *, runbook_url: str) -> dict[str, Text]:
        """Return its annotations, the runbook's under a base address."""
        return {
            "summary": Text(self.summary),
            "description": self.description,
            "runbook_url": Text(f"{runbook_url.rstrip('/')}/{self.runbook}"),
        }
