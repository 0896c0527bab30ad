"""The world in which all scenarios are played at once.

Exporters, Prometheus and Alertmanager are real processes; the portals and the pagers are in the
test's own. The clocks are compressed by configuration: polls, scrapes and evaluations each second,
and the times for which conditions must hold by `for_scale`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import yaml
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.simulator.server import serve
from tests.paging.pager import DEPLOY, JOB, Pager, Told, alertmanager
from tests.paging.scenario import BUILT_IN, PAIR, PROMETHEUS, SCENARIOS, WAYS, Stage
from tests.support.pair import grown_old
from tests.support.processes import ELSEWHERE, EXPORTER, Process, daemon, fetch, free_port, running
from tests.support.prometheus import Prometheus, prometheus
from tests.support.redis import RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from starlette.requests import Request


#: Five minutes become six seconds, which is longer than a busy machine delays polls and scrapes;
#: delayed polls must not alert here.
THRESHOLDS = {"for_scale": 0.02, "stale_intervals": 1000}

#: Changed alerts: a busy machine skips polls and starts slowly at this scale, and exporters that
#: watch one source with separate states are both its leader.
ALERTS = {
    "PollsSkipped": {"off": True},
    "ExporterGone": {"for": "5m"},
    "TwoLeaders": {"off": True},
    "NoLeader": {"for": "20m"},
}

FAST = {"interval": "1s", "timeout": "900ms", "stale_after": "5s"}

#: Further configuration of each exporter.
EXPORTERS: Mapping[str, Mapping[str, Any]] = {
    "main": {},
    "replica": {},
    "shard-0": {"sharding": {"shard": 0, "total_shards": 2}},
    "shard-1": {"sharding": {"shard": 1, "total_shards": 2}},
    "killed": {},
    "left": {},
    "right": {},
}

#: The exporter whose state another one shares.
_STATES = {"replica": "main"}

#: Exporters with built-in alerts: one of those that share a source.
_JUDGING = ("main", "killed", *PAIR)

BOARD = "https://monitor.example/"

#: One of so many scrapes is lost in the scenario with that job. Its interval is the compressed half
#: minute, so that a single lost scrape does not matter.
LOST_EVERY = 7


class Exporter:
    """A daemon that can be stopped and started again."""

    def __init__(
        self, folder: Path, configuration: dict[str, Any], command: Sequence[str] = EXPORTER
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._configuration = configuration
        self._command = command
        self._port = free_port()
        self._stack = AsyncExitStack()
        self.target = f"127.0.0.1:{self._port}"
        self.process: Process
        self.errors = ""

    async def start(self) -> None:
        """Start the daemon and wait until it answers."""
        _, self.process = await self._stack.enter_async_context(
            daemon(self._folder, self._configuration, port=self._port, command=self._command)
        )

    async def stop(self, *signals: int) -> None:
        """Stop the daemon, in order or by a signal."""
        await self.process.stop(*signals)
        self.errors += self.process.errors
        await self._stack.aclose()


class World:
    """The sources of all scenarios, the exporters that watch them, and the pagers."""

    def __init__(self, folder: Path) -> None:
        self.stages = {name: Stage(each, self) for name, each in SCENARIOS.items()}
        self.pagers = {way: Pager(self._listener(way)) for way in WAYS}
        self.alertmanagers: dict[str, str] = {}
        self.recorders: dict[str, str] = {}
        self.exporters: dict[str, Exporter] = {}
        self.prometheus: Prometheus
        self._folder = folder
        self._stack = AsyncExitStack()
        canary = self.stages["canary"]
        self._canaries = iter(canary.simulation.fleet.agents)

    async def __aenter__(self) -> Self:
        """Start everything."""
        async with AsyncExitStack() as stack:
            self._stack = stack
            for stage in self.stages.values():
                await stack.enter_async_context(stage.simulation)
            for way, pager in self.pagers.items():
                (folder := self._folder / way).mkdir()
                recorder = await stack.enter_async_context(serve(pager.app()))
                one = alertmanager(folder, recorder)
                self.alertmanagers[way] = await stack.enter_async_context(one)
                self.recorders[way] = recorder
            self._redis = RedisServer("redis-server", self._folder / "redis")
            stack.callback(self._redis.stop)
            await grown_old(self._redis)
            for name in EXPORTERS:
                command = ELSEWHERE if name in PAIR else EXPORTER
                configuration = self._configuration(name)
                self.exporters[name] = Exporter(self._folder / name, configuration, command)
                stack.push_async_callback(self.exporters[name].stop)
            await asyncio.gather(*(each.start() for each in self.exporters.values()))
            await self._judge()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything."""
        await self._stack.__aexit__(kind, error, traceback)

    async def play(self) -> None:
        """Play all scenarios at once, and wait for the notifications that they caused."""
        await asyncio.gather(*(each.play() for each in self.stages.values()))
        await self.canary()

    async def canary(self) -> None:
        """Wait until both ways have paged for an agent that went down, and for its recovery."""
        stage, agent = self.stages["canary"], next(self._canaries)
        for up, state in ((False, "firing"), (True, "resolved")):
            await stage.change("agents", agent, up=up)
            await until(
                lambda state=state: all(  # type: ignore[misc]
                    any(
                        agent == alert["labels"].get("agent_id") and state == alert["status"]
                        for alert in pager.of("canary", "page")
                    )
                    for pager in self.pagers.values()
                )
            )

    def discover(self, job: str, **labels: str) -> None:
        """Have service discovery find the main exporter under other labels.

        Args:
            job: The scenario with this job.
            labels: The labels; without any, the exporter is no longer found.
        """
        groups = [{"targets": [self.exporters["main"].target], "labels": labels}] if labels else []
        path = self._folder / f"{job}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(path)

    async def heartbeats(self) -> set[str]:
        """Return the exporters whose heartbeat fires in Alertmanager."""
        alerts = json.loads(await fetch(f"{self.alertmanagers[BUILT_IN]}/api/v2/alerts"))
        labels = (alert["labels"] for alert in alerts)
        return {each["exporter"] for each in labels if each["alertname"] == "LoadFleetHeartbeat"}

    def _listener(self, way: str) -> Any:
        def hear(scenario: str, told: Told) -> None:
            if scenario in self.stages:
                self.stages[scenario].hear(way, told)

        return hear

    def _configuration(self, exporter: str) -> dict[str, Any]:
        watched = [each for each in self.stages.values() if exporter in each.scenario.exporters]
        alerting: dict[str, Any] = {"thresholds": THRESHOLDS, "alerts": ALERTS}
        if exporter in _JUDGING:
            alerting |= {
                "alertmanagers": [self.alertmanagers[BUILT_IN]],
                "evaluation_interval": "500ms",
                "resend_interval": "2s",
                "external_labels": {"exporter": "pair" if exporter in PAIR else exporter},
                "heartbeat_url": f"{self.recorders[BUILT_IN]}/beat/{exporter}",
            }
        return {
            "defaults": FAST,
            "sources": [each.source(exporter) for each in watched],
            "preflights": [preflight for each in watched for preflight in each.preflights()],
            "alerting": alerting,
            "state": {"url": self._redis.url()}
            if exporter in PAIR
            else {"path": str(self._folder / _STATES.get(exporter, exporter) / "state")},
            "web": {"external_url": BOARD},
            **EXPORTERS[exporter],
        }

    async def _judge(self) -> None:
        """Run the deployed Prometheus with short times and the printed rules."""
        folder = self._folder / PROMETHEUS
        command = (*EXPORTER, "rules", f"--config.file={self._folder / 'main' / 'loadfleet.yml'}")
        async with running(*command, folder=folder, name="rules") as printing:
            assert 0 == await printing.process.wait(), printing.errors
        (folder / "alerts.yml").write_text(printing.output)
        configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        told = self.alertmanagers[PROMETHEUS].removeprefix("http://")
        configuration["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [told]
        configuration["scrape_configs"] = await self._jobs()
        self.prometheus = await self._stack.enter_async_context(
            prometheus(folder, configuration, "--rules.alert.resend-delay=5s")
        )

    async def _jobs(self) -> list[dict[str, Any]]:
        """Return the scraped jobs: every exporter, and parts of the main one as own jobs."""
        apart = "|".join(name for name, each in SCENARIOS.items() if each.job)
        proxy = await self._stack.enter_async_context(serve(self._lossy()))
        apart_from = ("killed", *PAIR)
        together = [each.target for name, each in self.exporters.items() if name not in apart_from]
        jobs = [
            _job(JOB, _static(*together)) | _only("drop", apart),
            _job(f"{JOB}-killed", _static(self.exporters["killed"].target)),
            # Under a job that no rule about exporters reads, since `killed` covers those.
            _job("pair", _static(*(self.exporters[name].target for name in PAIR))),
        ]
        for name in (each.name for each in SCENARIOS.values() if each.job):
            self.discover(name, instance="first")
            found = {"file_sd_configs": [{"files": [str(self._folder / f"{name}.json")]}]}
            if name == "lost_scrapes":
                found = _static(proxy.removeprefix("http://")) | {"scrape_interval": "600ms"}
            only = _only("keep", f"({name})?")
            # The preflights are the main exporter's.
            only["metric_relabel_configs"].append(_rule("drop", "preflight", ".+"))
            jobs.append(_job(f"{JOB}-{name}", found) | only)
        return jobs

    def _lossy(self) -> Starlette:
        """Return a proxy of the main exporter that loses scrapes."""
        scrapes = itertools.count(1)

        async def metrics(request: Request) -> Response:
            if 0 == next(scrapes) % LOST_EVERY:
                return Response(status_code=503)
            text = await fetch(f"http://{self.exporters['main'].target}/metrics")
            return PlainTextResponse(text)

        return Starlette(routes=[Route("/metrics", metrics)])


def _job(name: str, discovery: dict[str, Any]) -> dict[str, Any]:
    return {"job_name": name, **discovery}


def _static(*targets: str) -> dict[str, Any]:
    return {"static_configs": [{"targets": list(targets)}]}


def _only(action: str, sources: str) -> dict[str, Any]:
    return {"metric_relabel_configs": [_rule(action, "source", sources)]}


def _rule(action: str, label: str, values: str) -> dict[str, Any]:
    return {"source_labels": [label], "regex": values, "action": action}
