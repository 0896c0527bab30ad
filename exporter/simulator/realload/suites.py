"""Real Load's replies about test execution suites and their runs."""

from __future__ import annotations

from typing import Final

from exporter.simulator.realload.agents import Handler, Json, agent_row, failure, millis
from exporter.simulator.realload.fleet import (
    AGENT_VERSION,
    OWNER_ID,
    Agent,
    Fleet,
    Suite,
    SuiteRun,
)
from exporter.simulator.realload.jobs import template_row


_RUNNING, _COMPLETED = 1, 2  # the vendor's table is not published; 2 is inferred, 1 a guess


def _suites(fleet: Fleet, _: Json) -> Json:
    moment = fleet.timeline.moment()
    return {
        "testExecutionSuitesArray": [
            {
                "testExecutionSuite": {
                    **_suite(suite),
                    "totalNumberOfTestjobs": suite.jobs,
                    "isTestExecutionSuiteHealthy": suite.healthy,
                },
                "testRunResultsArray": [
                    {"userId": OWNER_ID, "subUserId": -1, **_run(fleet, suite, run)}
                    for run in suite.runs(moment)
                ],
            }
            for suite in fleet.suites.values()
        ]
    }


def _suite(suite: Suite) -> Json:
    return {
        "testExecutionSuiteId": suite.suite_id,
        "testExecutionSuiteName": suite.name,
        "testExecutionSuiteDescription": "",
        "topExecuteOnMeasuringAgentOrClusterId": suite.place,
        "topExecutionOrder": suite.order,
    }


def _run(fleet: Fleet, suite: Suite, run: SuiteRun) -> Json:
    return {
        "testRunId": run.run_id,
        "executionState": _RUNNING if run.running else _COMPLETED,
        "annotationArray": [],
        "testRunStartTimestamp": millis(fleet.timeline.unix(run.started)),
        "testRunLastUpdatedTimestamp": millis(fleet.timeline.unix(run.updated)),
        "numTestjobTemplatesToExecute": suite.jobs,
        **_counts(run),
        "maxConcurrentUsers": run.users,
        "maxPendingSamples": max(1, run.users // 2),
    }


def _counts(run: SuiteRun, *, jobs: bool = True) -> Json:
    counts: Json = {}
    if jobs:
        counts["numTestjobTemplatesExecutionPassed"] = run.jobs_passed
        counts["numTestjobTemplatesExecutionFailed"] = run.jobs_failed
    return {
        **counts,
        "totalSessionsPassed": run.sessions_passed,
        "totalSessionsFailed": run.sessions_failed,
        "totalSessionsPassedTimeSum": run.sessions_passed * 100,
        "totalSamplesPassed": run.sessions_passed * 3,
        "totalSamplesFailed": run.sessions_failed,
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
            return {"testRunResultDetail": _detail(fleet, suite, run)}
    return failure("Invalid test run Id")


def _detail(fleet: Fleet, suite: Suite, run: SuiteRun) -> Json:
    ids = {"testExecutionSuiteId": suite.suite_id, "testRunId": run.run_id}
    group_id = 737_867_000 + suite.suite_id
    job_id = 1_040_705_000 + suite.suite_id
    span = {
        "executionState": _RUNNING if run.running else _COMPLETED,
        "executionStartTimestamp": millis(fleet.timeline.unix(run.started)),
        "executionEndTimestamp": millis(fleet.timeline.unix(run.updated)),
    }
    result = {
        "userId": OWNER_ID,
        "subUserId": -1,
        "testExecutionSuite": {
            **_suite(suite),
            "testExecutionElementsArray": [_group_element(group_id, job_id)],
        },
        "testjobTemplatesArray": [template_row(0)],
        "testRunId": run.run_id,
        "executorLog": {"userId": OWNER_ID, **ids, "logEntriesArray": [_log_entry(span, ids)]},
        **_run(fleet, suite, run),
        "testRunExecutionGroupResultArray": [
            {
                **ids,
                "executionGroupElementId": group_id,
                **_place(fleet),
                "containsMeasuringAgentCluster": False,
                **span,
                **_counts(run),
            }
        ],
        "testRunTestjobResultArray": [
            {
                **ids,
                "testExecutionGroupElementId": group_id,
                "testjobTemplateElementId": job_id,
                "testjobTemplate": template_row(0),
                **span,
                "jobStartTimestamp": span["executionStartTimestamp"],
                "jobEndTimestamp": span["executionEndTimestamp"],
                **_counts(run, jobs=False),
                "maxConcurrentUsers": run.users,
                "maxPendingSamples": 1,
            }
        ],
    }
    out_file = {
        "fileName": "DataCollector.out",
        "fileSize": 6537,
        "lastModified": span["executionEndTimestamp"],
        "mimeType": "application/octet-stream",
    }
    return {
        "testRunResult": result,
        "executedByUserNickname": "example-user",
        "testjobsOutFilesArray": [{"elementId": job_id, "outFileInfoArray": [out_file]}],
    }


def _group_element(group_id: int, job_id: int) -> Json:
    head: Json = {"productVersion": AGENT_VERSION, "elementInactive": False}
    job = {**head, "elementType": 1, "elementId": job_id, "templateId": 10}
    return {
        **head,
        "elementType": 10,
        "elementId": group_id,
        "executionGroupName": "Top Group",
        "executionGroupDescription": "",
        "executionOrder": 2,
        "executeOnMeasuringAgentOrClusterId": "",
        "executionElementsArray": [job],
    }


def _log_entry(span: Json, ids: Json) -> Json:
    suite_id, run_id = ids["testExecutionSuiteId"], ids["testRunId"]
    return {
        "timestamp": span["executionStartTimestamp"],
        "logLevel": 7,
        "threadName": f"TestSuiteExecutor-S:{suite_id}-R:{run_id}",
        "testExecutionElementId": -1,
        "logMessage": f"Test run #{run_id} started",
        "stacktraceArray": [],
    }


def _place(fleet: Fleet) -> Json:
    """Name the agent of a run: whatever the suite says, the vendor's example has another."""
    agent = next(iter(fleet.agents.values()), None)
    if agent is None:
        return {"containsMeasuringAgent": False}
    return {"containsMeasuringAgent": True, "measuringAgent": _shared_row(agent)}


def _shared_row(agent: Agent) -> Json:
    """Build an agent as the run detail prints it: with the newer fields and without a token."""
    row = agent_row(agent)
    del row["authToken"]
    return {**row, "sharedMeasuringAgentTemplateId": -1, "isLaunchedByCloudCredits": False}


SUITE_HANDLERS: Final[dict[str, Handler]] = {
    "getTestExecutionSuites": _suites,
    "getCurrentlyRunningTestExecutionSuiteIds": _running_suites,
    "getTestExecutionSuiteTestRunResultDetail": _run_detail,
}
