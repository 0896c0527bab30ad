"""From what befalls a fleet to what a person receives, with real Prometheus and Alertmanager.

What is deployed is what is tested: the rules as `rules` prints them, Prometheus' and Alertmanager's
files as they are in `deploy/`, with other times and with the test behind the pagers.
"""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.paging import machines, processes, runs  # noqa: F401 - they hold the scenarios
from tests.paging.scenario import SCENARIOS, WAYS
from tests.paging.world import World


pytestmark = pytest.mark.timeout(400)


#: That of the agents that go down.
HOST = "zurich-01.load.example.net"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Play all scenarios, at the same time."""

    async def play() -> World:
        async with World(tmp_path_factory.mktemp("paging")) as world:
            await world.play()
        return world

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name, each in SCENARIOS.items() for way in each.ways if name != "canary"],
)
def test_people_receive(world: World, name: str, way: str) -> None:
    """They are told what a scenario says, and nothing else."""
    stage = world.stages[name]
    if stage.problem is not None:
        raise stage.problem

    assert stage.expected[way] == stage.heard[way]


@pytest.mark.parametrize("way", WAYS)
def test_every_page_has_a_title_and_details(world: World, way: str) -> None:
    """Whatever alerts it is about, and at its end."""
    for incident in world.pagers[way].incidents:
        assert re.match(r"\w", incident["payload"]["summary"]), incident
        assert any(incident["payload"]["custom_details"].values()), incident


@pytest.mark.parametrize("way", WAYS)
def test_every_message_has_a_title_and_a_text(world: World, way: str) -> None:
    """Likewise."""
    for message in world.pagers[way].messages:
        (attachment,) = message["attachments"]
        assert re.search(r"\w$|\w\W$", attachment["title"].partition(":")[2]), message
        assert attachment["text"].strip(), message


def test_no_exporter_has_crashed(world: World) -> None:
    """Whatever befell their sources."""
    for exporter in world.exporters.values():
        assert "Traceback" not in exporter.errors
