"""The settings of the alerts' thresholds, with their defaults, and of single alerts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, create_model

from exporter.config.types import Boolean, Duration, Interval, Number
from exporter.config.validation import Section


#: The URL of this project's runbooks.
RUNBOOK_URL = "https://github.com/loadfleet/loadfleet-exporter/blob/main/deploy/runbooks/"


class Thresholds(Section):
    """The values that alerts compare with; an interval of `off` switches its alert off.

    Attributes:
        clock_skew: How far a clock may be off.
        run_stuck: How long a run may take from its start until it generates load.
        suite_overdue: How long a suite may go without a run.
        slower_than_usual: How many times the usual duration a passed run of a suite may take.
        longer_than_usual: How many times the usual duration a run of a suite may be in flight.
        certificate_expiry: How long before a certificate expires the alert fires.
        agent_restarted: How long after its start an agent counts as restarted.
        agents_down_ratio: The share of a source's agents, 0 to 1, that must be down for an alert.
        stale_intervals: How many intervals a task may go without a poll that succeeds.
        for_scale: Multiplies the times for which conditions must hold before an alert fires, and
            for which it keeps firing afterwards. Values below 1 are for trials: in production they
            turn blips into pages.
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


# A field cannot be named `for` in a class statement, as that is a keyword.
_Waiting = create_model("_Waiting", __base__=Section, **{"for": (Duration | None, None)})  # type: ignore[call-overload]


class AlertSettings(_Waiting):  # type: ignore[misc, valid-type]
    """Changes of an alert, both in the built-in evaluation and in the printed rules.

    Attributes:
        off: Switch the alert off.
        severity: The severity of the alert.
        for: How long the condition must hold before the alert fires.
    """

    off: Boolean = False
    severity: Literal["critical", "warning", "info"] | None = None

    @property
    def hold(self) -> float | None:
        """Seconds for which the condition must hold; `None` keeps the default."""
        seconds: float | None = getattr(self, "for")
        return seconds
