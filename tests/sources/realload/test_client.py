from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import CallError, PollError, Reason
from exporter.sources.realload import actions
from exporter.sources.realload.actions import READ_ONLY, Action
from exporter.sources.realload.client import RealLoadClient
from exporter.sources.realload.replies import Envelope
from tests.support.realload import TOKEN, Rig, Script, fixture, reply


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.http import Reply


#: Actions that would change or delete something; see `deploy/docs/vendors/realload.md`.
MUTATING = [
    "createProject",
    "deleteProject",
    "createResourceSet",
    "deleteResourceSet",
    "createFile",
    "deleteFile",
    "addMeasuringAgent",
    "setMeasuringAgentActive",
    "deleteMeasuringAgent",
    "addMeasuringAgentCluster",
    "addMemberToMeasuringAgentCluster",
    "removeMemberFromMeasuringAgentCluster",
    "setMeasuringAgentClusterActive",
    "deleteMeasuringAgentCluster",
    "addProxyRecorder",
    "deleteProxyRecorder",
    "addProxyRecordersClientCertificate",
    "setProxyRecordersClientCertificateActive",
    "modifyProxyRecordersClientCertificate",
    "deleteProxyRecordersClientCertificate",
    "defineNewTestjobFromTemplate",
    "submitTestjob",
    "makeTestjobReadyToRun",
    "startTestjob",
    "saveTestjobOutDirectoryFileToProjectTree",
    "deleteTestjob",
    "startTestExecutionSuiteTestRun",
    "deleteTestExecutionSuiteTestRun",
]


def client_of(rig: Rig) -> RealLoadClient:
    client = rig.source._client
    assert isinstance(client, RealLoadClient)
    return client


async def refusal(answer: Script) -> PollError:
    """Return the error of a list that is answered so, by a portal that accepts the token."""
    rig = Rig({"getMeasuringAgents": answer})
    with pytest.raises(PollError) as caught:
        await client_of(rig).call(actions.AGENTS)
    return caught.value


async def test_sends_token_and_action_in_the_body() -> None:
    """Every request is one POST of one JSON object."""
    rig = Rig({"getMeasuringAgents": "ok"})

    await client_of(rig).call(actions.AGENTS)

    assert [
        {"authTokenValue": TOKEN, "action": "getUserAccountInfo"},
        {"authTokenValue": TOKEN, "action": "getMeasuringAgents"},
    ] == rig.portal.requests


@pytest.mark.parametrize("name", [*MUTATING, "getFile", "pingmeasuringagent", ""])
async def test_refuses_every_action_not_on_the_list(name: str) -> None:
    """A call that is not on the list of reading calls must be refused unsent."""
    rig = Rig()
    action = Action(name=name, reply=Envelope)

    with pytest.raises(ValueError, match="read-only"):
        await client_of(rig).call(action)

    assert [] == rig.portal.requests


def test_allows_the_twenty_read_only_actions() -> None:
    """The client must allow 20 actions, all those in use and none that changes something."""
    in_use = {value.name for value in vars(actions).values() if isinstance(value, Action)}

    assert 20 == len(READ_ONLY)
    assert set() == READ_ONLY & set(MUTATING)
    assert in_use <= READ_ONLY


async def test_lets_nobody_choose_what_is_fixed() -> None:
    """A caller must be able to set neither the token nor the synchronisation."""
    rig = Rig({"getMeasuringAgentTestjobs": "none"})
    fields = {"synchronizeLocalTestjobsState": True, "authTokenValue": "x", "action": "deleteFile"}

    await client_of(rig).call(actions.AGENT_JOBS, fields)

    assert {
        "synchronizeLocalTestjobsState": False,
        "authTokenValue": TOKEN,
        "action": "getMeasuringAgentTestjobs",
    } == rig.portal.requests[-1]


async def test_reads_a_changed_token_file(tmp_path: Path) -> None:
    """A rotated token is used without a restart, once it is proven."""
    file = tmp_path / "token"
    file.write_text("first\n")
    rig = Rig({"getMeasuringAgents": "ok"}, auth_token=None, auth_token_file=str(file))
    await client_of(rig).call(actions.AGENTS)
    file.write_text("the second\n")

    await client_of(rig).call(actions.AGENTS)

    sent = [request["authTokenValue"] for request in rig.portal.requests]
    assert ["first"] * 2 + ["the second"] * 2 == sent


async def test_names_the_file_of_a_token_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is an error of its own; nothing is sent."""
    file = tmp_path / "token"
    file.write_text("first\n")
    rig = Rig(auth_token=None, auth_token_file=str(file))
    file.unlink()

    with pytest.raises(PollError, match=str(file)) as caught:
        await client_of(rig).call(actions.AGENTS)

    assert Reason.AUTH is caught.value.reason
    assert [] == rig.portal.requests


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
async def test_reads_the_body_whatever_the_status(status: int) -> None:
    """Errors' statuses are not documented, so a readable body decides."""
    rig = Rig(
        {"pingMeasuringAgent": reply(fixture("pingMeasuringAgent.not_reachable"), status)},
    )

    answer = await client_of(rig).call(actions.AGENT_PING, {"agentId": 1})

    assert actions.NOT_REACHABLE == answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(b"", 401), Reason.AUTH),
        (reply({"isError": True}, 401), Reason.AUTH),
        (reply(b"<html>", 403), Reason.ACCESS_DENIED),
        (reply({"message": "no"}, 403), Reason.ACCESS_DENIED),
        (reply({"isError": True}), Reason.API_ERROR),
        (reply({"isError": True}, 500), Reason.HTTP_5XX),
        (reply({"message": "no"}), Reason.DECODE),
        (reply({"isError": "maybe"}), Reason.DECODE),
    ],
)
async def test_proves_the_token_after_a_suspect_reply(answer: Reply, reason: Reason) -> None:
    """A reply that may be a refusal must be the call's own error only after a fresh proof."""
    rig = Rig({"getMeasuringAgents": answer})

    with pytest.raises(CallError) as caught:
        await client_of(rig).call(actions.AGENTS)

    assert reason is caught.value.reason
    asked = ["getUserAccountInfo", "getMeasuringAgents"] * 2
    assert asked == rig.portal.asked, "the second time, to confirm that it is no refusal"
    assert not client_of(rig).guard.open


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(b"<html>", 404), Reason.HTTP_4XX),
        (reply(b"", 302), Reason.HTTP_4XX),
        (reply(b"<html>", 500), Reason.HTTP_5XX),
        (reply({"status": 500}, 500), Reason.HTTP_5XX),
        (reply(b"", 429), Reason.RATE_LIMITED),
        (reply({"isError": True}, 429), Reason.RATE_LIMITED),
        (b"<html>", Reason.DECODE),
        (b"[]", Reason.DECODE),
        ({"isError": False}, Reason.DECODE),
        ({"isError": False, "measuringAgentsArray": "none"}, Reason.DECODE),
        (CallError(Reason.DNS, "no such name"), Reason.DNS),
    ],
)
async def test_needs_no_proof_after_other_errors(answer: Script, reason: Reason) -> None:
    """A reply that cannot be a refusal must be an error at once, without a new proof."""
    rig = Rig({"getMeasuringAgents": answer})

    with pytest.raises(CallError) as caught:
        await client_of(rig).call(actions.AGENTS)

    assert reason is caught.value.reason
    assert ["getUserAccountInfo", "getMeasuringAgents"] == rig.portal.asked


@pytest.mark.parametrize(
    "answer",
    [b"canary", {"isError": True, "genericErrorText": "canary"}, {"isError": False, "a": "canary"}],
)
async def test_quotes_no_reply(answer: Script) -> None:
    """No part of a body gets into an error or its causes."""
    error: BaseException | None = await refusal(answer)

    while error is not None:
        assert "canary" not in str(error)
        error = error.__cause__ or error.__context__


async def test_counts_calls_by_outcome() -> None:
    """Each call is counted once, under what became of it."""
    rig = Rig({"getMeasuringAgents": reply(b"", 503)})

    with pytest.raises(CallError):
        await client_of(rig).call(actions.AGENTS)

    assert 1 == rig.requests("getUserAccountInfo", "ok")
    assert 1 == rig.requests("getMeasuringAgents", "http_5xx")


async def test_prefers_data_to_flags_when_there_is_no_error() -> None:
    """A flag beside `isError` false says nothing."""
    body: dict[str, Any] = fixture("pingMeasuringAgent.ok")
    body["agentNotReachableError"] = True
    rig = Rig({"pingMeasuringAgent": body})

    answer = await client_of(rig).call(actions.AGENT_PING, {"agentId": 1})

    assert not isinstance(answer, actions.Flagged)


async def test_closes_its_connections() -> None:
    """Closing the source closes what is under it."""
    rig = Rig()

    await rig.source.aclose()

    assert rig.portal.closed


async def test_blames_the_portal_when_a_list_times_out() -> None:
    """A call that has no target can't be any target's fault."""
    rig = Rig({"getMeasuringAgents": "ok"})
    await client_of(rig).call(actions.AGENTS)
    rig.portal.script["getMeasuringAgents"] = CallError(Reason.TIMEOUT, "late")

    with pytest.raises(CallError) as caught:
        await client_of(rig).call(actions.AGENTS)

    assert CallError is type(caught.value)
