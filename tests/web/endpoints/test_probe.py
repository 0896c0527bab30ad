from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.errors import BlockedError, CallError, PollError, Reason
from exporter.polling.looks import NoTurnError
from exporter.web.endpoints.probe import PARALLEL
from tests.support.clock import settle
from tests.web import fakes


if TYPE_CHECKING:
    import httpx

    from exporter.fleet.readings import Agent


AGENT = fakes.agent(host="a.example")
KNOWN = "/probe?source=prod&kind=agent&id=id-agent-1"


def read(agent: Agent, age_seconds: float) -> Agent:
    """Return an agent whose state was read so long before now."""
    assert agent.state is not None
    state = fakes.changed(agent.state, read_at=fakes.ago(age_seconds))
    return fakes.changed(agent, state=state)


async def ask(
    view: fakes.FakeView, path: str = KNOWN, *, headers: dict[str, str] | None = None
) -> httpx.Response:
    async with fakes.browsing(view) as client:
        return await client.get(path, headers=headers)


async def test_answers_with_the_samples_of_one_target() -> None:
    """Prometheus gets the target's series, with the labels it has on /metrics, and no others."""
    view = fakes.FakeView(AGENT, fakes.agent("agent-2"))

    answer = await ask(view)

    assert (200, [("prod", "agent", "id-agent-1")]) == (answer.status_code, view.explained)
    labels = 'agent="agent-1",agent_id="id-agent-1",provider="realload",site="bern",source="prod"'
    lines = answer.text.splitlines()
    assert f"loadfleet_agent_up{{{labels}}} 1.0" in lines
    assert "agent-2" not in answer.text
    assert "loadfleet_exporter" not in answer.text


async def test_speaks_the_format_that_is_asked_for() -> None:
    """A scraper that prefers OpenMetrics gets it, whole."""
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}

    answer = await ask(fakes.FakeView(AGENT), headers=headers)

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "query",
    [
        "source=prod&kind=agent&id=unknown",
        "source=prod&kind=controller&id=id-agent-1",
        "source=other&kind=agent&id=id-agent-1",
    ],
)
async def test_reaches_nothing_outside_of_the_inventory(query: str) -> None:
    """A target that is not in the inventory must be 404 and cause no call."""
    view = fakes.FakeView(AGENT)

    answer = await ask(view, f"/probe?{query}")

    assert (404, []) == (answer.status_code, view.explained)


@pytest.mark.parametrize(
    "query", ["", "source=prod&kind=agent", "kind=agent&id=1", "source=prod&kind=moon&id=1"]
)
async def test_refuses_what_names_no_target(query: str) -> None:
    """A query that names no target must be refused."""
    view = fakes.FakeView(AGENT)

    answer = await ask(view, f"/probe?{query}")

    assert (400, []) == (answer.status_code, view.explained)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CallError(Reason.HTTP_5XX, "pingAgent: status 502", status=502), 502),
        (CallError(Reason.AUTH, "pingAgent: refused"), 502),
        (CallError(Reason.TIMEOUT, "pingAgent: no reply"), 504),
        (BlockedError("the credentials were refused", retry_at=0.0), 503),
        (LookupError("no such agent"), 404),
    ],
)
async def test_a_failed_look_is_a_failed_scrape(error: Exception, status: int) -> None:
    """A call that fails says nothing about the target, so there must be no sample of it."""
    view = fakes.FakeView(AGENT)
    view.explain_error = error

    answer = await ask(view)

    assert status == answer.status_code
    assert "loadfleet_" not in answer.text
    if isinstance(error, PollError):
        assert f"{error.reason}: {error}" in answer.text


@pytest.mark.parametrize("seconds", ["0.01", "0.5", "0.55"])
async def test_is_done_before_the_scraper_gives_up(seconds: str) -> None:
    """A look that hangs is answered within the scraper's time, and given up."""
    view = fakes.FakeView(AGENT)
    given_up = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    view.before_reply = hang
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": seconds}

    async with asyncio.timeout(20):
        answer = await ask(view, headers=headers)

    assert 504 == answer.status_code
    assert given_up.is_set()


@pytest.mark.parametrize(
    ("header", "told"), [("10", "9.5 s"), ("0.8", "0.4 s"), ("1.2", "0.7 s"), (None, "30 s")]
)
async def test_leaves_time_for_the_way_back(header: str | None, told: str) -> None:
    """Half a second of the scraper's time is kept, of a short time half."""
    view = fakes.FakeView(AGENT)
    view.explain_error = TimeoutError()
    headers = {} if header is None else {"X-Prometheus-Scrape-Timeout-Seconds": header}

    answer = await ask(view, headers=headers)

    assert f"no answer within {told}." in answer.text


@pytest.mark.parametrize("header", ["", "soon", "0", "-1", "nan", "inf"])
async def test_refuses_a_time_that_is_none(header: str) -> None:
    """A header that cannot be read is not guessed at."""
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": header}

    assert 400 == (await ask(fakes.FakeView(AGENT), headers=headers)).status_code


async def test_looks_at_once_are_bounded() -> None:
    """Many probes of a slow portal must leave room for scrapes; people are told."""
    view, path = fakes.FakeView(AGENT), f"{KNOWN}&debug=true"
    let = asyncio.Event()
    view.before_reply = let.wait
    async with fakes.browsing(view) as client:
        asking = [asyncio.create_task(client.get(path)) for _ in range(PARALLEL + 3)]
        await settle()
        scrape = await client.get("/metrics")
        let.set()
        answers = [answer.status_code for answer in await asyncio.gather(*asking)]
        again = await client.get(path)

    assert [200] * PARALLEL + [503] * 3 == sorted(answers)
    assert PARALLEL + 1 == len(view.explained)
    assert (200, 200) == (scrape.status_code, again.status_code)


@pytest.mark.parametrize(("age_seconds", "looks"), [(9.9, 0), (10.0, 1)])
async def test_a_young_reading_costs_no_call(age_seconds: float, looks: int) -> None:
    """A reading that is young enough must be served without a call, an older one renewed."""
    view = fakes.FakeView(read(AGENT, age_seconds), fakes.agent("agent-2"))
    view.min_age_seconds = 10.0

    answer = await ask(view)

    assert (200, looks) == (answer.status_code, len(view.explained))
    assert "loadfleet_agent_up{" in answer.text
    assert "agent-2" not in answer.text


async def test_a_state_that_was_carried_over_is_not_young() -> None:
    """The newest poll could not ask the target and has only repeated what is known of it."""
    view = fakes.FakeView(read(AGENT, 60.0))
    view.min_age_seconds = 10.0

    await ask(view)

    assert 1 == len(view.explained)


async def test_who_gets_no_turn_gets_what_is_on_metrics() -> None:
    """Slow targets and floods must not take the others off the graph."""
    view = fakes.FakeView(AGENT)
    view.explain_error = NoTurnError()

    answer = await ask(view)

    assert 200 == answer.status_code
    assert "loadfleet_agent_up{" in answer.text


async def test_debug_has_the_reply_of_a_look() -> None:
    """With `debug`, the vendor must be asked, as no poll keeps its reply."""
    view = fakes.FakeView(read(AGENT, 0.0))
    view.min_age_seconds = 10.0

    answer = await ask(view, f"{KNOWN}&debug=true")

    assert {"known": 1} == yaml.safe_load(answer.text)["reply"]


async def test_debug_leaves_samples_whole() -> None:
    """A line separator of Unicode in a label's value ends no sample."""
    agent = fakes.agent(host="a.example", agent="one\u2028two")

    answer = await ask(fakes.FakeView(agent), f"{KNOWN}&debug=true")

    samples = yaml.safe_load(answer.text)["samples"]
    assert all(line.startswith("loadfleet_agent_") for line in samples)
    assert any('agent="one\u2028two"' in line for line in samples)


async def test_debug_shows_what_was_looked_at() -> None:
    """With `debug`, the answer must have the redacted reply, the reading and the samples."""
    answer = await ask(fakes.FakeView(AGENT), f"{KNOWN}&debug=true")

    shown = yaml.safe_load(answer.text)
    assert ["reply", "reading", "samples"] == list(shown)
    assert {"known": 1} == shown["reply"]
    assert "a.example" == shown["reading"]["host"]
    assert any(line.startswith("loadfleet_agent_up{") for line in shown["samples"])
