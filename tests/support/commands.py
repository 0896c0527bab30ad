"""Commands as processes, against a simulated portal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import yaml

from exporter.simulator.server import Simulation
from tests.support.processes import EXPORTER, answers, daemon, fetch, running


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.simulator.options import SimulatorOptions
    from tests.support.processes import Process


class Portal:
    """A simulated portal with a small and healthy fleet."""

    def __init__(self, url: str, configuration: Path) -> None:
        self.url = url
        self.configuration = configuration
        self.folder = configuration.parent
        self.flag = f"--config.file={configuration}"

    async def control(self, **command: Any) -> None:
        reply = json.loads(await fetch(f"{self.url}/_control", data=command))
        assert "error" not in reply, reply

    def pace(self, interval: str) -> None:
        """Set the interval of the polls, short for tests that wait for a change."""
        data = yaml.safe_load(self.configuration.read_text())
        data["defaults"] |= {"interval": interval, "timeout": "900ms"}
        self.configuration.write_text(yaml.safe_dump(data))

    async def status(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Run `status`; return its exit code, output and errors."""
        return await self.ended("status", *arguments, **environ)

    async def ended(self, command: str, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Run a command; return its exit code, output and errors."""
        async with self.starting(*arguments, command=command, **environ) as process:
            await asyncio.wait_for(process.process.wait(), 30)
            return process.process.returncode or 0, process.output, process.errors

    @asynccontextmanager
    async def starting(
        self, *arguments: str, command: str = "status", **environ: str
    ) -> AsyncIterator[Process]:
        async with running(
            *EXPORTER,
            command,
            *(() if any(each.startswith("--url=") for each in arguments) else (self.flag,)),
            *arguments,
            folder=self.folder,
            name=command,
            environ={"XDG_STATE_HOME": str(self.folder), **environ},
        ) as process:
            yield process

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[tuple[str, Process]]:
        """Run a daemon until it has polled the whole portal, and yield its URL."""
        async with daemon(self.folder, self.configuration) as (url, process):
            await answers(f"{url}/-/ready", process)
            yield url, process


@asynccontextmanager
async def portal_with(options: SimulatorOptions, folder: Path) -> AsyncIterator[Portal]:
    """Run a portal, with its configuration in a folder."""
    async with Simulation(options) as simulation:
        data = simulation.configuration()
        # No retries, so that no time is lost for failed calls.
        data |= {"sources": data["sources"][:1], "defaults": {"retries": 0}}
        configuration = folder / "loadfleet.yml"
        configuration.write_text(yaml.safe_dump(data))
        yield Portal(simulation.base_urls[0], configuration)


@asynccontextmanager
async def on_terminal(
    *arguments: str,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, bytearray]]:
    """Run the command on a terminal; yield it with the output, which is whole in the end."""
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 4096):
                seen.extend(chunk)

    process = await asyncio.create_subprocess_exec(
        *EXPORTER,
        *arguments,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": ""},
    )
    os.close(theirs)
    reader = asyncio.create_task(asyncio.to_thread(read))
    try:
        yield process, seen
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reader
        os.close(ours)
