"""VictoriaMetrics in place of Prometheus: a single node that scrapes, and vmalert beside it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.processes import answers, free_port, running
from tests.support.prometheus import Prometheus
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


#: Keys of Prometheus' configuration that VictoriaMetrics does not read; vmalert has flags for them.
RULES, ALERTING = "rule_files", "alerting"

#: Flags without which VictoriaMetrics answers with samples that are at least 30 seconds old.
AT_ONCE = ("-search.latencyOffset=0s", "-inmemoryDataFlushInterval=1s")


#: Flags without which vmalert evaluates 30 seconds late.
SOON = ("-evaluationInterval=1s", "-rule.evalDelay=0s", "-remoteWrite.flushInterval=100ms")


class Victoria(Prometheus):
    """A running VictoriaMetrics, which answers as Prometheus does, and its vmalert.

    Attributes:
        vmalert: The URL of vmalert; empty without rules.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.vmalert = ""


@asynccontextmanager
async def victoria(
    folder: Path, configuration: Mapping[str, Any], *flags: str, port: int | None = None
) -> AsyncIterator[Victoria]:
    """Run VictoriaMetrics and vmalert with a configuration of Prometheus while the context lasts.

    Args:
        folder: The folder of the configuration and the data, and of files that it names.
        configuration: Prometheus' configuration, with scrapes and evaluations every second.
        flags: Further flags of VictoriaMetrics.
        port: Its port; a free one if not given.
    """
    path = folder / "scrape.yml"
    port = port or free_port()
    server = Victoria(f"http://127.0.0.1:{port}")
    jobs = {"scrape_configs": configuration["scrape_configs"]}
    path.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}} | jobs))
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(
            running(
                require("victoria-metrics"),
                f"-promscrape.config={path}",
                f"-storageDataPath={folder / 'victoria-data'}",
                f"-httpListenAddr=127.0.0.1:{port}",
                *AT_ONCE,
                *flags,
                folder=folder,
                name="victoria",
            )
        )
        await answers(f"{server.url}/health", process)
        if RULES in configuration:
            server.vmalert = await stack.enter_async_context(
                vmalert(folder, configuration, server.url)
            )
        yield server


@asynccontextmanager
async def vmalert(folder: Path, configuration: Mapping[str, Any], data: str) -> AsyncIterator[str]:
    """Run vmalert with the rules and the Alertmanagers of a configuration of Prometheus.

    Args:
        folder: The folder that relative paths count from.
        configuration: Prometheus' configuration.
        data: The URL that vmalert queries and writes to.
    """
    port = free_port()
    rules = [f"-rule={folder / name}" for name in configuration[RULES]]
    notified = [
        f"-notifier.url=http://{target}"
        for one in configuration.get(ALERTING, {}).get("alertmanagers", ())
        for static in one["static_configs"]
        for target in static["targets"]
    ]
    async with running(
        require("vmalert"),
        *rules,
        *(notified or ["-notifier.blackhole"]),
        f"-datasource.url={data}",
        f"-remoteWrite.url={data}",
        f"-remoteRead.url={data}",
        f"-httpListenAddr=127.0.0.1:{port}",
        *SOON,
        folder=folder,
        name="vmalert",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/health", process)
        yield url
