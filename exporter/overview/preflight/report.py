"""The outcome of a preflight: its checks, each with its reason and the targets that fail it.

A check that cannot be decided is unknown, and then the fleet does not count as fit.
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
    """The fleet's fitness: not fit if a check failed, else not known if a check is unknown."""

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
        result: `failed`, or `unknown` if the target may fail.
        reason: The reason, in words that continue a sentence after the target's name.
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
        name: The key of the configuration that demands the check.
        reason: The numbers behind the result, as a phrase; given for every result.
        targets: The targets that fail the check, or may fail it. A check can pass in spite of
            some of them.
    """

    name: str
    result: Result
    reason: str
    targets: tuple[Finding, ...] = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An agent on which several of the chosen suites run.

    Attributes:
        suites: The names of these suites.
    """

    source: str
    id: str
    name: str
    suites: tuple[str, ...]


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The load that the fit agents can carry, and the load of the chosen suites.

    Attributes:
        users: The sum of the fit agents' limits of virtual users; infinite if an agent is
            unlimited.
        users_unknown: The number of fit agents whose limit is unknown.
        suites_users: The greatest numbers of users in the newest runs of the chosen suites, summed.
        suites_unknown: The number of chosen suites for which that number is unknown.
        agents_may_fail: How many more agents may fail, whichever they are, before a check fails;
            `None` while the checks do not pass, or if no check is about agents. If clusters share
            agents, the real number may be greater.
        wanted_twice: The agents on which several of the chosen suites run.
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
        due: Whether the present time is within the window; false without a window.
        begin_timestamp_seconds, end_timestamp_seconds: The present or the next window as Unix
            times.
        time_zone: The time zone of the window's settings, empty without a window.
        agents_fit, agents_unfit: The number of needed agents that are fit, and of the others,
            including those about which nothing is known.
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
    """Return the status of several preflights together."""
    found = {report.status for report in reports}
    return next((each for each in (Status.NOT_FIT, Status.NOT_KNOWN) if each in found), Status.FIT)


def status_of(checks: tuple[Check, ...]) -> Status:
    """Return the status that follows from the results of the checks."""
    results = {check.result for check in checks}
    if Result.FAILED in results:
        return Status.NOT_FIT
    return Status.NOT_KNOWN if Result.UNKNOWN in results else Status.FIT
