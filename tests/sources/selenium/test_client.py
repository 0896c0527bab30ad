"""The client of Selenium hubs: its requests, its error messages, and its secrets."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent, Controller
from exporter.overview.document import plain
from tests.sources.selenium.support import (
    FIRST,
    GRAPHQL,
    QUEUE,
    STATUS,
    VERSION,
    Hub,
    node,
    reply,
    status,
)
from tests.support.generators import HTML, raw, recorded
from tests.support.realload import exposed


QUERY = b'{"query":"{ grid { version sessionQueueSize } }"}'
GRID_4 = "status: the reply has no nodes; the exporter needs Selenium Grid 4"
HUB = "hub.example:4444"

#: Answers of a Grid that lacks a field, of one without GraphQL, and of a proxy that blocks POST.
NO_OFFER = [(500, [{"message": "x", "errorType": "ValidationError"}]), (404, {}), (405, {})]


async def failure(hub: Hub, task: str = "agents") -> PollError:
    """Poll, which must fail, and return why; the first calls of all check the credentials."""
    with pytest.raises(PollError) as caught:
        await hub.poll(task)
    return caught.value


def queued(samples: dict[str, float]) -> float | None:
    return samples.get("selenium_queued_sessions{}")


class TestCalls:
    async def test_sends_three_calls_and_no_others(self) -> None:
        """Only three calls may be sent: others end sessions, drain nodes or empty the queue."""
        hub = Hub()
        await hub.poll()
        await hub.poll("controllers")
        hub.server.says(GRAPHQL, {}, status=404)
        await hub.poll("controllers")
        await hub.explain("agent", FIRST)
        await hub.explain("controller", HUB)
        await hub.source._client.prove()

        assert {("GET", STATUS, b""), ("POST", GRAPHQL, QUERY), ("GET", QUEUE, b"")} == set(
            hub.server.calls
        )

    async def test_reads_the_nodes_with_one_call(self) -> None:
        """The queue and the version are the other task's."""
        hub = Hub()
        await hub.poll()
        before = len(hub.server.asked)

        await hub.poll()

        assert [("GET", STATUS, b"")] == hub.server.calls[before:]

    async def test_keeps_the_prefix_of_the_url(self) -> None:
        """`--sub-path` puts one before every path."""
        hub = Hub(url="http://hub.example/grid/")
        for path in (STATUS, GRAPHQL):
            hub.server.answers[f"/grid{path}"] = hub.server.answers.pop(path)

        await hub.poll("controllers")

        assert {"/grid/status", "/grid/graphql"} == {path for _, path, _ in hub.server.calls}

    async def test_sends_a_password_if_it_has_one(self) -> None:
        """A hub with `--username` wants basic authentication."""
        alone, secured = Hub(), Hub(username="watcher", password="secret")

        for hub in (alone, secured):
            await hub.poll("controllers")

        assert {None} == {each.headers.get("authorization") for each in alone.server.asked}
        assert {"Basic d2F0Y2hlcjpzZWNyZXQ="} == {
            each.headers.get("authorization") for each in secured.server.asked
        }


class TestHub:
    @pytest.mark.parametrize("name", ["one_up", "no_nodes", "full", "node_down"])
    async def test_is_up_because_it_answered(self, name: str) -> None:
        """`ready` is false also when the grid is full, so it says nothing of the hub."""
        (hub,) = await Hub(name).readings(Controller, "controllers")

        assert (HUB, "hub.example", "4444") == (hub.controller, hub.host, hub.port)
        assert (True, "4.48.0") == (hub.state.up, hub.state.version)

    @pytest.mark.parametrize(
        ("name", "expected"), [("one_up", 0), ("session", 0), ("queued", 1), ("node_down", 0)]
    )
    async def test_counts_the_queue(self, name: str, expected: int) -> None:
        """Requests for a session wait in it."""
        hub = Hub()
        hub.server.says(GRAPHQL, recorded("selenium", f"graphql.{name}"))

        assert expected == queued(await hub.samples("controllers"))

    @pytest.mark.parametrize(("code", "body"), NO_OFFER)
    async def test_counts_the_queue_without_graphql(self, code: int, body: Any) -> None:
        """Without GraphQL, the queue must be counted, and the version be absent."""
        hub = Hub()
        hub.server.says(GRAPHQL, body, status=code)
        hub.server.says(QUEUE, recorded("selenium", "queue.one"))

        samples = await hub.samples("controllers")
        (controller,) = await hub.readings(Controller, "controllers")

        assert 1 == queued(samples)
        assert (True, "") == (controller.state.up, controller.state.version)

    @pytest.mark.parametrize(("code", "body"), NO_OFFER)
    async def test_is_up_without_either(self, code: int, body: Any) -> None:
        """Without GraphQL and the queue, the hub must be up, and the queue a failure."""
        hub = Hub()
        for path in (GRAPHQL, QUEUE):
            hub.server.says(path, body, status=code)

        poll = await hub.poll("controllers")

        assert queued(exposed(*poll.readings)) is None
        (up,) = [
            value for name, value in exposed(*poll.readings).items() if "controller_up" in name
        ]
        assert 1 == up
        assert [False] == [failure.cuts_list for failure in poll.failures]
        assert not poll.cut

    @pytest.mark.parametrize(
        "body",
        [
            {"data": None, "errors": [{"message": "x"}]},
            {"data": {"grid": None}},
            {"data": {"grid": {"version": 5, "sessionQueueSize": -1}}},
        ],
    )
    async def test_leaves_out_what_graphql_does_not_say(self, body: Any) -> None:
        """An answer without an answer is none, and no 0."""
        hub = Hub()
        hub.server.says(GRAPHQL, body)

        samples = await hub.samples("controllers")

        assert queued(samples) is None
        assert 1 == samples['controller_up{controller="hub.example:4444"}']

    async def test_fails_when_the_hub_goes_between_two_calls(self) -> None:
        """A hub that goes away between two calls must be a failure."""
        hub = Hub()
        await hub.poll("controllers")
        hub.server.answers[GRAPHQL] = TimeoutError()
        hub.server.says(GRAPHQL, b"", status=503)

        assert Reason.HTTP_5XX == (await failure(hub, "controllers")).reason


class TestNoAnswer:
    @pytest.mark.parametrize("task", ["agents", "controllers"])
    @pytest.mark.parametrize(
        "body",
        [
            {"value": {"ready": True, "message": "Hub has capacity"}},
            {"success": True, "object": {}},
            {"value": None},
        ],
    )
    async def test_names_grid_3(self, body: Any, task: str) -> None:
        """A hub of Grid 3, which has a `/status` too, must be named as such."""
        error = await failure(Hub(body), task)

        assert Reason.DECODE is error.reason
        assert str(error).endswith(GRID_4)  # that the call checked the credentials stands before it

    @pytest.mark.parametrize("task", ["agents", "controllers"])
    async def test_takes_no_page_for_a_hub(self, task: str) -> None:
        """A proxy's own page is answered with 200, too."""
        hub = Hub()
        hub.server.says(STATUS, b"<html>canary", content_type=HTML)

        error = await failure(hub, task)

        assert Reason.DECODE == error.reason
        assert "canary" not in str(error)

    @pytest.mark.parametrize("task", ["agents", "controllers"])
    async def test_takes_401_for_a_refusal(self, task: str) -> None:
        """No call is sent for a while then, and the source says why."""
        head = raw("selenium", "error.401.txt").decode().splitlines()
        hub = Hub(username="watcher", password="secret")
        for path in (STATUS, GRAPHQL, QUEUE):
            hub.server.says(path, b"", status=int(head[0].split()[1]))

        error = await failure(hub, task)

        assert Reason.AUTH == error.reason
        assert hub.source.auth_failed


class TestExplain:
    async def test_explains_a_node(self) -> None:
        """The reply is shown beside what was read of it."""
        explanation = await Hub("session").explain("agent", FIRST)

        assert isinstance(explanation.reading, Agent)
        assert FIRST == explanation.reading.agent
        labels = f'agent_id="{FIRST}",agent="{FIRST}"'
        assert 1 == exposed(*explanation.more)[f"selenium_agent_sessions{{{labels}}}"]
        (row,) = explanation.reply["value"]["nodes"]
        assert ("UP", 2) == (row["availability"], row["maxSessions"])

    async def test_explains_the_hub(self) -> None:
        """The hub is found by host and port."""
        explanation = await Hub().explain("controller", HUB)

        assert isinstance(explanation.reading, Controller)
        assert "4.48.0" == explanation.reading.state.version  # type: ignore[union-attr]

    @pytest.mark.parametrize("kind", ["agent", "controller"])
    async def test_knows_no_others(self, kind: str) -> None:
        """A target that does not exist must not be explained."""
        with pytest.raises(LookupError, match=f"there is no {kind} 'nobody'"):
            await Hub().explain(kind, "nobody")


async def test_shows_nothing_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    """Capabilities, ids and stereotypes stay out of readings, memory, log and `explain`."""
    data = status("session")
    for slot in data["value"]["nodes"][0]["slots"]:
        slot["stereotype"]["custom:owner"] = "tester@example.com"
    hub = Hub(data)
    full = recorded("selenium", "graphql.sessions_full")
    hub.server.says(GRAPHQL, recorded("selenium", "graphql.queued") | full)
    polls = [await hub.poll(task) for task in ("agents", "controllers")]
    hub.server.says(GRAPHQL, {}, status=404)
    hub.server.says(QUEUE, {"value": [{"requestId": "r1", "capabilities": [{"a": "tester@"}]}]})
    polls.append(await hub.poll("controllers"))

    explained = [
        plain(await hub.explain(*target)) for target in (("agent", FIRST), ("controller", HUB))
    ]

    everything = repr([*polls, *explained, exposed(*chain(*(poll.readings for poll in polls)))])
    assert "maxSessions" in everything
    session = next(slot["session"] for slot in status("session")["value"]["nodes"][0]["slots"][5:])
    for secret in ("tester@", "example test", session["sessionId"], "stereotype': {", "r1", "se:"):
        assert secret not in everything
        assert secret not in caplog.text


async def test_reads_all_recorded_replies() -> None:
    """No recorded reply has a surprise."""
    names = ("no_nodes", "one_up", "session", "full", "draining", "after_drain", "node_removed")
    for name in names:
        hub = Hub(name)
        await hub.poll()
        await hub.poll("controllers")

        assert 0 == sum(map(hub.surprises, ("enum", "type", "missing_field")))


async def test_cuts_the_version_at_the_first_space() -> None:
    """The version of a node or hub must be cut before its revision."""
    hub = Hub(reply(node(version=VERSION)))

    (agent,) = await hub.readings(Agent)

    assert "4.48.0" == agent.state.version
