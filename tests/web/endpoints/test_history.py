from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import StateError
from exporter.fleet.readings import Outcome
from exporter.history.records import HOUR, Condition, Records, SuiteResult, Tally, Transition
from exporter.history.summary import TargetHistory, summarized
from tests.web import fakes


TARGET = "source=prod&kind=agent&id=7"

#: The hour in which it is now began 800 s ago.
PRESENT = int(fakes.NOW.unix) // HOUR


def known() -> TargetHistory:
    """Return the history of an agent that went down an hour ago."""
    return summarized(
        Records(
            transitions=(
                Transition(timestamp_seconds=fakes.NOW.unix - 9000, condition=Condition.UP),
                Transition(
                    timestamp_seconds=fakes.NOW.unix - 3600,
                    condition=Condition.DOWN,
                    reason="not_reachable",
                ),
            ),
            hours={
                PRESENT - 1: Tally(
                    up=3, down=1, pings=3, ping_sum=6000, ping_min=1000, ping_max=3000
                )
            },
            runs=(SuiteResult(run_id="4", outcome=Outcome.PASSED, duration_seconds=2.0),),
        ),
        fakes.NOW.unix,
    )


async def ask(
    query: str, *answers: TargetHistory | Exception | None, off: bool = False
) -> tuple[int, Any]:
    """Return status and document."""
    view = fakes.FakeView()
    view.history = None if off else fakes.FakeHistory(*answers)
    async with fakes.browsing(view) as client:
        answer = await client.get(f"/api/v1/history?{query}")
    assert "application/json" == answer.headers["content-type"]
    return answer.status_code, answer.json()


async def test_a_history_has_all_its_fields() -> None:
    """It is told whole, unknown values as null."""
    status, document = await ask(f"{TARGET}&span=24h", known())

    now, day = fakes.NOW.unix, (PRESENT - 23.0) * HOUR
    read = (PRESENT - 1.0) * HOUR
    assert (200, "success") == (status, document["status"])
    assert {
        "source": "prod",
        "kind": "agent",
        "id": "7",
        "in_memory_since_timestamp_seconds": None,
        "condition": "down",
        "outdated": False,
        "since_timestamp_seconds": now - 3600,
        "spans": [
            {
                "span": "24h",
                "begin_timestamp_seconds": day,
                "end_timestamp_seconds": now,
                "uptime_ratio": 0.75,
                "readings_up": 3,
                "readings_down": 1,
                "outages": 1,
                "longest_outage_seconds": 3600.0,
                "mean_repair_seconds": None,
                "timeline": [
                    {
                        "begin_timestamp_seconds": begin,
                        "end_timestamp_seconds": end,
                        "state": state,
                    }
                    for begin, end, state in (
                        (day, read, "unknown"),
                        (read, now - 3600, "up"),
                        (now - 3600, read + HOUR, "down"),
                        (read + HOUR, now, "unknown"),
                    )
                ],
            }
        ],
        "transitions": [
            {
                "timestamp_seconds": now - 3600,
                "condition": "down",
                "outdated": False,
                "reason": "not_reachable",
            },
            {
                "timestamp_seconds": now - 9000,
                "condition": "up",
                "outdated": False,
                "reason": "",
            },
        ],
        "runs": [
            {
                "run_id": "4",
                "outcome": "passed",
                "start_timestamp_seconds": None,
                "end_timestamp_seconds": None,
                "duration_seconds": 2.0,
            }
        ],
        "hours": [
            {
                "begin_timestamp_seconds": read,
                "readings_up": 3,
                "readings_down": 1,
                "ping_min_seconds": 0.1,
                "ping_mean_seconds": 0.2,
                "ping_max_seconds": 0.3,
            }
        ],
    } == document["data"]["history"]


async def test_all_spans_unless_some_are_named() -> None:
    """A span that is asked for twice is there once."""
    _, all_of_them = await ask(TARGET, known())
    _, two = await ask(f"{TARGET}&span=30d&span=24h&span=24h", known())

    assert [["24h", "7d", "30d"], ["24h", "30d"]] == [
        [span["span"] for span in document["data"]["history"]["spans"]]
        for document in (all_of_them, two)
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "source=prod&kind=tank&id=7",
            "kind must be one of: agent, controller, cluster, location, recorder, suite",
        ),
        (f"{TARGET}&span=1y", "span must be one of: 24h, 7d, 30d"),
        (f"{TARGET}&spam=24h", "the parameters are: source, kind, id, span"),
        ("source=prod&kind=agent", "id is missing; name the target by source, kind and id"),
        ("", "source is missing; name the target by source, kind and id"),
    ],
)
async def test_mistakes_are_told_with_what_is_known(query: str, message: str) -> None:
    """A mistyped word is an error that names the right ones."""
    status, document = await ask(query, known())

    assert (400, {"status": "error", "errorType": "bad_data", "error": message}) == (
        status,
        document,
    )


async def test_nothing_known_of_the_target() -> None:
    """An empty history would look like good news."""
    status, document = await ask(TARGET, None)

    assert (404, "not_found", "nothing is known of such a target") == (
        status,
        document["errorType"],
        document["error"],
    )


async def test_off() -> None:
    """Where no history is kept, that is said."""
    status, document = await ask(TARGET, off=True)

    assert (404, "no history is kept: it is off") == (status, document["error"])


async def test_a_disk_that_does_not_answer() -> None:
    """What cannot be read now is told as that."""
    status, document = await ask(TARGET, StateError("the disk is full"))

    assert (503, "unavailable", "the disk is full") == (
        status,
        document["errorType"],
        document["error"],
    )
