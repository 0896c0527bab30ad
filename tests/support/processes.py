"""Processes, started on free ports, awaited by conditions, and stopped by their ids."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exporter.simulator.eggplant.lab import Lab
from exporter.simulator.options import SimulatorOptions
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


EXPORTER = (sys.executable, "-m", "exporter")

#: The exporter with its own process ids, as on another machine: others cannot see it end.
ELSEWHERE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *EXPORTER)

#: The time in which a program may end by itself before it is killed.
END_SECONDS = 5.0


class Process:
    """A running program and what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path, errors: Path) -> None:
        self.process = process
        self._output = output
        self._errors = errors

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    async def stop(self, number: int = signal.SIGTERM, *, timeout_seconds: float = 20.0) -> int:
        """Send a signal and return the exit code."""
        self.send(number)
        return await asyncio.wait_for(self.process.wait(), timeout_seconds)

    def send(self, number: int) -> None:
        """Send a signal; with `ELSEWHERE`, to the exporter there."""
        pid = self.process.pid
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if "unshare" in Path(f"/proc/{pid}/comm").read_text():
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
            os.kill(pid, number)


@asynccontextmanager
async def running(
    *command: str | Path,
    folder: Path,
    name: str,
    environ: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> AsyncIterator[Process]:
    """Run a program while the context lasts.

    Args:
        command: The program and its arguments.
        folder: The folder of its output.
        name: The name of the output's files.
        environ: Variables added to the environment of the tests.
        descriptors: Descriptors that it inherits.
    """
    output, errors = folder / f"{name}.out", folder / f"{name}.err"
    with output.open("wb") as out, errors.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environ or {})},
            pass_fds=descriptors,
        )
    started = Process(process, output, errors)
    try:
        yield started
    finally:
        if process.returncode is None:
            # Not killed at once, or it could not write its coverage.
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                started.send(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), END_SECONDS)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@asynccontextmanager
async def daemon(
    folder: Path,
    configuration: dict[str, Any] | Path,
    *flags: str,
    command: Sequence[str] = EXPORTER,
    port: int | None = None,
) -> AsyncIterator[tuple[str, Process]]:
    """Run the daemon and yield its URL; the configuration is written to `loadfleet.yml`."""
    if isinstance(configuration, dict):
        path = folder / "loadfleet.yml"
        path.write_text(yaml.safe_dump(configuration))
    else:
        path = configuration
    port = port or free_port()
    async with running(
        *command,
        f"--config.file={path}",
        f"--web.listen-address=127.0.0.1:{port}",
        *flags,
        folder=folder,
        name="daemon",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/healthy", process)
        yield url, process


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def fetch(url: str, *, data: Any = None, headers: Mapping[str, str] | None = None) -> str:
    """Return the text behind a URL, for any status.

    Args:
        url: The URL.
        data: Data to post as JSON, if given.
        headers: Headers of the request.
    """
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310 - loopback
    if body is not None:
        request.add_header("Content-Type", "application/json")

    def read() -> str:
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310 - loopback
                text: str = reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
        return text

    return await asyncio.to_thread(read)


async def announced(simulator: Process) -> dict[str, Any]:
    """Wait until a simulator has printed its whole configuration, and return it."""
    last = "expected_agents:\n"
    lines = len(Lab(SimulatorOptions()).names())
    await until(lambda: simulator.output.partition(last)[2].count("\n") >= lines)
    configuration: dict[str, Any] = yaml.safe_load(simulator.output)
    return configuration


async def answers(url: str, process: Process) -> None:
    """Wait until a URL is answered with 200.

    Raises:
        AssertionError: The process has ended.
    """

    def asked() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:  # noqa: S310 - loopback
                answered: bool = reply.status == HTTPStatus.OK
        except OSError:  # not listening yet, or not ready
            return False
        return answered

    async def answered() -> bool:
        assert not process.ended, process.errors
        return await asyncio.to_thread(asked)

    await until(answered)
