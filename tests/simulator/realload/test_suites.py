from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.simulator.callers import RealLoad
    from tests.support.clock import FakeClock


DETAIL = "getTestExecutionSuiteTestRunResultDetail"


async def test_the_run_detail_has_the_fixture_s_shape(portal: RealLoad) -> None:
    """Keys and types are the printed ones, where no job has input fields."""
    portal.fleet.change("suites", 2, jobs=1)

    reply = await portal.call(DETAIL, testExecutionSuiteId=2, testRunId=3)

    assert [] == differences(reply, fixture("realload", f"{DETAIL}.ok"))


@pytest.mark.parametrize("outcome", ["pass", "fail", "stop"])
async def test_the_run_detail_agrees_with_the_list(portal: RealLoad, outcome: str) -> None:
    """A run's detail must agree with the list."""
    portal.fleet.change("suites", 2, outcomes=[outcome])
    suites = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]
    listed = suites[0]["testRunResultsArray"][2]

    reply = await portal.call(DETAIL, testExecutionSuiteId=2, testRunId=listed["testRunId"])

    result = reply["testRunResultDetail"]["testRunResult"]
    (group,) = result["testRunExecutionGroupResultArray"]
    jobs = result["testRunTestjobResultArray"]
    assert listed == {key: result[key] for key in listed}
    for key in group.keys() & listed.keys() - {"testRunId"}:
        assert listed[key] == group[key]
    for key in ("totalSessionsPassed", "totalSamplesPassed", "totalSamplesFailed"):
        assert listed[key] == sum(job[key] for job in jobs)
    executed = "numTestjobTemplatesExecutionPassed", "numTestjobTemplatesExecutionFailed"
    assert len({job["testjobTemplateElementId"] for job in jobs}) == sum(
        listed[key] for key in executed
    )
    levels = Counter(entry["logLevel"] for entry in result["executorLog"]["logEntriesArray"])
    assert listed["numTestjobTemplatesExecutionFailed"] == levels[9]
    assert int(outcome == "stop") == levels[8]
    assert len(jobs) == levels[4]


async def test_the_run_detail_has_what_must_be_skipped(portal: RealLoad) -> None:
    """Signatures, input fields and nicknames are in it, as they are at the vendor."""
    reply = await portal.post(DETAIL, testExecutionSuiteId=2, testRunId=3)

    for field in ("testjobSignature", "currentValue", "executedByUserNickname", "logMessage"):
        assert f'"{field}"' in reply.text


async def test_the_list_of_running_suites_can_be_late(portal: RealLoad, time: FakeClock) -> None:
    """A run is in the list of suites before the other list names it."""
    portal.portal.world.timeline.still = False
    portal.fleet.change("suites", 2, lag_seconds=10)
    time.shift(205)

    suites = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]
    running = await portal.call("getCurrentlyRunningTestExecutionSuiteIds")

    newest = suites[0]["testRunResultsArray"][-1]
    assert (6, 1) == (newest["testRunId"], newest["executionState"])
    assert 2 not in running["testExecutionSuiteIdArray"]


def counts(suite: Any) -> list[tuple[int, int, bool, int]]:
    """Return of each run its state, jobs to execute, whether one failed and what is missing."""
    return [
        (
            run["executionState"],
            run["numTestjobTemplatesToExecute"],
            run["numTestjobTemplatesExecutionFailed"] > 0,
            run["numTestjobTemplatesToExecute"]
            - run["numTestjobTemplatesExecutionPassed"]
            - run["numTestjobTemplatesExecutionFailed"],
        )
        for run in suite["testRunResultsArray"]
    ]


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("stopped_after_failed", {"history": 3, "outcomes": ["pass", "fail", "stop"]}),
        ("no_jobs", {"history": 1, "jobs": 0}),
    ],
)
async def test_runs_without_a_pass(portal: RealLoad, case: str, changes: dict[str, Any]) -> None:
    """Runs without a pass must have the counts of the vendor's examples."""
    portal.fleet.change("suites", 2, **changes)

    (suite, *_) = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]

    (example,) = fixture("realload", f"getTestExecutionSuites.{case}")["testExecutionSuitesArray"]
    assert [] == differences(suite, example)
    assert counts(example) == counts(suite)


async def test_an_ended_run_can_have_another_state(portal: RealLoad) -> None:
    """A suite's ended run must be able to have any execution state: only one is documented."""
    portal.fleet.change("suites", 2, ended_state=5)

    suites = (await portal.call("getTestExecutionSuites"))["testExecutionSuitesArray"]

    assert {5} == {run["executionState"] for run in suites[0]["testRunResultsArray"]}
