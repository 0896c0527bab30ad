"""A poll must end normally or in an error of ours, whatever a reply's field contains."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import PollError
from tests.support.realload import FIXTURES, Rig, exposed, fixture, reply


if TYPE_CHECKING:
    from collections.abc import Iterator


_LISTS = {
    "agents": ("getMeasuringAgents", "pingMeasuringAgent"),
    "controllers": ("getClusterControllers", "pingClusterController"),
    "clusters": ("getMeasuringAgentClusters", "pingMeasuringAgentClusterMembers"),
    "recorders": (
        "getProxyRecorders",
        "pingProxyRecorder",
        "getMinRequiredProxyRecorderVersion",
    ),
    "suites": (
        "getTestExecutionSuites",
        "getCurrentlyRunningTestExecutionSuiteIds",
        "getTestExecutionSuiteTestRunResultDetail",
    ),
    "versions": (
        "getPricePlanInfo",
        "getMinRequiredMeasuringAgentVersion",
        "getMinRequiredClusterControllerVersion",
    ),
    "jobs": ("getMeasuringAgentTestjobs",),
    "templates": ("getTestjobTemplates",),
    "certificates": ("getProxyRecordersClientCertificates",),
}

_FILES = [
    (task, action, path.name.removesuffix(".json"))
    for task, actions in _LISTS.items()
    for action in actions
    for path in sorted(FIXTURES.glob(f"{action}.*.json"))
]

_EXTREMES: list[Any] = [
    0,
    -1,
    2**31,
    2**63,
    10**30,
    10**400,
    -(10**400),
    1e308,
    -1e308,
    5e-324,
    0.5,
    True,
    None,
    "",
    "-1",
    "9999999999999999999 MB",
    '\x00\n"\\{}',
    [],
    {},
    [[[[]]]],
]

_json = st.recursive(
    st.sampled_from(_EXTREMES) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["clusterMemberId", "isError", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every field and element."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    whole = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = other
    return whole


async def poll(task: str, action: str, body: Any) -> None:
    """Poll with one reply replaced; the readings have to render."""
    script: dict[str, Any] = {
        each: fixture(next(name for _, other, name in _FILES if other == each and ".ok" in name))
        for each in {other for _, other, _ in _FILES}
    }
    # The vendor's example of a detail is of run 5.
    script["getTestExecutionSuites"]["testExecutionSuitesArray"][1]["testRunResultsArray"][-1][
        "testRunId"
    ] = 5
    rig = Rig({**script, action: reply(json.dumps(body).encode())})
    try:
        result = await rig.source.poll(task)
    except PollError:
        return
    for name, value in exposed(*result.readings).items():
        assert value == value, name  # noqa: PLR0124 - what is not equal to itself is no number


@pytest.mark.parametrize(("task", "action", "name"), _FILES, ids=[name for *_, name in _FILES])
async def test_reads_every_fixture_with_extremes_at_every_place(
    task: str, action: str, name: str
) -> None:
    """No extreme value in any field of any fixture breaks a poll."""
    body = fixture(name)
    for number, place in enumerate(places(body)):
        await poll(task, action, replaced(body, place, _EXTREMES[number % len(_EXTREMES)]))


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)  # the machine's speed is not what is tested
@given(st.data())
def test_reads_any_json_at_any_place(data: st.DataObject) -> None:
    """No JSON value in any field of any fixture makes a poll raise anything but its own error."""
    task, action, name = data.draw(st.sampled_from(_FILES))
    body = fixture(name)
    place = data.draw(st.sampled_from(list(places(body))))

    asyncio.run(poll(task, action, replaced(body, place, data.draw(_json))))
