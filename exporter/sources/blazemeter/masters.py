"""Runs as lists describe them: whose they are, when they were, how they were judged."""

from __future__ import annotations

import re

import msgspec

from exporter.fleet.readings import SuiteRun
from exporter.sources.blazemeter.replies import Id, Master, text
from exporter.sources.blazemeter.values import epoch
from exporter.sources.decode import Surprised, finite


# `reportStatus` (reference section B4). ENDED alone is no verdict, and `unset` is none either:
# such a run had no failure criteria.
_VERDICTS: dict[str, bool | None] = {
    "pass": True,
    "fail": False,
    "error": False,
    "abort": False,
    "noData": False,
    "unset": None,
}

_MASTER_ID = re.compile(r"[0-9]{1,20}")


class MasterRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        suite_id: The test it is a run of; empty when the vendor named none.
        created, ended: Epoch seconds; `ended` is `None` while it is in flight.
        passed: The verdict so far; only of worth after the end.
        locations: Where it runs, by the vendor's ids.
    """

    run_id: str
    name: str
    suite_id: str = ""
    created: float | None = None
    ended: float | None = None
    passed: bool | None = None
    max_users: float | None = None
    locations: tuple[str, ...] = ()

    def as_finished(self) -> SuiteRun:
        """Return it as a finished run of its suite."""
        duration = None
        if self.created is not None and self.ended is not None and self.ended >= self.created:
            duration = self.ended - self.created
        return SuiteRun(
            run_id=self.run_id,
            passed=self.passed,
            max_users=self.max_users,
            start_timestamp_seconds=self.created,
            end_timestamp_seconds=self.ended,
            duration_seconds=duration,
        )

    def as_current(self) -> SuiteRun:
        """Return it as a run of its suite that is in flight, without a verdict yet."""
        return SuiteRun(run_id=self.run_id, start_timestamp_seconds=self.created)


def read_master(master: Master, surprise: Surprised) -> MasterRow | None:
    """Read a run; `None` for one without an id that can be asked for."""
    run_id = master_id(master.id)
    if run_id is None:
        surprise("missing_field" if master.id is None else "type")
        return None
    for raw in (master.created, master.ended):
        if raw and epoch(raw) is None:
            surprise("type")
    return MasterRow(
        run_id=run_id,
        name=master.name or run_id,
        suite_id=text(master.test_id),
        created=epoch(master.created),
        ended=epoch(master.ended),
        passed=_verdict(master.report_status, surprise),
        max_users=_count(master.max_users),
        locations=master.locations or (),
    )


def master_id(value: Id) -> str | None:
    """Return a run's id as text if it is the number it has to be.

    It becomes a part of a path: nothing else may pass.
    """
    found = text(value)
    return found if _MASTER_ID.fullmatch(found) else None


def _verdict(status: str | None, surprise: Surprised) -> bool | None:
    if status is not None and status not in _VERDICTS:
        surprise("enum")
    return _VERDICTS.get(status or "unset")


def _count(value: float | None) -> float | None:
    number = finite(value)
    return number if number is not None and number >= 0 else None
