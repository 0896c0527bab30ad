"""The strip of preflights on the board: a summary of each, the most urgent first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from exporter.overview.format import count
from exporter.overview.preflight.report import Check, Finding, Report, Result, Status
from exporter.overview.preflight.window import spoken


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.overview.preflight.report import Capacity
    from exporter.overview.problems import Problem


#: The most targets that are named for a check.
NAMED = 5

# An unfit fleet has a calm mark: while the preflight is due, the mark of its problem replaces it.
_MARKS = {Status.FIT: "up", Status.NOT_FIT: "down calm", Status.NOT_KNOWN: "unknown"}


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """A check that does not pass.

    Attributes:
        targets: The first targets that are not fit. A target that fails several checks for the
            same reason is named only with the first of these checks.
        more: The number of further targets.
    """

    check: Check
    targets: tuple[Finding, ...]
    more: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A preflight in the strip.

    Attributes:
        look: The mark of the preflight: the severity of its problem, else its status.
        window: The window in local time, empty without a window.
        capacity: A phrase about agents and users.
        missing: The checks that do not pass.
    """

    report: Report
    look: str
    window: str
    capacity: str
    missing: tuple[Lack, ...]


def strip(reports: Iterable[Report], problems: Iterable[Problem]) -> list[Entry]:
    """Return the entries of preflights: first those that are due, then by their windows."""
    severities = {each.preflight: each.severity for each in problems if each.preflight}
    return [
        Entry(
            report=report,
            # The alert can outlive the condition, and nothing is green while an alert fires.
            look=severities.get(report.name) or _MARKS[report.status],
            window=_window(report),
            capacity=_capacity(report),
            missing=tuple(_missing(report)),
        )
        for report in sorted(reports, key=_urgency)
    ]


def _urgency(report: Report) -> tuple[object, ...]:
    begin = report.begin_timestamp_seconds
    return (not report.due, math.inf if begin is None else begin, report.name.casefold())


def _window(report: Report) -> str:
    begin, end = report.begin_timestamp_seconds, report.end_timestamp_seconds
    return "" if begin is None or end is None else spoken(begin, end, report.time_zone)


def _capacity(report: Report) -> str:
    fit, capacity = report.agents_fit, report.capacity
    parts = [f"{fit:,} of {count(fit + report.agents_unfit, 'agent')} fit", _users(capacity)]
    left = capacity.agents_may_fail
    if left is not None:
        parts.append(f"{count(left, 'more agent') if left else 'no agent'} may fail")
    return ", ".join(filter(None, parts))


def _users(capacity: Capacity) -> str:
    if math.isinf(capacity.users):
        return "for any number of users"
    users = f"for {count(int(capacity.users), 'user')}" if capacity.users else ""
    unknown = capacity.users_unknown
    return ", ".join(filter(None, (users, f"{unknown:,} without a known limit" if unknown else "")))


def _missing(report: Report) -> Iterator[Lack]:
    named: set[tuple[str, str, str, str]] = set()
    for check in report.checks:
        if check.result is Result.PASSED:
            continue
        new = {
            key: each
            for each in check.targets
            if (key := (each.kind, each.source, each.id, each.reason)) not in named
        }
        named |= new.keys()
        targets = tuple(new.values())
        yield Lack(check=check, targets=targets[:NAMED], more=max(0, len(targets) - NAMED))
