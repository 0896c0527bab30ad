"""The exporters of a chaos run, which are killed, stopped and started again."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.faults.watch import Growth
from tests.support.processes import EXPORTER, answers, free_port, running


if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.watch import Watch
    from tests.support.processes import Process


#: Texts in the log that mean an unforeseen error.
_SIGNS = ("Traceback", "_crashed")

#: The fewest samples of a process's life that show growth: of its first life, which starts without
#: a state, and of later ones.
_MEASURED, _MEASURED_LATER = 30, 240


class Exporter:
    """A daemon on a port of its own, in one life after the other.

    Attributes:
        url: The daemon's URL, the same in each life.
        watch: The checks of its pages.
        since: The start of the present life, monotonic; `None` while the daemon is down.
    """

    def __init__(self, name: str, file: Path, watch: Watch) -> None:
        """Prepare the exporter, without starting it.

        Args:
            name: The name in messages and of the output files.
            file: The configuration; the output is written beside it.
            watch: The checks of its pages, which collect failures.
        """
        self.watch = watch
        self.name = name
        self.since: float | None = None
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = (
            *EXPORTER,
            f"--config.file={file}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
        )
        self._folder = file.parent
        self._lives = AsyncExitStack()
        self._count = 0
        self._process: Process | None = None
        self._growth: Growth | None = None

    async def start(self) -> None:
        """Begin a life, and wait until it answers."""
        self._count += 1
        self.watch.begin_anew()
        self._process = await self._lives.enter_async_context(
            running(*self._command, folder=self._folder, name=f"{self.name}-{self._count}")
        )
        await answers(f"{self.url}/-/healthy", self._process)
        self._growth = Growth(self._process.process.pid)
        self.since = time.monotonic()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the daemon, and check its log."""
        process, self._process, self.since = self._process, None, None
        growth, self._growth = self._growth, None
        assert process is not None
        if process.ended:
            self.watch.accuse(f"{self.name} ended by itself")
            return
        code = await process.stop(number)
        if number is signal.SIGTERM and code:
            self.watch.accuse(f"{self.name} ended with {code}")
        for sign in _SIGNS:
            if sign in process.errors:
                self.watch.accuse(f"the log of {self.name} has: {sign}")
        if growth is not None:
            for text in growth.wrong(least=_MEASURED if self._count == 1 else _MEASURED_LATER):
                self.watch.accuse(f"{self.name}: {text}")

    def freeze(self) -> None:
        """Suspend the daemon."""
        assert self._process is not None
        self.since = None
        self._process.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the daemon."""
        assert self._process is not None
        self._process.process.send_signal(signal.SIGCONT)
        self.since = time.monotonic()

    async def measure(self) -> None:
        """Sample its memory and descriptors for ever."""
        while True:
            if self.since is not None and self._growth is not None:
                self._growth.sample()
            await asyncio.sleep(0.5)

    async def aclose(self) -> None:
        """End what still runs."""
        await self._lives.aclose()
