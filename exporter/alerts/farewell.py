"""The farewell to Alertmanagers that a reload leaves: nobody else will end there what fires."""

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


#: An Alertmanager's URL and the external labels with which it knows the alerts.
_Address = tuple[str, frozenset[tuple[str, str]]]


class Farewells:
    """The calls under way that tell of ends."""

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
        """Begin to tell those that know alerts which nobody will end there.

        Args:
            before: The settings so far.
            after: Those from now on.
            ended: The alerts that were sent.
            options: How they were sent.
        """
        kept = _addresses(after)
        for address, alertmanager in _addresses(before).items():
            if address in kept or not ended:
                continue
            client = AlertmanagerClient(alertmanager, options, connect=self._connect)
            telling = tell_ends(
                client, ended, clock=self._clock, pause_seconds=options.resend_seconds
            )
            self._tasks[address] = asyncio.create_task(telling, name=f"leave {client.name}")

    async def call_off(self, settings: AlertingSettings) -> None:
        """Stop telling those that are told of alerts again; an end could overtake these."""
        again = _addresses(settings).keys() & self._tasks.keys()
        await _cancel([self._tasks.pop(each) for each in again])

    async def stop(self) -> None:
        """Stop telling."""
        await _cancel(self._tasks.values())
        self._tasks.clear()


def _addresses(settings: AlertingSettings) -> dict[_Address, AlertmanagerSettings]:
    """Return the Alertmanagers by their URLs and by what makes alerts others to them."""
    labels = frozenset(settings.external_labels.items())
    return {(each.url, labels): each for each in settings.alertmanagers}


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
