"""From a fleet that breaks to the people who are paged, with a real Alertmanager.

The clocks are compressed by configuration: polls, scrapes and evaluations each second, and the
times for which conditions must hold by `for_scale`. What is deployed is what is tested: the rules
as `rules` prints them, Prometheus' and Alertmanager's files as they are in `deploy/`, with other
times and with the test in place of the pagers.
"""

from __future__ import annotations

import contextlib
import json
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exporter.alerts.thresholds import RUNBOOK_URL
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import AGENT_VERSION, Fleet
from exporter.simulator.server import Simulation, serve
from exporter.simulator.vendor import Command, Fault
from tests.support.processes import EXPORTER, answers, daemon, fetch, free_port, running
from tests.support.prometheus import prometheus
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request


DEPLOY = Path(__file__).parents[2] / "deploy"

#: Five minutes are six seconds: longer than a busy machine holds up polls and scrapes.
THRESHOLDS = {"for_scale": 0.02}

FAST = {"interval": "1s", "timeout": "900ms", "stale_after": "15s"}

_PING = "pingMeasuringAgent"


class Trouble(NamedTuple):
    """What befalls a source: whom the page has to be about, and how it is done and undone."""

    alertname: str
    agents: int
    begin: Callable[[Simulation], None]
    end: Callable[[Simulation], None]


def agent(**changes: Any) -> Callable[[Simulation], None]:
    """Change one agent of a portal."""
    return lambda simulation: simulation.fleet.change("agents", VICTIM, **changes)


def portal(fault: Fault) -> Callable[[Simulation], None]:
    """Have a portal answer so."""
    return lambda simulation: simulation.realload.obey(Command(fault=fault))


VICTIM = "45"

#: Each befalls a source of its own, and so a notification of its own.
TROUBLES = {
    "agent-down": Trouble(
        "LoadFleetAgentUnreachable", 6, begin=agent(up=False), end=agent(up=True)
    ),
    "agent-old": Trouble(
        "LoadFleetAgentOutdated", 6, begin=agent(outdated=True), end=agent(outdated=False)
    ),
    "portal-down": Trouble(
        "LoadFleetSourceDown", 50, begin=portal(Fault.UNAVAILABLE), end=portal(Fault.NONE)
    ),
}


class Pager:
    """Takes what Alertmanager sends to its webhooks.

    Attributes:
        pages: The notifications about critical alerts, in their order.
    """

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{receiver}", self._take, methods=["POST"])])

    def log(self) -> dict[str, list[list[tuple[str, str]]]]:
        """Return each page's alerts and their states, by source."""
        log: dict[str, list[list[tuple[str, str]]]] = {}
        for page in self.pages:
            alerts = [(one["status"], one["labels"]["alertname"]) for one in page["alerts"]]
            log.setdefault(page["groupLabels"]["source"], []).append(alerts)
        return log

    async def until_paged(self, *states: str) -> None:
        """Wait until there is one page per trouble and state, and fail if there is any other."""
        expected = {
            source: [[(state, trouble.alertname)] for state in states]
            for source, trouble in TROUBLES.items()
        }
        wanted = len(TROUBLES) * len(states)
        # The comparison shows what is missing.
        with contextlib.suppress(TimeoutError):
            await until(lambda: len(self.pages) >= wanted, timeout_seconds=60)
        assert expected == self.log()

    async def _take(self, request: Request) -> Response:
        notification = await request.json()
        if request.path_params["receiver"] == "page":
            self.pages.append(notification)
        return Response()


class World:
    """A portal per trouble, and the pager."""

    def __init__(self, pager: Pager, pager_url: str, portals: dict[str, Simulation]) -> None:
        self.pager = pager
        self.pager_url = pager_url
        self.portals = portals

    def configuration(self, **alerting: Any) -> dict[str, Any]:
        """Return the daemon's configuration."""
        return {
            "defaults": FAST,
            "sources": [
                {**each.configuration()["sources"][0], "name": name, "labels": {"site": "bern"}}
                for name, each in self.portals.items()
            ],
            "alerting": {"thresholds": THRESHOLDS, **alerting},
        }

    async def until_seen(self, *names: str) -> None:
        """Wait until each agent of these portals has been looked at once more."""
        portals = [self.portals[name] for name in names]
        wanted = [each.realload.calls[_PING] + 2 * len(each.fleet.agents) for each in portals]
        await until(
            lambda: all(
                each.realload.calls[_PING] >= calls
                for each, calls in zip(portals, wanted, strict=True)
            )
        )

    def begin(self) -> None:
        """Let all troubles begin."""
        for name, trouble in TROUBLES.items():
            trouble.begin(self.portals[name])

    def end(self) -> None:
        """Let all troubles end."""
        for name, trouble in TROUBLES.items():
            trouble.end(self.portals[name])


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Run a pager, and portals whose agents are well."""
    pager = Pager()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(pager.app()))
        portals = {
            name: await stack.enter_async_context(Simulation(only(trouble.agents)))
            for name, trouble in TROUBLES.items()
        }
        for each in portals.values():
            heal(each.fleet)
        yield World(pager, url, portals)


def only(agents: int) -> SimulatorOptions:
    """Return the options of a portal that has agents and nothing else."""
    return SimulatorOptions(
        still=True, agents=agents, controllers=0, clusters=0, recorders=0, suites=0
    )


def heal(fleet: Fleet) -> None:
    """Take all its troubles from a simulated fleet."""
    for each in fleet.agents.values():
        each.up, each.active, each.outdated, each.skew_seconds = True, True, False, 0.0
        each.version, each.token, each.denied = AGENT_VERSION, "token", False


@asynccontextmanager
async def alertmanager(folder: Path, pager: str) -> AsyncIterator[str]:
    """Run the deployed Alertmanager with short times and the test's receivers."""
    require("prometheus-alertmanager")
    configuration = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    del configuration["global"]  # it holds what mail and chat need
    configuration["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    configuration["receivers"] = [
        {"name": each["name"], "webhook_configs": [{"url": f"{pager}/{each['name']}"}]}
        for each in configuration["receivers"]
    ]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    async with running(
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        folder=folder,
        name="alertmanager",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/ready", process)
        yield url


@asynccontextmanager
async def judging(folder: Path, *, target: str, alertmanager: str) -> AsyncIterator[str]:
    """Run the deployed Prometheus with short times and the printed rules."""
    command = (*EXPORTER, "rules", f"--config.file={folder / 'loadfleet.yml'}")
    async with running(*command, folder=folder, name="rules") as printing:
        assert 0 == await printing.process.wait(), printing.errors
    (folder / "alerts.yml").write_text(printing.output)
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    configuration["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    async with prometheus(folder, configuration, "--rules.alert.resend-delay=5s") as asked:
        yield asked.url


def is_whole(pager: Pager, **more: str) -> None:
    """Check all that Alertmanager was told of the agent that is down."""
    (page, *_) = [p for p in pager.pages if p["groupLabels"]["source"] == "agent-down"]
    (alert,) = page["alerts"]
    assert {
        "alertname": "LoadFleetAgentUnreachable",
        "severity": "critical",
        "provider": "realload",
        "source": "agent-down",
        "site": "bern",
        "agent_id": VICTIM,
        "agent": "bern-02",
        **more,
    } == alert["labels"]
    assert {
        "summary": "A load-generating agent cannot be reached.",
        "description": (
            f"Agent bern-02 (id {VICTIM}) of source agent-down has not been reached for five"
            " minutes. Tests that need it fail or run with less load."
        ),
        "runbook_url": f"{RUNBOOK_URL}LoadFleetAgentUnreachable.md",
    } == alert["annotations"]


@pytest.mark.timeout(300)
async def test_prometheus_pages_once_for_each_trouble(tmp_path: Path) -> None:
    """Prometheus evaluates the printed rules, and Alertmanager does the rest."""
    async with world() as w, AsyncExitStack() as stack:
        url = await stack.enter_async_context(alertmanager(tmp_path, w.pager_url))
        exporter, process = await stack.enter_async_context(daemon(tmp_path, w.configuration()))
        target = exporter.removeprefix("http://")
        await stack.enter_async_context(
            judging(tmp_path, target=target, alertmanager=url.removeprefix("http://"))
        )
        await w.until_seen(*TROUBLES)

        w.begin()
        await w.pager.until_paged("firing")
        w.end()
        await w.pager.until_paged("firing", "resolved")

    is_whole(w.pager, job="loadfleet", instance=target)
    assert "Traceback" not in process.errors


@pytest.mark.timeout(300)
async def test_the_exporter_alone_pages_once_for_each_trouble(tmp_path: Path) -> None:
    """The same pages without any Prometheus; a restart neither ends nor repeats one."""
    async with world() as w, alertmanager(tmp_path, w.pager_url) as url:
        configuration = w.configuration(
            alertmanagers=[url],
            evaluation_interval="500ms",
            resend_interval="5s",
        )
        configuration["state"] = {"path": str(tmp_path / "state")}
        configuration["web"] = {"external_url": "https://monitor.example/"}
        async with daemon(tmp_path, configuration) as (_, first):
            await w.until_seen(*TROUBLES)
            w.begin()
            await w.pager.until_paged("firing")
            assert 0 == await first.stop()
        errors = first.errors
        async with daemon(tmp_path, configuration) as (exporter, second):
            await w.until_seen("agent-down", "agent-old")
            assert {(t.alertname, "firing") for t in TROUBLES.values()} == await active(exporter)
            w.end()
            await w.pager.until_paged("firing", "resolved")

    is_whole(w.pager)
    assert {"https://monitor.example/"} == {
        alert["generatorURL"] for page in w.pager.pages for alert in page["alerts"]
    }
    assert "Traceback" not in errors + second.errors


async def active(exporter: str) -> set[tuple[str, str]]:
    """Return the names and states of all critical alerts a daemon knows."""
    alerts = json.loads(await fetch(f"{exporter}/api/v1/alerts"))["data"]["alerts"]
    return {(one["name"], one["state"]) for one in alerts if one["severity"] == "critical"}
