from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from exporter.errors import CallError, Reason
from exporter.fleet.readings import Agent
from exporter.fleet.store import Store
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.rows import Condition
from exporter.overview.sources import public_url, source_rows
from exporter.polling.poller import Poller, TaskFailure, TaskStatus
from exporter.sources.base import Failure, Poll
from tests.support.clock import FakeClock
from tests.support.source import FakeSource
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import Sequence


FAILED = CallError(Reason.HTTP_5XX, "getMeasuringAgents: status 500")
LOST = Failure(reason=Reason.HTTP_4XX, message="private_locations: no such item (404)")


class Stage:
    """A Real Load source with some tasks, and what it has said."""

    def __init__(self, *answers: Poll | Exception, tasks: Sequence[str] = ("agents",)) -> None:
        self.fake = FakeClock()
        self.store = Store(self.fake.clock)
        self.source = FakeSource(*answers)
        telemetry = SelfMetrics(clock=self.fake.clock).source("realload", "prod")
        for task in tasks:
            telemetry.declare_task(task, 60.0)
        self.poller = Poller(
            self.source,
            intervals=dict.fromkeys(tasks, 60.0),
            store=self.store,
            telemetry=telemetry,
            clock=self.fake.clock,
        )

    async def poll(self) -> None:
        for task in self.poller.intervals:
            await self.poller.poll(task)

    def unread(self) -> list[str]:
        (row,) = source_rows([self.poller], self.store)
        return [task.name for task in row.tasks if task.unread]


class TestUnread:
    async def test_a_task_that_never_succeeded(self) -> None:
        """A task that never succeeded must be unread."""
        stage = Stage(FAILED)

        await stage.poll()

        assert ["agents"] == stage.unread()

    def test_not_before_the_first_poll(self) -> None:
        """A task that was never polled must not count as unread."""
        assert [] == Stage(FAILED).unread()

    def test_a_task_that_is_held_back(self) -> None:
        """A task whose calls are held back must be unread."""
        stage = Stage(FAILED)

        stage.source.blocked = True

        assert ["agents"] == stage.unread()

    @pytest.mark.parametrize(("seconds", "expected"), [(179, []), (181, ["agents"])])
    async def test_a_task_that_fails_until_its_readings_expire(
        self, seconds: float, expected: list[str]
    ) -> None:
        """A failing task must be unread once its readings have expired."""
        stage = Stage(Poll(readings=()), FAILED)
        await stage.poll()
        stage.fake.shift(seconds)

        await stage.poll()

        assert expected == stage.unread()

    async def test_not_a_task_that_failed_in_part(self) -> None:
        """A task that failed for some targets only must not count as unread."""
        stage = Stage(Poll(readings=(Agent(agent_id="46", agent="Local"),), failures=(LOST,)))

        await stage.poll()

        assert [] == stage.unread()

    async def test_a_task_that_failed_and_found_nothing(self) -> None:
        """A task that failed and lists nothing must be unread."""
        stage = Stage(Poll(readings=()), Poll(readings=(), failures=(LOST,)))
        await stage.poll()
        stage.fake.shift(60)

        await stage.poll()

        assert ["agents"] == stage.unread()

    async def test_not_a_task_that_found_nothing(self) -> None:
        """An account may well be empty."""
        stage = Stage(Poll(readings=()))

        await stage.poll()

        assert [] == stage.unread()

    async def test_not_while_a_poll_is_going_on(self) -> None:
        """A task whose poll is under way must not count as unread."""
        stage = Stage(FAILED, Poll(readings=()))
        await stage.poll()
        stage.fake.shift(60)
        await stage.poll()
        stage.fake.shift(60)
        snapshot = stage.store.get("realload", "prod", "agents")
        assert snapshot is not None

        stage.store.put(msgspec.structs.replace(snapshot, taken=stage.fake.clock.now()))

        assert [] == stage.unread()

    async def test_only_tasks_that_tell_of_targets(self) -> None:
        """Only tasks that list targets must be unread."""
        tasks = ("agents", "controllers", "clusters", "recorders", "suites")
        stage = Stage(FAILED, tasks=(*tasks, "versions", "jobs", "templates", "certificates"))

        await stage.poll()

        assert [*tasks] == stage.unread()


class TestSources:
    def test_is_unknown_before_the_first_poll(self) -> None:
        """A source that was not asked yet is not said to be down."""
        found = fakes.source(up=False, status=TaskStatus())

        assert Condition.UNKNOWN is found.state

    def test_is_down_when_asking_failed(self) -> None:
        """A source whose newest call failed must be down."""
        found = fakes.source(up=False)

        assert Condition.DOWN is found.state

    def test_task_fails_until_a_success(self) -> None:
        """A failure after the newest success is current, one before it is history."""
        failure = TaskFailure(at=fakes.ago(100), reason=Reason.DNS, message="no such host")
        healed = TaskStatus(last_attempt=fakes.NOW, last_success=fakes.NOW, failure=failure)

        current = fakes.source(status=fakes.failed()).tasks[0]
        past = fakes.source(status=healed).tasks[0]

        assert (True, False) == (current.failing, past.failing)
        assert past.last_failure is not None
        assert fakes.NOW.unix - 100 == past.last_failure.timestamp_seconds


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://portal.example/api", "https://portal.example/api"),
        ("https://user:pa@ss@portal.example:8443/api", "https://portal.example:8443/api"),
        ("https://portal.example/api?key=1#x", "https://portal.example/api"),
        ("https://u:p@[2001:db8::1]/", "https://[2001:db8::1]/"),
    ],
)
def test_urls_lose_what_can_be_secret(url: str, expected: str) -> None:
    """User-info, query and fragment of a URL are not shown."""
    assert expected == public_url(url)
