from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent, Run
from exporter.fleet.store import Store
from exporter.metrics.mapping import samples
from exporter.polling.poller import Poller
from exporter.sources.eggplant import EGGPLANT
from tests.sources.eggplant.support import CLIENT, Bench, Server, fixture
from tests.support.clock import settle


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.fleet.readings import Reading


NOW = 1_770_110_400.0
DOWN = {"reason": "not_connected"}


def rendered(readings: tuple[Reading, ...]) -> list[tuple[str, dict[str, str], float]]:
    """Return all samples of readings, without the prefix of their names."""
    return [
        (
            sample.family.name.removeprefix("loadfleet_"),
            dict(zip(sample.family.labels, sample.labels, strict=True)),
            sample.value,
        )
        for reading in readings
        for sample in samples(reading)
    ]


def in_order(found: list[Any]) -> list[Any]:
    """Return samples in an order that is always the same."""
    return sorted(found, key=lambda sample: (sample[0], sorted(sample[1].items())))


def agent(
    name: str, *, up: float = 1, port: str = "", busy: float | None = 0, last: float | None = NOW
) -> list[tuple[str, dict[str, str], float]]:
    """Return the samples of an agent."""
    ident = {"agent_id": name, "agent": name}
    empty = dict.fromkeys(
        (
            "host",
            "version",
            "os",
            "os_version",
            "java_version",
            "java_vendor",
            "location",
            "managed",
        ),
        "",
    )
    found = [("agent_info", {**ident, **empty, "port": port}, 1.0), ("agent_up", ident, up)]
    if last is not None:
        found.append(("agent_last_up_timestamp_seconds", ident, last))
    if not up:
        found.append(("agent_failure", {**ident, **DOWN}, 1.0))
    if busy is not None:
        found.append(("agent_busy", ident, busy))
    return found


def run(
    run_id: str,
    name: str,
    *,
    on: str,
    phase: str = "running",
    start: float,
    end: float | None = None,
    passed: float | None = None,
    outcome: str = "",
    internal_error: float | None = None,
) -> list[tuple[str, dict[str, str], float]]:
    """Return the samples of a run."""
    ident = {"run_id": run_id, "run": name}
    phases = (
        "pending",
        "booting",
        "downloading",
        "ready",
        "running",
        "stopping",
        "stuck",
        "ended",
        "unknown",
    )
    found = [
        ("run_info", {**ident, "suite_id": "", "agent": on, "location": ""}, 1.0),
        ("run_start_timestamp_seconds", ident, start),
        *(("run_phase", {**ident, "phase": each}, float(each == phase)) for each in phases),
    ]
    if end is not None:
        found.append(("run_end_timestamp_seconds", ident, end))
    if passed is not None:
        found.append(("run_passed", ident, passed))
    if outcome:
        found.append(("run_outcome", {**ident, "outcome": outcome}, 1.0))
    if internal_error is not None:
        found.append(("run_internal_error", ident, internal_error))
    return found


_IDS = "7b0f3f0e-2d1c-4c57-9a8e-0d2f6b1c1a0"
_CHECKOUT = run(f"{_IDS}1", "Checkout", on="lab-win-02", start=1_770_110_100.12)
_LOGGED = ("run_internal_error", {"run_id": f"{_IDS}1", "run": "Checkout"}, 0.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sut_status.empty", []),
        ("sut_status.idle", agent("martin2", port="5400")),
        (
            "sut_status.running",
            [
                *agent("martin2", port="5400", busy=1),
                *run(
                    "039c7261-9eda-45b3-a74a-441ba039dc09",
                    "BBCSport",
                    on="martin2",
                    start=1527844005.545359,
                    internal_error=1,
                ),
            ],
        ),
        (
            "sut_status.no_port",
            [*agent("lab-win-01"), *agent("lab-win-02", busy=1), *_CHECKOUT],
        ),
        (
            "sut_status.mixed",
            [
                *agent("lab-win-01", port="5400"),
                *agent("lab-win-02", port="5401", busy=1),
                *agent("lab-mac-01", port="5402"),
                *agent("lab-mac-02", port="5403"),
                *agent("lab-lin-01", port="5404"),
                *_CHECKOUT,
                _LOGGED,
                *run(
                    f"{_IDS}2",
                    "Login smoke",
                    on="lab-mac-01",
                    phase="ended",
                    start=1_770_105_600.000001,
                    end=1_770_105_851.5,
                    passed=1,
                    outcome="passed",
                    internal_error=0,
                ),
                *run(
                    f"{_IDS}3",
                    "Search",
                    on="lab-mac-02",
                    phase="ended",
                    start=1_770_106_200.0,
                    end=1_770_106_350.0,
                    passed=0,
                    outcome="failed",
                    internal_error=0,
                ),
                *run(
                    f"{_IDS}4",
                    "Search",
                    on="lab-lin-01",
                    phase="ended",
                    start=1_770_106_200.0,
                    end=1_770_106_260.0,
                    passed=0,
                    outcome="incomplete",
                    internal_error=0,
                ),
            ],
        ),
    ],
)
async def test_reads_every_fixture(name: str, expected: list[Any]) -> None:
    """Each recorded reply must give exactly its samples, without a surprise."""
    bench = Bench(Server(fixture(name)), run_linger="2h")

    poll = await bench.source.poll("agents")

    assert in_order(expected) == in_order(rendered(poll.readings))
    assert () == poll.failures
    assert 0 == bench.count("vendor_surprises_total", kind="type")
    assert 0 == bench.count("vendor_surprises_total", kind="missing_field")


@pytest.mark.parametrize("entry", ["1", '"a"', '{"agent_name": 5}', '{"agent_name": null}', "{}"])
async def test_accuses_nobody_by_what_cannot_be_read(entry: str) -> None:
    """An entry that cannot be identified must not mark an agent as down."""
    bench = Bench(Server(fixture("sut_status.idle")), expected_agents=["martin1"])
    await bench.source.poll("agents")
    bench.server.status = (200, f"[{entry}]".encode())

    poll = await bench.source.poll("agents")

    agents = [reading for reading in poll.readings if isinstance(reading, Agent)]
    assert {"martin1": False, "martin2": True} == {
        agent.agent: agent.state.up for agent in agents if agent.state
    }
    assert () == poll.failures


async def test_reports_the_missing() -> None:
    """Expected and remembered agents that are not connected are down for that reason."""
    bench = Bench(Server(fixture("sut_status.idle")), expected_agents=["martin1"])
    await bench.source.poll("agents")
    bench.server.status = (200, b"[]")
    bench.clock.shift(60)

    poll = await bench.source.poll("agents")

    assert in_order(
        [
            *agent("martin1", up=0, busy=None, last=None),
            *agent("martin2", up=0, busy=None, port="5400"),
        ]
    ) == in_order(rendered(poll.readings))


async def test_asks_as_documented() -> None:
    """The call is a POST without a body, with the token as a bearer."""
    bench = Bench()

    await bench.source.poll("agents")

    asked = bench.server.asks[-1]
    assert ("POST", "http://dai.example:8000/api/sut/status") == (asked.method, str(asked.url))
    assert "bearer given-token" == asked.headers["authorization"]
    assert "application/x-www-form-urlencoded" == asked.headers["content-type"]
    assert b"" == asked.content


async def test_sends_nothing_else() -> None:
    """Over a working life only the status call and the login are sent."""
    bench = Bench(Server(fixture("sut_status.mixed")), auth=CLIENT, run_linger="2h")
    for _ in range(20):
        await bench.source.poll("agents")
        await bench.source.explain("agent", "lab-win-01")
        await bench.source.explain("run", f"{_IDS}2")
        bench.clock.shift(60)

    sent = {(each.method, each.url.path) for each in bench.server.asks + bench.server.logins}

    assert {("POST", "/api/sut/status"), ("POST", CLIENT["token_url"])} == sent


async def test_knows_no_other_task() -> None:
    """The source must have no task but `agents`."""
    with pytest.raises(LookupError):
        await Bench().source.poll("runs")


async def test_logs_in_once_per_life_of_a_token() -> None:
    """Polls do not log in; a token that lives for 5 minutes serves 5 polls a minute apart."""
    bench = Bench(auth=CLIENT)
    for _ in range(60):
        await bench.source.poll("agents")
        bench.clock.shift(60)

    assert 12 == len(bench.server.logins)


async def test_renews_a_token_that_the_server_forgot() -> None:
    """A token that is refused before its end is renewed once, and the poll succeeds."""
    bench = Bench(Server(fixture("sut_status.idle")), auth=CLIENT)
    await bench.source.poll("agents")
    asks = len(bench.server.asks)
    bench.server.accepted.clear()

    poll = await bench.source.poll("agents")

    assert 1 == len(poll.readings)
    assert (2, 2) == (len(bench.server.logins), len(bench.server.asks) - asks)
    assert 1 == bench.count("http_requests_total", operation="status", outcome="auth")


async def test_counts_a_token_that_was_refused_and_renewed() -> None:
    """The vendor refused a call, so the ledger has it for a minute, and holds nothing for it."""
    bench = Bench(Server(fixture("sut_status.idle")), auth=CLIENT)
    await bench.source.poll("agents")
    bench.server.accepted.clear()
    asks = len(bench.server.asks)

    await bench.source.poll("agents")
    await settle()

    assert (1, 2) == (bench.source.refusals, len(bench.server.asks) - asks)
    assert (False, False) == (bench.source.blocked, bench.source.auth_failed)
    bench.clock.shift(60)
    await bench.source.poll("agents")
    assert asks + 3 == len(bench.server.asks)
    bench.clock.shift(2)
    assert 0 == bench.source.refusals


async def test_stops_when_tokens_are_refused_again_and_again() -> None:
    """A server that takes back what it gave is asked no more than four times a minute in vain."""
    bench = Bench(Server(fixture("sut_status.idle")), auth=CLIENT)
    await bench.source.poll("agents")
    refused = 0

    for _ in range(10):
        bench.clock.shift(5)
        bench.server.accepted.clear()
        asks, logins = len(bench.server.asks), len(bench.server.logins)
        with suppress(PollError):
            await bench.source.poll("agents")
        await settle()
        refused += len(bench.server.logins) - logins
        assert len(bench.server.asks) - asks in (0, 2)

    assert refused <= 4


async def test_counts_no_token_that_is_renewed_in_time() -> None:
    """A token that is renewed in time must never be refused."""
    bench = Bench(auth=CLIENT)

    for _ in range(60):
        await bench.source.poll("agents")
        await settle()
        assert 0 == bench.source.refusals
        bench.clock.shift(60)

    assert 12 == len(bench.server.logins)


class TestLockOut:
    async def test_asks_once_with_a_bad_token(self) -> None:
        """A token that is refused from the start is sent once, and again after `auth_retry`."""
        bench = Bench(auth_retry="2m")
        bench.server.accepted.clear()

        for _ in range(2):
            for _ in range(2):
                with pytest.raises(PollError) as caught:
                    await bench.source.poll("agents")
                assert caught.value.reason in (Reason.AUTH, Reason.BLOCKED)
                assert bench.source.auth_failed
                assert bench.source.blocked
                bench.clock.shift(60)

        assert 2 == len(bench.server.asks)

    async def test_logs_in_once_with_a_bad_secret(self) -> None:
        """A login that is refused is not repeated before `auth_retry` has passed."""
        bench = Bench(auth=CLIENT)
        bench.server.login = (401, b"{}")

        for _ in range(4):
            with pytest.raises(PollError):
                await bench.source.poll("agents")
            bench.clock.shift(60)

        assert 1 == len(bench.server.logins)
        assert bench.source.auth_failed

    @pytest.mark.parametrize("login", [None, (401, b"{}"), (400, b"{}")])
    async def test_stays_below_the_limit_when_revoked(
        self, login: tuple[int, bytes] | None
    ) -> None:
        """With callers at once, a revoked client is refused fewer than 5 times in all."""
        bench = Bench(auth=CLIENT)
        await bench.source.poll("agents")
        asks, logins = len(bench.server.asks), len(bench.server.logins)
        bench.server.login = login or (200, b'{"access_token": "worthless", "expires_in": 300}')
        bench.server.accepted.clear()

        outcomes = await asyncio.gather(
            *(bench.source.poll("agents") for _ in range(10)), return_exceptions=True
        )

        refused = len(bench.server.asks) - asks
        refused += len(bench.server.logins) - logins if login else 0
        assert all(isinstance(outcome, PollError) for outcome in outcomes)
        assert bench.source.auth_failed
        assert refused < 5

    async def test_recovers(self) -> None:
        """When the token is good again, the poll after `auth_retry` finds it out."""
        bench = Bench(auth_retry="1m")
        bench.server.accepted.clear()
        with pytest.raises(PollError):
            await bench.source.poll("agents")
        bench.server.accepted.add("given-token")
        bench.clock.shift(60)

        await bench.source.poll("agents")

        assert not bench.source.auth_failed

    async def test_takes_a_forbidden_call_for_a_refusal(self) -> None:
        """A 403 to the call itself is a refusal: its own proof is the same call."""
        bench = Bench()
        bench.server.status = (403, b"{}")

        with pytest.raises(PollError):
            await bench.source.poll("agents")

        assert bench.source.auth_failed

    async def test_does_not_renew_after_a_403(self) -> None:
        """A token that was accepted is not renewed because it may not do something."""
        bench = Bench(auth=CLIENT)
        await bench.source.poll("agents")
        bench.server.status = (403, b"{}")
        asks = len(bench.server.asks)

        with pytest.raises(PollError):
            await bench.source.poll("agents")

        assert (1, 2) == (len(bench.server.logins), len(bench.server.asks) - asks)


class TestFailure:
    async def test_without_a_licence_names_it(self) -> None:
        """No free licence is `access_denied`, no refusal, and is tried again by the next poll."""
        bench = Bench(auth=CLIENT, expected_agents=["a"])
        bench.server.login = (403, fixture("token.403"))

        for _ in range(3):
            with pytest.raises(PollError, match="licence") as caught:
                await bench.source.poll("agents")
            assert Reason.ACCESS_DENIED == caught.value.reason
            bench.clock.shift(60)

        assert not bench.source.auth_failed
        assert not bench.source.blocked
        assert 3 == len(bench.server.logins)
        bench.server.login = None
        assert 1 == len((await bench.source.poll("agents")).readings)

    async def test_where_the_endpoint_is_not_offered_says_so(self) -> None:
        """A 404 is an error with a clear message, and no agent is called absent."""
        bench = Bench(expected_agents=["a"])
        bench.server.status = (404, b"canary")

        with pytest.raises(PollError) as caught:
            await bench.source.poll("agents")

        assert Reason.HTTP_4XX == caught.value.reason
        assert "the server does not offer /api/sut/status (404)" in str(caught.value)
        assert "current DAI versions do not document" in str(caught.value)
        assert "canary" not in str(caught.value)
        assert not bench.source.auth_failed

    async def test_says_nothing_about_anybody(self) -> None:
        """A failed poll must not count as an absence of agents."""
        bench = Bench(Server(fixture("sut_status.idle")))
        await bench.source.poll("agents")
        bench.server.status = (404, b"")
        with pytest.raises(PollError):
            await bench.source.poll("agents")
        bench.server.status = (200, fixture("sut_status.idle"))

        poll = await bench.source.poll("agents")

        assert [True] == [
            each.state.up for each in poll.readings if isinstance(each, Agent) and each.state
        ]

    async def test_where_the_endpoint_is_not_offered_is_said_once(self) -> None:
        """The log has the reason once in a while, `status` as long as it is so; no agent is 0."""
        bench = Bench(expected_agents=["a"])
        bench.server.status = (404, b"")
        store = Store(clock=bench.clock.clock)
        poller = Poller(
            bench.source,
            intervals={"agents": 60.0},
            store=store,
            telemetry=bench.context.telemetry,
            clock=bench.clock.clock,
        )

        with capture_logs() as logs:
            for _ in range(15):
                await poller.poll("agents")
                bench.clock.shift(60)

        failed = [each for each in logs if "poll_failed" == each["event"]]
        failure = poller.status("agents").failure
        assert 1 == len(failed)
        assert failure is not None
        assert "there is no data on agents and runs" in failure.message
        assert 15 == len(bench.server.asks)
        assert not poller.up
        assert not [
            each for taken in store.snapshots() for each in taken.readings if type(each) is Agent
        ]

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"null", b"5", b'"x"', b'[{"a": 1}'])
    async def test_of_decoding_is_one_when_there_is_no_array(self, body: bytes) -> None:
        """A reply that is no array is no reply."""
        bench = Bench(Server(body), expected_agents=["a"])

        with pytest.raises(PollError) as caught:
            await bench.source.poll("agents")

        assert Reason.DECODE == caught.value.reason
        assert not bench.source.auth_failed

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (302, Reason.HTTP_4XX),
            (429, Reason.RATE_LIMITED),
            (500, Reason.HTTP_5XX),
            (502, Reason.HTTP_5XX),
        ],
    )
    async def test_has_its_reason(self, status: int, reason: Reason) -> None:
        """A status that is no refusal must have its reason, and leave the credentials alone."""
        bench = Bench()
        bench.server.status = (status, b"")

        with pytest.raises(PollError) as caught:
            await bench.source.poll("agents")

        assert reason == caught.value.reason
        assert not bench.source.auth_failed


class TestExplain:
    async def test_shows_an_agent(self) -> None:
        """The entry's wanted fields are shown, others are named."""
        bench = Bench(Server(fixture("sut_status.running")))

        explanation = await bench.source.explain("agent", "martin2")

        assert isinstance(explanation.reading, Agent)
        assert {
            "agent_name": "martin2",
            "port": 5400,
            "process_id": 58914,
            "execution_status": {
                "id": "039c7261-9eda-45b3-a74a-441ba039dc09",
                "modelname": "BBCSport",
                "username": "<not shown>",
                "starttime": "2018-06-01 10:06:45.545359+01",
                "endtime": None,
                "type": "<not shown>",
                "agentname": "<not shown>",
                "initiator": "<not shown>",
                "runid": "<not shown>",
                "status": "Running",
                "processid": "<not shown>",
            },
            "process_status": "<not shown>",
            "last_log": "<not shown>",
        } == explanation.reply

    async def test_shows_a_run(self) -> None:
        """A run is shown with the entry of its agent."""
        bench = Bench(Server(fixture("sut_status.no_port")))

        explanation = await bench.source.explain("run", f"{_IDS}1")

        assert isinstance(explanation.reading, Run)
        assert "lab-win-02" == explanation.reply["agent_name"]

    async def test_shows_a_missing_agent(self) -> None:
        """An agent that is not connected has a reading but no entry."""
        bench = Bench(expected_agents=["martin2"])

        explanation = await bench.source.explain("agent", "martin2")

        assert isinstance(explanation.reading, Agent)
        assert explanation.reading.state is not None
        assert Reason.NOT_CONNECTED == explanation.reading.state.reason
        assert explanation.reply is None

    @pytest.mark.parametrize(
        ("kind", "target"), [("agent", "x"), ("run", "martin2"), ("suite", "martin2")]
    )
    async def test_finds_nothing_unknown(self, kind: str, target: str) -> None:
        """A kind or target that does not exist is a `LookupError`."""
        bench = Bench(Server(fixture("sut_status.running")))

        with pytest.raises(LookupError):
            await bench.source.explain(kind, target)


async def test_keeps_secrets_inside() -> None:
    """No e-mail address, log text, token or secret is in anything that comes out."""
    body = json.loads(fixture("sut_status.mixed"))
    for entry in body:
        entry["last_log"] = "canary-log"
        entry["unheard_of"] = "canary-field"
        if "execution_status" in entry:
            entry["execution_status"]["username"] = "canary@example.com"
    bench = Bench(
        Server(json.dumps(body).encode()),
        run_linger="2h",
        auth={**CLIENT, "client_secret": "canary-secret"},
    )
    bench.server.login = (200, b'{"access_token": "canary-token", "refresh_token": "canary-r"}')
    bench.server.accepted = {"canary-token"}
    out: list[object] = [
        await bench.source.poll("agents"),
        await bench.source.explain("agent", "lab-mac-01"),
    ]
    bench.server.accepted.clear()
    for status in (400, 401, 403, 500):
        bench.server.login = (status, b'{"message": "canary-reply"}')
        bench.clock.shift(400)
        with pytest.raises(PollError) as caught:
            await bench.source.poll("agents")
        out.append((str(caught.value), repr(caught.value)))

    text = repr((out, bench.settings, vars(bench.source), vars(bench.source._client)))

    assert "lab-mac-01" in text
    assert "canary" not in text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_REPLIES = [
    json.loads(fixture(f"sut_status.{name}"))
    for name in ("empty", "idle", "mixed", "no_port", "running")
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container within a value with every key or index of it."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from places(value[key])


@st.composite
def bent_replies(draw: st.DrawFn) -> bytes:
    """Draw a fixture with some of its values replaced or removed."""
    reply = json.loads(json.dumps({"reply": draw(st.sampled_from(_REPLIES))}))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(reply))))
        if draw(st.booleans()) or container is reply:
            container[key] = draw(_JSON)
        else:
            del container[key]
    return json.dumps(reply["reply"]).encode()


@settings(deadline=None)
@given(st.lists(bent_replies(), min_size=1, max_size=3))
def test_reads_any_reply(bodies: list[bytes]) -> None:
    """A poll must end in a `PollError` or in distinct samples, whatever the reply's fields hold."""

    async def polls() -> None:
        bench = Bench(expected_agents=["martin2", "nobody"], run_linger="2h")
        for body in bodies:
            bench.server.status = (200, body)
            bench.clock.shift(61)
            try:
                poll = await bench.source.poll("agents")
            except PollError:
                continue
            found = [(name, tuple(labels.items())) for name, labels, _ in rendered(poll.readings)]
            assert len(set(found)) == len(found)

    asyncio.run(polls())


def test_is_a_provider() -> None:
    """The registry gets name, settings, tasks and kinds from one object."""
    bench = Bench()

    source = EGGPLANT.connect(bench.settings, bench.context)

    assert ("eggplant", ("agent", "run")) == (EGGPLANT.name, EGGPLANT.kinds)
    assert {"agents": 60.0} == EGGPLANT.settings.TASKS
    assert source.settings is bench.settings
    asyncio.run(source.aclose())
