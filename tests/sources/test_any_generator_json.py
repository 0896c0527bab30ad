"""A poll of Locust or Selenium must end normally, whatever a reply's field contains."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import PollError
from tests.sources.locust.support import STATS, Master
from tests.sources.realload.test_any_json import _EXTREMES, _json, places, replaced
from tests.sources.selenium.support import GRAPHQL, QUEUE, STATUS, Hub
from tests.support.generators import FIXTURES, recorded


if TYPE_CHECKING:
    from tests.support.generators import Bench


#: For the beginning of a recording's name, its generator and its path.
_PATHS = {
    "stats_requests": ("locust", STATS),
    "status": ("selenium", STATUS),
    "graphql": ("selenium", GRAPHQL),
    "queue": ("selenium", QUEUE),
}

_FILES = [
    (vendor, path, file.stem)
    for prefix, (vendor, path) in _PATHS.items()
    for file in sorted((FIXTURES / vendor).glob(f"{prefix}.*.json"))
]


async def poll(vendor: str, path: str, body: Any) -> None:
    """Poll with one reply replaced, and then without; the readings have to render."""
    bench: Bench = Master("running") if vendor == "locust" else Hub("two_up_one_session")
    if path == QUEUE:
        bench.server.says(GRAPHQL, b"", status=404)
    good = bench.server.answers[path]
    task = "agents" if path in (STATS, STATUS) else "controllers"
    bench.server.says(path, json.dumps(body).encode())
    with suppress(PollError):
        await polled(bench, task)
    bench.server.answers[path] = good
    await polled(bench, task)


async def polled(bench: Bench, task: str) -> None:
    for name, value in (await bench.samples(task)).items():
        assert value == value, name  # noqa: PLR0124 - what is not equal to itself is no number


@pytest.mark.parametrize(("vendor", "path", "name"), _FILES, ids=[name for *_, name in _FILES])
async def test_reads_every_recording_with_extremes_at_every_place(
    vendor: str, path: str, name: str
) -> None:
    """No extreme value in any field breaks a poll."""
    body = recorded(vendor, name)
    for number, place in enumerate(places(body)):
        await poll(vendor, path, replaced(body, place, _EXTREMES[number % len(_EXTREMES)]))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_reads_any_json_at_any_place(data: st.DataObject) -> None:
    """No JSON value in any field makes a poll raise anything but its own error."""
    vendor, path, name = data.draw(st.sampled_from(_FILES))
    body = recorded(vendor, name)
    place = data.draw(st.sampled_from(list(places(body))))

    asyncio.run(poll(vendor, path, replaced(body, place, data.draw(_json))))
