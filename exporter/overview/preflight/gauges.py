"""Preflights as metrics: the values of the gauges of `exporter.metrics.own` for reports.

A picture evaluates the alert table with the values of its own reports, so that its headline agrees
with its preflights. The daemon exposes the values of the newest picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.metrics import own
from exporter.overview.preflight.report import Result, Status


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Gauge

    from exporter.metrics.own import OwnFamily
    from exporter.overview.preflight.report import Report


#: The families of preflights.
FAMILIES: tuple[OwnFamily[Gauge], ...] = (
    own.PREFLIGHT_READY,
    own.PREFLIGHT_DUE,
    own.PREFLIGHT_WINDOW_START,
    own.PREFLIGHT_WINDOW_END,
    own.PREFLIGHT_AGENTS,
    own.PREFLIGHT_USERS,
    own.PREFLIGHT_CHECK_PASSED,
)

_READY = {Status.FIT: 1.0, Status.NOT_FIT: 0.0}
_PASSED = {Result.PASSED: 1.0, Result.FAILED: 0.0}


def gauges(
    reports: Iterable[Report],
) -> Mapping[OwnFamily[Gauge], Mapping[tuple[str, ...], float]]:
    """Return the values of every family by label values; unknown values are left out."""
    found: dict[OwnFamily[Gauge], dict[tuple[str, ...], float]] = {each: {} for each in FAMILIES}
    for report in reports:
        name = report.name
        values = {
            own.PREFLIGHT_READY: _READY.get(report.status),
            own.PREFLIGHT_DUE: float(report.due),
            own.PREFLIGHT_WINDOW_START: report.begin_timestamp_seconds,
            own.PREFLIGHT_WINDOW_END: report.end_timestamp_seconds,
            own.PREFLIGHT_USERS: report.capacity.users,
        }
        for family, value in values.items():
            if value is not None:
                found[family][name,] = value
        found[own.PREFLIGHT_AGENTS] |= {
            (name, "fit"): report.agents_fit,
            (name, "unfit"): report.agents_unfit,
        }
        found[own.PREFLIGHT_CHECK_PASSED] |= {
            (name, check.name): _PASSED[check.result]
            for check in report.checks
            if check.result in _PASSED
        }
    return found
