"""The selection of suites and runs by `include` and `exclude`.

The filters for suites and for runs are both compared with the suite's name. If the vendor names no
suite for a run, the filter for runs is compared with the run's own name. While a suite's name is
not known yet, suites and runs are selected only if no filter could exclude them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection

    from exporter.sources.blazemeter.masters import MasterRow
    from exporter.sources.blazemeter.names import SuiteNames
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


class Selection:
    """The filters for suites and runs; runs configured as `masters` are always selected."""

    def __init__(
        self, settings: BlazeMeterSettings, names: SuiteNames, configured: Collection[str]
    ) -> None:
        self._settings = settings
        self._names = names
        self._configured = configured

    @property
    def key(self) -> str:
        """A text that changes whenever the filters or the `lookback` change."""
        patterns = [
            each.get(kind) and each[kind].pattern
            for kind in ("suites", "runs")
            for each in (self._settings.include, self._settings.exclude)
        ]
        return repr((2, *patterns, self._settings.lookback))

    def follows(self, row: MasterRow) -> bool:
        """Return whether to follow a run: it is configured, or its suite is wanted."""
        return row.run_id in self._configured or self.wants_suite(row.suite_id)

    def shows(self, row: MasterRow) -> bool:
        """Return whether to show a run."""
        if row.run_id in self._configured:
            return True
        name = self._names.of(row.suite_id) if row.suite_id else row.name
        return self.follows(row) and self._wants("runs", name)

    def wants_suite(self, suite_id: str) -> bool:
        """Return whether a suite is wanted; the id is empty if a run's suite is unknown."""
        return self._wants("suites", self._names.of(suite_id) if suite_id else "")

    def waits_for_name(self, row: MasterRow) -> bool:
        """Return whether a run can only be filtered once the name of its suite is known."""
        return (
            bool(row.suite_id) and self._names.of(row.suite_id) is None and self._filters("suites")
        )

    def _wants(self, kind: str, name: str | None) -> bool:
        if name is None:
            return not self._filters(kind)
        return self._settings.wanted(kind, name)

    def _filters(self, kind: str) -> bool:
        return kind in self._settings.include or kind in self._settings.exclude
