"""A fleet, the daemon that watches it, and a pager, with any server in between."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exporter.alerts.formats import RulesOptions, metricsql, rules_file
from exporter.alerts.settings import AlertingSettings
from exporter.metrics import catalogue as c
from exporter.simulator.server import serve
from tests.paging.pager import DEPLOY, Pager, Told, alertmanager
from tests.support.processes import EXPORTER, announced, answers, daemon, fetch, free_port, running
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from prometheus_client.samples import Sample
    from starlette.requests import Request

    from tests.support.processes import Process
    from tests.support.prometheus import Prometheus


PORTAL = "simulated-portal"

#: A few targets of every kind, so that all jobs can scrape the page each second.
SMALL = (
    "--agents=6",
    "--controllers=2",
    "--clusters=2",
    "--recorders=2",
    "--suites=3",
    "--tests=3",
    "--blazemeter-agents=4",
)

#: Series that Prometheus adds to the scraped ones.
ADDED = r"up|scrape_.+|ALERTS.*|.+:.+"

#: The prefix of jobs that scrape the same page as another job.
ASIDE = "aside_"

Series = frozenset[tuple[str, str]]


class Fleet:
    """A daemon that watches simulated vendors, and Alertmanager with a pager behind it.

    Attributes:
        process: The daemon's process.
        target: The daemon's host and port.
        alertmanager: The URL of Alertmanager.
        told: The notifications, with their source.
    """

    def __init__(self, process: Process, target: str, portal: str, alertmanager: str) -> None:
        self.process = process
        self.target = target
        self.alertmanager = alertmanager
        self.told: list[tuple[str, Told]] = []
        self._portal = portal

    async def control(self, **command: Any) -> None:
        """Change the portal's world."""
        reply = json.loads(await fetch(f"{self._portal}/_control", data=command))
        assert "error" not in reply, reply

    async def heal(self) -> None:
        """Bring all agents of the portal up, and wait until the daemon shows that."""

        async def all_up() -> bool:
            up = {
                sample.labels["agent_id"]: sample.value
                for sample in await self.samples()
                if sample.name == c.AGENT_UP.name and sample.labels["source"] == PORTAL
            }
            down = [key for key, value in up.items() if not value]
            await self.control(change={"agents": {key: {"up": True} for key in down}})
            return bool(up) and not down

        await until(all_up)

    async def samples(self) -> list[Sample]:
        """Return the exposed samples."""
        page = await fetch(f"http://{self.target}/metrics")
        families = text_string_to_metric_families(page)
        return [sample for family in families for sample in family.samples]

    async def series(self) -> set[Series]:
        """Return the labels of the exposed series, with the name and without empty ones."""
        return {
            frozenset(
                label for label in (sample.labels | {"__name__": sample.name}).items() if label[1]
            )
            for sample in await self.samples()
        }

    async def until_known(self, server: Prometheus, job: str) -> None:
        """Wait until a server has exactly the exposed series as those of a job."""
        expected, found = set[Series](), set[Series]()

        async def same() -> bool:
            nonlocal expected, found
            before = await self.series()
            query = f'{{job="{job}",__name__!~"{ADDED}"}}'
            found = {_exposed(each["metric"]) for each in await server.query(query)}
            expected = await self.series()
            return before <= expected and before <= found <= expected

        try:
            await until(same, timeout_seconds=30)
        except TimeoutError:
            missing, strange = (
                sorted(map(sorted, each)) for each in (expected - found, found - expected)
            )
            pytest.fail(f"{job} lacks {missing[:5]} and has {strange[:5]}")

    async def page_an_agent(self, server: Prometheus, *, to_its_end: bool = True) -> None:
        """Take an agent down, and wait for the page.

        Args:
            server: The server with the agents' series.
            to_its_end: Whether to bring the agent back, and wait for the end of the page.
        """
        found: list[dict[str, Any]] = []

        async def known() -> bool:
            nonlocal found
            found = await server.query(f'{c.AGENT_UP.name}{{source="{PORTAL}"}} == 1')
            return bool(found)

        await until(known)
        key = found[0]["metric"]["agent_id"]
        for up, status in ((False, "new"), (True, "resolved"))[: 2 if to_its_end else 1]:
            await self.control(change={"agents": {key: {"up": up}}})
            page = (PORTAL, Told("page", status, "AgentUnreachable", (key,)))
            try:
                await until(lambda page=page: page in self.told, timeout_seconds=45)  # type: ignore[misc]
            except TimeoutError:
                pytest.fail(f"not told {page}, but {self.told}")


def beside(job: str, target: str, **more: Any) -> dict[str, Any]:
    """Return a job that scrapes a target once more, under names that no rule reads."""
    renamed = {
        "source_labels": ["__name__"],
        "target_label": "__name__",
        "replacement": f"{ASIDE}$1",
    }
    scraped = {"static_configs": [{"targets": [target]}], "metric_relabel_configs": [renamed]}
    return {"job_name": job, **scraped, **more}


def _exposed(labels: dict[str, str]) -> Series:
    """Return the labels of a series as they are exposed, without those of its target."""
    own = {name: value for name, value in labels.items() if name not in ("job", "instance", "site")}
    return frozenset((own | {"__name__": own["__name__"].removeprefix(ASIDE)}).items())


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    """Run the fleet, its daemon and Alertmanager while the context lasts."""
    port = free_port()
    simulate = ("simulate", "--still", f"--realload-port={port}", *SMALL)
    async with running(*EXPORTER, *simulate, folder=folder, name="simulator") as simulator:
        portal = f"http://127.0.0.1:{port}"
        await answers(f"{portal}/_control", simulator)
        configuration = await announced(simulator)
        configuration["defaults"] = {"interval": "1s", "timeout": "900ms", "stale_after": "10s"}
        async with daemon(folder, configuration) as (url, process):
            told: list[tuple[str, Told]] = []
            pager = Pager(lambda source, one: told.append((source, one)))
            async with serve(pager.app()) as recorder, alertmanager(folder, recorder) as notified:
                found = Fleet(process, url.removeprefix("http://"), portal, notified)
                found.told = told
                await found.heal()
                yield found
        assert "Traceback" not in process.errors


def shipped(folder: Path, fleet: Fleet, *, scale: float = 0.02) -> dict[str, Any]:
    """Return the shipped configuration of Prometheus with this fleet in it, and write its rules.

    Args:
        folder: The folder of the rules.
        fleet: The fleet.
        scale: The scale of all times of the rules; 0.02 makes five minutes six seconds.
    """
    thresholds = {"for_scale": scale, "stale_intervals": 1000}
    options = AlertingSettings.model_validate({"thresholds": thresholds})
    rules = rules_file(options.rules(), RulesOptions.of(options)).replace(
        "interval: 5m", "interval: 1s"
    )
    (folder / "alerts.yml").write_text(rules)
    (folder / "victoria.yml").write_text(metricsql(rules))
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("localhost:9093", fleet.alertmanager.removeprefix("http://"))
    configuration: dict[str, Any] = yaml.safe_load(text.replace("localhost:10871", fleet.target))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return configuration


class Front:
    """A proxy that passes scrapes on to an exporter unchanged.

    Attributes:
        address: Its host and port.
        formats: The formats of the answers.
        scrapes: The number of scrapes.
    """

    def __init__(self, target: str) -> None:
        self.address = ""
        self.formats: set[str] = set()
        self.scrapes = 0
        self._target = target

    async def scrape(self, request: Request) -> Response:
        self.scrapes += 1
        try:
            page, form = await asyncio.to_thread(self._ask, request.headers["Accept"])
        except OSError:
            return Response(status_code=502)
        self.formats.add(form)
        return Response(page, headers={"Content-Type": form})

    def _ask(self, accept: str) -> tuple[bytes, str]:
        url = f"http://{self._target}/metrics"
        wanted = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(wanted, timeout=20) as reply:  # noqa: S310 - loopback
            return reply.read(), reply.headers["Content-Type"]


@asynccontextmanager
async def front(target: str) -> AsyncIterator[Front]:
    """Run a front of an exporter while the context lasts."""
    between = Front(target)
    async with serve(Starlette(routes=[Route("/metrics", between.scrape)])) as url:
        between.address = url.removeprefix("http://")
        yield between
