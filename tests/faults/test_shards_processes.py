"""Pairs of shards on several hosts: each target belongs to one, and limits hold in sum."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from exporter.clock import SYSTEM_CLOCK
from tests.faults.crowd import ALLOWED, NEXT, played
from tests.support.wait import until


if TYPE_CHECKING:
    from tests.faults.crowd import Crowd


SHARDS = 3

#: Fewer calls than all shards would send in a minute, and more than they need to start.
BUDGET = 200

#: The time over which calls are counted, and the interval of the polls.
STRETCH_SECONDS, INTERVAL_SECONDS = 6.0, 2.0

#: Longer than the minute that the budget holds a call back.
PATIENCE_SECONDS = 90.0

_SHOWN = re.compile(r'^loadfleet_agent_up\{.*agent_id="(\d+)"', re.MULTILINE)


def name(shard: int, replica: str) -> str:
    return f"shard-{shard}-{replica}"


async def begin(crowd: Crowd, shard: int, replica: str) -> None:
    """Start one of the six exporters."""
    flags = (f"--shard={shard}", f"--total-shards={SHARDS}")
    await crowd.start(name(shard, replica), *flags)


async def divided(crowd: Crowd) -> bool:
    """Return whether the shards together show each of the portal's agents, and none twice."""
    shares: list[set[str]] = []
    alike = True
    for shard in range(SHARDS):
        replicas = [
            set(_SHOWN.findall(await crowd.page(each)))
            for each in (name(shard, "a"), name(shard, "b"))
            if each in crowd.daemons
        ]
        alike &= all(each == replicas[0] for each in replicas)
        shares.append(set.union(*replicas))
    together = [agent for share in shares for agent in share]
    assert len(together) == len(set(together)), crowd.story
    return alike and set(together) == crowd.fleet.agents.keys()


def pinged(crowd: Crowd, since: float) -> dict[str, int]:
    """Count the pings of each agent since a time."""
    ids = [str(agent) for at, agent in crowd.distance.sent if at >= since and agent is not None]
    return {agent: ids.count(agent) for agent in ids}


@pytest.mark.timeout(400)
@played(remote=True)
async def test_pairs_of_shards_over_hosts(crowd: Crowd) -> None:
    """Each agent must be pinged by one of six exporters, while agents and exporters come and go.

    The budget and the guard's limit must hold for all of them together.
    """
    crowd.budget = BUDGET
    whole = partial(until, partial(divided, crowd), timeout_seconds=PATIENCE_SECONDS)
    for shard in range(SHARDS):
        await begin(crowd, shard, "a")
        await begin(crowd, shard, "b")
    await crowd.healthy()
    await whole()

    for change in crowd.chance.sample([crowd.come, crowd.come, crowd.go, crowd.come], 4):
        change()
        await crowd.moment(0, 1)
    await whole()
    listed, began = set(crowd.fleet.agents), SYSTEM_CLOCK.monotonic()
    await crowd.moment(STRETCH_SECONDS, STRETCH_SECONDS)
    pings = pinged(crowd, began)
    lost = crowd.chance.choice(list(crowd.daemons))
    await crowd.kill(lost)
    crowd.come()
    crowd.go()
    await whole()
    crowd.revoke()
    await until(lambda: crowd.worst)
    await crowd.settled()
    crowd.token("prod", NEXT)
    await until(lambda: crowd.busiest >= BUDGET, timeout_seconds=PATIENCE_SECONDS)
    await crowd.moment(STRETCH_SECONDS, STRETCH_SECONDS)

    assert 1 <= crowd.worst <= ALLOWED, crowd.story
    # Other credentials have another budget. Each shard carries over the calls that it knows of, but
    # calls of the same quarter of a second under both count once.
    assert BUDGET <= crowd.busiest < BUDGET + len(crowd.daemons), crowd.story
    assert listed == pings.keys(), crowd.story
    assert max(pings.values()) <= STRETCH_SECONDS / INTERVAL_SECONDS + 1, crowd.story
