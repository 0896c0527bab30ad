"""The lock-out guarantee for the processes of a host: at most four refused calls in any minute."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from exporter.lockout.members import BEAT_SECONDS
from exporter.simulator.vendor import Command
from tests.faults.crowd import AGENTS, ALLOWED, BAD, GOOD, played, series
from tests.support.wait import until


if TYPE_CHECKING:
    from tests.faults.crowd import Crowd


UP = "loadfleet_agent_up prod 1.0"
REFUSED = "loadfleet_source_auth_failed prod 1.0"

#: Two heartbeats, after which all processes have seen each other.
MET_SECONDS = 2 * BEAT_SECONDS

#: The time of a poll or two, in which each process notices that the store is away.
NOTICED_SECONDS = 4.0

#: The time of some polls, in each of which a process that did not wait would call.
WATCHED_SECONDS = 6.0

#: The token is wrong from the start, or revoked later.
WRONG = pytest.mark.parametrize("revoked", [False, True], ids=["wrong", "revoked"])


async def begin(crowd: Crowd, *, daemons: int, shards: int = 0) -> None:
    """Start everything at once."""
    for number in range(daemons):
        await crowd.start(f"daemon-{number}")
    for number in range(shards):
        await crowd.start(f"shard-{number}", f"--shard={number}", f"--total-shards={shards}")
    await crowd.healthy()


async def asked(crowd: Crowd, *, statuses: int = 5) -> None:
    """Run `status` in two processes, again and again."""

    async def explain() -> None:
        for _ in range(2):
            await crowd.command("explain", "prod", "agent", "41")

    async with asyncio.TaskGroup() as group:
        group.create_task(explain())
        for _ in range(statuses):
            await crowd.command("status")


async def in_mid_call(crowd: Crowd) -> None:
    """Wait for a call to be under way, for a second at most, and for a part of its way."""
    with suppress(TimeoutError):
        await until(lambda: crowd.distance.under_way, timeout_seconds=1)
    await crowd.moment(0, 0.2)


async def revoke(crowd: Crowd) -> None:
    """Revoke the portal's token while calls with the old one are on their way."""
    await crowd.polled()
    await until(lambda: crowd.distance.under_way >= 2)
    crowd.revoke()


def holds(crowd: Crowd) -> bool:
    """Return whether the portal met a bad token, and not too often."""
    return 1 <= crowd.worst <= ALLOWED


@played()
async def test_a_token_that_is_wrong_from_the_start(crowd: Crowd) -> None:
    """A wrong token must reach the portal in one proof at a time, with any number of processes."""
    crowd.token("prod", BAD)
    crowd.concurrency = crowd.chance.choice((1, 3, 8))

    await begin(crowd, daemons=crowd.chance.randint(2, 4), shards=3)
    await asked(crowd)
    await crowd.settled()

    assert holds(crowd), crowd.story
    assert 1 == crowd.distance.bad_at_once, crowd.story


@played()
async def test_all_daemons_tell_of_a_refused_token(crowd: Crowd) -> None:
    """A refused token must be shown by every daemon, also by those that sent no call."""
    crowd.token("prod", BAD)

    await begin(crowd, daemons=3)

    await crowd.shows(REFUSED)
    assert holds(crowd), crowd.story


@played()
async def test_a_token_that_is_revoked_in_mid_poll(crowd: Crowd) -> None:
    """A revocation must cost no more refused calls than one process may have under way."""
    crowd.portal.obey(Command(delay=crowd.chance.choice((0.0, 0.4))))
    await begin(crowd, daemons=crowd.chance.randint(2, 4), shards=3)

    await revoke(crowd)
    await asked(crowd)
    await crowd.settled()

    assert holds(crowd), crowd.story


@WRONG
@played()
async def test_processes_that_are_killed(crowd: Crowd, *, revoked: bool) -> None:
    """Calls that a killed process had sent must count as possibly refused."""
    crowd.token("prod", GOOD if revoked else BAD)
    await begin(crowd, daemons=3)

    for number in range(6):
        if revoked and number == 3:
            await revoke(crowd)
        await in_mid_call(crowd)
        await crowd.restart(crowd.chance.choice(list(crowd.daemons)))
    await crowd.healthy()
    await asked(crowd, statuses=2)
    await crowd.settled()

    assert holds(crowd), crowd.story


@WRONG
@played()
async def test_a_crash_loop(crowd: Crowd, *, revoked: bool) -> None:
    """A process that restarts every second must not start its count of refusals again."""
    crowd.token("prod", GOOD if revoked else BAD)

    for number in range(10):
        await crowd.start("daemon")
        if revoked and number <= 4:
            # Each process must have an answered proof: four lost ones hold calls back a minute.
            await crowd.healthy()
            await (revoke(crowd) if number == 4 else crowd.polled())
            await crowd.moment(0, 0.5)
        elif crowd.chance.random() < 0.7 or number == 0:
            await crowd.healthy()
            await in_mid_call(crowd)
        else:
            await crowd.moment(0.2, 2)
        await crowd.kill("daemon")
    await crowd.settled()

    assert holds(crowd), crowd.story


@played()
async def test_the_dead_hold_up_nobody(crowd: Crowd) -> None:
    """A killed process must not hold up the others: a later accepted call clears its calls."""
    await begin(crowd, daemons=3)

    for _ in range(6):
        await in_mid_call(crowd)
        await crowd.restart(crowd.chance.choice(list(crowd.daemons)))
        await crowd.polled()
    await crowd.healthy()
    await crowd.shows(UP, count=AGENTS)

    assert [] == crowd.portal.refused, crowd.story


@played()
async def test_a_good_token_beside_a_bad_one(crowd: Crowd) -> None:
    """A refused token must not hold back another source of the same portal."""
    crowd.token("other", BAD)

    await begin(crowd, daemons=crowd.chance.randint(1, 3))
    await crowd.shows("loadfleet_source_auth_failed other 1.0")
    await crowd.polled()
    page = await crowd.command("status", "--format=prom")
    await crowd.polled()
    await crowd.shows(UP, count=AGENTS)
    await crowd.settled()

    assert AGENTS == series(page, UP), page
    assert holds(crowd), crowd.story


@played()
async def test_a_token_that_is_corrected(crowd: Crowd) -> None:
    """A refusal must not hold back the token that replaces the refused one."""
    crowd.token("prod", BAD)
    await begin(crowd, daemons=crowd.chance.randint(1, 3))
    await crowd.shows(REFUSED)

    crowd.token("prod", GOOD)
    crowd.note("corrected")
    await crowd.shows(UP, count=AGENTS)
    page = await crowd.command("status", "--format=prom")

    assert AGENTS == series(page, UP), page
    assert holds(crowd), crowd.story


@WRONG
@played(remote=True)
async def test_shards_of_several_hosts(crowd: Crowd, *, revoked: bool) -> None:
    """Shards that share a Redis must stay within the limit together, on separate hosts."""
    crowd.token("prod", GOOD if revoked else BAD)
    await begin(crowd, daemons=0, shards=3)

    if revoked:
        await revoke(crowd)
    await asked(crowd, statuses=2)
    await crowd.settled()

    assert holds(crowd), crowd.story


@played(remote=True)
async def test_a_store_that_is_gone_has_them_wait(crowd: Crowd) -> None:
    """When the store loses its data or is down, no process may call for a minute."""
    assert crowd.server is not None
    flushed = crowd.chance.choice((False, True))
    await begin(crowd, daemons=0, shards=3)
    await crowd.moment(MET_SECONDS, MET_SECONDS + 2)

    if flushed:
        crowd.server.command("FLUSHALL")
    else:
        crowd.server.stop(kill=True)
    crowd.note("the store is gone")
    await crowd.moment(NOTICED_SECONDS, NOTICED_SECONDS)
    await crowd.settled()
    crowd.revoke()
    await crowd.moment(WATCHED_SECONDS, WATCHED_SECONDS)

    assert [] == crowd.portal.refused, crowd.story


@WRONG
@played(shared=False)
async def test_without_a_shared_state_it_does_not_hold(crowd: Crowd, *, revoked: bool) -> None:
    """Without a shared state, there must be too many refusals, so that the tests can fail."""
    crowd.token("prod", GOOD if revoked else BAD)
    await begin(crowd, daemons=3)
    if revoked:
        await revoke(crowd)

    await crowd.shows(REFUSED)
    for _ in range(2):
        await crowd.command("status")
    await crowd.settled()

    assert crowd.worst > ALLOWED, crowd.story
