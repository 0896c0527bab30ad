"""Every state of a node, and everything that can become of one."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent
from tests.sources.selenium.support import FIRST, SECOND, Hub, node, reply
from tests.support.realload import exposed


GONE = Reason.NO_HEARTBEAT
AWAY = Reason.NOT_CONNECTED
DAY = 86_400.0


class TestAvailability:
    async def test_up(self) -> None:
        """A node that is up shows what it is."""
        (agent,) = await Hub("one_up").readings(Agent)

        assert (FIRST, FIRST, "127.0.0.1", "5555", True) == (
            agent.agent_id,
            agent.agent,
            agent.host,
            agent.port,
            agent.active,
        )
        state = agent.state
        assert (True, None, False, None) == (state.up, state.reason, state.busy, state.outdated)
        assert ("4.48.0", "Linux", "6.1.0") == (state.version, state.os, state.os_version)

    async def test_down(self) -> None:
        """The hub has not heard of it."""
        (agent,) = await Hub("node_down").readings(Agent)

        assert (False, GONE, None) == (agent.state.up, agent.state.reason, agent.state.busy)
        assert agent.active

    async def test_draining(self) -> None:
        """A node that drains is out of use, and neither up nor down."""
        agents = {agent.agent_id: agent for agent in await Hub("draining").readings(Agent)}

        assert (False, None) == (agents[FIRST].active, agents[FIRST].state)
        assert agents[SECOND].state.up

    @pytest.mark.parametrize(("availability", "kind"), [("ASLEEP", "enum"), ("", "missing_field")])
    async def test_any_other(self, availability: str, kind: str) -> None:
        """A node of an unknown state must be neither up nor down."""
        hub = Hub(reply(node(availability=availability)), expected_agents=[FIRST])

        assert {FIRST: None} == await hub.states()
        assert {FIRST: None} == await hub.states(after=600)
        assert 2 == hub.surprises(kind)

    async def test_a_full_grid_is_well(self) -> None:
        """A full Grid must be well, although `ready` is false."""
        hub = Hub("full")

        (agent,) = await hub.readings(Agent)

        assert (True, True) == (agent.state.up, agent.state.busy)

    async def test_without_nodes(self) -> None:
        """A hub alone has none."""
        assert {} == await Hub("no_nodes").states()


class TestKilled:
    async def test_is_down_after_its_row_went(self) -> None:
        """The hub removes a dead node after some minutes; it stays down."""
        hub = Hub(reply(node(f"http://{SECOND}")))

        assert {SECOND: True} == await hub.states()
        assert {SECOND: GONE} == await hub.states("node_down", after=102)
        assert {SECOND: GONE} == await hub.states("node_removed", after=270)
        assert {SECOND: GONE} == await hub.states(after=3600)

    async def test_comes_back_under_its_address(self) -> None:
        """A node that is started again has a new id, and is the same agent."""
        hub = Hub(reply(node(id="one")))
        await hub.states()
        await hub.states(reply(node(availability="DOWN", id="one")), after=30)
        await hub.states(reply(), after=300)

        assert {FIRST: True} == await hub.states(reply(node(id="another")), after=30)

    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize("better", ["UP", "DRAINING"])
    async def test_the_better_of_two_rows_counts(self, better: str, turned: bool) -> None:
        """The dead node and its successor stand together until the hub removes the one."""
        rows = [node(availability="DOWN", id="one"), node(availability=better, id="another")]
        hub = Hub(reply(*(reversed(rows) if turned else rows)))

        assert {FIRST: True if better == "UP" else None} == await hub.states()

    async def test_is_forgotten_in_the_end(self) -> None:
        """A node that died and never came back is remembered for so long after it was last up."""
        hub = Hub(remember_for="1d")
        await hub.states()
        await hub.states(reply(node(availability="DOWN")), after=30)

        assert {FIRST: GONE} == await hub.states(reply(), after=DAY - 30)
        assert {} == await hub.states(after=1)

    async def test_has_no_sessions(self) -> None:
        """A node that is down must have no sessions."""
        samples = await Hub("node_down").samples()

        assert [] == [series for series in samples if "selenium_agent" in series]


class TestLeft:
    async def test_a_node_that_left_in_order_is_not_down(self) -> None:
        """Scaling down is normal; later the node is forgotten."""
        hub = Hub("two_up_one_session", leave_grace="1m")
        await hub.states()
        left = reply(node())

        assert {FIRST: True, SECOND: None} == await hub.states(left, after=30)
        assert {FIRST: True, SECOND: None} == await hub.states(after=59)
        assert {FIRST: True} == await hub.states(after=1)

    async def test_a_node_that_drained_is_not_down(self) -> None:
        """A node that was drained must not be down."""
        hub = Hub("two_up_one_session")
        await hub.states()

        assert {FIRST: None, SECOND: True} == await hub.states("draining", after=30)
        assert {FIRST: None, SECOND: True} == await hub.states("after_drain", after=30)
        assert {SECOND: True} == await hub.states(after=60)

    async def test_an_expected_node_that_drained_is_down_after_the_grace(self) -> None:
        """An expected node that was drained must be down after the grace."""
        hub = Hub("draining", expected_agents=[FIRST])
        await hub.states()
        await hub.states("after_drain", after=30)
        hub.clock.shift(60)

        agents = {agent.agent_id: agent for agent in await hub.readings(Agent)}

        assert (AWAY, None) == (agents[FIRST].state.reason, agents[FIRST].active)
        assert {'agent_up{agent_id="127.0.0.1:5555",agent="127.0.0.1:5555"}': 0} == {
            series: value
            for series, value in exposed(agents[FIRST]).items()
            if series.startswith("agent_up")
        }

    async def test_an_expected_node_that_never_came_is_down(self) -> None:
        """An expected node that never came must be down after the grace."""
        hub = Hub("no_nodes", expected_agents=["node7:5555"])

        assert {"node7:5555": None} == await hub.states()
        assert {"node7:5555": AWAY} == await hub.states(after=60)


class TestAddress:
    @pytest.mark.parametrize(
        ("uri", "agent_id", "host", "port"),
        [
            ("http://node.example:5555", "node.example:5555", "node.example", "5555"),
            ("https://node.example", "node.example", "node.example", ""),
            ("http://[::1]:5555", "[::1]:5555", "::1", "5555"),
            ("http://user:canary@node:5555/x", "node:5555", "node", "5555"),
        ],
    )
    async def test_is_its_identity(self, uri: str, agent_id: str, host: str, port: str) -> None:
        """A node must be known by host and port, without a password in its URI."""
        hub = Hub(reply(node(uri)))

        (agent,) = await hub.readings(Agent)

        assert (agent_id, host, port) == (agent.agent_id, agent.host, agent.port)
        assert agent.state.up

    @pytest.mark.parametrize(
        ("uri", "kind"),
        [
            ("", "missing_field"),
            ("node:5555", "type"),
            ("http://[::1", "type"),
            ("http://node:99999", "type"),
            ("http://:5555", "type"),
        ],
    )
    async def test_a_row_without_one_is_left_out(self, uri: str, kind: str) -> None:
        """A row without a URI must be left out, and the others shown."""
        hub = Hub(reply(node(uri), node()))

        assert {FIRST: True} == await hub.states()
        assert 1 == hub.surprises(kind)


class TestSessions:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("one_up", {FIRST: (0, 2, False)}),
            ("session", {FIRST: (1, 2, True)}),
            ("full", {FIRST: (1, 1, True)}),
            ("two_up_one_session", {FIRST: (1, 2, True), SECOND: (0, 2, False)}),
            ("draining", {FIRST: (1, 2, None), SECOND: (0, 2, False)}),
        ],
    )
    async def test_counts_sessions_and_their_limit(
        self, name: str, expected: dict[str, tuple[float, float, bool | None]]
    ) -> None:
        """The limit is `maxSessions`, of which a node has more slots."""
        hub = Hub(name)

        samples = await hub.samples()

        found = {}
        for agent in await hub.readings(Agent):
            labels = f'{{agent_id="{agent.agent}",agent="{agent.agent}"}}'
            found[agent.agent] = (
                samples[f"selenium_agent_sessions{labels}"],
                samples[f"selenium_agent_sessions_limit{labels}"],
                None if agent.state is None else agent.state.busy,
            )
        assert expected == found

    @pytest.mark.parametrize("odd", [-1, None, "x", True, 10**400])
    async def test_leaves_an_odd_limit_out(self, odd: Any) -> None:
        """An impossible limit must be left out, and the others be read."""
        samples = await Hub(reply(node(maxSessions=odd))).samples()

        assert [] == [series for series in samples if "sessions_limit" in series]
        assert (
            0
            == samples['selenium_agent_sessions{agent_id="127.0.0.1:5555",agent="127.0.0.1:5555"}']
        )


class TestVersion:
    @pytest.mark.parametrize(
        ("minimum", "outdated"), [("4.48.0", False), ("4.48.1", True), ("4.9", False), ("x", None)]
    )
    async def test_is_compared_with_the_oldest_wanted(
        self, minimum: str, outdated: bool | None
    ) -> None:
        """Number by number; what cannot be read says nothing."""
        (agent,) = await Hub(min_agent_version=minimum).readings(Agent)

        assert outdated == agent.state.outdated

    async def test_is_not_judged_of_a_dead_node(self) -> None:
        """The version of a dead node must not be judged."""
        (agent,) = await Hub("node_down", min_agent_version="5").readings(Agent)

        assert agent.state.outdated is None


async def test_a_hub_that_is_gone_accuses_nobody() -> None:
    """The poll fails and nothing is said of any node; what was known stands until it expires."""
    hub = Hub()
    here = dict(hub.server.answers)
    await hub.states()
    hub.server.is_away()

    with pytest.raises(PollError) as caught:
        await hub.poll()

    assert Reason.CONNECT == caught.value.reason
    with pytest.raises(PollError):
        await hub.poll("controllers")
    hub.server.answers = here
    assert {FIRST: True} == await hub.states(after=300)


async def test_filters_nodes() -> None:
    """A node that is filtered out is not shown, with its sessions, nor missed."""
    hub = Hub("two_up_one_session", exclude={"agents": ".*:5556"})

    samples = await hub.samples()

    assert {FIRST: True} == await hub.states()
    assert [] == [series for series in samples if SECOND in series]
    assert {FIRST: None} == await hub.states(reply(), after=30)
