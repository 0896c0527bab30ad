"""Real Load's replies about test execution suites and their runs. See also `details`."""

from __future__ import annotations

from typing import Final

from exporter.simulator.realload.agents import Handler, Json, failure
from exporter.simulator.realload.details import run_detail, run_summary, suite_head
from exporter.simulator.realload.fleet import OWNER_ID, Fleet


def _suites(fleet: Fleet, _: Json) -> Json:
    moment = fleet.timeline.moment()
    return {
        "testExecutionSuitesArray": [
            {
                "testExecutionSuite": {
                    **suite_head(suite),
                    "totalNumberOfTestjobs": suite.jobs,
                    "isTestExecutionSuiteHealthy": suite.healthy,
                },
                "testRunResultsArray": [
                    {"userId": OWNER_ID, "subUserId": -1, **run_summary(fleet, run)}
                    for run in suite.runs(moment)
                ],
            }
            for suite in fleet.suites.values()
        ]
    }


def _running_suites(fleet: Fleet, _: Json) -> Json:
    moment = fleet.timeline.moment()
    running = [suite.suite_id for suite in fleet.suites.values() if suite.is_running(moment)]
    return {"testExecutionSuiteIdArray": running}


def _run_detail(fleet: Fleet, request: Json) -> Json:
    suite = fleet.suites.get(str(request.get("testExecutionSuiteId")))
    if suite is None:
        return failure("Invalid test execution suite Id")
    wanted = request.get("testRunId")
    for run in suite.runs(fleet.timeline.moment()):
        if run.run_id == wanted:
            return {"testRunResultDetail": run_detail(fleet, suite, run)}
    return failure("Invalid test run Id")


SUITE_HANDLERS: Final[dict[str, Handler]] = {
    "getTestExecutionSuites": _suites,
    "getCurrentlyRunningTestExecutionSuiteIds": _running_suites,
    "getTestExecutionSuiteTestRunResultDetail": _run_detail,
}
