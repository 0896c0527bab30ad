"""Agents are known by their names, and by their ports where several share a name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.readings import Agent, Run
from tests.sources.eggplant.support import Bench, Server, fixture
from tests.support.restart import Restarts


DAY = 86_400.0
HOST = "10.0.0.5"


def entry(port: object = None, *, name: str = HOST, run_id: str = "") -> dict[str, Any]:
    """Return an entry, of an agent that executes a run if one is given."""
    found: dict[str, Any] = {"agent_name": name, "process_id": 7 if run_id else 0}
    if port is not None:
        found["port"] = port
    if run_id:
        found["execution_status"] = {"id": run_id, "modelname": "Model", "status": "Running"}
    return found


class Lab(Bench):
    """A source that is restarted at will."""

    def __init__(self, **values: Any) -> None:
        super().__init__(Server(), **values)
        self.restarts = Restarts(self, self.clock)

    async def poll(self, *entries: Any, after: float = 60.0) -> tuple[Any, ...]:
        """Poll some time later, when the server lists these entries."""
        self.clock.shift(after)
        self.server.status = (200, json.dumps(entries).encode())
        return await self.restarts.poll("agents")

    async def agents(self, *entries: Any, after: float = 60.0) -> dict[str, bool | None]:
        """Poll likewise, and return which agents are up."""
        found = [each for each in await self.poll(*entries, after=after) if isinstance(each, Agent)]
        assert len({agent.agent_id for agent in found}) == len(found)
        return {agent.agent_id: agent.state.up if agent.state else None for agent in found}

    @property
    def surprises(self) -> float:
        """The number of values that were not of the expected type."""
        return self.count("vendor_surprises_total", kind="type")


async def test_tells_two_of_a_name_apart() -> None:
    """The reply with two agents of one name is two agents, one of them busy with its run."""
    bench = Bench(Server(fixture("sut_status.two_of_a_name")))

    poll = await bench.source.poll("agents")

    agents = [each for each in poll.readings if isinstance(each, Agent)]
    (run,) = [each for each in poll.readings if isinstance(each, Run)]
    assert [(f"{HOST}:5400", HOST, "5400", False), (f"{HOST}:5401", HOST, "5401", True)] == [
        (agent.agent_id, agent.agent, agent.port, agent.state.busy)
        for agent in agents
        if agent.state
    ]
    assert ("Second port", HOST, "running") == (run.run, run.agent, run.phase)
    assert 0 == bench.count("vendor_surprises_total", kind="type")


async def test_knows_a_single_one_by_its_name() -> None:
    """An agent whose name occurs once must be known by the name, whatever its port."""
    lab = Lab()

    assert {HOST: True} == await lab.agents(entry(5400))
    assert {HOST: True} == await lab.agents(entry(5401))
    assert {HOST: True} == await lab.agents(entry())
    assert {HOST: False} == await lab.agents()


async def test_goes_over_to_ports_when_a_second_one_comes() -> None:
    """When a second agent of a name comes, the first must become the one of its port."""
    lab = Lab()
    await lab.agents(entry(5400))

    assert {f"{HOST}:5400": True, f"{HOST}:5401": True} == await lab.agents(
        entry(5401), entry(5400)
    )


async def test_misses_the_one_whose_port_is_known() -> None:
    """An agent that is away when two others of its name come is still missing."""
    lab = Lab()
    await lab.agents(entry(5400))

    assert {f"{HOST}:5400": False, "x": True, f"{HOST}:5401": True, f"{HOST}:5402": True} == (
        await lab.agents(entry(5401), entry(5402), entry(name="x"))
    )


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("expected", [[], [HOST]])
async def test_remembers_that_they_are_two(restarts: bool, expected: list[str]) -> None:
    """For `remember_for`, each of two agents must be missed by its port, not by the bare name."""
    lab = Lab(remember_for="1d", expected_agents=expected)
    await lab.agents(entry(5400), entry(5401))
    shown = []

    for entries in ([entry(5400)], [], [entry(5401)]):
        if restarts:
            lab.restarts.restart()
        shown.append(await lab.agents(*entries))

    first, second = f"{HOST}:5400", f"{HOST}:5401"
    assert [
        {first: True, second: False},
        {first: False, second: False},
        {first: False, second: True},
    ] == shown


@pytest.mark.parametrize("restarts", [False, True])
async def test_forgets_that_they_were_two(restarts: bool) -> None:
    """When the second was away for `remember_for`, the first has its name to itself."""
    lab = Lab(remember_for="1d")
    await lab.agents(entry(5400), entry(5401))
    await lab.agents(entry(5400), after=DAY / 2)
    if restarts:
        lab.restarts.restart()

    at_the_end = await lab.agents(entry(5400), after=DAY / 2)
    after_it = await lab.agents(entry(5400), after=1)

    assert {f"{HOST}:5400": True, f"{HOST}:5401": False} == at_the_end
    assert {HOST: True} == after_it
    assert {HOST: False} == await lab.agents()


async def test_reads_a_port_in_text() -> None:
    """A port can be a number or a text."""
    assert {f"{HOST}:5400": True, f"{HOST}:5401": True} == await Lab().agents(
        entry("5400"), entry(5401)
    )


@pytest.mark.parametrize("port", [None, 5400])
async def test_shows_one_of_those_that_are_alike(port: int | None) -> None:
    """Two of one name and no port, or one port, are one agent and a surprise, but both runs."""
    lab = Lab()

    readings = await lab.poll(entry(port, run_id="r1"), entry(port, run_id="r2"))

    assert [HOST, "r1", "r2"] == [
        each.agent_id if isinstance(each, Agent) else each.run_id for each in readings
    ]
    assert 1 == lab.surprises


async def test_tells_one_with_a_port_from_one_without() -> None:
    """An agent with a port must be distinguished from one without."""
    assert {HOST: True, f"{HOST}:5400": True} == await Lab().agents(entry(), entry(5400))


async def test_accuses_no_port_while_there_is_none() -> None:
    """While the server sends no ports, no agent known by its port may be down."""
    lab = Lab(expected_agents=[f"{HOST}:5402"])
    await lab.agents(entry(5400), entry(5401), entry(5402))

    assert {HOST: True} == await lab.agents(entry(), entry())


async def test_leaves_each_run_with_its_agent() -> None:
    """The end of one agent's run says nothing of the run of the other one of its name."""
    lab = Lab()
    await lab.poll(entry(5400, run_id="r1"), entry(5401, run_id="r2"))

    readings = await lab.poll(entry(5400), entry(5401, run_id="r2"))

    assert {"r1": "ended", "r2": "running"} == {
        each.run_id: each.phase for each in readings if isinstance(each, Run)
    }


class TestExpected:
    async def test_is_known_by_name(self) -> None:
        """An agent that is expected by name is there with any port, and with several."""
        lab = Lab(expected_agents=[HOST])

        assert {HOST: False} == await lab.agents()
        assert {HOST: True} == await lab.agents(entry(5400))
        assert {f"{HOST}:5400": True, f"{HOST}:5401": True} == await lab.agents(
            entry(5400), entry(5401)
        )

    async def test_is_known_by_name_and_port(self) -> None:
        """Of two agents expected by their ports, the one that is away must be down."""
        lab = Lab(expected_agents=[f"{HOST}:5400", f"{HOST}:5401"])

        assert {f"{HOST}:5400": False, f"{HOST}:5401": False} == await lab.agents()
        assert {f"{HOST}:5400": True, f"{HOST}:5401": False} == await lab.agents(entry(5400))
        assert {f"{HOST}:5400": False, f"{HOST}:5401": True} == await lab.agents(entry(5401))

    async def test_keeps_its_id_for_good(self) -> None:
        """An agent expected by its port must keep its id, however long it is away."""
        lab = Lab(expected_agents=[f"{HOST}:5400"])

        assert {f"{HOST}:5400": True} == await lab.agents(entry(5400))
        assert {f"{HOST}:5400": False} == await lab.agents(after=9 * DAY)

    async def test_has_name_and_port(self) -> None:
        """An agent that was never seen must have the name and port of the settings."""
        (agent,) = await Lab(expected_agents=[f"{HOST}:5400"]).poll()

        assert (f"{HOST}:5400", HOST, "5400") == (agent.agent_id, agent.agent, agent.port)

    async def test_can_have_a_name_like_that(self) -> None:
        """An agent may be called as another one's name and port."""
        lab = Lab(expected_agents=["lab:5400", "fe80::1"])

        assert {"lab:5400": True, "fe80::1": True} == await lab.agents(
            entry(1, name="lab:5400"), entry(5400, name="fe80::1")
        )
        assert {"lab:5400": False, "fe80::1": False} == await lab.agents()


class TestExplain:
    async def test_finds_the_entry(self) -> None:
        """An agent that shares its name is explained by its own entry."""
        bench = Bench(Server(fixture("sut_status.two_of_a_name")))

        explanation = await bench.source.explain("agent", f"{HOST}:5401")

        assert (5401, 41220) == (explanation.reply["port"], explanation.reply["process_id"])

    async def test_finds_the_run(self) -> None:
        """A run is explained by the entry of the agent that has it."""
        bench = Bench(Server(fixture("sut_status.two_of_a_name")))

        explanation = await bench.source.explain("run", "7b0f3f0e-2d1c-4c57-9a8e-0d2f6b1c1b01")

        assert 5401 == explanation.reply["port"]


_PORTS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([5400, 5401, 5402])), unique=True
)
_STEPS = st.lists(
    st.tuples(_PORTS, st.sampled_from([1, 60, 40_000, 90_000]), st.booleans()), max_size=8
)
_EXPECTED = st.lists(st.sampled_from(["a", "a:5400", "a:5403", "b"]), unique=True)


@given(_STEPS, _EXPECTED)
def test_never_merges_two(steps: list[Any], expected: list[str]) -> None:
    """As many agents must be up as are listed, each with an id of its own."""

    async def play() -> None:
        lab = Lab(expected_agents=expected)
        for listed, seconds, restarted in steps:
            if restarted:
                lab.restarts.restart()
            entries = [entry(port, name=name) for name, port in listed]
            agents = [
                each for each in await lab.poll(*entries, after=seconds) if isinstance(each, Agent)
            ]
            up = [each for each in agents if each.state is not None and each.state.up]
            assert sorted(listed) == sorted((each.agent, int(each.port)) for each in up)
            assert len({each.agent_id for each in agents}) == len(agents)
            names = [each.agent for each in agents]
            assert all(
                each.agent_id == f"{each.agent}:{each.port}"
                for each in agents
                if names.count(each.agent) > 1
            )
            assert {each.partition(":")[0] for each in expected} <= set(names)

    asyncio.run(play())
