"""Updates the metrics of preflights from the newest picture.

This runs apart from scrapes, which do not make a picture.
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


#: Seconds between updates until the first polls have finished; before, everything changes quickly.
STARTING_SECONDS = 1.0

# The metrics that are removed if an update fails, since old results may be wrong by now.
_FINDINGS = (own.PREFLIGHT_READY, own.PREFLIGHT_CHECK_PASSED)


class Exposed:
    """Sets the gauges of the configured preflights, and removes those of others.

    Args:
        picture: Returns the newest picture.
        configured: Returns the preflights that are configured now.
        telemetry: The exporter's own metrics.
        clock: The clock of the process.
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
        """Set the gauges from the newest picture.

        Returns:
            Whether the first polls had finished, or had been given up, by then.
        """
        found: tuple[Report, ...] = ()
        ready = True
        try:
            # Without preflights no picture is needed.
            if self._configured():
                picture = await self._picture()
                found, ready = picture.preflights, picture.ready
        except Exception:  # noqa: BLE001 - start and reload must survive a bug, which is logged
            self._log.exception("preflights_crashed")
            for family in _FINDINGS:
                self._telemetry.shows(family, {})
            return ready
        # The picture may be from before a reload, and hold preflights that are gone.
        names = {each.name for each in self._configured()}
        for family, values in gauges(each for each in found if each.name in names).items():
            self._telemetry.shows(family, values)
        return ready

    async def run(self) -> None:
        """Refresh until cancelled, at the interval at which pictures are renewed."""
        while True:
            ready = await self.refresh()
            await self._clock.sleep(FRESH_SECONDS if ready else STARTING_SECONDS)
