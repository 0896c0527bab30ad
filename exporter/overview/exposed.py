"""Preflights on the page of metrics, as the newest picture tells of them.

It is apart from the pages that show them: a scrape asks for no picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from exporter.metrics import own
from exporter.overview.picture import FRESH_SECONDS
from exporter.overview.preflight.gauges import gauges


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from exporter.clock import Clock
    from exporter.metrics.telemetry import SelfMetrics
    from exporter.overview.picture import Picture
    from exporter.overview.preflight.report import Report
    from exporter.settings.preflights import PreflightSettings


#: Until the first polls have finished, everything changes quickly.
STARTING_SECONDS = 1.0

# What was found once is not known for ever.
_FINDINGS = (own.PREFLIGHT_READY, own.PREFLIGHT_CHECK_PASSED)


class Exposed:
    """Writes the gauges of the preflights that are configured, and removes those of others.

    Args:
        picture: Returns the newest picture.
        configured: Returns the preflights that are configured now.
        telemetry: Has the gauges.
        clock: Where time comes from.
    """

    def __init__(
        self,
        picture: Callable[[], Awaitable[Picture]],
        configured: Callable[[], Sequence[PreflightSettings]],
        *,
        telemetry: SelfMetrics,
        clock: Clock,
    ) -> None:
        self._picture = picture
        self._configured = configured
        self._telemetry = telemetry
        self._clock = clock
        self._log = structlog.get_logger("exporter.preflights")

    async def refresh(self) -> bool:
        """Write what the newest picture tells.

        Returns:
            Whether that is from after the first polls.
        """
        found: tuple[Report, ...] = ()
        ready = True
        try:
            # Without any, nobody may ever look.
            if self._configured():
                picture = await self._picture()
                found, ready = picture.preflights, picture.ready
        except Exception:  # noqa: BLE001 - start and reload must outlive a mistake; it is logged
            self._log.exception("preflights_crashed")
            for family in _FINDINGS:
                self._telemetry.shows(family, {})
            return ready
        # The picture can be from before a reload.
        names = {each.name for each in self._configured()}
        for family, values in gauges(each for each in found if each.name in names).items():
            self._telemetry.shows(family, values)
        return ready

    async def run(self) -> None:
        """Refresh until cancelled, as often as pictures change by time alone."""
        while True:
            ready = await self.refresh()
            await self._clock.sleep(FRESH_SECONDS if ready else STARTING_SECONDS)
