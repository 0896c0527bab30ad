"""The suites and runs that are wanted, by `include` and `exclude`.

Both are compared with the suite's name. A run whose suite is not known has its own name instead,
and is no suite's. While a name is not known yet, nothing is wanted that a filter could exclude.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection

    from exporter.sources.blazemeter.masters import MasterRow
    from exporter.sources.blazemeter.names import SuiteNames
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


class Selection:
    """Decides about suites and runs; the runs in the configuration are always wanted."""

    def __init__(
        self, settings: BlazeMeterSettings, names: SuiteNames, configured: Collection[str]
    ) -> None:
        self._settings = settings
        self._names = names
        self._configured = configured

    @property
    def key(self) -> str:
        """A text that differs when other runs are wanted, or are read otherwise."""
        patterns = [
            each.get(kind) and each[kind].pattern
            for kind in ("suites", "runs")
            for each in (self._settings.include, self._settings.exclude)
        ]
        return repr((2, *patterns, self._settings.lookback))

    def follows(self, row: MasterRow) -> bool:
        """Return whether a run is to be followed: its suite is wanted."""
        return row.run_id in self._configured or self.wants_suite(row.suite_id)

    def shows(self, row: MasterRow) -> bool:
        """Return whether a run that is followed is to be shown."""
        if row.run_id in self._configured:
            return True
        name = self._names.of(row.suite_id) if row.suite_id else row.name
        return self.follows(row) and self._wants("runs", name)

    def wants_suite(self, suite_id: str) -> bool:
        """Return whether a suite is wanted; an empty id is that of a run whose suite is unknown."""
        return self._wants("suites", self._names.of(suite_id) if suite_id else "")

    def waits_for_name(self, row: MasterRow) -> bool:
        """Return whether it cannot be said yet whether a run is to be followed."""
        return (
            bool(row.suite_id) and self._names.of(row.suite_id) is None and self._filters("suites")
        )

    def _wants(self, kind: str, name: str | None) -> bool:
        if name is None:
            return not self._filters(kind)
        return self._settings.wanted(kind, name)

    def _filters(self, kind: str) -> bool:
        return kind in self._settings.include or kind in self._settings.exclude
