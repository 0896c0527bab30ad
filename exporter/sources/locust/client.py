"""The client of a Locust master; it calls two paths, which are read-only in all Locust versions.

In older versions a GET on `/stop` or `/stats/reset` stops the test or resets it, so the client must
not call any other path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from exporter.sources.api import (
    Agent,
    AgentState,
    Call,
    CallError,
    Client,
    Controller,
    Explanation,
    Failure,
    HttpClient,
    Kind,
    Poll,
    PollError,
    Reason,
    Roster,
    Source,
    SourceContext,
    controller_at,
    decode,
    http_client,
    known_readings,
    measured,
    remembered,
    status_error,
    suspected,
)
from exporter.sources.locust.families import WorkerLoad
from exporter.sources.locust.replies import Arguments, Stats, arguments, shown
from exporter.sources.locust.run import CurrentRun, RunMemory
from exporter.sources.locust.workers import Listed, Names, readings


if TYPE_CHECKING:
    from exporter.sources.api import Moment, Reading, Reply
    from exporter.sources.locust.settings import LocustSettings


STATS, PAGE = "stats", "page"

#: The only paths that are called.
READ_ONLY = {STATS: "/stats/requests", PAGE: "/"}

AGENTS, CONTROLLERS = "agents", "controllers"

#: The time after which the version and the name of the locustfile are read again.
ABOUT_SECONDS = 3600.0


def connect(
    settings: LocustSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Return a new source, which has not sent a call yet.

    Args:
        settings: The source's settings.
        context: Everything else the source needs.
        http: The HTTP client to use; a new one if not given.
    """
    http = http or http_client(settings, context, settings.fingerprint)
    client = LocustClient(settings, context, http=http)
    return Source(
        client,
        tasks={AGENTS: client.poll, CONTROLLERS: client.poll_master},
        explainers={
            "agent": client.explain_agent,
            "controller": client.explain_master,
            "run": client.explain_run,
        },
    )


class LocustClient(Client):
    """The client of one master."""

    def __init__(
        self, settings: LocustSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        super().__init__(settings, context, http=http, fingerprint=settings.fingerprint)
        self._locust = settings
        self._base = settings.url.rstrip("/")
        self._about = Arguments()
        self._about_until = 0.0
        self._roster = Roster(
            settings.expected_agents,
            remember_for=settings.remember_for,
            grace=settings.leave_grace,
        )
        self._run = CurrentRun(linger_seconds=settings.run_linger, surprise=self.surprise)
        memory = remembered(self, AGENTS, RunMemory)
        if memory is not None:
            self._run.recall(memory, context.clock.now())
        self._names = Names(self._run.memory.ids, self._run.memory.ignored)
        self._roster.recall(known_readings(self, AGENTS, Agent))

    async def poll(self) -> Poll:
        """Read the workers and the test.

        Returns:
            The readings of all workers and the test; a failure if the version could not be read.

        Raises:
            PollError: The call failed.
        """
        failures = await self._learn()
        found, _, _ = await self._read()
        memory = msgspec.structs.replace(
            self._run.memory, ids=self._names.ids, ignored=tuple(sorted(self._names.ignored))
        )
        # `inventory` is empty: a worker missing from the list is gone, so the list counts at once.
        return Poll(readings=found, failures=failures, memory=msgspec.json.encode(memory))

    async def poll_master(self) -> Poll:
        """Read the master's version and find out whether it answers.

        Returns:
            The reading of the master; a failure if the version could not be read.

        Raises:
            PollError: The master does not answer.
        """
        failures = await self._learn()
        await self.guard.call(self._stats)
        return Poll(readings=(self._master(self.context.clock.now()),), failures=failures)

    async def prove(self) -> None:
        """Find out whether the master accepts the credentials."""
        await self._stats()

    async def explain_agent(self, target_id: str) -> Explanation:
        """Return the reading of a worker, read now.

        Raises:
            LookupError: There is no worker of that name.
            PollError: The call failed.
        """
        return await self._explain(Kind.AGENT, target_id)

    async def explain_master(self, target_id: str) -> Explanation:
        """Return the reading of the master, read now.

        Raises:
            LookupError: The master has another address.
            PollError: The call failed.
        """
        stats, body = await self.guard.call(self._stats)
        master = self._master(self.context.clock.now())
        if master.controller != target_id:
            raise LookupError(f"there is no controller {target_id!r}")
        return Explanation(reading=master, reply=shown(body, stats))

    async def explain_run(self, target_id: str) -> Explanation:
        """Return the reading of the test, read now.

        Raises:
            LookupError: The current test has another id.
            PollError: The call failed.
        """
        return await self._explain(Kind.RUN, target_id)

    async def _explain(self, kind: Kind, target_id: str) -> Explanation:
        found, body, stats = await self._read()
        about = [each for each in found if getattr(each, kind.id_field, None) == target_id]
        if not about:
            raise LookupError(f"there is no {kind} {target_id!r}")
        reading, *more = about
        return Explanation(reading=reading, reply=shown(body, stats), more=tuple(more))

    async def _read(self) -> tuple[tuple[Reading, ...], bytes, Stats]:
        """Read the workers and the test; return the readings, the body and the decoded reply."""
        stats, body = await self.guard.call(self._stats)
        now = self.context.clock.now()
        listed = self._workers(stats, now)
        agents = self._roster.update(listed.agents, now)
        self._names.keep(agent.agent_id for agent in agents)
        wanted = {each.agent_id for each in agents if self.settings.wanted(AGENTS, each.agent)}
        found = (
            *(agent for agent in agents if agent.agent_id in wanted),
            *(load for load in listed.loads if load.agent_id in wanted),
            *self._run.update(stats, self._about.locustfile or self.settings.name, now),
        )
        return found, body, stats

    def _workers(self, stats: Stats, now: Moment) -> Listed:
        if stats.workers is None:
            # Without workers the queried process generates the load itself.
            alone = Agent(
                agent_id=self._host,
                agent=self._host,
                host=self._host,
                state=AgentState(read_at=now, up=True, version=self._about.version),
            )
            users = measured(stats.user_count)
            load = WorkerLoad(agent_id=self._host, agent=self._host, users=users)
            return Listed((alone,), (load,))
        return readings(self._names.rows(stats.workers), now, self.surprise)

    def _master(self, now: Moment) -> Controller:
        return controller_at(self._base, version=self._about.version, now=now)

    @property
    def _host(self) -> str:
        return urlsplit(self._base).hostname or ""

    async def _learn(self) -> tuple[Failure, ...]:
        """Read the version if it is unknown; if the call fails, return a failure."""
        now = self.context.clock.monotonic()
        if now < self._about_until:
            return ()
        try:
            page = await self.guard.call(self._page)
        except CallError as error:
            if error.reason is Reason.AUTH or not error.status:
                raise
            failure = Failure(reason=error.reason, message=str(error), cuts_list=False)
            return (failure,)
        self._about = arguments(page)
        self._about_until = now + ABOUT_SECONDS
        return ()

    async def _stats(self) -> tuple[Stats, bytes]:
        """Return the reply and its body.

        A login page can have the status 200, so the body is decoded before the guard counts the
        call as accepted.

        Raises:
            PollError: There is no valid reply.
        """
        try:
            with self.context.telemetry.request(STATS):
                body = await self._get(STATS, "application/json")
                stats = decode(body, Stats, operation=STATS, surprise=self.surprise)
                if not stats.is_known:
                    raise CallError(Reason.DECODE, f"{STATS}: the reply is not from Locust")
                return stats, body
        except PollError:
            # The master may come back with another version.
            self._about_until = 0.0
            raise

    async def _page(self) -> bytes:
        with self.context.telemetry.request(PAGE):
            return await self._get(PAGE, "text/html")

    async def _get(self, operation: str, content_type: str) -> bytes:
        call = Call(
            operation=operation,
            method="GET",
            url=self._base + READ_ONLY[operation],
            headers=self._locust.authorization(),
        )
        reply = await self.http.send(call)
        error = _login(operation, reply) or status_error(operation, reply)
        if error is None and not _has_type(reply, content_type):
            error = _unexpected_reply(operation, reply)
        if error is not None:
            raise suspected(error)
        return reply.body


def _has_type(reply: Reply, content_type: str) -> bool:
    return reply.headers.get("content-type", "").partition(";")[0].strip() == content_type


def _login(operation: str, reply: Reply) -> CallError | None:
    """Return an error if Locust redirects to its login page."""
    location = reply.headers.get("location", "")
    if 300 <= reply.status < 400 and urlsplit(location).path.endswith("/login"):
        return CallError(
            Reason.HTTP_4XX,
            f"{operation}: Locust was started with --web-login, whose page only a person can pass;"
            " put a proxy with basic authentication in front of it instead",
            status=reply.status,
        )
    return None


def _unexpected_reply(operation: str, reply: Reply) -> CallError:
    """Return an error for a reply of another content type, as from a login that is not set up."""
    what = "an HTML page" if _has_type(reply, "text/html") else "of an unexpected type"
    return CallError(
        Reason.DECODE,
        f"{operation}: the reply is {what}; check the url, and on Locust's page whether --web-login"
        " lacks its set-up in the locustfile",
        status=reply.status,
    )
