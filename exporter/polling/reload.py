"""Reload of the configuration in a running daemon: read, validate, compare, replace.

A configuration with a mistake changes nothing. A valid one restarts only the sources that changed:
all others keep their readings, their lock-out guard and their schedule.
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


#: The settings besides the sources: those that a reload applies, and those that need a restart.
BY_RELOAD = ("alerting", "preflights", "log")
BY_RESTART = ("web", "sharding", "state", "history")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a reload on the sources, by their names.

    Attributes:
        kept: Sources that continue undisturbed.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether a source starts or stops."""
        return bool(self.added or self.changed or self.removed)


def difference(old: Mapping[str, object], new: Mapping[str, object]) -> Difference:
    """Return the names of sources that are new, changed, removed or unchanged.

    Args:
        old: The descriptions of the sources in use, by name.
        new: The descriptions after the reload. A source with an equal description is unchanged.
    """
    return Difference(
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and new[name] != old[name]),
        removed=tuple(name for name in old if name not in new),
        kept=tuple(name for name in new if name in old and new[name] == old[name]),
    )


def identity(settings: SourceSettings) -> tuple[SourceSettings, str]:
    """Return a description of a source; equal descriptions mean that no restart is needed.

    The description contains a digest of the files for TLS, because a source reads these only when
    it connects. It leaves out the secret's file, which the source itself reads again.
    """
    digest = hashlib.sha256()
    for path in settings.tls_files():
        digest.update(content(path))
        digest.update(b"\0")
    return settings, digest.hexdigest()


def identities(sources: Iterable[SourceSettings]) -> dict[str, tuple[SourceSettings, str]]:
    """Return the descriptions of all sources, by name."""
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
        """Create a reloader for a configuration that is in use.

        Args:
            load: Reads and validates the configuration.
            loaded: The configuration in use.
            apply: Replaces the configuration in use.
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
        """Load the configuration and apply it; calls run one after the other.

        Args:
            if_changed: Do nothing if the file and all files that it names are unchanged.

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
        """Reload the configuration if it changed; log and count mistakes instead of raising."""
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
