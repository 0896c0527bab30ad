"""The part of the daemon that the pages use.

The daemon is a `View`; tests hand in a fake. Nothing here but `explain` can cause a call to a
vendor, and no secret passes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from exporter.clock import Moment
    from exporter.fleet.recent import Recent
    from exporter.fleet.store import Snapshot
    from exporter.history.summary import TargetHistory
    from exporter.metrics.exposition import ScrapeResponse
    from exporter.overview.picture import Picture
    from exporter.overview.sources import SourceRow
    from exporter.sharding import Shard
    from exporter.sources.base import Explanation


class HistoryView(Protocol):
    """The history, as the pages see it."""

    async def of(self, source: str, kind: str, target_id: str, now: float) -> TargetHistory | None:
        """Return the history of a target up to a time, `None` if none is known.

        Raises:
            StateError: It cannot be read now.
        """


class View(Protocol):
    """The daemon, as the pages see it.

    Attributes:
        recent: The newest readings and failures of each target.
        shard: Which share of the targets is watched.
    """

    recent: Recent
    shard: Shard

    @property
    def history(self) -> HistoryView | None:
        """The history of each target, `None` where none is kept."""

    def metrics(
        self,
        *,
        accept: str,
        accept_encoding: str,
        names: Collection[str],
        sources: Collection[str],
    ) -> ScrapeResponse:
        """Return the exposition, filtered by families and sources where any are named."""

    def snapshots(self) -> Iterable[Snapshot]:
        """Return what is known now; what has expired must be gone already."""

    def sources(self) -> Sequence[SourceRow]:
        """Return how each configured source is now, without judging anything."""

    async def picture(self) -> Picture:
        """Return the fleet as it is now, the same picture to all who ask until it changes."""

    def config(self) -> Mapping[str, Any]:
        """Return the effective settings, redacted, as plain values that YAML knows."""

    def probe_min_age(self, source: str) -> float:
        """Return up to which age, in seconds, a probe shows a reading of a source as it is."""

    async def explain(
        self, source: str, kind: str, target_id: str, *, seconds: float
    ) -> Explanation:
        """Have the vendor asked about one target of the inventory, as no other page does.

        Many who ask do not cost many calls: they share answers and wait for each other.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The call failed.
            NoTurnError: Others who ask took all of the seconds.
            TimeoutError: There was no answer within the seconds.
        """

    async def reload(self) -> None:
        """Load the configuration again and go over to it.

        Raises:
            ConfigurationError: With every mistake; the old one stays in use.
        """

    def now(self) -> Moment:
        """Read the daemon's clock."""

    @property
    def ready(self) -> bool:
        """True once the first polls have finished or were given up."""

    @property
    def healthy(self) -> bool:
        """True while the process works: its loop's heartbeat is on time. Never about a vendor."""
