from __future__ import annotations

from typing import Any

from exporter.errors import CallError, Reason
from exporter.fleet.readings import AgentJobs
from tests.support.realload import Rig, Script, exposed, fixture


_JOBS = "getMeasuringAgentTestjobs"


def rig(jobs: Script = "ok", ping: Script = "ok", **settings: Any) -> Rig:
    return Rig({"getMeasuringAgents": "ok", "pingMeasuringAgent": ping, _JOBS: jobs}, **settings)


def only_for(agent_id: int, answer: Script, *, others: Script) -> Script:
    """Script one agent apart from all others."""

    def choose(request: dict[str, Any]) -> Script:
        return answer if agent_id in request.values() else others

    return choose


async def test_counts_jobs_by_state() -> None:
    """The printed examples become exactly these samples."""
    source = rig("running")
    await source.readings("agents")

    first, *_ = await source.readings("jobs")

    own = 'agent_id="46",agent="Local Agent"'
    assert {
        f'agent_jobs{{{own},state="defined"}}': 0,
        f'agent_jobs{{{own},state="submitted"}}': 0,
        f'agent_jobs{{{own},state="ready to run"}}': 1,
        f'agent_jobs{{{own},state="running"}}': 1,
        f'agent_jobs{{{own},state="completed"}}': 2,
        f'agent_jobs{{{own},state="invalid"}}': 0,
        f'agent_jobs{{{own},state="other"}}': 0,
    } == exposed(first)


async def test_counts_no_jobs_as_none() -> None:
    """An agent without jobs has zeros, not gaps."""
    source = rig("none")
    await source.readings("agents")

    first, *_ = await source.readings("jobs")

    assert {0.0} == set(exposed(first).values())


async def test_counts_an_unknown_state_as_other() -> None:
    """A new value, and a missing one, break nothing and are counted."""
    jobs = {
        "agentResponse": {
            "allTestjobsArray": [
                {"testjobProperties": {"testjobState": "paused"}},
                {"testjobProperties": {}},
                {},
            ]
        },
        "isError": False,
    }
    source = rig(only_for(46, jobs, others="none"))
    await source.readings("agents")

    first, *_ = await source.readings("jobs")

    assert isinstance(first, AgentJobs)
    assert first.counts is not None
    assert 3.0 == first.counts["other"]
    assert (1, 2) == (source.surprises("enum"), source.surprises("missing_field"))


async def test_reads_states_in_any_case() -> None:
    """A word that is known in lower case is known."""
    words = ("Running", " READY TO RUN", "completed")
    jobs = [{"testjobProperties": {"testjobState": word}} for word in words]
    reply = {"agentResponse": {"allTestjobsArray": jobs}, "isError": False}
    source = rig(only_for(46, reply, others="none"))
    await source.readings("agents")

    first, *_ = await source.readings("jobs")

    assert isinstance(first, AgentJobs)
    assert first.counts is not None
    assert {"running", "ready to run", "completed"} == {k for k, v in first.counts.items() if v}
    assert 0 == source.surprises("enum")


async def test_never_lets_the_portal_update_its_states() -> None:
    """The one field with a side effect is always sent, and always false."""
    source = rig()

    await source.readings("jobs")

    sent = [
        (request["measuringAgentId"], request["synchronizeLocalTestjobsState"])
        for request in source.portal.requests
        if request["action"] == _JOBS
    ]
    assert [(46, False), (50, False), (51, False)] == sent


async def test_asks_no_agent_that_is_down_or_outdated() -> None:
    """An agent that is down or outdated must not be asked for its jobs."""
    pings = iter(["not_reachable", "outdated", "ok"])
    source = rig("ok", lambda _: next(pings))
    await source.readings("agents")

    readings = await source.readings("jobs")

    assert ["51"] == [jobs.agent_id for jobs in readings if isinstance(jobs, AgentJobs)]
    assert 1 == source.portal.asked.count(_JOBS)


async def test_pings_an_agent_of_which_nothing_is_known() -> None:
    """Without a ping before, a dead agent would stop the source for a proof."""
    source = rig("ok", only_for(50, "not_reachable", others="ok"), tasks={"agents": "off"})

    readings = await source.readings("jobs")

    assert ["46", "51"] == [jobs.agent_id for jobs in readings if isinstance(jobs, AgentJobs)]


async def test_carries_counts_over_a_failed_call() -> None:
    """An agent that vanishes between ping and call keeps its counts, with their age."""
    source = rig()
    await source.readings("agents")
    before = await source.readings("jobs")
    await source.time.advance(30)
    source.portal.script[_JOBS] = only_for(50, "not_reachable", others="ok")

    poll = await source.source.poll("jobs")

    assert before[1] == poll.readings[1]
    assert before[0] != poll.readings[0]
    assert [(Reason.API_ERROR, "50")] == [(f.reason, f.target) for f in poll.failures]
    assert (True, False) == (poll.asked, poll.vendor_slow)


async def test_reports_a_time_out_as_a_failure() -> None:
    """A time-out must be a failure that leaves the agent's jobs unknown."""
    source = rig(only_for(50, CallError(Reason.TIMEOUT, "late"), others="ok"))
    await source.readings("agents")

    poll = await source.source.poll("jobs")

    assert ["46", "51"] == [jobs.agent_id for jobs in poll.readings if isinstance(jobs, AgentJobs)]
    assert [(Reason.TIMEOUT, "50")] == [(f.reason, f.target) for f in poll.failures]


async def test_counts_all_documented_jobs() -> None:
    """No job of the fixture is lost."""
    source = rig("ok")
    await source.readings("agents")

    first, *_ = await source.readings("jobs")

    listed = fixture(f"{_JOBS}.ok")["agentResponse"]["allTestjobsArray"]
    assert isinstance(first, AgentJobs)
    assert first.counts is not None
    assert len(listed) == sum(first.counts.values())
