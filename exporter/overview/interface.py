"""The interface of the daemon for the pages.

The daemon implements `View`; tests use a fake. Only `explain` can cause a call to a vendor, and no
secret passes through the interface.
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
        """Return the history of a target up to a Unix time, `None` if none is known.

        Raises:
            StateError: The history cannot be read now.
        """


class View(Protocol):
    """The daemon, as the pages see it.

    Attributes:
        recent: The newest readings and failures of each target.
        shard: The share of the targets that this process watches.
    """

    recent: Recent
    shard: Shard

    @property
    def history(self) -> HistoryView | None:
        """The history of all targets, `None` if none is kept."""

    def metrics(
        self,
        *,
        accept: str,
        accept_encoding: str,
        names: Collection[str],
        sources: Collection[str],
    ) -> ScrapeResponse:
        """Return the exposition, filtered by families and sources if any are named."""

    def snapshots(self) -> Iterable[Snapshot]:
        """Return the present snapshots, without expired ones."""

    def sources(self) -> Sequence[SourceRow]:
        """Return the present rows of the configured sources."""

    async def picture(self) -> Picture:
        """Return the present picture of the fleet; callers share it until it changes."""

    def config(self) -> Mapping[str, Any]:
        """Return the effective settings, with secrets redacted, as plain values for YAML."""

    def probe_min_age(self, source: str) -> float:
        """Return the age in seconds up to which a probe returns a source's reading as it is."""

    async def explain(
        self, source: str, kind: str, target_id: str, *, seconds: float
    ) -> Explanation:
        """Return the vendor's answer about one target of the inventory.

        Unlike other pages this calls the vendor. Simultaneous requests share answers and wait for
        each other, so that many requests do not cause many calls.

        Args:
            source: The source's name.
            kind: The target's kind.
            target_id: The target's id.
            seconds: The time limit.

        Raises:
            LookupError: There is no such source, kind or target.
            PollError: The call failed.
            NoTurnError: Other requests took all of the time.
            TimeoutError: There was no answer within the time limit.
        """

    async def reload(self) -> None:
        """Load the configuration again and apply it.

        Raises:
            ConfigurationError: The configuration has mistakes, all of which the error lists; the
                old configuration stays in use.
        """

    def now(self) -> Moment:
        """Return the time by the daemon's clock."""

    @property
    def ready(self) -> bool:
        """True once the first polls have finished or were given up."""

    @property
    def healthy(self) -> bool:
        """True while the event loop's heartbeat is on time, whatever the state of vendors."""
