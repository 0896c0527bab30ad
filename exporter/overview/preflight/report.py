"""The outcome of a preflight: its checks, each with its reason and the targets that fail it.

A check that cannot be decided is unknown, and what is not known to be fit is not fit.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.kinds import Kind


if TYPE_CHECKING:
    from collections.abc import Iterable


@unique
class Status(StrEnum):
    """The fleet's fitness: not fit if a check failed, else not known if one is unknown."""

    FIT = "fit"
    NOT_FIT = "not_fit"
    NOT_KNOWN = "not_known"


@unique
class Result(StrEnum):
    """The result of a check, or of one target in it, the worst first."""

    FAILED = "failed"
    UNKNOWN = "unknown"
    PASSED = "passed"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A target that fails a check, or may fail it.

    Attributes:
        result: `failed`, or `unknown` where it is not known to be fit.
        reason: Why, in words that follow upon its name.
    """

    kind: Kind
    source: str
    id: str
    name: str
    result: Result
    reason: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check.

    Attributes:
        name: The key of the configuration that demands it.
        reason: A sentence that holds whatever the result is.
        targets: Those that fail it or may; a check can pass in spite of some of them.
    """

    name: str
    result: Result
    reason: str
    targets: tuple[Finding, ...] = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An agent on which several of the chosen suites run.

    Attributes:
        suites: Their names.
    """

    source: str
    id: str
    name: str
    suites: tuple[str, ...]


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The load that the fit agents may carry beside that which the chosen suites bring.

    Attributes:
        users: The sum of the limits of the fit agents; infinite if one has none.
        users_unknown: Fit agents of which no limit is known.
        suites_users: The sum of the most users that the chosen suites had in their newest runs.
        suites_unknown: Chosen suites of which that is not known.
        agents_may_fail: How many more agents may fail, whichever they are, until a check fails;
            `None` while the checks do not pass, or where none is about agents. Where clusters share
            agents it may be more.
        wanted_twice: Agents on which several of the chosen suites run.
    """

    users: float
    users_unknown: int = 0
    suites_users: float | None = None
    suites_unknown: int = 0
    agents_may_fail: int | None = None
    wanted_twice: tuple[Wanted, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one preflight.

    Attributes:
        due: Whether it is within its window; never without one.
        begin_timestamp_seconds, end_timestamp_seconds: The present window, or the next one; epoch.
        time_zone: That of the window's settings, empty without a window.
        agents_fit, agents_unfit: Of the agents that the test needs; one of which nothing is known
            is not fit.
    """

    name: str
    status: Status
    checks: tuple[Check, ...]
    agents_fit: int
    agents_unfit: int
    capacity: Capacity
    due: bool = False
    begin_timestamp_seconds: float | None = None
    end_timestamp_seconds: float | None = None
    time_zone: str = ""


def overall(reports: Iterable[Report]) -> Status:
    """Return what several preflights come to."""
    found = {report.status for report in reports}
    return next((each for each in (Status.NOT_FIT, Status.NOT_KNOWN) if each in found), Status.FIT)


def status_of(checks: tuple[Check, ...]) -> Status:
    """Return what the results of the checks come to."""
    results = {check.result for check in checks}
    if Result.FAILED in results:
        return Status.NOT_FIT
    return Status.NOT_KNOWN if Result.UNKNOWN in results else Status.FIT
