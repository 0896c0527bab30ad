from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import CallError, Reason
from exporter.fleet.readings import Account, AgentJobs, Recorder, Suite, Target
from tests.support.realload import TOKEN, Rig, Script
from tests.support.restart import Restarts, damaged


HOUR = 3_600.0

_RUNNING = "getCurrentlyRunningTestExecutionSuiteIds"
_MIN_AGENT = "getMinRequiredMeasuringAgentVersion"
_MIN_CONTROLLER = "getMinRequiredClusterControllerVersion"
_MIN_RECORDER = "getMinRequiredProxyRecorderVersion"
_PLAN = "getPricePlanInfo"

#: A reply of every action that a task calls.
FINE: dict[str, Script] = {
    "getMeasuringAgents": "ok",
    "pingMeasuringAgent": "ok",
    "getClusterControllers": "ok",
    "pingClusterController": "ok",
    "getMeasuringAgentClusters": "ok",
    "pingMeasuringAgentClusterMembers": "ok",
    "getProxyRecorders": "ok",
    "pingProxyRecorder": "ok",
    "getMeasuringAgentTestjobs": "running",
    "getTestExecutionSuites": "ok",
    _RUNNING: "none",
    _MIN_AGENT: "ok",
    _MIN_CONTROLLER: "ok",
    _MIN_RECORDER: "ok",
    _PLAN: "ok_inferred",
}

BROKEN = CallError(Reason.HTTP_5XX, "it failed")


class Portal:
    """A source that is restarted, and the portal it asks."""

    def __init__(self, **settings: Any) -> None:
        self.rig = Rig(FINE, **settings)
        self.restarts = Restarts(self.rig, self.rig.time)

    def answers(self, **script: Script) -> None:
        """Change the portal's answers from now on."""
        self.rig.portal.script |= script

    async def poll(self, task: str) -> tuple[Any, ...]:
        """Poll a task; the calls of earlier polls are forgotten."""
        self.rig.portal.requests.clear()
        return await self.restarts.poll(task)


def suites(*runs: dict[str, Any]) -> dict[str, Any]:
    """Make a list of one suite, id 2, with these runs."""
    suite = {"testExecutionSuite": {"testExecutionSuiteId": 2}, "testRunResultsArray": list(runs)}
    return {"testExecutionSuitesArray": [suite], "isError": False}


def running(*ids: int) -> dict[str, Any]:
    """Make the list of the suites that run."""
    return {"testExecutionSuiteIdArray": list(ids), "isError": False}


def run(number: int, **fields: Any) -> dict[str, Any]:
    """Make a run, by default an incomplete one."""
    started = {"testRunStartTimestamp": number * 100_000, "executionState": 1}
    return {"testRunId": number, **started, **fields}


class TestMachines:
    async def test_keep_when_they_were_last_up(self) -> None:
        """A machine that is down was up when it was, whatever its kind."""
        for task, ping in (
            ("agents", "pingMeasuringAgent"),
            ("controllers", "pingClusterController"),
            ("recorders", "pingProxyRecorder"),
        ):
            portal = Portal()
            seen = portal.rig.time.unix
            await portal.poll(task)
            portal.answers(**{ping: "not_reachable"})

            portal.restarts.restart(down_seconds=HOUR)
            machine, *_ = await portal.poll(task)

            assert isinstance(machine, Target)
            assert machine.state is not None
            assert (False, seen) == (machine.state.up, machine.last_up_timestamp_seconds)

    async def test_keep_their_jobs_while_nothing_new_is_known(self) -> None:
        """A call that fails says nothing of an agent's jobs, also right after a restart."""
        portal = Portal()
        await portal.poll("agents")
        before = await portal.poll("jobs")
        portal.answers(getMeasuringAgentTestjobs=BROKEN)

        portal.restarts.restart(down_seconds=60)
        carried = await portal.poll("jobs")

        assert before
        assert all(isinstance(each, AgentJobs) for each in carried)
        assert [each.counts for each in before] == [each.counts for each in carried]
        assert [each.read_at.unix for each in before] == [each.read_at.unix for each in carried]


class TestSuites:
    async def test_a_run_that_was_at_rest_is_not_in_flight(self) -> None:
        """A new run without a result yet does not revive the last one, whatever its state."""
        portal = Portal()
        portal.answers(getTestExecutionSuites=suites(run(1)))
        await portal.poll("suites")
        portal.answers(**{_RUNNING: running(2)})

        portal.restarts.restart(down_seconds=60)
        (suite,) = await portal.poll("suites")

        assert isinstance(suite, Suite)
        assert suite.current_run is None
        assert suite.last_run is not None
        assert "1" == suite.last_run.run_id

    async def test_a_run_that_does_not_move_is_over_in_the_end(self) -> None:
        """A run that does not move must count as over in the end, also across restarts."""
        portal = Portal()
        still = run(1, testRunStartTimestamp=None)
        portal.answers(getTestExecutionSuites=suites(still))
        running_still = []

        for _ in range(6):
            (suite,) = await portal.poll("suites")
            running_still.append(suite.running)
            portal.restarts.restart(down_seconds=60)

        assert [True] * 5 + [False] == running_still

    async def test_a_run_in_flight_is_so_without_a_memory(self) -> None:
        """A run must be in flight by its state or by the list alone, without a memory."""
        portal = Portal()
        begun = int(portal.rig.time.unix * 1000)
        fresh = run(2, testRunStartTimestamp=begun, testRunLastUpdatedTimestamp=begun)
        for rows, ids in (((fresh,), ()), ((run(2),), (2,))):
            portal.answers(
                getTestExecutionSuites=suites(run(1, executionState=2), *rows),
                **{_RUNNING: running(*ids)},
            )
            portal.restarts.memory, portal.restarts.known = {}, {}
            portal.restarts.restart(down_seconds=60)

            (suite,) = await portal.poll("suites")

            assert suite.current_run is not None
            assert ("2", "1") == (suite.current_run.run_id, suite.last_run.run_id)


class TestAccount:
    async def test_a_version_that_cannot_be_read_is_kept(self) -> None:
        """A version from before the restart must be kept until it is too old."""
        portal = Portal()
        before = await portal.poll("versions")
        portal.answers(**{_MIN_AGENT: BROKEN, _PLAN: BROKEN})

        portal.restarts.restart(down_seconds=60)
        kept = await portal.poll("versions")
        portal.restarts.restart(down_seconds=24 * HOUR)
        later = await portal.poll("versions")

        assert before == kept
        assert [4, 2] == [len(before), len(later)]

    async def test_no_limit_stays_no_limit(self) -> None:
        """Infinity survives, though JSON does not know it."""
        portal = Portal()
        portal.answers(**{_PLAN: {"pricePlan": {"maxDurationPerLoadJob": -1}, "isError": False}})
        before = await portal.poll("versions")
        portal.answers(**{_PLAN: BROKEN})

        portal.restarts.restart(down_seconds=60)

        assert Account(job_duration_limit_seconds=float("inf")) in before
        assert before == await portal.poll("versions")

    async def test_the_recorders_version_is_not_asked_for_again(self) -> None:
        """With the task `versions` off the recorders' poll asks, once an hour."""
        portal = Portal(tasks={"versions": "off"})
        before = await portal.poll("recorders")

        portal.restarts.restart(down_seconds=60)
        after = await portal.poll("recorders")
        asked = _MIN_RECORDER in portal.rig.portal.asked
        portal.restarts.restart(down_seconds=HOUR)
        await portal.poll("recorders")

        assert not asked
        assert all(isinstance(each, Recorder) and each.state for each in before)
        assert [each.state.outdated for each in before] == [each.state.outdated for each in after]
        assert _MIN_RECORDER in portal.rig.portal.asked


ANSWERS: dict[str, list[Script]] = {
    "getMeasuringAgents": ["ok", "empty", BROKEN],
    "pingMeasuringAgent": ["ok", "not_reachable", "outdated", BROKEN],
    "getClusterControllers": ["ok", BROKEN],
    "pingClusterController": ["ok", "not_reachable", BROKEN],
    "getMeasuringAgentClusters": ["ok", BROKEN],
    "pingMeasuringAgentClusterMembers": ["ok", "partly_failed_iserror_false", BROKEN],
    "getProxyRecorders": ["ok", BROKEN],
    "pingProxyRecorder": ["ok", "not_reachable", BROKEN],
    "getMeasuringAgentTestjobs": ["running", "none", BROKEN],
    "getTestExecutionSuites": [
        suites(),
        suites(run(1)),
        suites(run(2), run(1, executionState=2)),
        suites(run(2, testRunStartTimestamp=None), run(1)),
        BROKEN,
    ],
    _RUNNING: [running(), running(2)],
    _MIN_AGENT: ["ok", BROKEN],
    _MIN_CONTROLLER: ["ok", BROKEN],
    _MIN_RECORDER: ["ok", BROKEN],
    _PLAN: ["ok_inferred", "limited_inferred", BROKEN],
}
TASKS = ("agents", "controllers", "clusters", "recorders", "jobs", "suites", "versions")
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 60, 200, 700, 4000, 90_000]),
        st.sets(st.sampled_from(TASKS), min_size=1),
        st.fixed_dictionaries({each: st.sampled_from(some) for each, some in ANSWERS.items()}),
    ),
    max_size=8,
)


@settings(max_examples=30)  # a poll asks a lot
@given(steps=STEPS, versions=st.booleans())
def test_a_restart_changes_no_reading(
    steps: list[tuple[int, set[str], dict[str, Script]]],
    versions: bool,
) -> None:
    """Polls with a restart before each give the same readings as polls without."""

    async def play(*, restarts: bool) -> list[Any]:
        portal = Portal(tasks={} if versions else {"versions": "off"})
        shown = []
        for seconds, tasks, script in steps:
            portal.rig.time.shift(seconds)
            portal.answers(**script)
            for task in sorted(tasks):
                if restarts:
                    portal.restarts.restart()
                shown.append(await portal.restarts.shown(task))
        return shown

    assert asyncio.run(play(restarts=False)) == asyncio.run(play(restarts=True))


@given(data=st.data(), task=st.sampled_from(["suites", "versions"]))
def test_no_damage_stops_it(data: st.DataObject, task: str) -> None:
    """A memory that holds anything at all costs what it said, and nothing else."""

    async def play() -> None:
        portal = Portal()
        await portal.poll("versions")
        await portal.poll("suites")
        memory = data.draw(damaged(portal.restarts.memory[task]))

        await portal.restarts.survives(task, memory)

    asyncio.run(play())


async def test_no_secret_is_remembered() -> None:
    """The memory must contain no token."""
    portal = Portal()

    for task in TASKS:
        await portal.poll(task)

    memory = b"".join(portal.restarts.memory.values())
    assert b"unfinished" in memory
    for secret in (TOKEN.encode(), b"2fasdtfffe", b"asfsdgh763", b"oken"):
        assert secret not in memory
