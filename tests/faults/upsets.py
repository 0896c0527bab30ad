"""Events of each hour of a soak test: reloads, mistakes, rotations, and trouble with the store."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.faults.churn import World
    from tests.faults.visitors import Visitors
    from tests.support.processes import Process
    from tests.support.redis import RedisServer

    Kind = Callable[[], Awaitable[None]]


#: The hours between two replacements of Real Load's token: after a refused call, nothing is sent
#: for up to 92 seconds.
PORTAL_HOURS = 6

#: The time for which the store is stopped or silent, longer than its time-out.
AWAY_SECONDS = 2.5

_RELOADED = "loadfleet_exporter_config_last_reload_successful"
_RELOADED_AT = "loadfleet_exporter_config_last_reload_success_timestamp_seconds"
_WEB_RELOADED = "loadfleet_exporter_web_config_last_reload_successful"


class Upsets:
    """Causes one event after the other, and waits each time until the exporter shows it."""

    def __init__(
        self,
        world: World,
        *,
        process: Process,
        visitors: Visitors,
        store: RedisServer | None,
        trouble_hours: int,
    ) -> None:
        """Take everything that is disturbed.

        Args:
            world: The vendors and files.
            process: The daemon.
            visitors: The visitors, which read the pages.
            store: The state's server; `None` for no trouble with it.
            trouble_hours: One of so many hours has trouble with the store.
        """
        self._world = world
        self._process = process
        self._visitors = visitors
        self._store = store
        self._trouble_hours = trouble_hours

    def hourly(self, hour: int) -> list[Kind]:
        """Return the events of an hour, in order; trouble with the store comes first."""
        kinds: list[Kind] = [self.lab_secret, self.reload, self.certificate, self.guest_comes]
        kinds += [self.mistake, self.web_mistake, self.guest_goes]
        if hour % PORTAL_HOURS == PORTAL_HOURS - 1:
            kinds.insert(0, self.portal_secret)
        turn, rest = divmod(hour, self._trouble_hours)
        if self._store is not None and rest == self._trouble_hours - 1:
            kinds.insert(0, (self.restart, self.pause)[turn % 2])
        return kinds

    async def restart(self) -> None:
        """Restart the store with its data."""
        assert self._store is not None
        self._store.stop()
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(self._store.start)

    async def pause(self) -> None:
        """Suspend the store for a while."""
        assert self._store is not None
        self._store.send(signal.SIGSTOP)
        await asyncio.sleep(AWAY_SECONDS)
        self._store.send(signal.SIGCONT)

    async def lab_secret(self) -> None:
        """Replace Eggplant's token, and the file that holds it."""
        self._world.rotate("eggplant")

    async def portal_secret(self) -> None:
        """Replace Real Load's token, and the file that holds it."""
        self._world.rotate("realload")

    async def certificate(self) -> None:
        """Replace the certificate that the exporter presents."""
        self._world.authority.issue()

    async def reload(self) -> None:
        """Load changed settings."""
        self._world.edit()
        await self._loaded()

    async def guest_comes(self) -> None:
        """Load a configuration with one more source."""
        self._world.edit(guest=True)
        await self._loaded()

    async def guest_goes(self) -> None:
        """Load a configuration without that source."""
        self._world.edit(guest=False)
        await self._loaded()

    async def mistake(self) -> None:
        """Load a configuration that is wrong, and then go back."""
        self._world.file.write_text("sources: [")
        self._process.send(signal.SIGHUP)
        await self._visitors.shown(_RELOADED, 0)
        await self.reload()

    async def web_mistake(self) -> None:
        """Empty the web configuration, and then go back."""
        text = self._world.web.read_text()
        self._world.web.write_text("")
        await self._visitors.shown(_WEB_RELOADED, 0)
        self._world.web.write_text(text)
        await self._visitors.shown(_WEB_RELOADED, 1)

    async def _loaded(self) -> None:
        before = await self._visitors.value(_RELOADED_AT)
        self._process.send(signal.SIGHUP)
        await self._visitors.shown(_RELOADED_AT, before, other=True)
