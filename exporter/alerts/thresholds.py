"""Thresholds of the alerts: the settings' section for them, and the one place of their defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, create_model

from exporter.config.types import Boolean, Duration, Interval, Number
from exporter.config.validation import Section


#: The address of this project's runbooks.
RUNBOOK_URL = "https://github.com/loadfleet/loadfleet-exporter/blob/main/deploy/runbooks/"


class Thresholds(Section):
    """The values that alerts compare with; an `Interval` that is `off` leaves its alert out.

    Attributes:
        clock_skew: How far a clock may be off.
        run_stuck: How long a run may take from its start until it generates load.
        suite_overdue: How long a suite may go without a run.
        slower_than_usual: How many times its usual duration a passed run of a suite may have taken.
        longer_than_usual: How many times its usual duration a run of a suite may be in flight.
        certificate_expiry: How long before its end a certificate is to be replaced.
        agent_restarted: How long an agent counts as restarted.
        agents_down_ratio: The share of a source's agents that is too many when down.
        stale_intervals: How many of its intervals a task may go without a good poll.
        for_scale: Multiplies the times for which conditions must hold and alerts outlive them.
            Below 1 it makes trials short; in earnest it turns blips into pages.
    """

    clock_skew: Interval = 5.0
    run_stuck: Interval = 1800.0
    suite_overdue: Interval = None
    slower_than_usual: Annotated[Number, Field(gt=1)] = 1.5
    longer_than_usual: Annotated[Number, Field(gt=1)] = 2.0
    certificate_expiry: Interval = 1_209_600.0
    agent_restarted: Interval = 900.0
    agents_down_ratio: Annotated[Number, Field(gt=0, le=1)] = 0.5
    stale_intervals: Annotated[Number, Field(ge=1)] = 5.0
    for_scale: Annotated[Number, Field(ge=0)] = 1.0


# The only way to a field with the name of a keyword.
_Waiting = create_model("_Waiting", __base__=Section, **{"for": (Duration | None, None)})  # type: ignore[call-overload]


class AlertSettings(_Waiting):  # type: ignore[misc, valid-type]
    """Changes of an alert, in the built-in evaluation and in the printed rules alike.

    Attributes:
        off: Leave it out.
        severity: How urgent it is.
        for: How long its condition must hold before it fires.
    """

    off: Boolean = False
    severity: Literal["critical", "warning", "info"] | None = None

    @property
    def hold(self) -> float | None:
        """Seconds for which the condition must hold; `None` leaves that as it is."""
        seconds: float | None = getattr(self, "for")
        return seconds
