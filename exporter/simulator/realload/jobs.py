"""Real Load's replies about the account, projects, templates and jobs."""

from __future__ import annotations

from typing import Final

from exporter.simulator.realload.agents import Handler, Json, failure
from exporter.simulator.realload.fleet import AGENT_VERSION, OWNER_ID, Agent, Fleet


_JOB_PERIOD_SECONDS: Final = 180.0
_JOB_SECONDS: Final = 60.0
_SIGNATURE: Final = "c2ltdWxhdGVkLXNpZ25hdHVyZS1vcGVucy1ub3RoaW5n"
_TEMPLATE_NAMES: Final = ("Simple test 5VU", "Login test 10VU", "Search test 50VU")
TEMPLATES: Final = len(_TEMPLATE_NAMES)
_CREATED_MILLIS: Final = "1695047319785"


def _properties(**changes: str) -> dict[str, str]:
    """Return the properties of a job, all of them texts as in the vendor's replies."""
    return {
        "testjobResultFileName": "",
        "executeMeasuringAgentClusterInfo": "",
        "testjobConcurrentUsers": "5",
        "testjobDescription": "Simulated test",
        "testjobDebugMeasuring": "false",
        "testjobMaxTestDuration": "60",
        "isClusterJob": "",
        "testjobRampUpTime": "10",
        "localTestjobId": "",
        "testjobMaxLoopsPerUser": "-1",
        "productVersion": AGENT_VERSION,
        "remoteTestjobId": "",
        "testjobAdditionalArguments": "-password simulated",
        "definedFromTestId": "384",
        "testjobSignature": "",
        "testjobDelayPerLoop": "1000",
        "testjobExitCode": "",
        "createTimeStamp": _CREATED_MILLIS,
        "userInputFieldsFileName": "",
        "testjobType": "load test",
        "enableAutomaticFileSync": "true",
        "testjobState": "invalid",
        "isClusterControllerJobProperties": "",
        "testjobDebugExecution": "false",
        "executeOnUserMeasuringAgentId": "",
        "definedFromTimeZoneId": "Europe/Berlin",
        "executeMeasuringAgentInfo": "",
        "executeOnMeasuringAgentClusterId": "",
        **changes,
    }


_TEST_PROPERTIES: Final[Json] = {
    "referencedResourceFilesList": [
        {"projectId": 130, "testplanId": 203, "fileName": "example-library.jar"}
    ],
    "jsonConfigObject": {},
    "executingScript": "SimpleTest.jar",
    "executingScriptResourceFileList": "",
    "createTimeStamp": "1694549112155",
    "testDescription": "",
    "definedFromTestplanId": "251",
    "productVersion": AGENT_VERSION,
    "definedFromProjectId": "137",
    "visibleTestName": "SimpleTest",
    "scriptType": "OpenJDK11Jar",
    "testId": "384",
}


def _agent_jobs(fleet: Fleet, request: Json) -> Json:
    """Return an agent's jobs. A job begins every three minutes and takes one minute."""
    agent_id = request.get("measuringAgentId")
    agent = fleet.agents.get(str(agent_id))
    if agent is None:
        return failure(f"Invalid agentId = {agent_id}")
    moment = fleet.timeline.moment()
    if not agent.is_up(moment):
        return failure(f"API V1 request to {agent.host}:{agent.port} timed out")
    turn, into = divmod(moment + agent.jitter * _JOB_PERIOD_SECONDS, _JOB_PERIOD_SECONDS)
    states = ["completed", "completed", "ready to run"]
    states[1] = "running" if into < _JOB_SECONDS else "completed"
    first = 30_717 + 2 * int(turn)
    return {
        "agentResponse": {
            "allTestjobsArray": [
                {
                    "testjobProperties": _job(agent, first + index, state),
                    "testProperties": _TEST_PROPERTIES,
                }
                for index, state in enumerate(states)
            ],
            "httpExecuteTimeMillis": 60 + int(agent.jitter * 160),
        }
    }


def _job(agent: Agent, job_id: int, state: str) -> dict[str, str]:
    return _properties(
        testjobState=state,
        testjobExitCode="0" if state == "completed" else "",
        localTestjobId=str(job_id),
        remoteTestjobId=str(job_id - 15_000),
        isClusterJob="false",
        testjobSignature=_SIGNATURE,
        executeOnUserMeasuringAgentId=str(agent.agent_id),
    )


def template_row(index: int) -> Json:
    """Return a job template; the second one has input fields."""
    name = _TEMPLATE_NAMES[index]
    template: Json = {
        "templateId": 10 + index,
        "templateName": name,
        "templateDescription": "",
        "testjobProperties": _properties(testjobDescription=name),
        "hasUserInputFields": index == 1,
    }
    if index == 1:
        head: Json = {"useShortNames": False, "productVersion": AGENT_VERSION}
        field = {
            **head,
            "label": "Password",
            "variableName": "vPassword",
            "inputType": "string",
            "defaultValue": "simulated-input",
            "currentValue": "simulated-input",
        }
        template["testjobProperties"]["userInputFieldsFileName"] = "InputFields.json"
        template["userInputFieldsFile"] = {
            "useShortNames": False,
            "magicPattern": "UserInputFields",
            "productVersion": AGENT_VERSION,
            "userInputFieldsArray": [field],
        }
    return template


def _templates(_: Fleet, __: Json) -> Json:
    return {
        "testjobTemplatesArray": [
            {"testjobTemplate": template_row(index), "testIsHealthy": index != 2}
            for index in range(TEMPLATES)
        ]
    }


def _file(name: str, size_bytes: int) -> Json:
    return {
        "fileName": name,
        "fileSize": size_bytes,
        "fileHashCode": -2033420926,
        "fileLastModified": 1613838181727,
    }


def _resource_sets() -> list[Json]:
    return [
        {
            "resourceSetId": 154,
            "resourceSetName": "Input Files",
            "resourceSetDescription": "",
            "filesArray": [_file("InputFile.txt", 233)],
        },
        {
            "resourceSetId": 155,
            "resourceSetName": "Jar Files",
            "resourceSetDescription": "",
            "filesArray": [_file("example-library.jar", 578_087), _file("SimpleTest.jar", 9_211)],
        },
    ]


def _project_tree(_: Fleet, __: Json) -> Json:
    project = {
        "projectId": 97,
        "projectName": "Common",
        "projectDescription": "",
        "resourceSetsArray": _resource_sets(),
    }
    return {"projectsArray": [project]}


def _account(_: Fleet, __: Json) -> Json:
    return {
        "userAccountInfo": {
            "userId": OWNER_ID,
            "nickname": "example-user",
            "firstName": "Erika",
            "lastName": "Example",
            "primaryEmail": "user@example.net",
            "primarySMSPhone": "",
            "secondaryEmail": "",
            "secondarySMSPhone": "",
            "accountBlocked": False,
            "accountCreateTime": 1538556183756,
            "lastLoginTime": 1625181623869,
            "lastLoginIP": "203.0.113.77",
            "pricePlanId": 2,
            "accountExpiresTime": -1,
            "pricePlanTitle": "Example Plan",
        }
    }


def _price_plan(_: Fleet, __: Json) -> Json:
    return {
        "pricePlanInfo": {
            "pricePlanId": 2,
            "pricePlanTitle": "Example Plan",
            "maxDurationPerLoadJob": 3600,
        }
    }


def _out_files(fleet: Fleet, _: Json) -> Json:
    out_file = {
        "fileName": "DataCollector.out",
        "fileSize": 6537,
        "lastModified": int(fleet.timeline.now() * 1000),
        "mimeType": "application/octet-stream",
    }
    return {"isClusterJob": False, "filesInfoArray": [out_file]}


JOB_HANDLERS: Final[dict[str, Handler]] = {
    "getUserAccountInfo": _account,
    "getPricePlanInfo": _price_plan,
    "getProjectTree": _project_tree,
    "getResourceSetsOfProject": lambda *_: {"resourceSetsArray": _resource_sets()},
    "getFilesInfoOfResourceSet": lambda *_: {"filesArray": [_file("InputFile.txt", 233)]},
    "getFile": lambda *_: {**_file("InputFile.txt", 2), "fileContentB64": "T0s="},
    "getTestjobTemplates": _templates,
    "getMeasuringAgentTestjobs": _agent_jobs,
    "getTestjobOutDirectoryFilesInfo": _out_files,
    "getTestjobOutDirectoryFile": lambda *_: {"fileContentB64": "T0s="},
    "getTestExecutionSuiteTestRunTestJobOutputFileContent": lambda *_: {"fileContentB64": "T0s="},
}
