from __future__ import annotations

import math

import pytest

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Account, MinVersion
from tests.support.realload import Rig, Script, exposed, reply


_OK = {
    "getMinRequiredMeasuringAgentVersion": "ok",
    "getMinRequiredClusterControllerVersion": "ok",
    "getMinRequiredProxyRecorderVersion": "ok",
    "getPricePlanInfo": "ok_inferred",
}


async def plan(answer: Script) -> tuple[Rig, list[float | None]]:
    """Return the duration limits found in a price plan."""
    source = Rig({**_OK, "getPricePlanInfo": answer})
    readings = await source.readings("versions")
    limits = [r.job_duration_limit_seconds for r in readings if isinstance(r, Account)]
    return source, limits


async def test_exposes_versions_and_the_price_plan() -> None:
    """The examples become exactly these samples."""
    readings = await Rig(_OK).readings("versions")

    assert {
        'min_required_version_info{component="measuring_agent",version="3.9.30"}': 1,
        'min_required_version_info{component="cluster_controller",version="4.0.4"}': 1,
        'min_required_version_info{component="proxy_recorder",version="0.2.0"}': 1,
        "account_job_duration_limit_seconds{}": math.inf,
    } == exposed(*readings)


async def test_reads_a_limited_price_plan() -> None:
    """A limit is a number of seconds."""
    _, limits = await plan("limited_inferred")

    assert [3600.0] == limits


@pytest.mark.parametrize(
    "body",
    [
        {"maxDurationPerLoadJob": 60, "isError": False},
        {"a": [{"b": {"maxDurationPerLoadJob": 60}}], "isError": False},
        {"maxDurationPerLoadJob": "x", "a": {"maxDurationPerLoadJob": 60.0}, "isError": False},
    ],
)
async def test_finds_the_limit_at_any_place(body: dict[str, object]) -> None:
    """The shape of the price plan is not documented."""
    _, limits = await plan(body)

    assert [60.0] == limits


@pytest.mark.parametrize(
    "body",
    [
        b'{"isError": false}',
        b'{"isError": false, "x": {"maxDurationPerLoadJob": true}}',
        b'{"isError": false, "x": {"maxDurationPerLoadJob": 1e999}}',
        b'{"isError": false, "x":'
        + b"[" * 500
        + b'{"maxDurationPerLoadJob": 1}'
        + b"]" * 500
        + b"}",
    ],
)
async def test_does_without_a_limit_it_cannot_find(body: bytes) -> None:
    """A price plan without a readable limit is a surprise and no failure."""
    source, limits = await plan(body)

    assert [] == limits
    assert 1 == source.surprises("missing_field")


async def test_shows_no_empty_version() -> None:
    """A version that is not given has no series."""
    empty = {"minRequiredProxyRecorderVersion": "", "isError": False}
    readings = await Rig({**_OK, "getMinRequiredProxyRecorderVersion": empty}).readings("versions")

    components = [r.component for r in readings if isinstance(r, MinVersion)]
    assert ["measuring_agent", "cluster_controller"] == components


async def test_keeps_a_value_while_it_is_not_stale() -> None:
    """One failed call costs its value only when that is too old."""
    source = Rig(_OK)
    before = await source.readings("versions")
    source.portal.script["getMinRequiredMeasuringAgentVersion"] = reply(b"", 502)
    await source.time.advance(600)

    carried = await source.source.poll("versions")
    await source.time.advance(1201)
    stale = await source.source.poll("versions")

    assert before == carried.readings
    assert before[1:] == stale.readings
    assert [Reason.HTTP_5XX] == [failure.reason for failure in stale.failures]


async def test_tells_nothing_when_all_calls_fail() -> None:
    """Without any answer there is no snapshot."""
    source = Rig(dict.fromkeys(_OK, reply(b"", 502)))

    with pytest.raises(PollError) as caught:
        await source.source.poll("versions")

    assert Reason.HTTP_5XX is caught.value.reason
