from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec
import pytest
from structlog.testing import capture_logs

from exporter.clock import Moment
from exporter.fleet.readings import Agent, AgentJobs, Suite
from exporter.sources.memory import (
    known_readings,
    moment_of,
    remembered,
    unix_of,
)
from tests.sources.blazemeter.support import BASE, Bench


if TYPE_CHECKING:
    from exporter.sources.base import Client


NOW = Moment(unix=1_000_000.0, monotonic=50.0)


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """A memory."""

    version: Literal[1]
    number: int
    seconds: float = 0.0


def client(**before: object) -> Client:
    """Make a client that has this from before."""
    source = Bench(workspaces=[1]).connect(**before)
    return source._client


def test_is_found_again() -> None:
    """A task must read back the memory it wrote."""
    notes = Notes(version=1, number=10**30, seconds=0.1)

    found = remembered(client(memory={"notes": msgspec.json.encode(notes)}), "notes", Notes)

    assert notes == found


def test_is_none_at_the_first_start() -> None:
    """The absence of a memory must not be logged."""
    with capture_logs() as logs:
        found = remembered(client(), "notes", Notes)

    assert found is None
    assert [] == logs


@pytest.mark.parametrize(
    "memory",
    [
        b"\xff",
        b"[]",
        b'{"version":2,"number":1}',
        b'{"number":1}',
        b'{"version":1,"number":"canary"}',
        b'{"version":1,"number":1,"seconds":NaN}',
        b'{"version":1,"number":1,"seconds":1e999}',
        b'{"version":1,"number":1,"x":' + b"[" * 200_000,
    ],
)
def test_is_ignored_unless_it_is_of_its_form(memory: bytes) -> None:
    """Damage and other versions cost a line that quotes nothing."""
    with capture_logs() as logs:
        found = remembered(client(memory={"notes": memory}), "notes", Notes)

    assert found is None
    assert [("memory_ignored", "notes")] == [(log["event"], log["task"]) for log in logs]
    assert "canary" not in str(logs)


def test_keeps_ages_on_another_clock() -> None:
    """An age must be kept over a change of the monotonic clock."""
    unix = unix_of(40.0, NOW)
    later = Moment(unix=NOW.unix + 5, monotonic=2.0)

    moment = moment_of(unix, later)

    assert Moment(unix=NOW.unix - 10, monotonic=2.0 - 15) == moment


@pytest.mark.parametrize("unix", [1_000_001.0, 1e300, math.inf, math.nan])
def test_takes_what_is_still_to_come_for_now(unix: float) -> None:
    """A clock that was set back, or damage, makes nothing younger than now."""
    assert NOW == moment_of(unix, NOW)


@pytest.mark.parametrize(
    ("last_up", "shown"),
    [
        (None, None),
        (BASE, BASE),
        (BASE + 1000, BASE + 60),
        (math.inf, BASE + 60),
        (-1.0, None),
        (-math.inf, None),
        (math.nan, None),
    ],
)
def test_believes_no_odd_time(last_up: float | None, shown: float | None) -> None:
    """A target was last up now at the latest, and not before the epoch."""
    agent = Agent(agent_id="1", agent="a", last_up_timestamp_seconds=last_up)

    (known,) = known_readings(client(known={"agents": (agent,)}), "agents", Agent)

    assert shown == known.last_up_timestamp_seconds


def test_yields_the_readings_of_a_type_only() -> None:
    """A task's readings can be of several types."""
    suite = Suite(suite_id="1", suite="s")
    jobs = AgentJobs(agent_id="1", agent="a", read_at=NOW)

    assert [suite] == list(known_readings(client(known={"x": (jobs, suite)}), "x", Suite))
