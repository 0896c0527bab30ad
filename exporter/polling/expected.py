"""The kinds of targets that a source should have, so that an alert can report a missing kind.

A source should have agents, and targets of each kind that it had before or that `include` names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from exporter.clock import Moment
from exporter.fleet.kinds import BY_READING, Kind


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from structlog.typing import FilteringBoundLogger

    from exporter.metrics.telemetry import SourceMetrics
    from exporter.sources.base import Poll


#: How long a kind stays expected after a list had targets of it.
EXPECTED_SECONDS = 86_400.0


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The time of the newest list that had targets of a kind."""

    kind: Kind
    at: Moment


def counted(poll: Poll, kinds: Collection[Kind]) -> dict[str, float]:
    """Return the number of targets of each kind in a poll."""
    counts = Counter(BY_READING.get(type(reading)) for reading in poll.readings)
    return {kind.value: float(counts[kind]) for kind in kinds}


def listed(
    task: str, targets: Mapping[str, float], before: Collection[Listed], now: Moment
) -> tuple[Listed, ...]:
    """Return when each kind last had targets in a list of the task.

    Only kinds that this task lists count: a task of runs also finds suites, which come and go with
    their runs.

    Args:
        task: The polled task.
        targets: The number of targets of each kind in its newest list.
        before: The result after the poll before.
        now: The time of the newest list.
    """
    found = {each.kind: each for each in before}
    for word, count in targets.items():
        kind = Kind(word)
        if count and kind.task == task:
            found[kind] = Listed(kind=kind, at=now)
    return tuple(found.values())


class Expectations:
    """The kinds of targets that a source should have, as metrics and in the log."""

    def __init__(
        self,
        include: Collection[str],
        *,
        telemetry: SourceMetrics,
        log: FilteringBoundLogger,
    ) -> None:
        """Expect the kinds that the configuration includes.

        Args:
            include: The kinds that the configuration's `include` names, in the plural.
            telemetry: Shows the expected kinds.
            log: Logs a filter in `include` that matches nothing.
        """
        self._include = include
        self._telemetry = telemetry
        self._log = log
        self._unmatched: set[Kind] = set()
        self._elsewhere: set[Kind] = set()
        self._without_locations = False

    def show(
        self, task: str, kinds: Collection[Kind], known: Collection[Listed], now: Moment
    ) -> None:
        """Show the expected kinds of a task as metrics.

        Args:
            task: The task that lists the targets.
            kinds: The kinds that the task lists.
            known: When its lists last had targets.
            now: The current time.
        """
        recent = {
            each.kind for each in known if now.monotonic - each.at.monotonic <= EXPECTED_SECONDS
        }
        for kind in kinds:
            # A provider with locations has agents only in these, so without locations no agents.
            usual = kind is Kind.AGENT and not self._without_locations
            expected = usual or kind in recent or self._includes(kind)
            self._telemetry.expect(task, kind, expected=expected and kind not in self._elsewhere)

    def check(self, targets: Mapping[str, float], elsewhere: Collection[Kind]) -> None:
        """Check a complete list, and log each filter in `include` that matches nothing.

        A filter is logged once until it matches again.

        Args:
            targets: The number of targets of each kind.
            elsewhere: The kinds of targets that other shards poll; this shard needs none of them.
        """
        self._elsewhere = set(elsewhere)
        if Kind.LOCATION.value in targets:
            self._without_locations = not targets[Kind.LOCATION.value]
        for kind, count in ((Kind(word), count) for word, count in targets.items()):
            if count or kind in self._elsewhere:
                self._unmatched.discard(kind)
            elif self._includes(kind) and kind not in self._unmatched:
                self._unmatched.add(kind)
                message = f"include.{kind}s matches no {kind} in the vendor's list: none is watched"
                self._log.warning("filter_matches_nothing", kind=kind.value, message=message)

    def _includes(self, kind: Kind) -> bool:
        return f"{kind}s" in self._include
