"""A poll must end normally, and its readings must render, for any bytes a vendor sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.conformance.trial import parsed
from exporter.errors import PollError
from exporter.fleet.store import Snapshot
from exporter.metrics.exposition import page_of
from tests.fuzz.mutations import mutated
from tests.sources.blazemeter import support as blazemeter
from tests.sources.eggplant import support as eggplant
from tests.support import realload
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from collections.abc import Awaitable

    from exporter.sources.base import Poll


# The machine's speed is not what is tested.
patient = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


async def ends_well(polling: Awaitable[Poll]) -> None:
    """Check that a poll ends in readings that can be exposed, or in its own error."""
    try:
        poll = await polling
    except PollError:
        return
    page = page_of(
        Snapshot(
            provider="any",
            source="any",
            task="any",
            readings=poll.readings,
            taken=FakeClock().clock.now(),
            stale_after=60.0,
        )
    )
    for (name, _), value in parsed(page.body.decode()).items():
        assert value == value, name  # noqa: PLR0124 - what is not equal to itself is no number


#: By action: the task that asks for it.
REALLOAD_TASKS = {
    "getMeasuringAgents": "agents",
    "pingMeasuringAgent": "agents",
    "getClusterControllers": "controllers",
    "pingClusterController": "controllers",
    "getMeasuringAgentClusters": "clusters",
    "pingMeasuringAgentClusterMembers": "clusters",
    "getProxyRecorders": "recorders",
    "pingProxyRecorder": "recorders",
    "getTestExecutionSuites": "suites",
    "getPricePlanInfo": "versions",
    "getMeasuringAgentTestjobs": "jobs",
    "getTestjobTemplates": "templates",
    "getProxyRecordersClientCertificates": "certificates",
    "getUserAccountInfo": "agents",
}

REALLOAD = sorted(
    (action, path.read_bytes())
    for path in realload.FIXTURES.glob("*.json")
    if (action := path.name.partition(".")[0]) in REALLOAD_TASKS
)

_WELL = {
    action: next(
        path.name.removesuffix(".json")
        for path in sorted(realload.FIXTURES.glob(f"{action}.*.json"))
        if ".ok" in path.name
    )
    for action in {path.name.partition(".")[0] for path in realload.FIXTURES.glob("*.ok*.json")}
}


@patient
@given(st.data())
def test_realload(data: st.DataObject) -> None:
    """No bytes in place of any reply of Real Load break a poll."""
    action, original = data.draw(st.sampled_from(REALLOAD))
    body = data.draw(mutated(original) | st.binary(max_size=200))
    rig = realload.Rig({**_WELL, action: realload.reply(body)})

    asyncio.run(ends_well(rig.source.poll(REALLOAD_TASKS[action])))


RUN = 82000000

BLAZEMETER = {
    path.name.removesuffix(".json"): path.read_bytes()
    for path in sorted(blazemeter.FOLDER.glob("*.json"))
}


@patient
@given(st.data())
def test_blazemeter(data: st.DataObject) -> None:
    """No bytes in place of any reply of BlazeMeter break a poll."""
    name = data.draw(st.sampled_from(sorted(BLAZEMETER)))
    body = data.draw(mutated(BLAZEMETER[name]) | st.binary(max_size=200))
    bench = blazemeter.Bench(workspaces=[blazemeter.WORKSPACE], masters=[RUN])
    account = bench.account
    for key in (
        f"masters?workspaceId={blazemeter.WORKSPACE}",
        f"private-locations?workspaceId={blazemeter.WORKSPACE}",
        f"masters/{RUN}",
        f"masters/{RUN}/status",
        f"masters/{RUN}/status+events",
    ):
        account.answers[key] = httpx.Response(200, content=body)
    if data.draw(st.booleans()):
        account.answers["user"] = httpx.Response(200, content=body)

    async def polls() -> None:
        for task in ("agents", "runs", "runs"):
            await ends_well(bench.poll(task))
            bench.time.shift(60)

    asyncio.run(polls())


EGGPLANT = {path.name: path.read_bytes() for path in sorted(eggplant.FIXTURES.glob("*.json"))}


@patient
@given(st.data())
def test_eggplant(data: st.DataObject) -> None:
    """No bytes in place of any reply of Eggplant, its logins included, break a poll."""
    name = data.draw(st.sampled_from(sorted(EGGPLANT)))
    status = data.draw(st.sampled_from([200, 200, 401, 403, 500]))
    body = data.draw(mutated(EGGPLANT[name]) | st.binary(max_size=200))
    bench = eggplant.Bench(auth=eggplant.CLIENT)
    if data.draw(st.booleans()):
        bench.server.login = (status, body)
    bench.server.status = (status, body)

    asyncio.run(ends_well(bench.source.poll("agents")))
