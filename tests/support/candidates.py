"""The exporter's own providers, with the simulated vendors that they are tested with.

`tests/conformance` and `tests/faults` run for each entry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from exporter.conformance.candidate import SMALL, Candidate, Told
from exporter.conformance.faults.texts import TEXTS
from exporter.errors import Reason
from exporter.simulator.blazemeter import app as blazemeter
from exporter.simulator.blazemeter.account import MIN_AGENT_VERSION, Account
from exporter.simulator.eggplant import app as eggplant
from exporter.simulator.eggplant.lab import Lab
from exporter.simulator.realload import app as realload
from exporter.simulator.realload.fleet import Fleet
from exporter.sources.blazemeter import BLAZEMETER
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.locust import LOCUST
from exporter.sources.realload import REALLOAD
from exporter.sources.selenium import SELENIUM
from tests.support import locust, selenium


if TYPE_CHECKING:
    from starlette.applications import Starlette

    from exporter.clock import Clock
    from exporter.simulator.options import SimulatorOptions
    from exporter.simulator.world import World


def _key_file(token: str) -> str:
    key_id, _, secret = token.partition(":")
    return json.dumps({"id": key_id, "secret": secret})


def _lab(options: SimulatorOptions, clock: Clock, **server: Any) -> Starlette:
    lab = Lab(options, clock)
    lab.change("servers", "main", **server)
    return eggplant.app(lab, options, clock)


def _interrupted_suites(portal: World) -> None:
    for suite in portal.table("suites").values():
        suite.outcomes = ["fail"] * (suite.history - 1) + ["stop"]


def _interrupted_tests(account: World) -> None:
    for test in account.table("tests").values():
        test.verdicts = ["fail"] * (test.history - 1) + ["abort"]


def _interrupted_agents(lab: World) -> None:
    for agent in lab.table("agents").values():
        agent.outcome = "Incomplete"


def _run(options: SimulatorOptions) -> str:
    """Return the id of a run that is in flight when the account's life begins."""
    return str(Account(options).runs()[0].master_id)


#: Real Load's fields with secrets; see `deploy/docs/vendors/realload.md`.
_PORTAL_SECRETS = """
authToken controllerAuthToken agentAuthToken recorderControlAuthToken recorderProxyAuthUsername
recorderProxyAuthPassword certPassword certFileDataB64 testjobSignature testjobAdditionalArguments
defaultValue currentValue nickname firstName lastName primaryEmail primarySMSPhone secondaryEmail
secondarySMSPhone lastLoginIP pingFromRemoteIp annotationArray errorMessage
"""

#: Real Load's replies are judged by their body, if it can be read. A success that cannot be told
#: from a refusal has to count as a refusal; without texts there are no minimum versions.
_PORTAL_TOLD = {
    "numbers for strings": Told(reason=Reason.DECODE, answered=True),
    "invalid UTF-8": Told(reason=Reason.DECODE, answered=True),
    "nulls": Told(reason=Reason.AUTH, refused=True, answered=True),
    "500 with the reply": Told(reason=None),
    "400 with the reply": Told(reason=None),
    "flag": Told(reason=None, refused=True),
    "shape": Told(reason=None, refused=True),
    **{
        name: Told(reason=None)
        for name in (
            *("more fields", "more elements", "all twice", "the other way round"),
            *("empty lists", "keys twice"),
        )
    },
}

#: Expectations for logins: a token that is no text, or a wrong one, cannot be used.
_LOGIN_TOLD = {
    # In answer to a login, 403 means that no licence is free.
    "403": Told(reason=Reason.ACCESS_DENIED),
    # In answer to a login, 400 means that the client is unknown.
    "400 with the reply": Told(reason=Reason.AUTH, refused=True),
    "numbers for strings": Told(reason=Reason.DECODE),
    "invalid UTF-8": Told(reason=Reason.DECODE),
    "nulls": Told(reason=Reason.DECODE),
    **{
        fault.name: Told(reason=None, refused=True)
        for fault in TEXTS
        if fault.name.startswith("texts and names")
    },
}

#: The actions of Real Load that the client calls.
_ACTIONS = (
    *("getUserAccountInfo", "getMeasuringAgents", "pingMeasuringAgent"),
    *("getClusterControllers", "pingClusterController", "getMeasuringAgentClusters"),
    *("pingMeasuringAgentClusterMembers", "getProxyRecorders", "pingProxyRecorder"),
    *("getTestExecutionSuites", "getCurrentlyRunningTestExecutionSuiteIds"),
    *("getTestExecutionSuiteTestRunResultDetail", "getMinRequiredMeasuringAgentVersion"),
    *("getMinRequiredClusterControllerVersion", "getMinRequiredProxyRecorderVersion"),
    *("getPricePlanInfo", "getMeasuringAgentTestjobs", "getTestjobTemplates"),
    "getProxyRecordersClientCertificates",
)

#: One entry for each provider, or for each of its ways to log in.
CANDIDATES = (
    Candidate(
        name="realload",
        provider=REALLOAD,
        vendor=lambda options, clock: realload.app(Fleet(options, clock), options, clock),
        settings=lambda url, file: {
            "url": url + realload.PATH,
            "auth_token_file": str(file),
            "tasks": {"jobs": "1m", "templates": "10m", "certificates": "1h"},
        },
        secrets=frozenset(("hZUqDBNWfbYAUa",)),
        operations={action: rf'.*"action":"{action}"\}}' for action in _ACTIONS},
        told=_PORTAL_TOLD,
        allowed=r'POST /RemoteUserAPI \{(?!.*"synchronizeLocalTestjobsState":true).*'
        r'"action":"(get|ping)[A-Za-z]+"\}',
        part=r'.*"agentId":41,.*"action":"pingMeasuringAgent".*',
        target="41",
        pings=r'.*"action":"ping[A-Za-z]+".*',
        interrupted=_interrupted_suites,
        emptied=frozenset({"agents", "controllers", "clusters", "recorders", "suites"}),
        secret_fields=frozenset(_PORTAL_SECRETS.split()),
    ),
    Candidate(
        name="blazemeter",
        provider=BLAZEMETER,
        vendor=lambda options, clock: blazemeter.app(Account(options, clock), options, clock),
        settings=lambda url, file: {
            "url": url,
            "api_key_file": str(file),
            "workspaces": [200_001, 200_002],
            "min_agent_version": MIN_AGENT_VERSION,
            "run_linger": "5m",
        },
        credential=_key_file,
        allowed=r"GET /api/v4/(user|masters(/\d+(/status|/ci-status|/reports/default/summary)?)?"
        r"|tests/\d+|multi-tests(/\d+)?|private-locations(/\w+(/servers)?)?)"
        r"(\?\S*)? ",
        operations={
            "user": r"GET /api/v4/user.*",
            "masters": r"GET /api/v4/masters\?.*",
            "status": r"GET /api/v4/masters/\d+/status.*",
            "ci-status": r"GET /api/v4/masters/\d+/ci-status.*",
            "summary": r"GET /api/v4/masters/\d+/reports.*",
            "tests": r"GET /api/v4/tests/\d+.*",
            "locations": r"GET /api/v4/private-locations\?.*",
        },
        told={"404": Told(reason=Reason.HTTP_4XX, answered=True)},
        part=rf"GET /api/v4/masters/{_run(SMALL)}/status.*",
        target=_run(SMALL),
        interrupted=_interrupted_tests,
        emptied=frozenset({"locations"}),
        shortened=lambda account: account.change("services", "main", lost_rows=1),
        secret_fields=frozenset(
            ("email", "displayName", "publicToken", "publicUrl", "address", "hostName", "token")
        ),
    ),
    Candidate(
        name="eggplant",
        provider=EGGPLANT,
        vendor=_lab,
        settings=lambda url, file: {"url": url, "auth": {"access_token_file": str(file)}},
        allowed=rf"POST {eggplant.STATUS_PATH} |POST {eggplant.PROGRESS_PATH} id=[\w-]+",
        operations={"status": r"POST /api/sut/status .*"},
        # The reply is an array; an array without a readable entry is a surprise, not a failure.
        told={"array": Told(reason=None)},
        interrupted=_interrupted_agents,
        secret_fields=frozenset(("username", "last_log")),
    ),
    Candidate(
        name="eggplant-login",
        provider=EGGPLANT,
        # Each poll logs in anew.
        vendor=lambda options, clock: _lab(options, clock, life_seconds=60.0),
        settings=lambda url, file: {
            "url": url,
            "auth": {
                "token_url": eggplant.REALM_PATH,
                "client_id": eggplant.CLIENT["client_id"],
                "client_secret_file": str(file),
            },
        },
        fixed=eggplant.CLIENT["client_secret"],
        secrets=frozenset(("simulated-login-token",)),
        operations={"token": r"POST /auth/.*", "status": r"POST /api/sut/status .*"},
        told=_LOGIN_TOLD,
        allowed=rf"POST {eggplant.STATUS_PATH} |POST {eggplant.PROGRESS_PATH} id=[\w-]+"
        rf"|POST {eggplant.REALM_PATH} .*",
        interrupted=_interrupted_agents,
        part=rf"POST {eggplant.REALM_PATH} .*",
        secret_fields=frozenset(("username", "last_log")),
    ),
    Candidate(
        name="locust",
        provider=LOCUST,
        vendor=locust.app,
        settings=lambda url, file: {"url": url, "username": "exporter", "password_file": str(file)},
        credential=lambda token: token.partition(":")[2],
        allowed=r"GET /(stats/requests)? ",
        operations={"stats": r"GET /stats/requests .*", "page": r"GET / .*"},
        interrupted=locust.stopped,
        secret_fields=frozenset(("name", "method", "error", "host", "extra_options")),
    ),
    Candidate(
        name="selenium",
        provider=SELENIUM,
        vendor=selenium.app,
        settings=lambda url, file: {"url": url, "username": "exporter", "password_file": str(file)},
        credential=lambda token: token.partition(":")[2],
        allowed=r"GET /(status|se/grid/newsessionqueue/queue) |POST /graphql "
        r'\{"query":"\{ grid \{ version sessionQueueSize \} \}"\}',
        operations={"status": r"GET /status .*", "graphql": r"POST /graphql .*"},
        # So many texts make the reply larger than a trial's limit.
        told={"texts: 10,000 characters": Told(reason=Reason.DECODE)},
        secret_fields=frozenset(("sessionId", "id", "capabilities", "stereotype", "hostId")),
    ),
)
