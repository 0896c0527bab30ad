"""The portal blocks an address after 5 refused calls within 60 seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exporter.errors import PollError, Reason
from tests.support.realload import FakePortal, Rig, fixture, reply, run_detail


_TASKS = ("agents", "controllers", "clusters", "recorders", "suites", "versions")

#: Shapes in which a portal may refuse a token; which one it uses is not documented.
_REFUSALS = [
    fixture("common.error_invalid_auth_token_inferred"),
    reply(b"<html>", 401),
    reply(b"", 403),
    reply({"isError": True, "agentNotReachableError": False}, 401),
    {"message": "invalid token"},
]


class Gatekeeper:
    """Refuses calls while it says so and counts the refusals."""

    def __init__(self, rig: Rig, refusal: Any, *, revoked: bool) -> None:
        self.rig = rig
        self.revoked = revoked
        self.refused_at: list[float] = []
        self._refusal = refusal
        portal: FakePortal = rig.portal
        portal.script = {
            action: self._guarded(answer) for action, answer in _script(agents=40).items()
        }

    def _guarded(self, answer: Any) -> Any:
        def choose(request: dict[str, Any]) -> Any:
            if self.revoked:
                self.refused_at.append(self.rig.time.monotonic)
                return self._refusal
            return answer(request) if callable(answer) else answer

        return choose

    @property
    def worst(self) -> int:
        """The most refusals within any 60 seconds."""
        return max(
            (
                sum(start <= other <= start + 60 for other in self.refused_at)
                for start in self.refused_at
            ),
            default=0,
        )


def _script(*, agents: int) -> dict[str, Any]:
    items = [
        {"agentId": number, "agentDescription": f"a{number}", "agentActive": True}
        for number in range(agents)
    ]
    return {
        "getUserAccountInfo": "ok_inferred",
        "getMeasuringAgents": {"measuringAgentsArray": items, "isError": False},
        "pingMeasuringAgent": "ok",
        "getClusterControllers": "ok",
        "pingClusterController": "ok",
        "getMeasuringAgentClusters": "ok",
        "pingMeasuringAgentClusterMembers": "ok",
        "getProxyRecorders": "ok",
        "pingProxyRecorder": "ok",
        "getTestExecutionSuites": "ok",
        "getCurrentlyRunningTestExecutionSuiteIds": "none",
        "getTestExecutionSuiteTestRunResultDetail": run_detail,
        "getMinRequiredMeasuringAgentVersion": "ok",
        "getMinRequiredClusterControllerVersion": "ok",
        "getMinRequiredProxyRecorderVersion": "ok",
        "getPricePlanInfo": "ok_inferred",
    }


async def poll_all(rig: Rig) -> list[Any]:
    return await asyncio.gather(*(rig.source.poll(task) for task in _TASKS), return_exceptions=True)


@pytest.mark.parametrize("refusal", _REFUSALS)
async def test_sends_a_wrong_token_once(refusal: Any) -> None:
    """The first refusal stops all tasks of the source."""
    rig = Rig()
    gate = Gatekeeper(rig, refusal, revoked=True)

    outcomes = await poll_all(rig)

    assert all(isinstance(outcome, PollError) for outcome in outcomes)
    assert ["getUserAccountInfo"] == rig.portal.asked
    assert 1 == len(gate.refused_at)
    assert (True, True) == (rig.source.auth_failed, rig.source.blocked)


@pytest.mark.parametrize("refusal", _REFUSALS)
@pytest.mark.parametrize("answered", [0, 1, 2, 3, 20, 39])
async def test_stops_when_the_token_is_revoked_under_way(refusal: Any, answered: int) -> None:
    """With 40 pings to go, fewer than 5 calls are refused, and no state is lost."""
    rig = Rig()
    gate = Gatekeeper(rig, refusal, revoked=False)
    before = (await rig.source.poll("agents")).readings
    pings = 0

    async def delay(request: dict[str, Any]) -> None:
        nonlocal pings
        if request["action"] == "pingMeasuringAgent":
            pings += 1
            gate.revoked = gate.revoked or pings > answered
        await asyncio.sleep(0)

    rig.portal.delay = delay
    poll = await rig.source.poll("agents")

    assert len(gate.refused_at) <= 4
    assert 40 == len(poll.readings)
    assert {r.agent_id for r in before} == {r.agent_id for r in poll.readings}  # type: ignore[attr-defined]  # all are agents
    assert all(reading.state for reading in poll.readings)  # type: ignore[attr-defined]  # all are agents
    assert {Reason.AUTH, Reason.BLOCKED} >= {failure.reason for failure in poll.failures}
    assert rig.source.auth_failed


@pytest.mark.parametrize("refusal", _REFUSALS)
async def test_stays_below_the_limit_for_hours(refusal: Any) -> None:
    """Polls go on, the secret stays wrong, and the address is never blocked."""
    rig = Rig()
    gate = Gatekeeper(rig, refusal, revoked=False)
    await poll_all(rig)
    gate.revoked = True

    for _ in range(120):
        await poll_all(rig)
        await rig.time.advance(10)

    assert 0 < gate.worst <= 4
    assert len(gate.refused_at) <= 4 + 120 * 10 // 300 + 1


async def test_returns_when_the_token_is_good_again() -> None:
    """After `auth_retry` one call is tried, and all goes on."""
    rig = Rig()
    gate = Gatekeeper(rig, _REFUSALS[0], revoked=True)
    await poll_all(rig)
    gate.revoked = False
    early = await poll_all(rig)
    await rig.time.advance(300)

    late = await poll_all(rig)

    assert all(isinstance(outcome, PollError) for outcome in early)
    assert not any(isinstance(outcome, BaseException) for outcome in late)
    assert (False, False) == (rig.source.auth_failed, rig.source.blocked)


async def test_manages_without_the_account_action() -> None:
    """A portal that doesn't offer the proof's action costs one `auth_retry`, and no more."""
    rig = Rig()
    gate = Gatekeeper(rig, _REFUSALS[0], revoked=False)
    rig.portal.script["getUserAccountInfo"] = {"isError": True, "genericErrorText": "no action"}
    first = await poll_all(rig)
    asked = list(rig.portal.asked)
    await rig.time.advance(300)

    second = await poll_all(rig)

    assert all(isinstance(outcome, PollError) for outcome in first)
    assert ["getUserAccountInfo"] == asked
    assert not any(isinstance(outcome, BaseException) for outcome in second)
    assert 1 == rig.portal.asked.count("getUserAccountInfo")
    assert [] == gate.refused_at


@pytest.mark.parametrize("refusal", _REFUSALS)
async def test_sends_no_second_proof_at_once(refusal: Any) -> None:
    """A bad token is tried with one call per `auth_retry`, whichever action proves it."""
    rig = Rig()
    gate = Gatekeeper(rig, refusal, revoked=True)

    for _ in range(4):
        await poll_all(rig)
        await rig.time.advance(300)

    assert 4 == len(gate.refused_at)


async def test_keeps_the_memory_over_a_reload() -> None:
    """A new source with the same secret must not start its count of refusals again."""
    rig = Rig()
    Gatekeeper(rig, _REFUSALS[0], revoked=True)
    await poll_all(rig)
    again = Rig(ledger=rig.ledger)
    gate = Gatekeeper(again, _REFUSALS[0], revoked=True)

    await poll_all(again)

    assert [] == gate.refused_at
    assert again.source.auth_failed


async def test_goes_on_after_an_error_of_a_calls_own() -> None:
    """A target whose call fails without a flag must not stop the others."""
    rig = Rig()
    Gatekeeper(rig, _REFUSALS[0], revoked=False)
    error = fixture("common.error_generic")
    rig.portal.script["pingMeasuringAgent"] = lambda request: (
        error if request["agentId"] == 7 else "ok"
    )

    poll = await rig.source.poll("agents")

    assert [(Reason.API_ERROR, "7")] == [(f.reason, f.target) for f in poll.failures]
    assert 39 == sum(reading.state is not None for reading in poll.readings)  # type: ignore[attr-defined]  # all are agents
    assert poll.asked
