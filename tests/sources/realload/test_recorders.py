from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import Reason
from exporter.fleet.readings import Recorder
from tests.support.realload import Rig, Script, exposed, fixture, reply


_MINIMUM = "getMinRequiredProxyRecorderVersion"


def rig(ping: Script = "ok", minimum: Script = "ok", **settings: Any) -> Rig:
    return Rig(
        {"getProxyRecorders": "ok", "pingProxyRecorder": ping, _MINIMUM: minimum}, **settings
    )


def minimum(version: object) -> dict[str, object]:
    return {"minRequiredProxyRecorderVersion": version, "isError": False}


async def recorders_of(source: Rig) -> list[Recorder]:
    readings = await source.readings("recorders")
    return [reading for reading in readings if isinstance(reading, Recorder)]


async def test_exposes_the_documented_recorder() -> None:
    """The printed examples become exactly these samples."""
    first, second = await recorders_of(rig())

    own = 'recorder_id="3",recorder="Erster"'
    assert {
        f'recorder_info{{{own},host="recorder3.example.net",port="8082",version="0.2.0",'
        'os="Linux",os_version="5.4.0-74-generic",java_version="11.0.1",'
        'java_vendor="Oracle Corporation",location="",component_version="1.1.0"}': 1,
        f"recorder_up{{{own}}}": 1,
        f"recorder_outdated{{{own}}}": 0,
        f"recorder_clock_delta_seconds{{{own}}}": 0.79,
        f"recorder_ping_duration_seconds{{{own}}}": 0.088,
        f"recorder_last_up_timestamp_seconds{{{own}}}": 1_700_000_000,
        f"recorder_memory_limit_bytes{{{own}}}": 2147483648,
        f"recorder_recording{{{own}}}": 0,
        f"recorder_recorded_elements{{{own}}}": 0,
        f"recorder_protected{{{own}}}": 0,
    } == exposed(first)
    assert ("4", True) == (second.recorder_id, second.protected)


@pytest.mark.parametrize(
    ("ping", "reason"),
    [
        ("not_reachable", Reason.NOT_REACHABLE),
        ({"isError": True, "recorderIdError": True}, Reason.UNKNOWN_ID),
        ({"isError": True, "recorderAccessDeniedError": True}, Reason.ACCESS_DENIED),
    ],
)
async def test_reads_a_flag_as_the_recorders_state(ping: Script, reason: Reason) -> None:
    """A specific flag is data about the recorder."""
    first, _ = await recorders_of(rig(ping))

    assert first.state is not None
    assert (False, reason, None) == (first.state.up, first.state.reason, first.state.outdated)


@pytest.mark.parametrize(
    ("version", "least", "outdated"),
    [
        ("4.8.9", "4.8.24", True),
        ("4.8.24", "4.8.9", False),
        ("4.8.24", "4.8.24", False),
        ("unknown", "4.8.24", None),
        ("4.8.9", "", None),
        (None, "4.8.24", None),
    ],
)
async def test_compares_versions_number_by_number(
    version: str | None, least: str, outdated: bool | None
) -> None:
    """Versions must be compared number by number, and be unknown if they cannot."""
    ping = fixture("pingProxyRecorder.ok")
    ping["pongResponse"]["productVersion"] = version

    first, _ = await recorders_of(rig(ping, minimum(least)))

    assert first.state is not None
    assert outdated is first.state.outdated


async def test_uses_the_minimum_that_the_versions_task_knows() -> None:
    """The minimum is not asked for twice."""
    source = rig()
    source.portal.script |= {
        "getMinRequiredMeasuringAgentVersion": "ok",
        "getMinRequiredClusterControllerVersion": "ok",
        "getPricePlanInfo": "ok_inferred",
    }
    await source.readings("versions")

    first, _ = await recorders_of(source)

    assert first.state is not None
    assert first.state.outdated is False
    assert 1 == source.portal.asked.count(_MINIMUM)


async def test_does_without_a_minimum_that_cannot_be_read() -> None:
    """Without a minimum version, recorders must be judged, and the portal not be pressed for it."""
    source = rig("ok", reply(b"", 502))

    first, _ = await recorders_of(source)
    await source.time.advance(60)
    await recorders_of(source)

    assert first.state is not None
    assert (True, None) == (first.state.up, first.state.outdated)
    assert 1 == source.portal.asked.count(_MINIMUM)


async def test_asks_for_the_minimum_again_in_time() -> None:
    """A minimum version must be read again after an hour, a failed one after ten minutes."""
    source = rig("ok", reply(b"", 502))
    await recorders_of(source)
    source.portal.script[_MINIMUM] = "ok"
    await source.time.advance(600)
    await recorders_of(source)
    await source.time.advance(3599)
    await recorders_of(source)
    asked = source.portal.asked.count(_MINIMUM)
    await source.time.advance(1)

    await recorders_of(source)

    assert (2, 3) == (asked, source.portal.asked.count(_MINIMUM))
