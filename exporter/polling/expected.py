"""The kinds of targets that a source should have, so that to have none is worth a page.

A kind that never had targets is fine without, but for agents.
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


#: A kind is expected for so long after a list had targets of it.
EXPECTED_SECONDS = 86_400.0


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """When the newest list that had targets of a kind was read."""

    kind: Kind
    at: Moment


def counted(poll: Poll, kinds: Collection[Kind]) -> dict[str, float]:
    """Return how many targets of each kind a poll brought."""
    counts = Counter(BY_READING.get(type(reading)) for reading in poll.readings)
    return {kind.value: float(counts[kind]) for kind in kinds}


def listed(
    task: str, targets: Mapping[str, float], before: Collection[Listed], now: Moment
) -> tuple[Listed, ...]:
    """Return when the newest list of each kind was read that had targets of it.

    Kinds that another task is to list are left out: suites that are known by their runs come and
    go with these.

    Args:
        task: What was polled.
        targets: How many targets of each kind its list has now.
        before: What this returned after the poll before.
        now: When it was read.
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
        """Expect nothing yet but what is included.

        Args:
            include: What the configuration's `include` names: kinds in the plural.
            telemetry: Shows what is expected.
            log: Told of an `include` that matches nothing.
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
        """Show of which kinds there should be targets.

        Args:
            task: What lists them.
            kinds: The kinds that it lists.
            known: When lists of it had targets.
            now: The time.
        """
        recent = {
            each.kind for each in known if now.monotonic - each.at.monotonic <= EXPECTED_SECONDS
        }
        for kind in kinds:
            # Where agents are those of locations, a source may do without both.
            usual = kind is Kind.AGENT and not self._without_locations
            expected = usual or kind in recent or self._includes(kind)
            self._telemetry.expect(task, kind, expected=expected and kind not in self._elsewhere)

    def check(self, targets: Mapping[str, float], elsewhere: Collection[Kind]) -> None:
        """Note what a list has that was read to the end.

        Warns of each `include` that matches nothing, once until it matches.

        Args:
            targets: How many targets of each kind there are.
            elsewhere: The kinds of which other shards watch some: of these, ours need not have any.
        """
        self._elsewhere = set(elsewhere)
        if Kind.LOCATION.value in targets:
            self._without_locations = not targets[Kind.LOCATION.value]
        for kind, count in ((Kind(word), count) for word, count in targets.items()):
            if count or kind in self._elsewhere:
                self._unmatched.discard(kind)
            elif self._includes(kind) and kind not in self._unmatched:
                self._unmatched.add(kind)
                message = f"include.{kind}s matches none that the vendor lists: none is watched"
                self._log.warning("filter_matches_nothing", kind=kind.value, message=message)

    def _includes(self, kind: Kind) -> bool:
        return f"{kind}s" in self._include
