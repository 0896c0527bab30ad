"""From events in a fleet to notifications, with real Prometheus and Alertmanager.

The deployed files are tested: the rules as `rules` prints them, and Prometheus' and Alertmanager's
files of `deploy/`, with shorter times and with the test behind the pagers.
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.paging import machines, processes, runs  # noqa: F401 - they hold the scenarios
from tests.paging.scenario import BUILT_IN, PROMETHEUS, SCENARIOS, WAYS
from tests.paging.world import BOARD, World


pytestmark = pytest.mark.timeout(400)


#: Further labels of an alert, by its way.
MORE = {PROMETHEUS: {"job": "loadfleet"}, BUILT_IN: {"exporter": "main"}}


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
    """People must receive the notifications of the scenario, and no others."""
    stage = world.stages[name]
    if stage.problem is not None:
        raise stage.problem

    assert stage.expected[way] == stage.heard[way]


@pytest.mark.parametrize("way", WAYS)
def test_an_alert_is_labelled_by_its_target_alone(world: World, way: str) -> None:
    """An alert about a target must have no instance, so that all exporters' alerts are the same."""
    alert = world.pagers[way].of("agent_down", "page")[0]

    assert {
        "alertname": "LoadFleetAgentUnreachable",
        "severity": "critical",
        "provider": "realload",
        "source": "agent_down",
        "site": "bern",
        "agent_id": "42",
        "agent": "zurich-01",
        **MORE[way],
    } == alert["labels"]


@pytest.mark.parametrize("way", WAYS)
def test_a_page_says_what_one_needs_at_night(world: World, way: str) -> None:
    """A page must have the host, the reason, the time and a link to the runbook."""
    told = world.pagers[way].of("agent_down", "page")[0]["annotations"]

    assert "Host: zurich-01.load.example.net." in told["description"]
    assert "Reason: not_reachable." in told["description"]
    assert re.search(r"Since \d{4}-\d\d-\d\d", told["description"])
    assert told["runbook_url"].endswith("LoadFleetAgentUnreachable.md")


@pytest.mark.parametrize("way", WAYS)
def test_a_page_links_to_its_target(world: World, way: str) -> None:
    """A page must link to the target's own page, not to the whole board."""
    told = world.pagers[way].of("agent_down", "page")[0]["annotations"]

    link = urlsplit(told["board_url"])
    assert f"{BOARD}target" == f"{link.scheme}://{link.netloc}{link.path}"
    assert {"source": ["agent_down"], "kind": ["agent"], "id": ["42"]} == parse_qs(link.query)


@pytest.mark.parametrize("way", WAYS)
def test_every_page_has_a_title_and_details(world: World, way: str) -> None:
    """A page is never empty, whatever alerts it is about, nor is its end."""
    for incident in world.pagers[way].incidents:
        assert re.match(r"\w", incident["payload"]["summary"]), incident
        assert any(incident["payload"]["custom_details"].values()), incident


@pytest.mark.parametrize("way", WAYS)
def test_every_message_has_a_title_and_a_text(world: World, way: str) -> None:
    """A message is never empty, whatever alerts it is about."""
    for message in world.pagers[way].messages:
        (attachment,) = message["attachments"]
        assert re.search(r"\w$|\w\W$", attachment["title"].partition(":")[2]), message
        assert attachment["text"].strip(), message


def test_no_exporter_has_crashed(world: World) -> None:
    """No trouble of a source makes an exporter fail."""
    for exporter in world.exporters.values():
        assert "Traceback" not in exporter.errors
