from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from exporter.clock import Moment
from exporter.cooperative import TURN
from exporter.errors import CallError, Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Reading,
    SourceHealth,
    Suite,
    TaskHealth,
    Usual,
)
from exporter.fleet.store import Store
from exporter.fleet.usual import Usuals
from exporter.metrics.telemetry import SelfMetrics
from exporter.polling.doubt import DOUBTED_SECONDS
from exporter.polling.poller import REPEAT_SECONDS, Poller
from exporter.sources.base import Failure, Poll
from exporter.sources.blazemeter.settings import BlazeMeterSettings
from exporter.sources.realload.settings import RealLoadSettings
from tests.support.clock import FakeClock
from tests.support.source import FakeSource


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping


UP = Agent(
    agent_id="46",
    agent="Local",
    active=True,
    state=AgentState(read_at=Moment(unix=1_700_000_000, monotonic=1_000), up=True),
)
DOWN = Agent(
    agent_id="46",
    agent="Local",
    active=True,
    state=AgentState(
        read_at=Moment(unix=1_700_000_000, monotonic=1_000), up=False, reason=Reason.NOT_REACHABLE
    ),
)
OTHER = replace(UP, agent_id="47", agent="Other")
BAD_GATEWAY = CallError(Reason.HTTP_5XX, "getMeasuringAgents: status 502")


def dated(agent: Agent) -> Agent:
    """Return an agent as it is shown at first sight."""
    assert agent.state is not None
    at = agent.state.read_at.unix
    return msgspec.structs.replace(agent, changed_timestamp_seconds=at)


class Stage:
    """A poller with everything around it."""

    def __init__(self, *answers: Poll | Exception, settings: Any = None, **options: Any) -> None:
        self.fake = FakeClock()
        self.store = Store(self.fake.clock)
        self.telemetry = SelfMetrics(clock=self.fake.clock)
        self.source = FakeSource(*answers, settings=settings)
        telemetry = self.telemetry.source("realload", "prod")
        telemetry.declare_task("agents", 60.0)
        self.poller = Poller(
            self.source,
            intervals={"agents": 60.0},
            store=self.store,
            telemetry=telemetry,
            clock=self.fake.clock,
            **{"kinds": {"agents": (Kind.AGENT,)}, **options},
        )

    def shown(self) -> tuple[Reading, ...]:
        """Return the readings of the task."""
        snapshot = self.store.get("realload", "prod", "agents")
        assert snapshot is not None
        return snapshot.readings

    def health(self) -> tuple[Reading, ...]:
        """Return the health of the source and of its tasks."""
        snapshot = self.store.get("realload", "prod", "source")
        assert snapshot is not None
        return snapshot.readings

    def of_source(self) -> SourceHealth:
        """Return the health of the source."""
        (found,) = (each for each in self.health() if isinstance(each, SourceHealth))
        return found

    def of_task(self) -> TaskHealth:
        """Return the health of its only task."""
        (found,) = (each for each in self.health() if isinstance(each, TaskHealth))
        return found

    def slow(self) -> float | None:
        """Return whether the vendor is shown as slow."""
        return self.telemetry.registry.get_sample_value(
            "loadfleet_exporter_vendor_slow", {"provider": "realload", "source": "prod"}
        )

    def sample(self, name: str, **labels: str) -> float | None:
        labels = {"provider": "realload", "source": "prod", "task": "agents", **labels}
        return self.telemetry.registry.get_sample_value(f"loadfleet_exporter_{name}", labels)


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


def events(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in logs]


class TestGoodPoll:
    async def test_its_readings_replace_what_was_known(self) -> None:
        """The snapshot of a task is whole and carries the source's labels."""
        stage = Stage(Poll(readings=(UP,)))

        await stage.poller.poll("agents")

        snapshot = stage.store.get("realload", "prod", "agents")
        assert snapshot is not None
        assert (dated(UP),) == snapshot.readings
        assert {"site": "bern"} == snapshot.labels
        assert 180.0 == snapshot.stale_after

    @pytest.mark.parametrize(("took", "kept"), [(60.0, 180.0), (150.0, 360.0)])
    async def test_what_a_long_poll_found_first_is_kept_until_the_next_ends(
        self, took: float, kept: float
    ) -> None:
        """A round over its interval, as when many targets hang, must not drop what it tells."""
        stage = Stage(Poll(readings=(DOWN,)))
        stage.source.on_poll = lambda: stage.fake.shift(took)
        assert DOWN.state is not None
        stage.fake.shift(DOWN.state.read_at.monotonic - stage.fake.monotonic)

        await stage.poller.poll("agents")
        stage.fake.shift(kept - took)
        stage.store.expire()
        snapshot = stage.store.get("realload", "prod", "agents")
        assert snapshot is not None
        assert (dated(DOWN),) == snapshot.readings

        stage.fake.shift(0.1)
        stage.store.expire()
        after = stage.store.get("realload", "prod", "agents")
        assert (dated(DOWN),) != getattr(after, "readings", ())

    async def test_others_get_their_turn_meanwhile(self) -> None:
        """Thousands of readings must hold up neither scrapes nor the calls of other sources."""
        fleet = [msgspec.structs.replace(UP, agent_id=str(number)) for number in range(4 * TURN)]
        stage = Stage(Poll(readings=tuple(fleet)))
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await stage.poller.poll("agents")
        other.cancel()

        # One pass for the ages, and another for the changes.
        assert turns >= 2 * 4

    async def test_it_is_counted_and_timed(self) -> None:
        """A poll must be counted and timed, and its time exposed."""
        stage = Stage(Poll(readings=()))
        stage.source.on_poll = lambda: stage.fake.shift(2.0)

        await stage.poller.poll("agents")

        assert 1 == stage.sample("polls_total")
        assert 2.0 == stage.sample("poll_duration_seconds_sum")
        assert stage.fake.unix == stage.sample("poll_last_success_timestamp_seconds")
        assert stage.fake.unix == stage.sample("poll_last_attempt_timestamp_seconds")

    async def test_a_target_that_goes_down_is_logged_once(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """A dead agent is one line and not one per poll."""
        stage = Stage(Poll(readings=(UP,)), Poll(readings=(DOWN,)))

        for _ in range(4):
            await stage.poller.poll("agents")

        assert 1 == events(logs).count("agent_down")

    async def test_a_state_that_is_carried_over_for_too_long_does_not_come_back(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """An expired state that a poll carries over must stay unknown, and not be logged again."""
        stage = Stage(Poll(readings=(DOWN,)))
        await stage.poller.poll("agents")

        for _ in range(3):
            stage.fake.shift(100.0)
            stage.store.expire()
            await stage.poller.poll("agents")

        snapshot = stage.store.get("realload", "prod", "agents")
        assert snapshot is not None
        (reading,) = snapshot.readings
        assert isinstance(reading, Agent)
        assert reading.state is None
        assert 1 == events(logs).count("agent_down")

    async def test_a_flood_of_changes_is_cut(self, logs: list[MutableMapping[str, Any]]) -> None:
        """When a thousand agents go down at once the log must stay readable."""
        many = tuple(
            Agent(agent_id=str(number), agent=f"a{number}", active=True, state=DOWN.state)
            for number in range(1000)
        )
        stage = Stage(Poll(readings=many))

        await stage.poller.poll("agents")

        assert 50 == events(logs).count("agent_down")
        assert [950] == [entry["count"] for entry in logs if entry["event"] == "more_changes"]


class TestFailedPoll:
    async def test_what_was_known_stays(self) -> None:
        """A portal that stumbles must not take the fleet off the page."""
        stage = Stage(Poll(readings=(UP,)), BAD_GATEWAY)

        await stage.poller.poll("agents")
        await stage.poller.poll("agents")

        snapshot = stage.store.get("realload", "prod", "agents")
        assert snapshot is not None
        assert (dated(UP),) == snapshot.readings

    async def test_it_is_counted_under_its_reason(self) -> None:
        """A failed poll must be counted under its reason."""
        stage = Stage(BAD_GATEWAY)

        await stage.poller.poll("agents")

        assert 1 == stage.sample("polls_total")
        assert 1 == stage.sample("poll_failures_total", reason="http_5xx")
        assert 0 == stage.sample("poll_failures_total", reason="timeout")
        assert 0 == stage.sample("poll_last_success_timestamp_seconds")

    async def test_a_mistake_of_ours_does_not_end_the_schedule(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """An unexpected exception is counted and logged with its traceback."""
        stage = Stage(ZeroDivisionError())

        await stage.poller.poll("agents")

        assert "poll_crashed" in events(logs)
        assert 1 == stage.sample("poll_failures_total", reason="decode")

    async def test_the_same_failure_is_not_logged_again_at_once(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """A night of outage must not bury the rest of the log."""
        stage = Stage(BAD_GATEWAY)
        for _ in range(5):
            await stage.poller.poll("agents")
        before = events(logs).count("poll_failed")

        stage.fake.shift(REPEAT_SECONDS)
        await stage.poller.poll("agents")

        assert 1 == before
        assert 2 == events(logs).count("poll_failed")

    async def test_the_recovery_is_logged(self, logs: list[MutableMapping[str, Any]]) -> None:
        """The recovery of a source must be logged."""
        stage = Stage(BAD_GATEWAY, Poll(readings=()))

        await stage.poller.poll("agents")
        await stage.poller.poll("agents")

        assert "poll_recovered" in events(logs)

    async def test_partial_failures_are_grouped_and_the_readings_stand(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """Forty failing pings are one line; the healthy agents keep their place."""
        failures = tuple(
            Failure(reason=Reason.HTTP_5XX, message="pingMeasuringAgent: status 502")
            for _ in range(40)
        )
        stage = Stage(Poll(readings=(UP,), failures=failures))

        await stage.poller.poll("agents")

        assert ["pingMeasuringAgent: status 502 (and 39 more calls)"] == [
            entry["message"] for entry in logs if entry["event"] == "poll_failed"
        ]
        assert 1 == stage.sample("poll_failures_total", reason="http_5xx")
        assert stage.store.get("realload", "prod", "agents") is not None


class TestStatus:
    async def test_it_keeps_the_newest_failure_beside_a_later_success(self) -> None:
        """The page shows what went wrong last, also after it is over."""
        stage = Stage(BAD_GATEWAY, Poll(readings=()))
        await stage.poller.poll("agents")
        failed = stage.fake.clock.now()
        stage.fake.shift(60)

        await stage.poller.poll("agents")

        status = stage.poller.status("agents")
        assert stage.fake.clock.now() == status.last_success
        assert status.failure is not None
        assert (failed, Reason.HTTP_5XX) == (status.failure.at, status.failure.reason)


class TestHealth:
    async def test_it_is_there_before_the_first_poll(self) -> None:
        """A configured source has its series from the start; it is not up before it answers."""
        stage = Stage(BAD_GATEWAY)

        assert (SourceHealth(up=False, auth_failed=False),) == stage.health()

    async def test_it_never_expires(self) -> None:
        """The health of a source that is down must never expire."""
        stage = Stage(BAD_GATEWAY)
        await stage.poller.poll("agents")

        stage.fake.shift(1e9)
        stage.store.expire()

        down = TaskHealth(task="agents", up=False, reason=Reason.HTTP_5XX)
        assert (SourceHealth(up=False, auth_failed=False), down) == stage.health()

    async def test_a_poll_with_readings_makes_task_and_source_up(self) -> None:
        """A successful poll must make task and source up, with the number of targets."""
        stage = Stage(Poll(readings=(UP,)))

        await stage.poller.poll("agents")

        up = TaskHealth(task="agents", up=True, targets={"agent": 1.0})
        assert (SourceHealth(up=True), up) == stage.health()

    async def test_a_list_without_targets_is_a_number_too(self) -> None:
        """A filter that matches nothing must be visible."""
        stage = Stage(Poll(readings=()))

        await stage.poller.poll("agents")

        up = TaskHealth(task="agents", up=True, targets={"agent": 0.0})
        assert (SourceHealth(up=True), up) == stage.health()

    async def test_a_failed_poll_keeps_the_number_of_targets(self) -> None:
        """A failed poll must keep the number of targets."""
        stage = Stage(Poll(readings=(UP, OTHER)), BAD_GATEWAY)
        await stage.poller.poll("agents")

        await stage.poller.poll("agents")

        down = TaskHealth(task="agents", up=False, targets={"agent": 2.0}, reason=Reason.HTTP_5XX)
        assert (SourceHealth(up=False), down) == stage.health()

    async def test_a_task_none_of_whose_targets_could_be_asked_is_down(self) -> None:
        """A portal that lists agents but hangs on every ping brings no readings."""
        stage = Stage(Poll(readings=(UP,), asked=False))

        await stage.poller.poll("agents")

        down = TaskHealth(task="agents", up=False, targets={"agent": 1.0})
        assert (SourceHealth(up=False), down) == stage.health()

    @pytest.mark.parametrize(
        ("failure", "up"),
        [
            (Failure(reason=Reason.HTTP_5XX, message="502", target="7", cuts_list=True), False),
            (Failure(reason=Reason.HTTP_5XX, message="502"), False),
            (Failure(reason=Reason.HTTP_5XX, message="502", target="47"), True),
            (Failure(reason=Reason.TIMEOUT, message="2 calls", cuts_list=False), True),
        ],
        ids=["workspace", "unknown call", "target", "no list"],
    )
    async def test_a_task_a_part_of_whose_list_is_missing_is_down(
        self, failure: Failure, up: bool
    ) -> None:
        """A task whose list is incomplete must be down, while its source is up."""
        stage = Stage(Poll(readings=(UP,), failures=(failure,)))

        await stage.poller.poll("agents")

        task = TaskHealth(
            task="agents", up=up, targets={"agent": 1.0}, reason=None if up else Reason.HTTP_5XX
        )
        assert (SourceHealth(up=True), task) == stage.health()

    async def test_a_task_is_down_while_its_calls_are_held_back(self) -> None:
        """A task whose calls are held back must be down."""
        stage = Stage(Poll(readings=(UP,)))
        await stage.poller.poll("agents")

        stage.poller.hold("agents")

        down = TaskHealth(task="agents", up=False, targets={"agent": 1.0})
        assert (SourceHealth(up=False), down) == stage.health()

    async def test_one_task_that_is_up_makes_the_source_up(self) -> None:
        """The vendor's API answers, if not for every task."""
        stage = Stage(Poll(readings=(UP,)), BAD_GATEWAY)
        stage.telemetry.source("realload", "prod").declare_task("suites", 60.0)
        stage.poller.intervals = {"agents": 60.0, "suites": 60.0}

        await stage.poller.poll("agents")
        await stage.poller.poll("suites")

        up = TaskHealth(task="agents", up=True, targets={"agent": 1.0})
        assert (
            SourceHealth(up=True),
            up,
            TaskHealth(task="suites", up=False, reason=Reason.HTTP_5XX),
        ) == stage.health()

    @pytest.mark.parametrize(("interval", "expected"), [(300.0, True), (301.0, False)])
    async def test_a_task_that_is_polled_rarely_hides_no_outage(
        self, interval: float, expected: bool
    ) -> None:
        """A task polled less often than every 5 minutes must not keep a failing source up."""
        stage = Stage(Poll(readings=(UP,)), BAD_GATEWAY)
        stage.telemetry.source("realload", "prod").declare_task("versions", interval)
        stage.poller.intervals = {"agents": 60.0, "versions": interval}

        await stage.poller.poll("versions")
        await stage.poller.poll("agents")

        assert expected is stage.of_source().up

    async def test_a_crash_makes_the_task_down(self) -> None:
        """A mistake of ours brings no readings."""
        stage = Stage(Poll(readings=(UP,)), RuntimeError("ours"))
        await stage.poller.poll("agents")

        await stage.poller.poll("agents")

        assert not stage.of_source().up

    async def test_a_slow_vendor_is_shown_until_a_poll_says_otherwise(self) -> None:
        """A poll that failed says nothing about it."""
        stage = Stage(Poll(readings=(UP,), vendor_slow=True), BAD_GATEWAY, Poll(readings=(UP,)))

        found = [stage.slow()]
        for _ in range(3):
            await stage.poller.poll("agents")
            found.append(stage.slow())

        assert [0.0, 1.0, 1.0, 0.0] == found

    async def test_refused_credentials_open_the_breaker_and_are_an_error_in_the_log(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """Refused credentials must open the breaker, and be an error in the log."""
        stage = Stage(CallError(Reason.AUTH, "the credentials were refused"))

        stage.source.auth_failed = stage.source.blocked = True
        await stage.poller.poll("agents")

        assert stage.of_source().auth_failed
        assert 1 == stage.telemetry.registry.get_sample_value(
            "loadfleet_exporter_breaker_open", {"provider": "realload", "source": "prod"}
        )
        assert [("credentials_refused", "error")] == [
            (entry["event"], entry["log_level"])
            for entry in logs
            if entry["event"] == "credentials_refused"
        ]


class TestDoubt:
    """An inventory that is empty after a full one, or shorter than its own total."""

    FULL = Poll(readings=(UP, OTHER), inventory=(Kind.AGENT,))
    EMPTY = Poll(readings=(), inventory=(Kind.AGENT,))
    SHORT = Poll(readings=(UP,), inventory=(Kind.AGENT,), incomplete=True)

    def names(self, stage: Stage) -> set[str]:
        return {each.agent_id for each in stage.shown() if isinstance(each, Agent)}

    @pytest.mark.parametrize("doubtful", [EMPTY, SHORT])
    async def test_it_is_a_failure_and_the_missing_stay(self, doubtful: Poll) -> None:
        """A doubtful list must be a failure, and keep the missing targets."""
        stage = Stage(self.FULL, doubtful)
        await stage.poller.poll("agents")

        await stage.poller.poll("agents")

        assert {"46", "47"} == self.names(stage)
        assert 1 == stage.sample("poll_failures_total", reason="api_error")
        assert (False, True) == (stage.of_task().up, stage.of_source().up)
        assert {"agent": float(len(doubtful.readings))} == stage.of_task().targets

    async def test_it_is_counted_as_a_surprise(self) -> None:
        """An incomplete list must be counted as a surprise."""
        stage = Stage(self.FULL, self.EMPTY)
        await stage.poller.poll("agents")

        await stage.poller.poll("agents")

        labels = {"provider": "realload", "source": "prod", "kind": "incomplete_list"}
        assert 1 == stage.telemetry.registry.get_sample_value(
            "loadfleet_exporter_vendor_surprises_total", labels
        )

    @pytest.mark.parametrize(("doubtful", "left"), [(EMPTY, set[str]()), (SHORT, {"46"})])
    async def test_it_is_believed_after_an_hour_of_the_same(
        self, doubtful: Poll, left: set[str]
    ) -> None:
        """A doubtful list must be believed after an hour."""
        stage = Stage(self.FULL, doubtful)
        await stage.poller.poll("agents")
        await stage.poller.poll("agents")

        stage.fake.shift(DOUBTED_SECONDS - 1)
        await stage.poller.poll("agents")
        before = self.names(stage)
        stage.fake.shift(1)
        await stage.poller.poll("agents")
        after = self.names(stage)
        stage.fake.shift(60)
        await stage.poller.poll("agents")

        assert ({"46", "47"}, left, left) == (before, after, self.names(stage))
        assert stage.of_task().up
        assert 2 == stage.sample("poll_failures_total", reason="api_error")

    async def test_another_short_list_begins_the_hour_anew(self) -> None:
        """A list that changes is being mended, or answered by chance."""
        other = replace(self.SHORT, readings=(OTHER,))
        stage = Stage(self.FULL, self.SHORT, other)
        await stage.poller.poll("agents")
        await stage.poller.poll("agents")

        stage.fake.shift(DOUBTED_SECONDS)
        await stage.poller.poll("agents")

        assert {"46", "47"} == self.names(stage)
        assert not stage.of_task().up

    async def test_a_full_list_ends_the_doubt(self) -> None:
        """The hour counts from the newest time that the list became empty."""
        stage = Stage(self.FULL, self.EMPTY, self.FULL, self.EMPTY)
        for _ in range(3):
            await stage.poller.poll("agents")

        stage.fake.shift(DOUBTED_SECONDS)
        await stage.poller.poll("agents")

        assert {"46", "47"} == self.names(stage)

    async def test_the_missing_lose_their_state_when_it_is_too_old(self) -> None:
        """Missing targets must lose their state when it is too old."""
        stage = Stage(self.FULL, self.EMPTY)
        assert UP.state is not None
        stage.fake.shift(UP.state.read_at.monotonic - stage.fake.monotonic)
        await stage.poller.poll("agents")
        stage.fake.shift(181)

        await stage.poller.poll("agents")

        assert [None, None] == [each.state for each in stage.shown() if isinstance(each, Agent)]

    async def test_a_first_list_that_is_short_shows_what_there_is(self) -> None:
        """A first list that is short must be shown."""
        stage = Stage(self.SHORT)

        await stage.poller.poll("agents")

        assert {"46"} == self.names(stage)
        assert not stage.of_task().up

    async def test_an_empty_first_list_is_fine(self) -> None:
        """An account without agents is no failure."""
        stage = Stage(self.EMPTY)

        await stage.poller.poll("agents")

        assert stage.of_task().up

    async def test_what_is_no_inventory_may_become_empty(self) -> None:
        """Runs end, and then there are none."""
        stage = Stage(replace(self.FULL, inventory=()), replace(self.EMPTY, inventory=()))
        await stage.poller.poll("agents")

        await stage.poller.poll("agents")

        assert set() == self.names(stage)
        assert stage.of_task().up


class TestExpected:
    """Kinds of which a source should have targets."""

    FULL = Poll(readings=(UP,), inventory=(Kind.AGENT,))
    EMPTY = Poll(readings=(), inventory=(Kind.AGENT,))
    UNREAD = Failure(reason=Reason.HTTP_5XX, message="502", target="7", cuts_list=True)
    FILTERED = RealLoadSettings(
        name="prod",
        url="http://portal.example/RemoteUserAPI",
        include={"agents": re.compile("nobody")},
    )

    #: The kinds of a task whose agents belong to locations.
    LOCATED: ClassVar = {"agents": (Kind.AGENT, Kind.LOCATION)}

    def expected(self, stage: Stage) -> float | None:
        return stage.sample("targets_expected", kind="agent")

    def warnings(self, logs: list[MutableMapping[str, Any]]) -> list[str]:
        return [each["message"] for each in logs if each["event"] == "filter_matches_nothing"]

    async def test_a_kind_that_had_targets_is_expected_for_a_day_after(self) -> None:
        """A kind that had targets must be expected for a day after they are gone."""
        stage = Stage(self.FULL, self.EMPTY, kinds=self.LOCATED)
        found = [self.expected(stage)]

        for seconds in (0.0, 86_400.0, 1.0):
            stage.fake.shift(seconds)
            await stage.poller.poll("agents")
            found.append(self.expected(stage))

        assert [None, 1.0, 1.0, 0.0] == found

    async def test_an_emptied_list_that_is_believed_ends_no_expectation(self) -> None:
        """After the hour of doubt the task is well again, and the page goes on by this."""
        stage = Stage(self.FULL, self.EMPTY)
        await stage.poller.poll("agents")
        await stage.poller.poll("agents")
        stage.fake.shift(DOUBTED_SECONDS)

        await stage.poller.poll("agents")

        task = TaskHealth(task="agents", up=True, targets={"agent": 0.0})
        assert (task, 1.0) == (stage.of_task(), self.expected(stage))

    @pytest.mark.parametrize(("kinds", "expected"), [(None, 1.0), (LOCATED, 0.0)])
    async def test_agents_are_expected_unless_there_are_no_locations_either(
        self, kinds: Mapping[str, tuple[Kind, ...]] | None, expected: float
    ) -> None:
        """Agents must be expected, unless there are no locations either."""
        stage = Stage(self.EMPTY, **({"kinds": kinds} if kinds else {}))

        await stage.poller.poll("agents")

        assert expected == self.expected(stage)

    async def test_polls_that_fail_let_an_expectation_end(self) -> None:
        """An expectation must end after a day, even if all polls fail."""
        stage = Stage(self.FULL, BAD_GATEWAY, kinds=self.LOCATED)
        await stage.poller.poll("agents")
        stage.fake.shift(86_401.0)

        await stage.poller.poll("agents")

        assert 0.0 == self.expected(stage)

    async def test_what_was_kept_is_expected_before_the_first_poll(self) -> None:
        """A restart within an outage must not end the page."""
        stage = Stage(self.FULL)
        await stage.poller.poll("agents")
        telemetry = SelfMetrics(clock=stage.fake.clock)

        Poller(
            stage.source,
            intervals={"agents": 60.0},
            store=stage.store,
            telemetry=telemetry.source("realload", "prod"),
            clock=stage.fake.clock,
            kinds={"agents": (Kind.AGENT,)},
            kept=stage.poller.kept,
        )

        stage.telemetry = telemetry
        assert 1.0 == self.expected(stage)

    async def test_suites_that_are_known_by_their_runs_come_and_go_with_them(self) -> None:
        """A week-end without a test is no outage."""
        stage = Stage(
            Poll(readings=(Suite(suite_id="7", suite="Checkout"),)),
            settings=BlazeMeterSettings(name="prod", workspaces=(1,)),
        )
        stage.poller = Poller(
            stage.source,
            intervals={"runs": 60.0},
            store=stage.store,
            telemetry=stage.telemetry.source("realload", "prod"),
            clock=stage.fake.clock,
            kinds={"runs": (Kind.SUITE,)},
        )

        await stage.poller.poll("runs")

        assert 0.0 == stage.sample("targets_expected", task="runs", kind="suite")

    async def test_a_filter_expects_something_from_the_first_poll_and_is_warned_of_once(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """A filter that matches nothing must be expected to, and cause one warning."""
        stage = Stage(self.EMPTY, settings=self.FILTERED)

        for _ in range(3):
            await stage.poller.poll("agents")

        assert 1.0 == self.expected(stage)
        (warning,) = self.warnings(logs)
        assert warning.startswith("include.agents ")

    async def test_a_filter_that_matched_in_between_is_warned_of_again(
        self, logs: list[MutableMapping[str, Any]]
    ) -> None:
        """A filter that stops matching again must cause another warning."""
        stage = Stage(self.EMPTY, self.FULL, self.EMPTY, settings=self.FILTERED)

        for _ in range(3):
            await stage.poller.poll("agents")

        assert 2 == len(self.warnings(logs))

    @pytest.mark.parametrize(
        "poll",
        [
            replace(EMPTY, failures=(UNREAD,)),
            replace(EMPTY, elsewhere={Kind.AGENT: 3}),
        ],
        ids=["unread", "of others"],
    )
    async def test_a_part_of_a_list_says_nothing_of_a_filter(
        self, logs: list[MutableMapping[str, Any]], poll: Poll
    ) -> None:
        """A filter that matches nothing in an incomplete list must cause no warning."""
        stage = Stage(poll, settings=self.FILTERED)

        await stage.poller.poll("agents")

        assert [] == self.warnings(logs)

    async def test_targets_of_other_processes_are_in_the_list(self) -> None:
        """A share without agents is no source without agents, and is not doubted either."""
        theirs = replace(self.EMPTY, elsewhere={Kind.AGENT: 3})
        stage = Stage(self.FULL, theirs)

        await stage.poller.poll("agents")
        await stage.poller.poll("agents")

        health = stage.poller.status("agents").health
        assert health is not None
        assert health.up
        assert 0.0 == self.expected(stage)


class TestSince:
    def since(self, stage: Stage) -> dict[str, float | None]:
        """Return since when each agent is as it is."""
        snapshot = stage.store.get("realload", "prod", "agents")
        assert snapshot is not None
        return {
            each.agent_id: each.changed_timestamp_seconds
            for each in snapshot.readings
            if isinstance(each, Agent)
        }

    async def test_it_outlives_polls_that_fail_and_the_snapshot(self) -> None:
        """A portal that was away for an hour has not ended the outage of an agent."""
        first = Moment(unix=1_700_000_000, monotonic=1_000)
        later = Moment(unix=first.unix + 3_600, monotonic=first.monotonic + 3_600)
        assert DOWN.state is not None
        again = replace(DOWN, state=replace(DOWN.state, read_at=later))
        stage = Stage(Poll(readings=(DOWN,)), BAD_GATEWAY, Poll(readings=(again,)))
        await stage.poller.poll("agents")
        await stage.poller.poll("agents")
        stage.fake.shift(3_600)
        stage.store.expire()
        assert None is stage.store.get("realload", "prod", "agents")

        await stage.poller.poll("agents")

        assert {"46": first.unix} == self.since(stage)

    @pytest.mark.parametrize(("target", "kept"), [("", True), ("47", False)])
    async def test_it_outlives_a_list_that_was_cut_short(self, target: str, kept: bool) -> None:
        """A target missing from an incomplete list must keep the time of its last change."""
        later = Moment(unix=1_700_000_060, monotonic=1_060)
        assert DOWN.state is not None
        again = replace(DOWN, state=replace(DOWN.state, read_at=later))
        failure = Failure(reason=Reason.HTTP_5XX, message="status 502", target=target)
        stage = Stage(
            Poll(readings=(DOWN,)),
            Poll(readings=(), failures=(failure,)),
            Poll(readings=(again,)),
        )
        for _ in range(3):
            await stage.poller.poll("agents")

        assert {"46": 1_700_000_000.0 if kept else 1_700_000_060.0} == self.since(stage)


class TestUsual:
    SUITE = Suite(suite_id="3", suite="nightly")
    POLL = Poll(readings=(UP, SUITE))
    KNOWN = Usuals(suites={"3": Usual(runs=5, duration_seconds=60.0)}, pings={"46": 0.25})

    def told(self, stage: Stage) -> list[object]:
        """Return what the readings say to be usual."""
        return [
            each.usual_ping_seconds if isinstance(each, Agent) else each.usual
            for each in stage.shown()
            if isinstance(each, Agent | Suite)
        ]

    async def test_a_poll_says_what_is_usual(self) -> None:
        """A poll must add the history's usual values to its readings, asking for them once."""
        asked: list[str] = []

        def usual(source: str) -> Usuals:
            asked.append(source)
            return self.KNOWN

        stage = Stage(self.POLL, usual=usual)
        await stage.poller.poll("agents")

        assert [0.25, self.KNOWN.suites["3"]] == self.told(stage)
        assert ["prod"] == asked

    async def test_it_stays_until_the_history_is_read(self) -> None:
        """A restart must not end an alert for want of something to compare with."""
        answers: list[Usuals | None] = [self.KNOWN, None, Usuals()]
        stage = Stage(self.POLL, usual=lambda _: answers.pop(0))
        await stage.poller.poll("agents")
        await stage.poller.poll("agents")
        before = self.told(stage)

        await stage.poller.poll("agents")

        assert [0.25, self.KNOWN.suites["3"]] == before
        assert [None, None] == self.told(stage)

    async def test_without_a_history_nothing_is(self) -> None:
        """A history that was switched off takes along what it knew."""
        kept = Stage(self.POLL, usual=lambda _: self.KNOWN)
        await kept.poller.poll("agents")
        stage = Stage(self.POLL, kept=kept.poller.kept)

        await stage.poller.poll("agents")

        assert [None, None] == self.told(stage)

    def test_an_explanation_says_it_too(self) -> None:
        """An explanation must contain the usual values too."""
        stage = Stage(self.POLL, usual=lambda _: self.KNOWN)

        assert 0.25 == stage.poller.dated(UP).usual_ping_seconds
