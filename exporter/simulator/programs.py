"""Real load generators for the demo, Locust and Selenium, if they are installed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_HOST = "127.0.0.1"

#: Time limit for a program to end after SIGTERM.
_END_SECONDS = 5.0

#: A Locust test. Each user sends one harmless request a second to the simulated vendors.
_LOCUSTFILE = """
from locust import HttpUser, constant, task


class Visitor(HttpUser):
    wait_time = constant(1)

    @task
    def visit(self):
        self.client.get("/", name="any page")
"""

_DRIVERS = ("chromedriver", "geckodriver", "msedgedriver")


@asynccontextmanager
async def installed(visited_url: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Run the installed programs until the context ends, and yield sources that poll them.

    Args:
        visited_url: The URL that the users of the Locust test request.
    """
    async with AsyncExitStack() as stack:
        sources = []
        if locust := shutil.which("locust"):
            sources.append(await _locust(stack, locust, visited_url))
        if (selenium := shutil.which("selenium-server")) and any(map(shutil.which, _DRIVERS)):
            sources.append(await _selenium(stack, selenium))
        yield sources


async def _locust(stack: AsyncExitStack, program: str, visited_url: str) -> dict[str, Any]:
    # The stack closes the file, which deletes it.
    file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".py"))  # noqa: SIM115
    file.write(_LOCUSTFILE)
    file.flush()
    web, bus = _free_port(), _free_port()
    await _start(
        stack,
        *(program, "--master", "--locustfile", file.name, "--host", visited_url, "--autostart"),
        *("--web-host", _HOST, "--web-port", web, "--users", 4, "--spawn-rate", 1),
        *("--master-bind-host", _HOST, "--master-bind-port", bus, "--expect-workers", 2),
    )
    for _ in range(2):
        worker = (program, "--worker", "--locustfile", file.name)
        await _start(stack, *worker, "--master-host", _HOST, "--master-port", bus)
    return {"provider": "locust", "name": "installed-locust", "url": f"http://{_HOST}:{web}"}


async def _selenium(stack: AsyncExitStack, program: str) -> dict[str, Any]:
    port = _free_port()
    await _start(stack, program, "standalone", "--host", _HOST, "--port", port)
    return {"provider": "selenium", "name": "installed-selenium", "url": f"http://{_HOST}:{port}"}


async def _start(stack: AsyncExitStack, *command: object) -> None:
    """Start a program, which the stack stops."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=quiet, stdout=quiet, stderr=quiet
    )
    stack.push_async_callback(_stop, process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, TimeoutError):
        process.terminate()
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
