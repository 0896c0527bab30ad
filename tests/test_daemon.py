"""A daemon that goes on where another one ended, both in this process."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.daemon import HEARTBEAT_LIMIT_SECONDS, Daemon
from exporter.settings.load import Loaded, from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command, Fault
from tests.support.processes import fetch, free_port
from tests.support.state import LastingState
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from exporter.state.base import Fence


UNREACHABLE = "LoadFleetAgentUnreachable"


#: A clock that is many times as fast as the real one.
FAST_CLOCK = Clock(
    monotonic=lambda: time.monotonic() * 20,
    boottime=lambda: time.monotonic() * 20,
    time=time.time,
    sleep=lambda seconds: asyncio.sleep(seconds / 20),
)


@asynccontextmanager
async def running(
    configuration: Mapping[str, Any],
    state: LastingState,
    *,
    clock: Clock = SYSTEM_CLOCK,
    later: Mapping[str, Any] | None = None,
) -> AsyncIterator[tuple[Daemon, str]]:
    """Run a daemon that serves already, and stop it in the end; `later` is for its reload."""
    urls: list[str] = []
    settings = [from_data(each) for each in (configuration, later or configuration)]
    loaded, then = (Loaded(settings=each, hash="") for each in settings)
    daemon = Daemon(loaded, load=lambda: then, announce=urls.append, state=state, clock=clock)
    stop = asyncio.Event()
    task = asyncio.create_task(daemon.run(stop))
    try:
        await until(lambda: urls or task.done())
        yield daemon, urls[0].rstrip("/")
    finally:
        stop.set()
        await task


async def firing(daemon: Daemon) -> dict[str, float]:
    """Return since when which agent's alert fires."""
    return {
        alert.labels["agent_id"]: alert.since_timestamp_seconds
        for alert in (await daemon.picture()).alerts or ()
        if alert.name == UNREACHABLE and alert.state == "firing"
    }


class SlowState(LastingState):
    """A state that takes one heartbeat and no other.

    Attributes:
        hangs: Whether a call hangs now.
    """

    hangs = False

    async def put(self, key: str, value: bytes, *, fence: Fence | None = None) -> bool:
        if key.startswith("member/") and key in self.writes:
            self.hangs = True
            await asyncio.Event().wait()
        return await super().put(key, value, fence=fence)


async def test_a_state_that_hangs_is_no_loop_that_is_stuck() -> None:
    """A state that hangs must not make the daemon unhealthy."""
    clock = FAST_CLOCK
    state = SlowState(clock.monotonic)
    configuration = {
        "web": {"listen_address": f"127.0.0.1:{free_port()}"},
        "sharding": {"shard": 0, "total_shards": 2},
        "sources": [
            {
                "provider": "blazemeter",
                "url": "http://127.0.0.1:1",
                "api_key_id": "id",
                "api_key_secret": "secret",
                "workspaces": [1],
            }
        ],
    }
    async with running(configuration, state, clock=clock) as (daemon, _):
        await until(lambda: state.hangs)
        hung_at = clock.monotonic()
        await until(lambda: clock.monotonic() - hung_at > HEARTBEAT_LIMIT_SECONDS)

        await until(lambda: daemon.healthy)


async def test_a_restart_while_the_portal_hangs_loses_nothing() -> None:
    """Ready at once, with the readings, since when they are so, and the alerts of before."""
    state = LastingState(time.monotonic)
    async with Simulation(SimulatorOptions(still=True, agents=5)) as simulation:
        for agent in simulation.fleet.agents.values():
            agent.up, agent.active = agent is not simulation.fleet.agents["42"], True
        configuration = {
            "defaults": {"interval": "1s", "timeout": "900ms", "stale_after": "10m"},
            "sources": simulation.configuration()["sources"][:1],
            "web": {"listen_address": f"127.0.0.1:{free_port()}"},
            "alerting": {
                "alertmanagers": ["http://127.0.0.1:1"],
                "thresholds": {"for_scale": 0.001},
                "evaluation_interval": "100ms",
            },
        }
        async with running(configuration, state) as (daemon, url):

            async def paged() -> bool:
                return daemon.ready and bool(await firing(daemon))

            await until(paged)
            alerts, before = await firing(daemon), json.loads(await fetch(f"{url}/api/v1/targets"))
        simulation.realload.obey(Command(fault=Fault.HANG))

        async with running(configuration, state) as (daemon, url):
            ready = await fetch(f"{url}/-/ready")
            after = json.loads(await fetch(f"{url}/api/v1/targets"))
            page = await fetch(f"{url}/metrics")
            restored = await firing(daemon)

    assert ["42"] == list(alerts)
    assert alerts == restored
    assert "not" not in ready.lower()
    assert 'agent_id="42"' in page
    facts = ("kind", "id", "state", "changed_timestamp_seconds")
    assert [[row[fact] for fact in facts] for row in before["data"]["targets"]] == [
        [row[fact] for fact in facts] for row in after["data"]["targets"]
    ]
    assert {True} == {row["restored"] for row in after["data"]["targets"]}


async def test_preflights_are_exposed_from_the_start_and_follow_the_configuration() -> None:
    """Before anything was polled it is known which there are, and none outlives a reload."""
    async with Simulation(SimulatorOptions(still=True, agents=2)) as simulation:
        simulation.realload.obey(Command(fault=Fault.HANG))
        configuration = {
            "sources": simulation.configuration()["sources"][:1],
            "web": {"listen_address": f"127.0.0.1:{free_port()}"},
            "preflights": [{"name": "nightly", "idle": True}],
        }
        later = configuration | {"preflights": [{"name": "weekly", "idle": True}]}
        state = LastingState(time.monotonic)
        async with running(configuration, state, clock=FAST_CLOCK, later=later) as (daemon, url):

            async def shown() -> list[str]:
                lines = (await fetch(f"{url}/metrics")).splitlines()
                return [line for line in lines if line.startswith("loadfleet_preflight_")]

            async def replaced() -> bool:
                return [each.replace("nightly", "weekly") for each in before] == await shown()

            before = await shown()
            await daemon.reload()
            await until(replaced)

    assert [
        'loadfleet_preflight_due{preflight="nightly"} 0.0',
        'loadfleet_preflight_agents{preflight="nightly",state="fit"} 0.0',
        'loadfleet_preflight_agents{preflight="nightly",state="unfit"} 0.0',
        'loadfleet_preflight_users{preflight="nightly"} 0.0',
    ] == before
