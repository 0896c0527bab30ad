"""From what befalls a fleet to what a person receives, with real Prometheus and Alertmanager.

What is deployed is what is tested: the rules as `rules` prints them, Prometheus' and Alertmanager's
files as they are in `deploy/`, with other times and with the test behind the pagers.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.paging import machines, processes, runs  # noqa: F401 - they hold the scenarios
from tests.paging.scenario import SCENARIOS
from tests.paging.world import World


pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Play all scenarios, at the same time."""

    async def play() -> World:
        async with World(tmp_path_factory.mktemp("paging")) as world:
            await world.play()
        return world

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name, each in SCENARIOS.items() for way in each.ways]
)
def test_people_receive(world: World, name: str, way: str) -> None:
    """They are told what a scenario says, and nothing else."""
    stage = world.stages[name]
    if stage.problem is not None:
        raise stage.problem

    assert stage.expected[way] == stage.heard[way]
