"""The built-in alerts over the life of a daemon: off, or on with the newest settings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.alerts.alerting import Alerting, AlertingContext


if TYPE_CHECKING:
    from exporter.alerts.alert import Alert
    from exporter.alerts.settings import AlertingSettings


class BuiltInAlerts:
    """Starts, replaces and stops the built-in alerts; nothing known is lost in between."""

    def __init__(self, context: AlertingContext) -> None:
        self._context = context
        self._settings: AlertingSettings | None = None
        self._generator_url = ""
        self._alerting: Alerting | None = None
        self._task: asyncio.Task[None] | None = None

    def active(self) -> tuple[Alert, ...] | None:
        """Return what fires, then what is pending; `None` while they are off."""
        return self._alerting.active() if self._alerting is not None else None

    async def apply(self, settings: AlertingSettings, *, generator_url: str) -> None:
        """Go on with these settings; without an Alertmanager in them, the alerts are off.

        Args:
            settings: The newest.
            generator_url: Where people see more: the board.
        """
        if (settings, generator_url) == (self._settings, self._generator_url):
            return
        remembered = self._alerting.remember() if self._alerting is not None else None
        await self.stop()
        known = {each.url for each in self._settings.alertmanagers} if self._settings else set()
        for name in known - {each.url for each in settings.alertmanagers}:
            self._context.telemetry.forget_receiver(name)
        self._settings, self._generator_url = settings, generator_url
        if settings.alertmanagers:
            self._alerting = Alerting(
                settings, self._context, generator_url=generator_url, remembered=remembered
            )
            self._task = asyncio.create_task(self._alerting.run(), name="alerts")

    async def stop(self) -> None:
        """Stop evaluating and notifying; what is known is saved where a file is configured."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._context.telemetry.fires({})
        self._alerting = self._task = None
