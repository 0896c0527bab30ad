from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace as changed

from exporter.errors import StateError
from exporter.fleet.readings import Outcome
from exporter.history.records import HOUR, Condition, Records, SuiteResult, Tally, Transition
from exporter.history.summary import TargetHistory, summarized
from tests.support.markup import Element, parse
from tests.web import fakes


TARGET = "source=prod&kind=agent&id=7"

#: The present hour, which began 800 s ago.
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
    """The answer must have all fields, unknown ones as null."""
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
                "error_ratio": None,
                "boot_seconds": None,
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


async def test_hours_are_those_of_the_spans() -> None:
    """The hours must be those of the span that is asked for."""
    hours = {PRESENT - 100: Tally(up=1), PRESENT - 23: Tally(up=1), PRESENT: Tally(up=1)}
    found = summarized(Records(hours=hours), fakes.NOW.unix)

    documents = [(await ask(f"{TARGET}&span={span}", found))[1] for span in ("24h", "7d")]

    assert [2, 3] == [len(each["data"]["history"]["hours"]) for each in documents]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "source=prod&kind=tank&id=7",
            "kind must be one of: agent, controller, cluster, location, recorder, suite",
        ),
        (
            "source=prod&kind=agnet&id=7",
            (
                "kind must be one of: agent, controller, cluster, location, recorder, suite"
                "; did you mean agent?"
            ),
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
    """Without a history, the answer must be 404 and say that it is off."""
    status, document = await ask(TARGET, off=True)

    assert (404, "no history is kept: it is off") == (status, document["error"])


async def test_a_disk_that_does_not_answer() -> None:
    """When the disk does not answer, the answer must be 503 with the reason."""
    status, document = await ask(TARGET, StateError("the disk is full"))

    assert (503, "unavailable", "the disk is full") == (
        status,
        document["errorType"],
        document["error"],
    )


async def page_of(
    kind: str, *answers: TargetHistory | Exception | None, **facts: Any
) -> tuple[int, Element]:
    """Return the page of an agent or a suite, with its status."""
    view = fakes.FakeView(fakes.agent("a", up=False), fakes.suite(), sources=[fakes.source()])
    view.history = fakes.FakeHistory(*answers)
    target = {"agent": "id-a", "suite": "3"}[kind]
    query = {"source": "prod", "kind": kind, "id": target} | facts
    async with fakes.browsing(view) as client:
        answer = await client.get("/target", params=query)
    return answer.status_code, parse(answer.text)


class TestPage:
    async def test_says_since_when(self) -> None:
        """The first thing that is asked of what is down stands beside it."""
        _, page = await page_of("agent", known())

        headline = page.one("div", "headline")
        assert "Since 2023-11-14 21:13:20 UTC, 1 h ago at the latest." in headline.text
        assert "2023-11-14T21:13:20Z" == headline.one("time").attributes["datetime"]

    async def test_says_nothing_of_a_state_that_is_over(self) -> None:
        """The beginning of a state that is over must not be shown."""
        _, page = await page_of("suite", known())

        assert [] == page.one("div", "headline").all("time")

    async def test_has_the_three_spans(self) -> None:
        """The page must have three spans, each with a bar and its label."""
        _, page = await page_of("agent", known())

        history = page.one("section", data_key="history")
        assert ["24 hours", "7 days", "30 days"] == [each.text for each in history.cells("Newest")]
        assert 3 * ["75 %"] == [each.text for each in history.cells("Uptime")]
        assert 3 * ["1"] == [each.text for each in history.cells("Outages")]
        assert 3 * ["1 h"] == [each.text for each in history.cells("Longest")]
        assert 3 * [""] == [each.text for each in history.cells("Mean repair")]
        bars = history.all("svg", "past", role="img")
        assert 3 == len(bars)
        assert all("by time" in bar.attributes["aria-label"] for bar in bars)

    async def test_has_the_transitions(self) -> None:
        """The newest first, with how long each condition lasted."""
        _, page = await page_of("agent", known())

        table = page.one("section", data_key="transitions")
        assert ["down", "up"] == [each.text for each in table.cells("Condition")]
        assert ["not reachable", ""] == [each.text for each in table.cells("Reason")]
        assert ["1 h so far", "1 h 30 min"] == [each.text for each in table.cells("Lasted")]

    async def test_has_a_strip_of_runs(self) -> None:
        """A suite's runs, each with its words."""
        _, page = await page_of("suite", known())

        strip = page.one("section", data_key="results").one("svg", "strip")
        assert "The newest 1 run: 1 passed" == strip.attributes["aria-label"]
        assert ["4: passed, took 2 s"] == [each.text for each in strip.all("title")]

    async def test_says_that_it_is_kept_in_memory(self) -> None:
        """The page must say so when the history is kept in memory only."""
        found = changed(known(), in_memory_since_timestamp_seconds=fakes.NOW.unix - 60)

        _, page = await page_of("agent", found)

        heading = page.one("section", data_key="history").one("h2").text
        assert "History kept in memory only, since 2023-11-14 22:12:20 UTC" == heading

    async def test_of_a_target_that_is_gone(self) -> None:
        """A target that left the inventory must have a page for as long as its history is kept."""
        status, page = await page_of("agent", known(), id="gone")

        assert 200 == status
        assert "There is no current reading of this target." == page.one("div", "headline").text
        assert 1 == len(page.all("section", data_key="transitions"))

    async def test_without_a_history(self) -> None:
        """A target without a history must have its page without that section."""
        status, page = await page_of("agent", None)

        assert 200 == status
        assert [] == page.all("section", data_key="history")

    async def test_that_cannot_be_read(self) -> None:
        """A disk that does not answer takes the history, not the page."""
        status, page = await page_of("agent", StateError("no answer"))

        assert 200 == status
        assert "The history cannot be read now." in page.text

    async def test_has_few_elements(self) -> None:
        """A target that goes up and down every two minutes for a month has a small page."""
        transitions = tuple(
            Transition(
                timestamp_seconds=fakes.NOW.unix - 120 * number,
                condition=(Condition.DOWN, Condition.UP)[number % 2],
            )
            for number in range(20_000, -1, -1)
        )
        hours = {PRESENT - number: Tally(up=number % 3, down=1) for number in range(720)}
        runs = tuple(SuiteResult(run_id=str(each), outcome=Outcome.PASSED) for each in range(500))
        records = Records(transitions=transitions, hours=hours, runs=runs)

        _, page = await page_of("suite", summarized(records, fakes.NOW.unix))

        assert len(list(page.everything())) < 600
