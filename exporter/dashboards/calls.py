"""The panels on what the vendors' APIs are asked, and what they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.dashboards import metrics as m
from exporter.dashboards.charts import TimeSeries
from exporter.dashboards.panels import Target
from exporter.dashboards.query import by, quantile
from exporter.metrics.catalogue import COMMON_LABELS


if TYPE_CHECKING:
    from exporter.dashboards.panels import Panel
    from exporter.dashboards.query import Scope


_SOURCE = "{{source}} ({{provider}})"


def rows(scope: Scope) -> tuple[tuple[Panel, ...], ...]:
    """Return the panels, row by row."""
    return (
        (_calls(scope), _call_durations(scope)),
        (_failed_calls(scope), _in_flight(scope)),
        (_surprises(scope), _series(scope)),
    )


def _calls(scope: Scope) -> Panel:
    return TimeSeries(
        title="Calls",
        description="Calls per minute to each source's API; compare with `requests_per_minute` and"
        f" with what the vendor allows. From `{m.HTTP_REQUESTS.name}`.",
        targets=(Target(scope.per_minute(m.HTTP_REQUESTS, *COMMON_LABELS), _SOURCE),),
        unit="cpm",
    )


def _call_durations(scope: Scope) -> Panel:
    labels = (*COMMON_LABELS, "operation")
    slowest = quantile(0.95, labels, scope.select(m.HTTP_REQUEST_DURATION))
    return TimeSeries(
        title="Durations of calls",
        description="Below what 95 % of the calls of each operation stay. Steady is well; near the"
        f" time-out the vendor is overloaded. From `{m.HTTP_REQUEST_DURATION.name}`.",
        targets=(Target(slowest, "{{operation}} ({{source}})"),),
        unit="s",
    )


def _failed_calls(scope: Scope) -> Panel:
    labels = (*COMMON_LABELS, "operation", "outcome")
    failed = scope.per_minute(m.HTTP_REQUESTS, *labels, matchers=('outcome!="ok"',))
    return TimeSeries(
        title="Failed calls",
        description="Calls per minute without a valid answer, by operation and reason. None is"
        f" well. From `{m.HTTP_REQUESTS.name}`.",
        targets=(Target(f"{failed} > 0", "{{operation}}: {{outcome}} ({{source}})"),),
        unit="cpm",
    )


def _in_flight(scope: Scope) -> Panel:
    waiting = by("sum", COMMON_LABELS, scope.select(m.HTTP_REQUESTS_IN_FLIGHT))
    return TimeSeries(
        title="Calls under way",
        description="Calls to each source that wait for their answers. At the source's"
        " `concurrency` for long means that polls take long. From"
        f" `{m.HTTP_REQUESTS_IN_FLIGHT.name}`.",
        targets=(Target(waiting, _SOURCE),),
        unit="none",
    )


def _surprises(scope: Scope) -> Panel:
    labels = (*COMMON_LABELS, "kind")
    return TimeSeries(
        title="Surprises in replies",
        description="Values per minute that the vendors' API references do not know. None is well;"
        f" many after a vendor's release are worth a report. From `{m.VENDOR_SURPRISES.name}`.",
        targets=(Target(scope.per_minute(m.VENDOR_SURPRISES, *labels), "{{source}} {{kind}}"),),
        unit="cpm",
    )


def _series(scope: Scope) -> Panel:
    expired = scope.per_minute(m.SERIES_EXPIRED, *COMMON_LABELS)
    return TimeSeries(
        title="Series",
        description="Series of each source's targets, and how many per minute ended for want of a"
        f" newer reading. Steady and none is well. From `{m.SERIES.name}` and"
        f" `{m.SERIES_EXPIRED.name}`.",
        targets=(
            Target(by("sum", COMMON_LABELS, scope.select(m.SERIES)), "{{source}} exposed"),
            Target(expired, "{{source}} expired per minute"),
        ),
        unit="none",
    )
