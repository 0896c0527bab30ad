"""No secret of a reply, a request or the settings gets out."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import PollError
from tests.support.realload import Rig, exposed, fixture, reply


if TYPE_CHECKING:
    from exporter.sources.base import Explanation


_CANARY = "canary-7f3a"

#: Fields of replies with secrets or personal data; see `deploy/docs/vendors/realload.md`.
_SECRET_FIELDS = frozenset(
    [
        "authToken",
        "controllerAuthToken",
        "agentAuthToken",
        "recorderProxyAuthUsername",
        "recorderProxyAuthPassword",
        "recorderControlAuthToken",
        "certPassword",
        "certFileDataB64",
        "testjobSignature",
        "testjobAdditionalArguments",
        "defaultValue",
        "currentValue",
        "nickname",
        "firstName",
        "lastName",
        "primaryEmail",
        "primarySMSPhone",
        "secondaryEmail",
        "secondarySMSPhone",
        "lastLoginIP",
        "pingFromRemoteIp",
        "annotationArray",
        "errorMessage",
        "executedByUserNickname",
        "logMessage",
        "stacktraceArray",
        "threadName",
    ]
)

_CASES = {
    "getUserAccountInfo": "ok_inferred",
    "getPricePlanInfo": "ok_inferred",
    "getMeasuringAgents": "ok",
    "pingMeasuringAgent": "ok",
    "getClusterControllers": "ok",
    "pingClusterController": "ok",
    "getMeasuringAgentClusters": "ok",
    "pingMeasuringAgentClusterMembers": "partly_failed",
    "getProxyRecorders": "ok",
    "pingProxyRecorder": "ok",
    "getTestExecutionSuites": "ok",
    "getCurrentlyRunningTestExecutionSuiteIds": "none",
    "getTestExecutionSuiteTestRunResultDetail": "ok",
    "getMinRequiredMeasuringAgentVersion": "ok",
    "getMinRequiredClusterControllerVersion": "ok",
    "getMinRequiredProxyRecorderVersion": "ok",
    "getMeasuringAgentTestjobs": "ok",
    "getTestjobTemplates": "ok",
    "getProxyRecordersClientCertificates": "ok",
}

_TASKS = [
    "agents",
    "controllers",
    "clusters",
    "recorders",
    "suites",
    "versions",
    "jobs",
    "templates",
    "certificates",
]

_TARGETS = {
    "agent": "46",
    "controller": "198.51.100.1:8083",
    "cluster": "11",
    "recorder": "4",
    "suite": "3",
}


def planted(value: Any) -> Any:
    """Put the canary into every field that may hold a secret."""
    if isinstance(value, list):
        return [planted(element) for element in value]
    if not isinstance(value, dict):
        return value
    return {key: _CANARY if key in _SECRET_FIELDS else planted(part) for key, part in value.items()}


def rig() -> Rig:
    replies = {action: planted(fixture(f"{action}.{case}")) for action, case in _CASES.items()}
    # The vendor's example of a detail is of the second suite's run 5.
    suites = replies["getTestExecutionSuites"]["testExecutionSuitesArray"]
    suites[1]["testRunResultsArray"][-1]["testRunId"] = 5
    del suites[0]
    return Rig(
        replies,
        auth_token=_CANARY,
        proxy_url=f"http://user:{_CANARY}@proxy.example.net",
    )


@pytest.mark.parametrize("task", _TASKS)
async def test_keeps_secrets_out_of_readings(task: str) -> None:
    """Readings, samples and failures must contain no secret."""
    poll = await rig().source.poll(task)

    assert poll.readings
    assert _CANARY not in repr(poll)
    assert _CANARY not in repr(exposed(*poll.readings))


@pytest.mark.parametrize(("kind", "target_id"), _TARGETS.items())
async def test_keeps_secrets_out_of_explanations(kind: str, target_id: str) -> None:
    """The reply in an explanation must contain no secret."""
    explanation: Explanation = await rig().source.explain(kind, target_id)

    assert explanation.reply is not None
    assert _CANARY not in repr(explanation)


@pytest.mark.parametrize("status", [200, 401, 403, 500])
@pytest.mark.parametrize("body", [_CANARY.encode(), {"isError": True, "x": _CANARY}, [_CANARY]])
async def test_keeps_secrets_out_of_errors(status: int, body: Any) -> None:
    """Errors and their tracebacks must contain no part of a reply or a request."""
    source = rig()
    source.portal.script["getMeasuringAgents"] = reply(body, status)

    with pytest.raises(PollError) as caught:
        await source.source.poll("agents")

    assert _CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("task", _TASKS)
async def test_shows_no_secret_in_a_repr(task: str) -> None:
    """The `repr` of everything that a source keeps must contain no secret."""
    source = rig()
    await source.source.poll(task)

    client = source.source._client
    kept = [source.settings, source.source, client, *vars(client).values()]
    for part in source.source._tasks.values():
        inventory = getattr(part, "__self__", part)
        kept += [inventory, *vars(inventory).values()]
    assert _CANARY not in repr(kept)


async def test_sends_the_token_nowhere_but_in_the_body() -> None:
    """The request's `repr` shows neither body nor token."""
    source = rig()
    calls = []
    send = source.portal.send

    async def noting(call: Any) -> Any:
        calls.append(call)
        return await send(call)

    source.portal.send = noting  # type: ignore[method-assign]  # to look at the request itself
    await source.source.poll("controllers")

    assert calls
    assert all(_CANARY not in f"{call!r} {call.url} {dict(call.headers)}" for call in calls)
