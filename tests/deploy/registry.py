"""A registry of OCI artefacts on this machine, empty at its start."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import yaml

from tests.support.processes import answers, free_port, running
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[str]:
    """Run a registry over plain HTTP and yield its host and port.

    Args:
        folder: The folder of its files.
    """
    address = f"127.0.0.1:{free_port()}"
    configuration = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": address},
    }
    file = folder / "registry.yml"
    file.write_text(yaml.safe_dump(configuration))
    program = require("docker-registry")
    async with running(program, "serve", file, folder=folder, name="registry") as process:
        await answers(f"http://{address}/v2/", process)
        yield address
