"""Pairs whose store fails, and a leader that loses its vendor: no target is down or delayed by it.

`--plays 2` plays all troubles, as `.ci/slow` does; CI plays the worst of them. All are played at
the same time, since most of the time is the minute after which a store is tried again.
"""

from __future__ import annotations

import asyncio
import math
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.front import instead
from exporter.conformance.vendor import drop
from exporter.simulator.server import serve
from exporter.state.base import RETRY_SECONDS
from exporter.state.leadership import ALONE_SECONDS, HAND_OVER_SECONDS
from tests.faults.receiver import Receiver
from tests.support.pair import MEASURED, TARGETS, Installation, Member, gaps, grown_old, last
from tests.support.redis import RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


#: The longest time between two calls of the polling process, which a silent store may hold up.
HELD_UP_SECONDS = 10.0

#: The number of calls of some polls.
SOME_CALLS = 30

#: The longest recovery: the store is tried each minute, on a busy machine.
RECOVERED_SECONDS = RETRY_SECONDS + 20.0

#: The alerts of the unchanging fleet; any other one would be false.
FACTS = {f"LoadFleet{each}" for each in ("SuiteFailed", "AgentOutdated", "RecorderOutdated")}

KEPT = ("--appendonly", "yes", "--appendfsync", "always")

Act = Callable[[RedisServer], object]


async def noticed(leader: Member, standby: Member) -> bool:
    """Return whether both do without the store."""
    up = [await each.values("loadfleet_exporter_state_up") for each in (leader, standby)]
    return [{0.0}, {0.0}] == up


async def both_poll(leader: Member, standby: Member) -> bool:
    """Return whether both poll, each without the other."""
    return all([await leader.leads(), await standby.leads()])


async def at_once(leader: Member, standby: Member) -> bool:
    """Return at once that there is nothing to wait for."""
    del leader, standby
    return True


class Trouble(NamedTuple):
    """Trouble with the store.

    Attributes:
        strike: Begins the trouble.
        mend: Ends the trouble.
        program: The server's program.
        options: The server's options.
        until: The condition at which the trouble ends.
    """

    strike: Act
    mend: Act
    program: str = "redis-server"
    options: tuple[str, ...] = ()
    until: Callable[[Member, Member], Awaitable[bool]] = noticed


def set_to(name: str, value: str) -> Act:
    """Change a setting for all connections, new ones included."""

    def act(server: RedisServer) -> None:
        server.command("CONFIG", "SET", name, value)
        hang_up(server)

    return act


def hang_up(server: RedisServer, **how: tuple[str, str]) -> None:
    """End all connections."""
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", **how)


def require_password(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "another")
    hang_up(server, login=("default", "another"))


def forget_password(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "", login=("default", "another"))


def start(server: RedisServer) -> None:
    server.start()


def kill(server: RedisServer) -> None:
    server.stop(kill=True)


def restart(server: RedisServer) -> None:
    kill(server)
    start(server)


def flush(server: RedisServer) -> None:
    server.command("FLUSHALL")


def demote(server: RedisServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", "1")


def promote(server: RedisServer) -> None:
    server.command("REPLICAOF", "NO", "ONE")


def nothing(server: RedisServer) -> None:
    del server


WORST = {
    "killed, data lost": Trouble(kill, start, "valkey-server"),
    "does not answer": Trouble(
        lambda server: server.send(signal.SIGSTOP), lambda server: server.send(signal.SIGCONT)
    ),
    "full": Trouble(set_to("maxmemory", "1"), set_to("maxmemory", "0")),
}
OTHERS = {
    "killed, data kept": Trouble(kill, start, options=KEPT),
    "away for long": Trouble(kill, start, "valkey-server", until=both_poll),
    "restarted, data lost": Trouble(restart, nothing, until=at_once),
    "restarted, data kept": Trouble(restart, nothing, "valkey-server", KEPT, until=at_once),
    "flushed": Trouble(flush, nothing, until=at_once),
    "evicts": Trouble(
        set_to("maxmemory-policy", "allkeys-lru"), set_to("maxmemory-policy", "noeviction")
    ),
    "wrong password": Trouble(require_password, forget_password, "valkey-server"),
    "a replica": Trouble(demote, promote),
}


@asynccontextmanager
async def stored(trouble: Trouble, folder: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(trouble.program, folder, *trouble.options)
    try:
        await grown_old(server)
        yield server
    finally:
        server.stop()


async def endured(folder: Path, name: str, trouble: Trouble) -> None:
    """Play a trouble of a pair's store, and check the pages and alerts meanwhile."""
    receiver = Receiver()
    async with (
        stored(trouble, folder / "server") as server,
        serve(receiver.app()) as alertmanager,
        Installation(
            folder / "exporters",
            {"url": server.url()},
            alerting={
                "alertmanagers": [alertmanager],
                "thresholds": {"for_scale": 0.02},
                "evaluation_interval": "500ms",
                "resend_interval": "2s",
            },
        ) as it,
    ):
        # The default, so that readings outlast the time in which the processes wait.
        it.configuration["defaults"]["stale_after"] = "3m"
        leader, standby = await it.pair()

        struck = SYSTEM_CLOCK.monotonic()
        await asyncio.to_thread(trouble.strike, server)
        patience = ALONE_SECONDS + RECOVERED_SECONDS
        await until(lambda: trouble.until(leader, standby), timeout_seconds=patience)
        await asyncio.to_thread(trouble.mend, server)
        mended = SYSTEM_CLOCK.monotonic()
        await until(lambda: in_order(leader, standby), timeout_seconds=2 * RECOVERED_SECONDS)
        recovered = SYSTEM_CLOCK.monotonic() - mended
        MEASURED.append(f"store {name}: in order after {recovered:.1f} s")

        # More polls, because some stores recover at once.
        await until(lambda: len(leader.since(mended)) + len(standby.since(mended)) >= SOME_CALLS)
        calls = sorted(at for each in (leader, standby) for at, _ in each.sent if at >= struck)
        assert max(later - earlier for earlier, later in pairwise([struck, *calls])) <= (
            HELD_UP_SECONDS
        ), name
        for each in (leader, standby):
            assert [] == gaps(each, struck), (name, each)
            assert [] == accused(each, struck), (name, each)
            assert "Traceback" not in each.process.errors, (name, each)
        told = Counter(page[:4] for page in receiver.pages if page.source)
        assert {"firing"} == {state for state, *_ in told}, name
        assert FACTS == {alert for _, alert, *_ in told}, name
        assert {1} == set(told.values()), name
        assert recovered <= RECOVERED_SECONDS, name


async def in_order(leader: Member, standby: Member) -> bool:
    """Return whether one of two polls, and both use the store."""
    members = (leader, standby)
    ups = [await each.values(r'loadfleet_exporter_state_up\{backend="redis"') for each in members]
    return [{1.0}, {1.0}] == ups and 1 == sum([await each.leads() for each in members])


def accused(member: Member, since: float) -> list[str]:
    """Return the targets that went down."""
    before = last(member, since).series.items()
    targets = re.compile(r"loadfleet_(?!exporter_|source_)\w+_up\{")
    up = {series for series, value in before if targets.match(series) and value == 1.0}
    assert up
    later = (scrape for scrape in member.scrapes if scrape.began >= since)
    return sorted({each for scrape in later for each in up if 0.0 == scrape.series.get(each)})


async def cut_off(folder: Path) -> None:
    """Cut a leader off from the vendor, which its standby still reaches."""
    async with (
        stored(WORST["full"], folder / "server") as server,
        Installation(folder / "exporters", {"url": server.url()}) as it,
    ):
        # Long enough for readings to last until the other process polls.
        it.configuration["defaults"]["stale_after"] = "5m"
        leader, standby = await it.pair()
        struck = SYSTEM_CLOCK.monotonic()
        leader.treat(instead(drop))

        await standby.first_since(struck, timeout_seconds=HAND_OVER_SECONDS + 30.0)
        seconds = SYSTEM_CLOCK.monotonic() - struck
        MEASURED.append(f"leader without its vendor: handed over after {seconds:.1f} s")
        await until(standby.leads)
        await until(leader.stands_by)
        assert seconds <= HAND_OVER_SECONDS + 10.0
        assert [] == gaps(standby, struck, leader)
        await until(lambda: _source_up(standby))
        await until(lambda: _source_up(leader))


async def _source_up(member: Member) -> bool:
    return {1.0} == await member.values("loadfleet_source_up")


@pytest.mark.timeout(600)
async def test_troubles(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """During each trouble, polls must go on without a page, and one leader be left in the end."""
    troubles = WORST | (OTHERS if request.config.getoption("--plays") > 1 else {})

    async with asyncio.TaskGroup() as group:
        for number, (name, trouble) in enumerate(troubles.items()):
            group.create_task(endured(tmp_path / str(number), name, trouble))
        group.create_task(cut_off(tmp_path / "cut-off"))


async def test_documents_of_another_version(tmp_path: Path) -> None:
    """A lease that is not understood is respected to its end, and a snapshot is passed over."""
    async with (
        stored(WORST["full"], tmp_path / "server") as server,
        Installation(tmp_path / "exporters", {"url": server.url()}) as it,
    ):
        leader, standby = await it.pair()
        state = server.state()
        await leader.process.stop(signal.SIGKILL)
        (key,) = [key for key in await state.documents("lead/") if key.count("/") == 1]
        struck = SYSTEM_CLOCK.monotonic()
        ends = (state.now() or 0.0) + 5.0
        foreign = Struct(">Qd").pack(math.ceil(ends * 1000.0) + 10**6, ends) + b"\xc1another"
        await state.put(key, foreign)
        for snapshot in await state.documents("snapshot/"):
            await state.put(snapshot, b"\xc1another")
        third = await it.start("third")

        await until(lambda: standby.since(struck) or third.since(struck))

        assert SYSTEM_CLOCK.monotonic() >= struck + 4.0
        for each in (standby, third):
            await until(lambda each=each: each.samples(TARGETS))  # type: ignore[misc]
            assert "Traceback" not in each.process.errors
        await state.aclose()
