from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import Reason
from exporter.fleet.readings import Agent, Run
from tests.sources.eggplant.support import Bench
from tests.support.restart import Restarts, damaged


HOUR = 3_600.0
DAY = 86_400.0

IDLE = {"agent_name": "a", "port": 5400, "process_id": 0}


def executing(status: str, run_id: str = "r1", **fields: Any) -> dict[str, Any]:
    """Return the entry of the agent with a run."""
    execution = {"id": run_id, "modelname": "Model", "status": status, **fields}
    return {**IDLE, "process_id": 7 if status == "Running" else 0, "execution_status": execution}


class Fleet:
    """A source that is restarted, and the server it asks."""

    def __init__(self, **settings: Any) -> None:
        self.bench = Bench(**settings)
        self.restarts = Restarts(self.bench, self.bench.clock)

    def lists(self, *entries: dict[str, Any], status: int = 200) -> None:
        """Let the server answer with these entries from now on."""
        self.bench.server.status = (status, json.dumps(entries).encode())

    async def agent(self) -> Agent:
        """Poll, and return the one agent."""
        (agent,) = [each for each in await self.poll() if isinstance(each, Agent)]
        return agent

    async def runs(self) -> list[Run]:
        """Poll, and return the runs."""
        return [each for each in await self.poll() if isinstance(each, Run)]

    async def poll(self) -> tuple[Any, ...]:
        """Poll, and return everything."""
        return await self.restarts.poll("agents")

    @property
    def now(self) -> float:
        """The time of day, epoch seconds."""
        return self.bench.clock.unix


class TestAgents:
    @pytest.mark.parametrize("expected", [[], ["a"]])
    async def test_an_agent_that_is_gone_is_still_down(self, expected: list[str]) -> None:
        """A restart must not end the page of an agent that is still away."""
        fleet = Fleet(expected_agents=expected)
        fleet.lists(IDLE)
        seen = fleet.now
        await fleet.poll()
        fleet.lists()
        fleet.bench.clock.shift(60)
        await fleet.poll()

        fleet.restarts.restart(down_seconds=HOUR)
        agent = await fleet.agent()

        assert agent.state is not None
        assert (False, Reason.NOT_CONNECTED) == (agent.state.up, agent.state.reason)
        assert ("5400", seen) == (agent.port, agent.last_up_timestamp_seconds)

    async def test_an_agent_that_went_during_the_restart_is_down(self) -> None:
        """An agent that went during the restart must be down."""
        fleet = Fleet()
        fleet.lists(IDLE)
        seen = fleet.now
        await fleet.poll()
        fleet.lists()

        fleet.restarts.restart(down_seconds=30)
        agent = await fleet.agent()

        assert agent.state is not None
        assert (False, seen) == (agent.state.up, agent.last_up_timestamp_seconds)

    async def test_an_agent_is_forgotten_when_its_time_is_over(self) -> None:
        """The time counts on from when it was last connected, over any number of restarts."""
        fleet = Fleet(remember_for="1d")
        fleet.lists(IDLE)
        await fleet.poll()
        fleet.lists()
        fleet.restarts.restart(down_seconds=DAY / 2)
        await fleet.poll()

        fleet.restarts.restart(down_seconds=DAY / 2)
        at_the_end = await fleet.poll()
        fleet.restarts.restart(down_seconds=1)
        after_it = await fleet.poll()

        assert 1 == len(at_the_end)
        assert () == after_it

    async def test_a_clock_that_was_set_back_makes_nobody_immortal(self) -> None:
        """An agent that was last connected in the future was connected just now."""
        fleet = Fleet(remember_for="1d")
        fleet.lists(IDLE)
        await fleet.poll()
        fleet.lists()
        fleet.restarts.restart(down_seconds=-365 * DAY)

        agent = await fleet.agent()
        fleet.bench.clock.shift(DAY + 1)

        assert agent.last_up_timestamp_seconds == fleet.now - DAY - 1
        assert () == await fleet.poll()


class TestRuns:
    async def test_a_run_keeps_its_phase(self) -> None:
        """A run whose agent went before the restart must stay in an unknown phase."""
        fleet = Fleet()
        fleet.lists(executing("Running"))
        await fleet.poll()
        fleet.lists()
        await fleet.poll()

        fleet.restarts.restart(down_seconds=60)

        assert ["unknown"] == [run.phase for run in await fleet.runs()]

    async def test_a_run_that_ended_during_the_restart_is_seen_to_end(self) -> None:
        """A run that ended during the restart must have ended when it was last seen."""
        fleet = Fleet(run_linger="1h")
        fleet.lists(executing("Running"))
        await fleet.poll()
        fleet.lists(IDLE)

        fleet.restarts.restart(down_seconds=HOUR)
        ended = await fleet.runs()
        fleet.bench.clock.shift(1)

        assert ["ended"] == [run.phase for run in ended]
        assert [] == await fleet.runs()

    async def test_the_linger_counts_on(self) -> None:
        """The linger of a run without an end time must not start again."""
        fleet = Fleet(run_linger="1h")
        fleet.lists(executing("Passed"))
        await fleet.poll()

        fleet.restarts.restart(down_seconds=HOUR)
        lingering = await fleet.runs()
        fleet.restarts.restart(down_seconds=1)

        assert [True] == [run.passed for run in lingering]
        assert [] == await fleet.runs()

    async def test_a_run_that_was_dropped_does_not_come_back(self) -> None:
        """The server lists it for as long as its agent does nothing else."""
        fleet = Fleet(run_linger="1h")
        fleet.lists(executing("Failed"))
        await fleet.poll()
        fleet.bench.clock.shift(HOUR + 1)
        before = await fleet.runs()

        fleet.restarts.restart(down_seconds=60)

        assert [] == before
        assert [] == await fleet.runs()

    async def test_unwanted_runs_do_not_return(self) -> None:
        """A kept run that the new settings exclude must not return after the restart."""
        fleet = Fleet()
        fleet.lists(executing("Running"))
        await fleet.poll()
        fleet.lists()
        fleet.bench.settings = fleet.bench.settings.model_copy(
            update={"exclude": Bench(exclude={"runs": "Mod.*"}).settings.exclude}
        )

        fleet.restarts.restart()

        assert [] == await fleet.runs()


ENTRIES = st.sampled_from(
    [
        [],
        [IDLE],
        [{**IDLE, "agent_name": "b"}],
        [IDLE, {"port": 1}],
        [IDLE, {**IDLE, "port": 5401}],
        [{**executing("Running"), "port": 5401}, executing("Running", "r2")],
        [executing("Running")],
        [executing("Passed")],
        [executing("Failed", endtime="2026-02-03 09:00:00+00")],
        [executing("Running", "r2")],
        [executing("Odd", "r2"), {**IDLE, "agent_name": "b"}],
    ]
)
TOLD = st.sampled_from(
    [
        (200, b"[]"),
        (403, b"{}"),
        (502, b""),
        (200, b'{"id": "r1", "status": "Running"}'),
        (200, b'{"id": "r1", "status": "Passed", "endtime": "2026-02-03 09:21:00+00"}'),
        (200, b'{"id": "r2", "status": "failed"}'),
    ]
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 60, 400, 3_600, 90_000]), st.sampled_from([200, 502]), ENTRIES, TOLD
    ),
    max_size=12,
)


@given(steps=STEPS, expected=st.booleans())
def test_a_restart_changes_no_reading(
    steps: list[tuple[int, int, list[dict[str, Any]], tuple[int, bytes]]],
    expected: bool,
) -> None:
    """Polls with a restart before each give the same readings as polls without."""

    async def play(*, restarts: bool) -> list[Any]:
        fleet = Fleet(expected_agents=["a"] if expected else [], exclude={"agents": "c"})
        shown = []
        for seconds, status, entries, told in steps:
            fleet.bench.clock.shift(seconds)
            fleet.lists(*entries, status=status)
            fleet.bench.server.progress = dict.fromkeys(["r1", "r2"], told)
            if restarts:
                fleet.restarts.restart()
            shown.append(await fleet.restarts.shown("agents"))
        return shown

    assert asyncio.run(play(restarts=False)) == asyncio.run(play(restarts=True))


@given(data=st.data())
def test_no_damage_stops_it(data: st.DataObject) -> None:
    """A memory that holds anything at all costs what it said, and nothing else."""

    async def play() -> None:
        fleet = Fleet()
        ended = executing("Failed", "r2", endtime="2026-02-03 09:10:00+00")
        fleet.lists(executing("Running"), {**ended, "agent_name": "b"})
        await fleet.poll()
        memory = data.draw(damaged(fleet.restarts.memory["agents"]))

        await fleet.restarts.survives("agents", memory)

    asyncio.run(play())


async def test_no_secret_is_remembered() -> None:
    """The memory must contain neither the token nor text meant for people."""
    fleet = Fleet()
    fleet.lists({**executing("Running", last_log="canary"), "username": "canary@example.com"})

    await fleet.poll()

    memory = fleet.restarts.memory["agents"]
    assert b"r1" in memory
    assert b"canary" not in memory
    assert b"given-token" not in memory
