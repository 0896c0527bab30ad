"""The strip of preflights: what people see of each at a glance, the most urgent first."""

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


#: So many targets of a check are named.
NAMED = 5

# What is not fit is nobody's trouble until it is due.
_LOOKS = {Status.FIT: "up", Status.NOT_FIT: "down calm", Status.NOT_KNOWN: "unknown"}


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """A check that does not pass.

    Attributes:
        targets: The first of those that are not fit; one that fails several checks for the same
            reason stands with the first of these.
        more: How many there are besides.
    """

    check: Check
    targets: tuple[Finding, ...]
    more: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A preflight in the strip.

    Attributes:
        look: How its status is marked: by the problem that it is, else by the status.
        window: As the clock on the wall shows it, empty without one.
        capacity: A sentence about agents and users.
    """

    report: Report
    look: str
    window: str
    capacity: str
    missing: tuple[Lack, ...]


def strip(reports: Iterable[Report], problems: Iterable[Problem]) -> list[Entry]:
    """Return what is shown of preflights: those that are due first, then by their windows."""
    severities = {each.preflight: each.severity for each in problems if each.preflight}
    return [
        Entry(
            report=report,
            # Its alert can outlive the trouble, and nothing is green while one fires.
            look=severities.get(report.name) or _LOOKS[report.status],
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
    told = f"for {count(int(capacity.users), 'user')}" if capacity.users else ""
    if capacity.users_unknown:
        told += f"{' and ' if told else ''}of {capacity.users_unknown:,} no limit is known"
    return told


def _missing(report: Report) -> Iterator[Lack]:
    told: set[tuple[str, str, str, str]] = set()
    for check in report.checks:
        if check.result is Result.PASSED:
            continue
        new = {
            key: each
            for each in check.targets
            if (key := (each.kind, each.source, each.id, each.reason)) not in told
        }
        told |= new.keys()
        targets = tuple(new.values())
        yield Lack(check=check, targets=targets[:NAMED], more=max(0, len(targets) - NAMED))
