"""A daemon killed at the worst moments, or without a disk, loses and repeats no page."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exporter.conformance.stalls import replayed, undisturbed
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import AGENT_VERSION
from exporter.simulator.server import Simulation, serve
from exporter.simulator.vendor import Command
from tests.faults.receiver import Receiver
from tests.support.processes import EXPORTER, daemon, fetch
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


FLEET = SimulatorOptions(still=True, agents=8, controllers=0, clusters=0, recorders=0, suites=0)
VICTIM = "45"
ALERT = "LoadFleetAgentUnreachable"
PING = "pingMeasuringAgent"

#: Short, as the portal is in this process: during a stall, its agents do not answer.
TIMEOUT_SECONDS = 0.9

#: The scale that makes five minutes four seconds, which is longer than a busy machine stalls.
FOUR_SECONDS = 0.0134

_FILE_SIZE = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""
#: The daemon where no file can grow, standard error included; and where the log can grow, but the
#: state cannot be made.
ON_A_FULL_DISK = (sys.executable, "-c", _FILE_SIZE, "0", *EXPORTER)
BESIDE_A_FULL_DISK = (sys.executable, "-c", _FILE_SIZE, "20000", *EXPORTER)

#: Drops root's access to all files: PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
_NOT_ALMIGHTY = """import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
AS_ANYBODY = (sys.executable, "-c", _NOT_ALMIGHTY, *EXPORTER)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "state.db")


def _link(folder: Path) -> None:
    (folder / "state.db").symlink_to(folder.parent / "elsewhere.db")


def _no_room_for_files(folder: Path) -> None:
    folder.chmod(0o500)


def _as_it_is(folder: Path) -> None:
    del folder


#: Damage to the folder, the daemon's command, and the log's text with the remedy.
UNUSABLE = (
    (_fifo, EXPORTER, "{}/state.db is a named pipe and not a file; remove it, or change"),
    (_link, EXPORTER, "{}/state.db is a symbolic link and not a file; remove it, or change"),
    (_no_room_for_files, AS_ANYBODY, "{} cannot be used: Permission denied; let the exporter's"),
    (_as_it_is, BESIDE_A_FULL_DISK, "{}/state.db: the disk is full, or cannot be read or written"),
)


class World:
    """A portal whose agents are well, and an Alertmanager.

    Attributes:
        configuration: The configuration of a daemon between both.
    """

    def __init__(
        self, simulation: Simulation, receiver: Receiver, url: str, state: Path, for_scale: float
    ) -> None:
        self.simulation = simulation
        self.portal = simulation.realload
        self.receiver = receiver
        source = simulation.configuration()["sources"][0]
        self.configuration: dict[str, Any] = {
            "defaults": {
                "interval": "1s",
                "timeout": f"{TIMEOUT_SECONDS * 1000:.0f}ms",
                "stale_after": "30s",
            },
            "sources": [{**source, "name": "prod"}],
            "alerting": {
                "alertmanagers": [url],
                "thresholds": {"for_scale": for_scale},
                "evaluation_interval": "200ms",
                "resend_interval": "5s",
            },
            "state": {"path": str(state)},
        }

    def victim(self, *, up: bool) -> None:
        """Take the victim down, or bring it back."""
        self.simulation.fleet.change("agents", VICTIM, up=up)

    def states(self) -> list[str]:
        """Return the states of the notifications about the victim."""
        return self.receiver.states(ALERT, VICTIM)

    async def asked(self, pings: int) -> None:
        """Wait for so many pings more."""
        wanted = self.portal.calls[PING] + pings
        await until(lambda: self.portal.calls[PING] >= wanted)

    async def evaluated(self, url: str) -> None:
        """Wait until the victim's alert was evaluated after newer polls, and sent."""
        await self.asked(3 * FLEET.agents)
        await until(lambda: _knows(url, VICTIM))
        await until(self.states)


async def _knows(url: str, agent_id: str) -> bool:
    alerts = json.loads(await fetch(f"{url}/api/v1/alerts"))["data"]["alerts"]
    return any(
        alert["labels"].get("agent_id") == agent_id and alert["state"] == "firing"
        for alert in alerts
    )


@asynccontextmanager
async def world(state: Path, *, for_scale: float = FOUR_SECONDS) -> AsyncIterator[World]:
    receiver = Receiver()
    async with serve(receiver.app()) as url, Simulation(FLEET) as simulation:
        for agent in simulation.fleet.agents.values():
            agent.up, agent.active, agent.outdated, agent.skew_seconds = True, True, False, 0.0
            agent.version, agent.token = AGENT_VERSION, "token"
        yield World(simulation, receiver, url, state, for_scale)


@replayed(patience_seconds=TIMEOUT_SECONDS / 2)
async def test_killed_in_mid_poll(tmp_path: Path) -> None:
    """A page that was sent must be neither repeated nor ended before the victim is back."""
    async with world(tmp_path / "state") as w:
        w.victim(up=False)
        async with daemon(tmp_path, w.configuration) as (_, process):
            await until(lambda: w.states() == ["firing"])
            w.portal.obey(Command(delay=0.2))
            await until(lambda: w.portal.in_flight)
            assert -signal.SIGKILL == await process.stop(signal.SIGKILL)
        async with daemon(tmp_path, w.configuration) as (url, process):
            # Alerts are judged several times before the first readings come.
            await w.asked(FLEET.agents)
            w.portal.obey(Command(delay=0.0))
            await w.evaluated(url)
            assert ["firing"] == w.states()

            w.victim(up=True)
            await until(lambda: len(w.states()) > 1)

        assert ["firing", "resolved"] == w.states()
        assert 1 == len({page.target for page in w.receiver.pages})


@replayed(patience_seconds=TIMEOUT_SECONDS / 2)
async def test_killed_in_mid_send(tmp_path: Path) -> None:
    """An alert whose delivery was cut off by a kill must be neither lost nor repeated."""
    async with world(tmp_path / "state") as w:
        w.receiver.answering.clear()
        w.victim(up=False)
        async with daemon(tmp_path, w.configuration) as (_, process):
            await until(lambda: w.receiver.calls)
            assert -signal.SIGKILL == await process.stop(signal.SIGKILL)
        w.receiver.answering.set()
        async with daemon(tmp_path, w.configuration) as (url, process):
            await w.evaluated(url)
            assert ["firing"] == w.states()

            w.receiver.answering.clear()
            w.victim(up=True)
            calls = w.receiver.calls
            await until(lambda: w.receiver.calls > calls and len(w.states()) > 1)
            assert -signal.SIGKILL == await process.stop(signal.SIGKILL)
        w.receiver.answering.set()
        calls = w.receiver.calls
        async with daemon(tmp_path, w.configuration):
            # The end is sent again, since its delivery is unknown.
            await until(lambda: w.receiver.calls > calls)

        assert ["firing", "resolved"] == w.states()


@replayed(patience_seconds=TIMEOUT_SECONDS / 2)
async def test_killed_again_and_again(tmp_path: Path) -> None:
    """One outage must cause one page, wherever the daemon is killed, also as it saves its state."""
    chance = Random(7)  # noqa: S311 - repeatable, not secret
    # A scale so small that alerts fire in the seconds that the daemon lives.
    async with world(tmp_path / "state", for_scale=0.006) as w:
        w.victim(up=False)
        for _ in range(3):
            async with daemon(tmp_path, w.configuration) as (_, process):
                await w.asked(chance.randint(1, 4 * FLEET.agents))
                await process.stop(signal.SIGKILL)
            assert set(w.states()) <= {"firing"}
        async with daemon(tmp_path, w.configuration) as (url, process):
            await w.evaluated(url)
            assert ["firing"] == w.states()
            await process.stop(signal.SIGKILL)
        assert "alerts_forgotten" not in process.errors

        # Only a daemon that remembers the page can end it.
        w.victim(up=True)
        async with daemon(tmp_path, w.configuration):
            await until(lambda: len(w.states()) > 1)

        assert ["firing", "resolved"] == w.states()


@replayed(patience_seconds=TIMEOUT_SECONDS / 2)
async def test_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """On a full disk, where neither state nor log can be written, the daemon must go on."""
    async with world(tmp_path / "state") as w:
        w.victim(up=False)
        async with daemon(tmp_path, w.configuration) as (url, process):
            await w.evaluated(url)
            assert 0 == await process.stop()
        async with daemon(tmp_path, w.configuration, command=ON_A_FULL_DISK) as (url, process):
            await w.evaluated(url)
            assert ["firing"] == w.states()
            w.victim(up=True)
            await until(lambda: len(w.states()) > 1)
            page = await fetch(f"{url}/metrics")
            assert 0 == await process.stop()

        assert 'loadfleet_source_up{provider="realload",source="prod"} 1.0' in page
        assert ["firing", "resolved"] == w.states()
        assert "" == process.errors


@replayed(patience_seconds=TIMEOUT_SECONDS / 2)
async def test_on_a_file_system_that_takes_nothing(tmp_path: Path) -> None:
    """A state that cannot be made must cost no page, for root and for others."""
    async with world(Path("/sys/loadfleet")) as w:
        w.victim(up=False)
        async with daemon(tmp_path, w.configuration) as (url, process):
            await w.evaluated(url)
            w.victim(up=True)
            await until(lambda: len(w.states()) > 1)
            assert 0 == await process.stop()

        assert ["firing", "resolved"] == w.states()
        assert 1 == process.errors.count("event=state_in_memory")
        assert "/sys/loadfleet cannot be used" in process.errors
        assert "Traceback" not in process.errors


@pytest.mark.parametrize(("spoil", "command", "said"), UNUSABLE)
async def test_a_state_that_cannot_be_used(
    tmp_path: Path, spoil: Callable[[Path], None], command: tuple[str, ...], said: str
) -> None:
    """With an unusable state, the daemon must page, log the cause once, and stop on request."""
    await undisturbed(
        partial(_without_state, spoil=spoil, command=command, said=said),
        tmp_path,
        patience_seconds=TIMEOUT_SECONDS / 2,
    )


async def _without_state(
    tmp_path: Path, *, spoil: Callable[[Path], None], command: tuple[str, ...], said: str
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    spoil(folder)
    before = sorted(folder.iterdir())
    async with world(folder, for_scale=0.006) as w:
        w.victim(up=False)
        async with daemon(tmp_path, w.configuration, command=command) as (url, process):
            await w.evaluated(url)
            page = await fetch(f"{url}/metrics")
            assert 0 == await process.stop()

        assert ["firing"] == w.states()
    assert 'loadfleet_exporter_state_up{backend="sqlite"} 0.0' in page
    (line,) = (line for line in process.errors.splitlines() if "event=state_in_memory" in line)
    assert said.format(folder) in line
    assert "Traceback" not in process.errors
    assert set(before) <= set(folder.iterdir())
    assert not (tmp_path / "elsewhere.db").exists()
