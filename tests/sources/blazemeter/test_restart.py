from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.fleet.readings import Agent, Location, Run, Suite
from exporter.sources.blazemeter.settings import BlazeMeterSettings
from tests.sources.blazemeter.support import BASE, Account, Bench, ok, status_of
from tests.support.restart import Restarts, damaged, without_monotonic


HOUR = 3_600.0
DAY = 86_400.0

LIST = "masters?workspaceId=200001"
LOCATIONS = "private-locations?workspaceId=200001"


def row(run_id: int = 1, **fields: Any) -> dict[str, Any]:
    """Make a row of a list; in flight unless it has an end."""
    return {"id": run_id, "name": "Load", "testId": 7, "created": BASE - 9000, **fields}


def old_row(run_id: int = 1, **fields: Any) -> dict[str, Any]:
    """Make a row of a run that ended long before the start."""
    return row(run_id, **{"ended": BASE - 8000, "reportStatus": "pass", **fields})


def ship(**fields: Any) -> dict[str, Any]:
    """Make a location with one agent that was heard of just now."""
    agent = {"id": "1", "name": "one", "lastHeartBeat": BASE + 60, "state": "idle", **fields}
    return {"id": "aa", "name": "Lab", "ships": [agent]}


class Watch:
    """A source that is restarted, and the account it asks."""

    def __init__(self, *rows: dict[str, Any], **settings: Any) -> None:
        account = Account()
        self.answers = account.answers
        self.answers[LIST] = ok(list(rows))
        account.suites(t1="First", t2="Second", t7="Load", t8="Peak", t9="Rare")
        self.bench = Bench(account, **{"workspaces": [200001], **settings})
        self.restarts = Restarts(self.bench, self.bench.time)

    def reload(self, **settings: Any) -> None:
        """Restart with other settings."""
        self.bench.settings = BlazeMeterSettings.model_validate(
            {"api_key_id": "key-id", "api_key_secret": "s", "retries": 0, **settings}
        )
        self.restarts.restart()

    def runs_at(self, code: float, *run_ids: int) -> None:
        """Set the status of some runs."""
        for run_id in run_ids:
            self.answers[f"masters/{run_id}/status"] = ok(status_of(code))
            self.answers[f"masters/{run_id}/status+events"] = ok(status_of(code, events=[]))

    async def poll(self, task: str = "runs") -> tuple[Any, ...]:
        """Poll a task; the calls of earlier polls are forgotten."""
        self.bench.account.sent.clear()
        return await self.restarts.poll(task)

    async def suites(self) -> list[Suite]:
        """Poll, and return the tests."""
        return [each for each in await self.poll() if isinstance(each, Suite)]

    async def agents(self) -> list[Agent]:
        """Poll, and return the agents."""
        return [each for each in await self.poll("agents") if isinstance(each, Agent)]

    async def runs(self) -> list[Run]:
        """Poll, and return the runs."""
        return [each for each in await self.poll() if isinstance(each, Run)]

    @property
    def sent(self) -> list[str]:
        """The calls of the newest poll, without the proof of the credentials."""
        return [key for key in self.bench.account.sent if key != "user"]


class TestFinishedRuns:
    async def test_cost_no_call_again(self) -> None:
        """The history is read once, page by page, and after a restart only what can be new."""
        watch = Watch(*(old_row(n) for n in range(1, 51)), masters=[99])
        watch.answers[f"{LIST}&skip=50"] = ok([old_row(51, testId=8)])
        watch.answers["masters/99"] = ok(old_row(99, testId=9))
        before = await watch.suites()
        cold = watch.sent

        watch.restarts.restart(down_seconds=60)

        assert before == await watch.suites()
        lists = [key for key in cold if key in watch.answers and "tests" not in key]
        assert [LIST, f"{LIST}&skip=50", "masters/99"] == lists
        assert [LIST] == watch.sent

    async def test_of_the_time_between_are_found(self) -> None:
        """The list is read back to when it was last read, however long that is ago."""
        watch = Watch(old_row(1))
        await watch.poll()
        ended = [old_row(n, ended=BASE + DAY + n) for n in range(2, 52)]
        watch.answers[LIST] = ok(ended)
        watch.answers[f"{LIST}&skip=50"] = ok([old_row(52, created=BASE, ended=BASE + 100)])

        watch.restarts.restart(down_seconds=2 * DAY)
        (suite,) = await watch.suites()

        assert suite.last_run is not None
        assert "52" == suite.last_run.run_id

    async def test_are_forgotten_in_time(self) -> None:
        """A test that has not run for `lookback` is gone, restart or not."""
        watch = Watch(old_row(1), lookback="1d")
        await watch.poll()
        watch.answers[LIST] = ok([])

        watch.restarts.restart(down_seconds=DAY)

        assert [] == await watch.suites()

    async def test_are_read_anew_for_another_filter(self) -> None:
        """After a change of the filter, old runs that it lets through must be read again."""
        watch = Watch(*(old_row(n) for n in range(1, 51)), include={"suites": "Load"})
        watch.answers[f"{LIST}&skip=50"] = ok([old_row(51, testId=8, name="Peak")])
        await watch.poll()

        watch.reload(workspaces=[200001], include={"suites": "Peak"})

        assert ["8"] == [suite.suite_id for suite in await watch.suites()]

    async def test_of_a_workspace_that_is_not_watched_any_more_are_gone(self) -> None:
        """The memory holds no tests that the configuration does not ask for."""
        watch = Watch(old_row(1))
        await watch.poll()
        watch.answers["masters?workspaceId=200002"] = ok([old_row(2, testId=8)])

        watch.reload(workspaces=[200002])

        assert ["8"] == [suite.suite_id for suite in await watch.suites()]

    async def test_of_an_older_version_are_judged_anew(self) -> None:
        """A memory from before runs had an outcome costs one whole reading of the lists."""
        watch = Watch(*(old_row(n) for n in range(1, 51)), masters=[99])
        watch.answers[f"{LIST}&skip=50"] = ok([old_row(51, testId=8, reportStatus="fail")])
        watch.answers["masters/99"] = ok(old_row(99, testId=9))
        before = await watch.suites()
        memory = json.loads(watch.restarts.memory["runs"])
        for each in memory["finished"]:
            each["passed"] = each.pop("outcome") == "passed"
        del memory["names"], memory["results"]
        memory["selection"] = repr((None, None, 2_592_000.0))

        watch.restarts.memory["runs"] = json.dumps(memory).encode()
        watch.restarts.restart(down_seconds=60)

        assert before == await watch.suites()


class TestFollowedRuns:
    async def test_are_followed_on(self) -> None:
        """A run that the list does not show any more is asked about until it is over."""
        watch = Watch(row(1))
        watch.runs_at(100, 1)
        await watch.poll()
        watch.answers[LIST] = ok([])

        watch.restarts.restart(down_seconds=60)

        assert ["running"] == [run.phase for run in await watch.runs()]
        assert [LIST, "masters/1/status"] == watch.sent

    async def test_are_not_asked_about_once_they_are_over(self) -> None:
        """The end and the events are known; the run is shown on without a call."""
        watch = Watch(row(1, ended=BASE + 50, reportStatus="pass"), run_linger="30m")
        watch.runs_at(140, 1)
        await watch.poll()

        watch.restarts.restart(down_seconds=60)
        lingering = await watch.runs()
        calls = watch.sent
        watch.restarts.restart(down_seconds=HOUR / 2)
        gone = await watch.runs()

        assert [True] == [run.passed for run in lingering]
        assert [LIST] == calls
        assert [] == gone

    async def test_do_not_come_back(self) -> None:
        """A list that never has the end must not bring an ended run back."""
        watch = Watch(row(1), run_linger="10m")
        watch.runs_at(150, 1)
        await watch.poll()
        watch.bench.time.shift(700)
        await watch.poll()

        watch.restarts.restart(down_seconds=60)

        assert [] == await watch.runs()
        assert [LIST] == watch.sent

    async def test_that_nobody_watches_any_more_are_dropped(self) -> None:
        """A filter that was set since holds for followed runs, too."""
        watch = Watch(row(1))
        watch.runs_at(100, 1)
        await watch.poll()
        watch.answers[LIST] = ok([])

        watch.reload(workspaces=[200001], exclude={"suites": "Load"})

        assert [] == await watch.runs()

    async def test_are_located_like_agents_at_once(self) -> None:
        """The names of locations are known before the agents were read again."""
        watch = Watch(row(1, locations=["harbor-aa"]))
        watch.answers[LOCATIONS] = ok([ship()])
        watch.runs_at(100, 1)
        await watch.poll("agents")

        watch.restarts.restart(down_seconds=60)

        assert ["Lab"] == [run.location for run in await watch.runs()]


class TestAgents:
    async def test_keep_when_they_were_last_up(self) -> None:
        """An agent that died before the restart was up when it was."""
        watch = Watch()
        watch.answers[LOCATIONS] = ok([ship()])
        seen = watch.bench.time.unix
        await watch.poll("agents")

        watch.restarts.restart(down_seconds=HOUR)
        (agent,) = await watch.agents()

        assert agent.state is not None
        assert (False, seen) == (agent.state.up, agent.last_up_timestamp_seconds)

    async def test_are_carried_while_their_workspace_fails(self) -> None:
        """Agents of a workspace that cannot be read must be kept, also right after a restart."""
        watch = Watch(workspaces=[200001, 200002])
        watch.answers[LOCATIONS] = ok([ship()])
        watch.answers["private-locations?workspaceId=200002"] = ok([])
        before = await watch.poll("agents")
        watch.answers[LOCATIONS] = httpx.Response(500)

        watch.restarts.restart(down_seconds=60)
        carried = await watch.poll("agents")

        assert ["one", "Lab"] == [each.agent for each in carried if isinstance(each, Agent)] + [
            each.location_name for each in carried if isinstance(each, Location)
        ]
        assert without_monotonic(before) == without_monotonic(carried)

    async def test_are_carried_after_an_update_of_the_exporter(self) -> None:
        """A memory that was written before there were locations in it still names the agents."""
        watch = Watch(workspaces=[200001, 200002])
        watch.answers[LOCATIONS] = ok([ship()])
        watch.answers["private-locations?workspaceId=200002"] = ok([])
        await watch.poll("agents")
        memory = json.loads(watch.restarts.memory["agents"])
        del memory["locations"]
        watch.restarts.memory["agents"] = json.dumps(memory).encode()
        watch.answers[LOCATIONS] = httpx.Response(500)

        watch.restarts.restart(down_seconds=60)

        assert ["one"] == [agent.agent for agent in await watch.agents()]

    async def test_of_a_list_cut_short_are_carried_when_the_next_one_is_not_read(self) -> None:
        """Two faults in a row, with a restart between them, must remove no agent."""
        watch = Watch(workspaces=[200001, 200002])
        other = {"id": "bb", "name": "Attic", "ships": [{"id": "2", "name": "two"}]}
        watch.answers[LOCATIONS] = ok([ship(), other], total=2)
        watch.answers["private-locations?workspaceId=200002"] = ok([])
        whole = await watch.poll("agents")
        watch.answers[LOCATIONS] = ok([ship()], total=2)
        await watch.poll("agents")
        # The poller keeps targets that such a list lacks.
        watch.restarts.known["agents"] = whole
        watch.answers[LOCATIONS] = httpx.Response(500)

        watch.restarts.restart(down_seconds=60)

        assert {"one", "two"} == {agent.agent for agent in await watch.agents()}

    async def test_of_a_location_that_is_not_watched_any_more_are_gone(self) -> None:
        """A filter that was set since holds for what is carried, too."""
        watch = Watch(workspaces=[200001, 200002])
        watch.answers[LOCATIONS] = ok([ship()])
        watch.answers["private-locations?workspaceId=200002"] = ok([])
        await watch.poll("agents")
        watch.answers[LOCATIONS] = httpx.Response(500)

        watch.reload(workspaces=[200001, 200002], exclude={"locations": "Lab"})

        assert () == await watch.poll("agents")


RUN: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "listed": st.booleans(),
        "ended": st.sampled_from([None, None, BASE - 8000, BASE + 50, BASE + 4000]),
        "verdict": st.sampled_from([None, "pass", "fail"]),
        "code": st.sampled_from([None, 25, 100, 140, 150, 500]),
        "location": st.sampled_from([[], ["harbor-aa"]]),
        "hits": st.sampled_from([None, 0, 5, 500]),
        "errors": st.sampled_from([None, [], [{}], 500]),
    }
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.sampled_from([1, 60, 200, 700, 4000]),
            "task": st.sampled_from(["runs", "runs", "agents"]),
            "runs": st.tuples(RUN, RUN, RUN),
            "failing": st.sampled_from([None, None, None, LIST, LOCATIONS]),
            "heartbeat": st.sampled_from([BASE, BASE + 400, BASE + 5000]),
        }
    ),
    max_size=10,
)


@settings(max_examples=60)  # a poll asks a lot
@given(steps=STEPS)
def test_a_restart_changes_no_reading(steps: list[dict[str, Any]]) -> None:
    """Polls with a restart before each give the same readings as polls without."""

    async def play(*, restarts: bool) -> list[Any]:
        watch = Watch(workspaces=[200001, 200002], masters=[3], lookback="3h", run_linger="15m")
        watch.answers["private-locations?workspaceId=200002"] = ok([])
        watch.answers["masters?workspaceId=200002"] = ok([])
        shown = []
        for step in steps:
            watch.bench.time.shift(step["seconds"])
            _answer(watch, step)
            if restarts:
                watch.restarts.restart()
            shown.append(await watch.restarts.shown(step["task"]))
        return shown

    assert asyncio.run(play(restarts=False)) == asyncio.run(play(restarts=True))


def _answer(watch: Watch, step: dict[str, Any]) -> None:
    """Set the account's answers to those of a step."""
    rows = []
    for run_id, run in enumerate(step["runs"], start=1):
        described = row(
            run_id,
            ended=run["ended"],
            reportStatus=run["verdict"],
            locations=run["location"],
            testId=1 + run_id % 2,
        )
        summary = {"summary": [{"id": "ALL", "hits": run["hits"], "failed": 0}]}
        for key, value, result in (
            ("reports/default/summary", run["hits"], summary),
            ("ci-status", run["errors"], {"errors": run["errors"]}),
        ):
            answer = httpx.Response(500) if value == 500 else ok(result)
            watch.answers[f"masters/{run_id}/{key}"] = answer
        if run["listed"]:
            rows.append(described)
        watch.answers[f"masters/{run_id}"] = ok(described)
        for events in ("", "+events"):
            key = f"masters/{run_id}/status{events}"
            if run["code"] is None:
                watch.answers.pop(key, None)
            elif run["code"] == 500:
                watch.answers[key] = httpx.Response(500)
            else:
                changed = {"message": f"Status changed to X ({run['code']})", "t": BASE + 70}
                known = [changed] if events else None
                watch.answers[key] = ok(status_of(run["code"], events=known))
    watch.answers[LIST] = ok(rows)
    watch.answers[LOCATIONS] = ok([ship(lastHeartBeat=step["heartbeat"])])
    if step["failing"]:
        watch.answers[step["failing"]] = httpx.Response(500)


@given(data=st.data(), task=st.sampled_from(["runs", "agents"]))
def test_no_damage_stops_it(data: st.DataObject, task: str) -> None:
    """A memory that holds anything at all costs what it said, and nothing else."""

    async def play() -> None:
        over = {"ended": BASE + 50, "reportStatus": "pass", "locations": ["harbor-aa"]}
        watch = Watch(row(1), row(2, **over), old_row(3), old_row(4), run_linger="1m")
        watch.answers[LOCATIONS] = ok([ship()])
        watch.runs_at(100, 1)
        watch.runs_at(140, 2)
        await watch.poll("agents")
        await watch.poll()
        memory = data.draw(damaged(watch.restarts.memory[task]))

        await watch.restarts.survives(task, memory)

    asyncio.run(play())


async def test_no_secret_is_remembered() -> None:
    """The memory must contain neither the key nor a signed link."""
    watch = Watch(row(1))
    watch.runs_at(140, 1)
    link = {"message": "https://canary.example/?Signature=canary", "level": "INFO", "t": BASE}
    watch.answers["masters/1/status+events"] = ok(status_of(140, events=[link]))
    watch.answers[LOCATIONS] = ok([ship(address="canary")])

    await watch.poll()
    await watch.poll("agents")

    memory = b"".join(watch.restarts.memory.values())
    assert b"Lab" in memory
    assert b"canary" not in memory
    assert b"key-secret" not in memory
