"""Daemons that are killed and started again: their state is restored at once, and not shared.

The vendors are simulated in the test's own process, so that they can fall silent while a daemon
is down.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import zlib
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.memory import AlertMemory
from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.candidate import SMALL
from exporter.conformance.front import Front, changed_json
from exporter.sharding import Shard
from exporter.simulator.eggplant.app import CLIENT
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation, serve
from exporter.simulator.vendor import Command, Fault
from tests.faults.receiver import Receiver
from tests.state.stores import kept, sqlite
from tests.support.candidates import CANDIDATES
from tests.support.markup import parse
from tests.support.pair import BACKENDS
from tests.support.processes import daemon, fetch
from tests.support.redis import RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from tests.support.processes import Process


FLEET = SimulatorOptions(
    still=True,
    agents=3,
    controllers=1,
    clusters=1,
    cluster_members=2,
    recorders=1,
    suites=2,
    blazemeter_agents=2,
    tests=2,
    eggplant_agents=3,
)
GONE = "lab-win-01"
ALERT = "LoadFleetAgentUnreachable"
CANARY = "canary-7f3a"
STALE_SECONDS = 15

#: The scale of the alerts' times: short, but long enough for a poll in between.
SOON = 0.006

#: An own metric about polls, which is restored with the targets.
LAST_SUCCESS = "loadfleet_exporter_poll_last_success_timestamp_seconds"


class World:
    """The simulated vendors and an Alertmanager.

    Attributes:
        configuration: The configuration of a daemon for all of them.
    """

    def __init__(self, simulation: Simulation, receiver: Receiver, url: str, state: Path) -> None:
        self.simulation = simulation
        self.receiver = receiver
        sources = simulation.configuration()["sources"]
        # Expected agents would be missed even without a memory.
        del sources[2]["expected_agents"]
        self.configuration: dict[str, Any] = {
            "defaults": {
                "interval": "1s",
                "timeout": "900ms",
                "stale_after": f"{STALE_SECONDS}s",
                "retries": 0,
            },
            "sources": sources,
            "alerting": {
                "alertmanagers": [url],
                "thresholds": {"for_scale": SOON},
                "evaluation_interval": "200ms",
                "resend_interval": "1s",
            },
            "state": {"path": str(state)},
        }

    def silence(self, fault: Fault = Fault.HANG) -> None:
        """Let no vendor answer from now on, or with `Fault.NONE` all of them."""
        for portal in (self.simulation.realload, self.simulation.blazemeter, self.lab):
            portal.obey(Command(fault=fault))

    @property
    def lab(self) -> Any:
        return self.simulation.eggplant

    async def polled(self, polls: int = 3) -> None:
        """Wait for further polls of the Eggplant server."""
        wanted = self.lab.calls["sut_status"] + polls
        await until(lambda: self.lab.calls["sut_status"] >= wanted)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    receiver = Receiver()
    async with serve(receiver.app()) as url, Simulation(FLEET) as simulation:
        yield World(simulation, receiver, url, folder / "state")


async def samples(url: str, pattern: str) -> dict[str, float]:
    """Return the samples of a page that begin with an expression, by name and labels."""
    page = await fetch(f"{url}/metrics")
    lines = (line.rpartition(" ") for line in page.splitlines() if re.match(pattern, line))
    return {series: float(value) for series, _, value in lines}


async def of_targets(url: str) -> dict[str, float]:
    """Return the samples about targets."""
    return await samples(url, r"loadfleet_(?!exporter_|source_up|build)")


async def of_agent(url: str, agent_id: str) -> dict[str, float]:
    """Return an agent's state and the times of it."""
    what = r"loadfleet_agent_(up|last_up_timestamp_seconds|changed_timestamp_seconds)"
    return await samples(url, rf'{what}{{[^}}]*agent_id="{agent_id}"')


async def all_polled(url: str) -> bool:
    rows = json.loads(await fetch(f"{url}/api/v1/sources"))["data"]["sources"]
    return all(
        task["last_success_timestamp_seconds"] is not None and not task["restored"]
        for row in rows
        for task in row["tasks"]
    )


async def test_who_is_gone_stays_gone(tmp_path: Path) -> None:
    """An agent that vanished is down since when it was, and its page neither ends nor repeats."""
    async with world(tmp_path) as w:
        del w.configuration["sources"][:2]
        async with daemon(tmp_path, w.configuration) as (url, process):
            await until(lambda: of_agent(url, GONE))
            w.simulation.lab.change("agents", GONE, up=False)
            await until(lambda: ["firing"] == w.receiver.states(ALERT, GONE))
            await w.polled()
            before = await of_agent(url, GONE)
            await process.stop(signal.SIGKILL)
        w.silence()
        async with daemon(tmp_path, w.configuration) as (url, _):
            restored = await of_agent(url, GONE)
            calls = w.receiver.calls
            await until(lambda: w.receiver.calls > calls + 1)
            w.silence(Fault.NONE)
            await until(lambda: all_polled(url))
            await w.polled()
            calls = w.receiver.calls
            await until(lambda: w.receiver.calls > calls + 1)
            after = await of_agent(url, GONE)

            assert ["firing"] == w.receiver.states(ALERT, GONE)
            w.simulation.lab.change("agents", GONE, up=True)
            await until(lambda: ["firing", "resolved"] == w.receiver.states(ALERT, GONE))

    assert 3 == len(before)
    assert 0.0 == next(value for series, value in before.items() if "agent_up" in series)
    assert before == restored == after


async def test_what_was_known_is_there_at_once_and_expires(tmp_path: Path) -> None:
    """Beside vendors that are silent a restart has no gap, is marked, and makes nothing younger."""
    async with world(tmp_path) as w:
        # Each task is polled once, so that nothing changes between the scrape and the kill.
        w.configuration["defaults"] |= {"interval": f"{STALE_SECONDS}s", "timeout": "9s"}
        async with daemon(tmp_path, w.configuration) as (url, process):
            await until(lambda: all_polled(url))
            targets, polls = await of_targets(url), await samples(url, LAST_SUCCESS)
            await until(lambda: _written(tmp_path / "state", len(polls)))
            await process.stop(signal.SIGKILL)
        w.silence()
        async with daemon(tmp_path, w.configuration) as (url, _):
            restored, restored_polls = await of_targets(url), await samples(url, LAST_SUCCESS)
            ready = await fetch(f"{url}/-/ready")
            board = parse(await fetch(f"{url}/"))
            rows = json.loads(await fetch(f"{url}/api/v1/targets"))["data"]["targets"]
            sources = json.loads(await fetch(f"{url}/api/v1/sources"))["data"]["sources"]
            await until(lambda: _nothing(url), timeout_seconds=4 * STALE_SECONDS)

    assert targets == restored
    assert polls == restored_polls
    assert "ready" == ready.strip()
    read = [row for row in rows if row["read_timestamp_seconds"] is not None]
    assert len(read) == len([cell for cell in board.cells("Read") if "restored" in cell.text])
    assert {True} == {row["restored"] for row in rows}
    assert {True} == {task["restored"] for row in sources for task in row["tasks"]}


async def _written(state: Path, tasks: int) -> bool:
    return tasks == len([key for key in await kept(state) if key.startswith("snapshot/")])


async def _nothing(url: str) -> bool:
    return not await samples(url, r"loadfleet_(agent|controller|recorder)_up")


async def test_others_do_not_see_it(tmp_path: Path) -> None:
    """Another filter, another name or another share is another fleet."""
    async with world(tmp_path) as w:
        (portal, *_) = w.configuration["sources"]
        # Long enough for a busy machine to start all of them.
        portal |= {"stale_after": "10m"}
        own = w.configuration | {"sources": [portal]}
        async with daemon(tmp_path, own) as (url, process):
            await until(lambda: all_polled(url))
            await process.stop(signal.SIGKILL)
        w.silence()

        found = []
        for source, flags in (
            (portal | {"exclude": {"agents": "nobody"}}, ()),
            (portal | {"name": "other"}, ()),
            (portal, ("--shard=0", "--total-shards=2")),
            (portal, ()),
        ):
            async with daemon(tmp_path, own | {"sources": [source]}, *flags) as (url, process):
                found.append(bool(await samples(url, "loadfleet_agent_up")))
                assert "Traceback" not in process.errors

    assert [False, False, False, True] == found


async def test_two_at_once(tmp_path: Path) -> None:
    """Two daemons with one state must not disturb each other."""
    folders = [tmp_path / name for name in ("one", "other")]
    async with world(tmp_path) as w, AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(daemon(_made(folder), w.configuration))
            for folder in folders
        ]
        for url, _ in both:
            await until(lambda url=url: all_polled(url))  # type: ignore[misc]
        await w.polled(10)

        for url, process in both:
            assert await all_polled(url)
            assert {1.0} == set((await samples(url, "loadfleet_exporter_state_up")).values())
            assert 0 == await process.stop()
            assert [] == complaints(process)


def complaints(process: Process) -> list[str]:
    """Return a daemon's warnings, without those about its fleet."""
    return [
        line
        for line in process.errors.splitlines()
        if "Traceback" in line or ("level=warning" in line and "logger=exporter.alerts" not in line)
    ]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("backend", BACKENDS[:2])
async def test_no_secret_is_in_its_files(tmp_path: Path, backend: str) -> None:
    """The state's files must contain no secret, packed or not."""
    state = tmp_path / "state"
    receiver = Receiver()
    sources = []
    server = None
    async with AsyncExitStack() as stack:
        if backend != "sqlite":
            server = RedisServer(backend, state, "--appendonly", "yes", "--rdbcompression", "no")
            stack.callback(server.stop)
        alertmanager = await stack.enter_async_context(serve(receiver.app()))
        for candidate in CANDIDATES:
            app = candidate.vendor(SMALL, SYSTEM_CLOCK)
            portal = app.state.portal
            if not candidate.fixed:
                before, colon, _ = (portal.token or "").rpartition(":")
                portal.obey(Command(token=f"{before}{colon}{CANARY}"))
            front = await stack.enter_async_context(Front(app))
            front.treatment = changed_json(_quoting(candidate.secret_fields))
            file = tmp_path / f"{candidate.name}.secret"
            candidate.written(portal, file)
            sources.append(candidate.connected(front.url, file) | {"name": candidate.name})
        configuration = {
            "defaults": {"interval": "1s", "timeout": "900ms"},
            "sources": [{**each, "tasks": {}} for each in sources],
            "alerting": {
                "alertmanagers": [
                    {"url": alertmanager, "basic_auth": {"username": "us", "password": CANARY}}
                ],
                "thresholds": {"for_scale": SOON},
            },
            "state": {"path": str(state)} if server is None else {"url": server.url()},
        }
        async with daemon(tmp_path, configuration) as (url, process):
            await until(lambda: all_polled(url))
            alive = _bytes(state)
            await process.stop(signal.SIGKILL)
        documents = {} if server is None else await saved(server)
        dead = _bytes(state)

    documents = documents or await kept(state)
    text = b"\n".join(
        (alive, dead, *map(_unpacked, documents.values()), *map(str.encode, documents))
    )
    secrets = (CANARY, CLIENT["client_secret"], "simulated-login-token")
    assert {"alerts", "lockout", "snapshot"} <= {key.partition("/")[0] for key in documents}
    assert b"lab-win-01" in text
    assert [] == [secret for secret in secrets if secret.encode() in text]


async def saved(server: RedisServer) -> dict[str, bytes]:
    """Return the documents of a server, and let it write them to another file, too."""
    state = server.state()
    found = await state.documents("")
    await state.aclose()
    server.command("SAVE")
    return {key: document.value for key, document in found.items()}


def _quoting(fields: frozenset[str]) -> Any:
    """Put the canary into every field of a reply that can hold a secret."""

    def planted(value: Any) -> Any:
        match value:
            case dict():
                return {
                    key: CANARY if key in fields else planted(part) for key, part in value.items()
                }
            case list():
                return [planted(part) for part in value]
        return value

    return lambda value: json.dumps(planted(value)).encode()


def _bytes(folder: Path) -> bytes:
    """Return the bytes of a folder's files, and those of compressed parts, unpacked."""
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"\n".join((*found, *(_unpacked(each[at:]) for each in found for at in _heads(each))))


def _heads(content: bytes) -> list[int]:
    return [
        match.start() for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", content)
    ]


def _unpacked(content: bytes) -> bytes:
    try:
        return content + zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content)
    except zlib.error:
        return content


#: An alert whose time alone is wrong.
FIRED = {
    "name": "x",
    "labels": {},
    "annotations": {},
    "value": "0.0",
    "phase": "firing",
    "since": {"unix": 0.0, "monotonic": 0.0},
    "fired": {"unix": 1e18, "monotonic": 0.0},
}


@pytest.mark.parametrize(
    "content",
    [
        b'{"version": 1, "zz": ' + b"[" * 200_000,
        b'{"zz": '
        + b"[" * 200_000
        + b"]" * 200_000
        + b', "version": 1, "written": 0.0, "alerts": []}',
        json.dumps({"version": 1, "written": 0.0, "alerts": [FIRED]}).encode(),
    ],
)
async def test_damaged_alerts_cost_no_page(tmp_path: Path, content: bytes) -> None:
    """With a damaged document of alerts, the daemon must start and page."""
    state = sqlite(tmp_path / "state")
    await state.put(AlertMemory(state, namespace="loadfleet", shard=Shard()).group, content)
    await state.aclose()
    async with world(tmp_path) as w:
        w.simulation.fleet.change("agents", "41", up=False)
        async with daemon(tmp_path, w.configuration) as (_, process):
            await until(lambda: ["firing"] == w.receiver.states(ALERT, "41"))
            assert 0 == await process.stop()

    assert 1 == process.errors.count("event=alerts_forgotten")
    assert "Traceback" not in process.errors


async def test_its_folder_is_deleted(tmp_path: Path) -> None:
    """When its folder is deleted, a running daemon must make it anew and write its state there."""
    async with world(tmp_path) as w:
        async with daemon(tmp_path, w.configuration) as (url, process):
            await until(lambda: all_polled(url))
            shutil.rmtree(tmp_path / "state")
            await until((tmp_path / "state" / "state.db").exists)
            await w.polled()
            assert {1.0} == set((await samples(url, "loadfleet_exporter_state_up")).values())
            await process.stop(signal.SIGKILL)
            assert "Traceback" not in process.errors
        w.silence()
        async with daemon(tmp_path, w.configuration) as (url, _):
            assert await samples(url, "loadfleet_agent_up")


def _renamed(garbage: Path, state: Path) -> None:
    garbage.rename(state / "state.db")


def _alone(garbage: Path, state: Path) -> None:
    for path in state.glob("state.db-*"):
        path.unlink()
    garbage.rename(state / "state.db")


def _in_place(garbage: Path, state: Path) -> None:
    (state / "state.db").write_bytes(garbage.read_bytes())


def _emptied(garbage: Path, state: Path) -> None:
    garbage.unlink()
    (state / "state.db").write_bytes(b"")


@pytest.mark.parametrize("strike", [_renamed, _alone, _in_place, _emptied])
async def test_garbage_takes_its_place(
    tmp_path: Path, strike: Callable[[Path, Path], None]
) -> None:
    """Two daemons must go on with one new, valid file when garbage takes the place of theirs."""
    state = tmp_path / "state"
    folders = [tmp_path / name for name in ("one", "other")]
    async with world(tmp_path) as w, AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(daemon(_made(folder), w.configuration))
            for folder in folders
        ]
        for url, _ in both:
            await until(lambda url=url: all_polled(url))  # type: ignore[misc]
        garbage = tmp_path / "garbage"
        garbage.write_bytes(b"garbage" * 10_000)

        strike(garbage, state)
        await w.polled(12)

        for url, process in both:
            assert {1.0} == set((await samples(url, "loadfleet_exporter_state_up")).values())
            assert await all_polled(url)
            assert 0 == await process.stop()
            assert "Traceback" not in process.errors
        said = "".join(process.errors for _, process in both)

    assert said.count("event=state_set_aside") <= 1
    assert await _prefixes(state) >= {"snapshot", "alerts", "lockout"}


async def _prefixes(state: Path) -> set[str]:
    documents: Mapping[str, bytes] = await kept(state)
    return {key.partition("/")[0] for key in documents}
