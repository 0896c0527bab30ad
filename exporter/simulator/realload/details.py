"""Real Load's replies about one run of a suite: summary, and detail with jobs and log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.simulator.realload.agents import Json, agent_row, millis
from exporter.simulator.realload.fleet import AGENT_VERSION, OWNER_ID
from exporter.simulator.realload.jobs import TEMPLATES, template_row
from exporter.simulator.realload.runs import COMPLETED, RUNNING


if TYPE_CHECKING:
    from exporter.simulator.realload.fleet import Agent, Fleet
    from exporter.simulator.realload.runs import JobRun, Suite, SuiteRun

_DEBUG, _INFO, _WARN, _ERROR = 4, 7, 8, 9
_WHOLE_RUN: Final = -1
_FIRST_GROUP: Final = 737_867_000
_FIRST_ELEMENT: Final = 1_040_705_000
_SESSION_MILLIS: Final = 100
_SAMPLES_PER_SESSION: Final = 3


def suite_head(suite: Suite) -> Json:
    """Return the fields of a suite that are in all replies."""
    return {
        "testExecutionSuiteId": suite.suite_id,
        "testExecutionSuiteName": suite.name,
        "testExecutionSuiteDescription": "",
        "topExecuteOnMeasuringAgentOrClusterId": suite.place,
        "topExecutionOrder": suite.order,
    }


def run_summary(fleet: Fleet, run: SuiteRun) -> Json:
    """Return a run as in the vendor's list."""
    return {
        "testRunId": run.run_id,
        "executionState": run.state,
        "annotationArray": [],
        "testRunStartTimestamp": millis(fleet.timeline.unix(run.started)),
        "testRunLastUpdatedTimestamp": millis(fleet.timeline.unix(run.updated)),
        "numTestjobTemplatesToExecute": run.jobs,
        **_jobs(run),
        **_sessions(run),
        **_peaks(run.users),
    }


def _jobs(run: SuiteRun) -> Json:
    return {
        "numTestjobTemplatesExecutionPassed": run.jobs_passed,
        "numTestjobTemplatesExecutionFailed": run.jobs_failed,
    }


def _sessions(part: SuiteRun | JobRun) -> Json:
    return {
        "totalSessionsPassed": part.sessions_passed,
        "totalSessionsFailed": part.sessions_failed,
        "totalSessionsPassedTimeSum": part.sessions_passed * _SESSION_MILLIS,
        "totalSamplesPassed": part.sessions_passed * _SAMPLES_PER_SESSION,
        "totalSamplesFailed": part.sessions_failed,
    }


def _peaks(users: int) -> Json:
    return {"maxConcurrentUsers": users, "maxPendingSamples": max(1, users // 2)}


def run_detail(fleet: Fleet, suite: Suite, run: SuiteRun) -> Json:
    """Return the detail of a run: one group, with a row for each job that has begun."""
    ids = {"testExecutionSuiteId": suite.suite_id, "testRunId": run.run_id}
    parts = run.parts()
    elements = [_element_id(suite, index) for index in range(run.jobs)]
    result = {
        "userId": OWNER_ID,
        "subUserId": -1,
        "testExecutionSuite": {
            **suite_head(suite),
            "testExecutionElementsArray": [_group_element(suite, elements)],
        },
        "testjobTemplatesArray": [template_row(i) for i in range(min(run.jobs, TEMPLATES))],
        "testRunId": run.run_id,
        "executorLog": {
            "userId": OWNER_ID,
            **ids,
            "logEntriesArray": _log(fleet, suite, run, parts),
        },
        **run_summary(fleet, run),
        "testRunExecutionGroupResultArray": [
            {
                **ids,
                "executionGroupElementId": _group_id(suite),
                **_agent_of_run(fleet),
                "containsMeasuringAgentCluster": False,
                "executionState": run.state,
                "executionStartTimestamp": millis(fleet.timeline.unix(run.started)),
                "executionEndTimestamp": millis(fleet.timeline.unix(run.updated)),
                **_jobs(run),
                **_sessions(run),
            }
        ],
        "testRunTestjobResultArray": [
            {**ids, "testExecutionGroupElementId": _group_id(suite), **_job_row(fleet, suite, part)}
            for part in parts
        ],
    }
    return {
        "testRunResult": result,
        "executedByUserNickname": "example-user",
        "testjobsOutFilesArray": [
            {"elementId": _element_id(suite, part.index), "outFileInfoArray": [_file(fleet, part)]}
            for part in parts
        ],
    }


def _group_id(suite: Suite) -> int:
    return _FIRST_GROUP + suite.suite_id


def _element_id(suite: Suite, index: int) -> int:
    return _FIRST_ELEMENT + 100 * suite.suite_id + index


def _group_element(suite: Suite, elements: list[int]) -> Json:
    head: Json = {"productVersion": AGENT_VERSION, "elementInactive": False}
    return {
        **head,
        "elementType": 10,
        "elementId": _group_id(suite),
        "executionGroupName": "Top Group",
        "executionGroupDescription": "",
        "executionOrder": suite.order,
        "executeOnMeasuringAgentOrClusterId": "",
        "executionElementsArray": [
            {
                **head,
                "elementType": 1,
                "elementId": element,
                "templateId": _template(index)["templateId"],
            }
            for index, element in enumerate(elements)
        ],
    }


def _template(index: int) -> Json:
    return template_row(index % TEMPLATES)


def _job_row(fleet: Fleet, suite: Suite, part: JobRun) -> Json:
    started = millis(fleet.timeline.unix(part.started))
    updated = millis(fleet.timeline.unix(part.updated))
    return {
        "testjobTemplateElementId": _element_id(suite, part.index),
        "testjobTemplate": _template(part.index),
        "executionState": RUNNING if part.running else COMPLETED,
        "executionStartTimestamp": started,
        "executionEndTimestamp": updated,
        "jobStartTimestamp": started,
        "jobEndTimestamp": updated,
        **_sessions(part),
        **_peaks(2),
    }


def _file(fleet: Fleet, part: JobRun) -> Json:
    return {
        "fileName": "DataCollector.out",
        "fileSize": 6537,
        "lastModified": millis(fleet.timeline.unix(part.updated)),
        "mimeType": "application/octet-stream",
    }


def _log(fleet: Fleet, suite: Suite, run: SuiteRun, parts: list[JobRun]) -> list[Json]:
    """Return the executor's log entries so far, oldest first."""
    entries = [(run.started, _INFO, _WHOLE_RUN, f"Test run #{run.run_id} started")]
    for part in parts:
        element, name = _element_id(suite, part.index), _template(part.index)["templateName"]
        head = f"Test Job Template '{name}'"
        entries.append((part.started, _INFO, element, f"{head} execution started"))
        entries.append((part.started, _DEBUG, element, f"{head} files synchronized"))
        if part.failed:
            entries.append((part.updated, _ERROR, element, f"{head} execution failed"))
        elif not part.running:
            entries.append((part.updated, _INFO, element, f"{head} execution successful"))
    if run.stopped:
        entries.append((run.updated, _WARN, _WHOLE_RUN, f"Test run #{run.run_id} stopped by user"))
    elif not run.running:
        entries.append((run.updated, _INFO, _WHOLE_RUN, f"Test run #{run.run_id} done"))
    return [
        {
            "timestamp": millis(fleet.timeline.unix(at)),
            "logLevel": level,
            "threadName": f"TestSuiteExecutor-S:{suite.suite_id}-R:{run.run_id}",
            "testExecutionElementId": element,
            "logMessage": message,
            "stacktraceArray": ["java.lang.Exception"] if level == _ERROR else [],
        }
        for at, level, element, message in entries
    ]


def _agent_of_run(fleet: Fleet) -> Json:
    """Return the agent of a run; as in the vendor's example, it is not the suite's agent."""
    agent = next(iter(fleet.agents.values()), None)
    if agent is None:
        return {"containsMeasuringAgent": False}
    return {"containsMeasuringAgent": True, "measuringAgent": _shared_row(agent)}


def _shared_row(agent: Agent) -> Json:
    """Return an agent as in the detail of a run: with the additional fields, without token."""
    row = {key: value for key, value in agent_row(agent).items() if key != "authToken"}
    return {**row, "sharedMeasuringAgentTemplateId": -1, "isLaunchedByCloudCredits": False}
