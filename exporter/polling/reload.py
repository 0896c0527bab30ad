"""A new configuration under a running daemon: read once, validated, compared, then swapped.

A configuration with a mistake in it changes nothing. Of a good one only what differs is stopped
and started: a source that stays as it was keeps its readings, its breaker and its rhythm.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import msgspec
import structlog

from exporter.config.files import content
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from exporter.metrics.telemetry import SelfMetrics
    from exporter.settings.load import Loaded, Settings
    from exporter.sources.settings import SourceSettings


#: The settings beside the sources, by what puts a change of them into use.
BY_RELOAD = ("alerting", "preflights", "log")
BY_RESTART = ("web", "sharding", "state", "history")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a reload on the sources, by their names.

    Attributes:
        kept: Not touched at all.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """True if anything is started or stopped."""
        return bool(self.added or self.changed or self.removed)


def difference(old: Mapping[str, object], new: Mapping[str, object]) -> Difference:
    """Compare sources by name; whatever describes one must compare equal to keep it."""
    return Difference(
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and new[name] != old[name]),
        removed=tuple(name for name in old if name not in new),
        kept=tuple(name for name in new if name in old and new[name] == old[name]),
    )


def identity(settings: SourceSettings) -> tuple[SourceSettings, str]:
    """Describe a source so that two descriptions are equal when no restart is needed.

    The files for TLS are read when a source connects, so their content counts; a secret's file is
    read again by itself.
    """
    digest = hashlib.sha256()
    for path in settings.tls_files():
        digest.update(content(path))
        digest.update(b"\0")
    return settings, digest.hexdigest()


def identities(sources: Iterable[SourceSettings]) -> dict[str, tuple[SourceSettings, str]]:
    """Describe all sources by name."""
    return {source.name: identity(source) for source in sources}


class Reloader:
    """Loads the configuration again, on a signal, on a request or because a file changed."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        loaded: Loaded,
        apply: Callable[[Settings], Awaitable[object]],
        *,
        telemetry: SelfMetrics,
    ) -> None:
        """Take over a configuration that is in use already.

        Args:
            load: Reads and validates it anew.
            loaded: The one in use.
            apply: Puts another one into use.
            telemetry: Shows the outcome.
        """
        self._load = load
        self._hash = loaded.hash
        self._apply = apply
        self._telemetry = telemetry
        self._log = structlog.get_logger("exporter.reload")
        self._lock = asyncio.Lock()
        self._problems: tuple[str, ...] = ()
        self._succeeded()

    async def reload(self, *, if_changed: bool = False) -> None:
        """Load the configuration and put it into use; one at a time.

        Args:
            if_changed: Do nothing while the file and all files it names are as they were.

        Raises:
            ConfigurationError: With every mistake; the old configuration stays in use.
        """
        async with self._lock:
            try:
                loaded = await asyncio.to_thread(self._load)
                if if_changed and loaded.hash == self._hash and not self._problems:
                    return
                await self._apply(loaded.settings)
            except ConfigurationError as error:
                self._failed(error)
                raise
            self._hash = loaded.hash
            self._succeeded()

    async def reload_if_changed(self) -> None:
        """Reload if something changed; a mistake is logged and counted, not raised."""
        try:
            await self.reload(if_changed=True)
        except ConfigurationError:
            return

    def _succeeded(self) -> None:
        self._problems = ()
        self._telemetry.reloaded()

    def _failed(self, error: ConfigurationError) -> None:
        self._telemetry.reload_failed()
        if error.problems == self._problems:
            return  # logged when it was new
        self._problems = error.problems
        for problem in error.problems:
            self._log.error("reload_failed", problem=problem)
