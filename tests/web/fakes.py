"""A daemon that the pages can look at, made by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from exporter.alerts.settings import AlertingSettings
from exporter.clock import Moment
from exporter.errors import ConfigurationError, Reason
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    ClusterState,
    Controller,
    Location,
    Member,
    MemberState,
    Outcome,
    Reading,
    Recorder,
    RecorderState,
    State,
    Suite,
    SuiteRun,
)
from exporter.fleet.recent import Recent
from exporter.fleet.store import Snapshot
from exporter.metrics.exposition import ScrapeResponse
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.picture import Facts, Picture, Pictures
from exporter.overview.problems import Judge
from exporter.overview.sources import SourceRow, source_row, task_row
from exporter.polling.poller import TaskFailure, TaskStatus
from exporter.sharding import Shard
from exporter.sources.base import Explanation
from exporter.sources.realload.settings import RealLoadSettings
from exporter.web.app import create_app
from tests.support.clock import FakeClock
from tests.support.source import FakeSource


if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Mapping,
        Sequence,
    )

    from exporter.history.summary import TargetHistory
    from exporter.metrics.exposition import Exposition
    from exporter.overview.interface import HistoryView
    from exporter.overview.rows import AlertView
    from exporter.settings.preflights import PreflightSettings


NOW = Moment(unix=1_700_000_000.0, monotonic=1_000.0)


def ago(seconds: float) -> Moment:
    """Return the moment that long before `NOW`."""
    return Moment(unix=NOW.unix - seconds, monotonic=NOW.monotonic - seconds)


#: Returns a reading, state or snapshot with some of its fields changed.
changed = msgspec.structs.replace


PAGE = ScrapeResponse(
    content_type="text/plain; version=0.0.4; charset=utf-8",
    content_encoding=None,
    parts=(b"up 1\n",),
)


class FakeView:
    """A `View` whose every answer is an attribute."""

    def __init__(
        self,
        *readings: Reading,
        sources: Sequence[SourceRow] = (),
        config: Mapping[str, Any] | None = None,
        alerting: AlertingSettings | None = None,
        preflights: Sequence[PreflightSettings] = (),
    ) -> None:
        self.snapshot = Snapshot(
            provider="realload",
            source="prod",
            task="agents",
            readings=readings,
            taken=NOW,
            stale_after=180.0,
            labels={"site": "bern"},
        )
        self.source_rows = sources
        self.preflights = tuple(preflights)
        self.tag = ""
        self.recent = Recent()
        self.shard = Shard()
        self.history: HistoryView | None = None
        self.found_alerts: Sequence[AlertView] | None = None
        self.settings = config or {}
        self.page = PAGE
        self.asked: list[dict[str, Any]] = []
        self.ready = True
        self.healthy = True
        self.reloads = 0
        self.mistakes: tuple[str, ...] = ()
        self.explained: list[tuple[str, str, str]] = []
        self.explain_error: Exception | None = None
        self.min_age_seconds = 0.0
        clock = FakeClock(unix=NOW.unix, monotonic=NOW.monotonic).clock
        self._judge = Judge.of(
            alerting or AlertingSettings(), SelfMetrics(clock=clock).registry, serves=False
        )
        self._pictures = Pictures(self._facts, clock=clock)
        self.before_reply: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    def probe_min_age(self, source: str) -> float:
        """Return the age that the test gives."""
        del source
        return self.min_age_seconds

    async def explain(
        self, source: str, kind: str, target_id: str, *, seconds: float
    ) -> Explanation:
        """Remember the look, and end it as the test says."""
        self.explained.append((source, kind, target_id))
        async with asyncio.timeout(seconds):
            await self.before_reply()
        if self.explain_error is not None:
            raise self.explain_error
        return Explanation(reading=self.snapshot.readings[0], reply={"known": 1})

    async def reload(self) -> None:
        """Count, or fail with the mistakes."""
        if self.mistakes:
            raise ConfigurationError(self.mistakes)
        self.reloads += 1

    def metrics(
        self,
        *,
        accept: str,
        accept_encoding: str,
        names: Collection[str],
        sources: Collection[str],
    ) -> ScrapeResponse:
        """Remember what was asked for."""
        self.asked.append(
            {
                "accept": accept,
                "accept_encoding": accept_encoding,
                "names": list(names),
                "sources": list(sources),
            }
        )
        return self.page

    def snapshots(self) -> Iterable[Snapshot]:
        """Return the one snapshot."""
        return (self.snapshot,)

    def sources(self) -> Sequence[SourceRow]:
        """Return the sources handed in."""
        return self.source_rows

    async def picture(self) -> Picture:
        """Return the picture of the one snapshot, with the alerts handed in."""
        found = await self._pictures.newest()
        alerts = None if self.found_alerts is None else tuple(self.found_alerts)
        return changed(found, alerts=alerts, tag=self.tag or found.tag)

    def _facts(self) -> Facts:
        return Facts(
            snapshots=(self.snapshot,),
            sources=tuple(self.source_rows),
            judge=self._judge,
            ready=self.ready,
            preflights=self.preflights,
        )

    def config(self) -> Mapping[str, Any]:
        """Return the settings handed in."""
        return self.settings

    def now(self) -> Moment:
        """Return the moment of all tests."""
        return NOW


class StillView(FakeView):
    """A view whose picture is made once, for tests that ask often."""

    _made: Picture | None = None

    async def picture(self) -> Picture:
        """Return the picture of the first call."""
        self._made = self._made or await super().picture()
        return self._made


class FakeHistory:
    """A history whose answers are handed in."""

    def __init__(self, *answers: TargetHistory | Exception | None) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str, str]] = []

    async def of(self, source: str, kind: str, target_id: str, now: float) -> TargetHistory | None:
        """Answer with the next."""
        del now
        self.asked.append((source, kind, target_id))
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class ExposingView(FakeView):
    """A view with a real exposition."""

    def __init__(self, exposition: Exposition, *readings: Reading, **facts: Any) -> None:
        super().__init__(*readings, **facts)
        self._exposition = exposition

    def metrics(
        self,
        *,
        accept: str,
        accept_encoding: str,
        names: Collection[str],
        sources: Collection[str],
    ) -> ScrapeResponse:
        """Serve the page."""
        return self._exposition.metrics(
            accept=accept, accept_encoding=accept_encoding, names=names, sources=sources
        )


def source(
    name: str = "prod",
    *,
    up: bool = True,
    url: str = "https://portal.example/RemoteUserAPI",
    auth_failed: bool = False,
    status: TaskStatus | None = None,
    unread: bool = False,
) -> SourceRow:
    """Make a source with one task, polled successfully by default."""
    status = status or TaskStatus(last_attempt=ago(30), last_success=ago(30))
    # Not validated: even a URL with secrets, which is normally refused, must not be shown.
    fake = FakeSource(settings=RealLoadSettings.model_construct(name=name, url=url))
    fake.auth_failed, fake.blocked = auth_failed, auth_failed
    task = task_row("agents", 60.0, status, unread=unread)
    return source_row(fake, task, up=up, auth_failed=auth_failed)


def failed(message: str = "pingMeasuringAgent: no reply within 15 s") -> TaskStatus:
    """Make the status of a task that failed after a success."""
    failure = TaskFailure(at=ago(10), reason=Reason.TIMEOUT, message=message)
    return TaskStatus(last_attempt=ago(10), last_success=ago(70), failure=failure)


def agent(
    name: str = "agent-1", *, up: bool | None = True, version: str = "4.8.24", **facts: Any
) -> Agent:
    """Make an agent that was looked at half a minute ago."""
    state = AgentState(
        read_at=ago(30),
        up=up,
        reason=Reason.NOT_REACHABLE if up is False else None,
        version=version,
        clock_delta_seconds=-0.25,
        ping_duration_seconds=0.012,
        users_limit=float("inf"),
    )
    known: dict[str, Any] = {"agent_id": f"id-{name}", "agent": name, "state": state}
    return Agent(**(known | facts))


def member(name: str, *, up: bool) -> Member:
    """Make a member of a cluster."""
    state = MemberState(read_at=ago(30), up=up, reason=None if up else Reason.NOT_REACHABLE)
    return Member(member_id=f"m-{name}", agent_id=f"id-{name}", agent=name, state=state)


def cluster(
    *members: Member, looked_at: bool = True, active: bool = True, reason: Reason | None = None
) -> Cluster:
    """Make a cluster; with a reason it is down."""
    state = ClusterState(
        read_at=ago(30), up=reason is None, reason=reason, ping_duration_seconds=1.5
    )
    return Cluster(
        cluster_id="7",
        agent_cluster="alps",
        controller="ctl.example:8080",
        active=active,
        members=members,
        state=state if looked_at else None,
    )


def location(**facts: Any) -> Location:
    """Make a private location whose agents were counted half a minute ago."""
    known: dict[str, Any] = {"location_id": "5f", "location_name": "cellar", "read_at": ago(30)}
    return Location(**(known | facts))


def suite(*, healthy: bool | None = True, passed: bool | None = True) -> Suite:
    """Make a suite with one finished run."""
    outcome = {True: Outcome.PASSED, False: Outcome.FAILED, None: Outcome.NO_VERDICT}[passed]
    run = SuiteRun(run_id="9", outcome=outcome, end_timestamp_seconds=NOW.unix - 600)
    return Suite(
        suite_id="3", suite="nightly", healthy=healthy, last_run=run, last_run_passed=passed
    )


def controller() -> Controller:
    """Make a controller that is up."""
    return Controller(controller="ctl.example:8080", state=State(read_at=ago(30), up=True))


def recorder() -> Recorder:
    """Make a recorder that records."""
    state = RecorderState(read_at=ago(30), up=True, recording=True)
    return Recorder(recorder_id="5", recorder="rec", host="rec.example", state=state)


def ten_thousand() -> list[Reading]:
    """Make a fleet of 10,000 agents, one of forty down, and 2,500 other targets."""
    tested = changed(suite(passed=False), history=tuple(SuiteRun(run_id=str(n)) for n in range(20)))
    alps = cluster(*(member(f"member-{number}", up=number > 0) for number in range(12)))
    return [
        *(agent(f"agent-{n:05}.load.example", up=n % 40 != 0) for n in range(10_000)),
        *(changed(controller(), controller=f"ctl-{n}.example:8080") for n in range(500)),
        *(changed(alps, cluster_id=f"{n}", agent_cluster=f"alps {n}") for n in range(500)),
        *(changed(recorder(), recorder_id=f"{n}", recorder=f"rec-{n}") for n in range(500)),
        *(changed(tested, suite_id=f"{n}", suite=f"nightly {n}") for n in range(1_000)),
    ]


@asynccontextmanager
async def browsing(view: FakeView, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the app."""
    transport = httpx.ASGITransport(create_app(view, **options), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        yield client
