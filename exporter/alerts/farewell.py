"""Resolves all alerts in Alertmanagers that a reload has removed from the configuration.

Nothing else would resolve them there before `hold_on_silence` is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.alerts.alertmanager import AlertmanagerClient, Connect, tell_ends


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from exporter.alerts.alertmanager import NotificationOptions
    from exporter.alerts.evaluate import Alert
    from exporter.alerts.settings import AlertingSettings, AlertmanagerSettings
    from exporter.clock import Clock


#: An Alertmanager's URL and the external labels of the alerts sent to it.
_Address = tuple[str, frozenset[tuple[str, str]]]


class Farewells:
    """The tasks that send resolved alerts to removed Alertmanagers."""

    def __init__(self, clock: Clock, connect: Connect) -> None:
        self._clock = clock
        self._connect = connect
        self._tasks: dict[_Address, asyncio.Task[None]] = {}

    def begin(
        self,
        before: AlertingSettings,
        after: AlertingSettings,
        ended: Sequence[Alert],
        options: NotificationOptions,
    ) -> None:
        """Start sending resolved alerts to each Alertmanager that the new settings lack.

        Args:
            before: The settings before the reload.
            after: The settings after the reload.
            ended: The alerts sent so far, all resolved.
            options: The options with which the alerts were sent.
        """
        kept = _addresses(after)
        for address, alertmanager in _addresses(before).items():
            if address in kept or not ended:
                continue
            client = AlertmanagerClient(alertmanager, options, connect=self._connect)
            sending = tell_ends(
                client, ended, clock=self._clock, pause_seconds=options.resend_seconds
            )
            self._tasks[address] = asyncio.create_task(sending, name=f"leave {client.name}")

    async def call_off(self, settings: AlertingSettings) -> None:
        """Stop sending to Alertmanagers in these settings.

        Otherwise a resolved alert could overtake the same alert that fires again.
        """
        again = _addresses(settings).keys() & self._tasks.keys()
        await _cancel([self._tasks.pop(each) for each in again])

    async def stop(self) -> None:
        """Stop sending to all removed Alertmanagers."""
        await _cancel(self._tasks.values())
        self._tasks.clear()


def _addresses(settings: AlertingSettings) -> dict[_Address, AlertmanagerSettings]:
    """Return the Alertmanagers by URL and external labels, a part of the alerts' identity."""
    labels = frozenset(settings.external_labels.items())
    return {(each.url, labels): each for each in settings.alertmanagers}


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
