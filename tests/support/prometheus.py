"""A real Prometheus, and queries of it."""

from __future__ import annotations

import json
import urllib.parse
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.processes import answers, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._headers = headers

    async def query(self, expression: str, **more: float) -> list[dict[str, Any]]:
        """Return the series of an expression now, or at a `time`."""
        query = urllib.parse.urlencode({"query": expression, **more})
        url = f"{self.url}/api/v1/query?{query}"
        reply = json.loads(await fetch(url, headers=self._headers))
        assert "success" == reply["status"], reply
        result: list[dict[str, Any]] = reply["data"]["result"]
        return result

    async def values(self, expression: str) -> list[float]:
        """Return the values of an expression now."""
        return [float(series["value"][1]) for series in await self.query(expression)]

    async def until_values(self, expression: str, expected: list[float]) -> None:
        """Wait until an expression has these values."""
        seen: list[float] = []

        async def answered() -> bool:
            nonlocal seen
            seen = await self.values(expression)
            return seen == expected

        try:
            await until(answered, timeout_seconds=40)
        except TimeoutError:
            pytest.fail(f"{expression}: expected {expected}, last seen {seen}")

    async def targets(self, job: str) -> dict[str, dict[str, str]]:
        """Return the discovered targets of a job, by address."""
        reply = json.loads(await fetch(f"{self.url}/api/v1/targets?state=active"))
        found = [
            target["discoveredLabels"]
            for target in reply["data"]["activeTargets"]
            if target["scrapePool"] == job
        ]
        return {labels["__address__"]: labels for labels in found}


@asynccontextmanager
async def prometheus(
    folder: Path, configuration: dict[str, Any], *flags: str, port: int | None = None
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus while the context lasts.

    Args:
        folder: The folder of its configuration and data, and of files that it names.
        configuration: Its configuration; by default, it scrapes and evaluates every second.
        flags: Further flags.
        port: Its port; a free one if not given.
    """
    port = port or free_port()
    every_second = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": every_second} | configuration))
    async with running(
        require("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *flags,
        folder=folder,
        name="prometheus",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/ready", process)
        yield Prometheus(url)


def scraping(target: str, *, interval: str = "1s") -> dict[str, Any]:
    """Return a configuration that scrapes one address as the job `loadfleet`.

    Args:
        target: The address.
        interval: The interval and time-out of a scrape.
    """
    job = {"job_name": "loadfleet", "static_configs": [{"targets": [target]}]}
    times = {"scrape_interval": interval, "scrape_timeout": interval}
    return {"scrape_configs": [job | times]}
