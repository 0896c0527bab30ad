"""The only way to a farm: two calls, both of which only read."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from exporter.sources.api import (
    Agent,
    AgentState,
    Call,
    CallError,
    Client,
    Explanation,
    Kind,
    Outcome,
    Poll,
    Reason,
    Run,
    Source,
    decode,
    http_client,
    measured,
    older,
    redacted_reply,
    status_error,
    suspected,
)

from .families import GeneratorLoad
from .replies import Generators, Tests


if TYPE_CHECKING:
    from exporter.sources.api import HttpClient, Reading, SourceContext

    from .replies import Generator, Test
    from .settings import FarmSettings


AGENTS, RUNS = "agents", "runs"

#: The only paths that are requested, by task.
READ_ONLY = {AGENTS: "/api/generators", RUNS: "/api/tests"}

Reply = TypeVar("Reply", Generators, Tests)


def connect(settings: FarmSettings, context: SourceContext) -> Source:
    """Make a source; sends nothing yet."""
    http = http_client(settings, context, settings.fingerprint)
    client = FarmClient(settings, context, http=http)
    return Source(
        client,
        tasks={AGENTS: client.poll_agents, RUNS: client.poll_runs},
        explainers={"agent": client.explain_agent, "run": client.explain_run},
    )


class FarmClient(Client):
    """Asks one farm for its generators and its tests."""

    def __init__(self, settings: FarmSettings, context: SourceContext, *, http: HttpClient) -> None:
        super().__init__(settings, context, http=http, fingerprint=settings.fingerprint)
        self._farm = settings

    async def poll_agents(self) -> Poll:
        """Read all generators."""
        readings, _ = await self._agents()
        return Poll(readings=readings, inventory=(Kind.AGENT,))

    async def poll_runs(self) -> Poll:
        """Read the tests that run, and the newest ones that ended."""
        readings, _ = await self._runs()
        return Poll(readings=readings)

    async def prove(self) -> None:
        """Find out whether the credentials are accepted."""
        await self._ask(AGENTS, Generators)

    async def explain_agent(self, target_id: str) -> Explanation:
        """Read a generator now."""
        readings, body = await self._agents()
        for reading in readings:
            if isinstance(reading, Agent) and reading.agent_id == target_id:
                return Explanation(reading=reading, reply=redacted_reply(body, Generators))
        raise LookupError(f"there is no agent {target_id!r}")

    async def explain_run(self, target_id: str) -> Explanation:
        """Read a test now."""
        readings, body = await self._runs()
        for reading in readings:
            if reading.run_id == target_id:
                return Explanation(reading=reading, reply=redacted_reply(body, Tests))
        raise LookupError(f"there is no run {target_id!r}")

    async def _agents(self) -> tuple[tuple[Reading, ...], bytes]:
        reply, body = await self.guard.call(lambda: self._ask(AGENTS, Generators))
        readings: list[Reading] = []
        for row in reply.generators or ():
            if not row.id:
                self.surprise("missing_field")
            elif self.settings.wanted(AGENTS, row.name):
                readings += self._agent(row)
        return tuple(readings), body

    def _agent(self, row: Generator) -> tuple[Agent, GeneratorLoad]:
        minimum = self._farm.min_agent_version
        state = AgentState(
            read_at=self.context.clock.now(),
            up=row.alive,
            reason=Reason.NO_HEARTBEAT if row.alive is False else None,
            outdated=older(row.version, minimum) if minimum else None,
            version=row.version,
        )
        name = row.name or row.id
        return (
            Agent(agent_id=row.id, agent=name, state=state),
            GeneratorLoad(agent_id=row.id, agent=name, users=measured(row.users)),
        )

    async def _runs(self) -> tuple[tuple[Run, ...], bytes]:
        reply, body = await self.guard.call(lambda: self._ask(RUNS, Tests))
        return tuple(self._run(row) for row in reply.tests or () if row.id), body

    def _run(self, row: Test) -> Run:
        outcome = None
        if row.state == "stopped":
            outcome = Outcome.ABORTED
        elif row.state == "done":
            verdicts = {True: Outcome.PASSED, False: Outcome.FAILED, None: Outcome.NO_VERDICT}
            outcome = verdicts[row.passed]
        elif row.state != "running":
            self.surprise("enum")
        phase = "ended" if outcome else "running" if row.state == "running" else "unknown"
        return Run(run_id=row.id, run=row.name or row.id, phase=phase, outcome=outcome)

    async def _ask(self, task: str, type_: type[Reply]) -> tuple[Reply, bytes]:
        """Send a call and read its reply, which proves that the credentials were accepted."""
        with self.context.telemetry.request(task):
            call = Call(
                operation=task,
                method="GET",
                url=self.settings.url.rstrip("/") + READ_ONLY[task],
                headers=self._farm.authorization(),
            )
            reply = await self.http.send(call)
            error = status_error(task, reply)
            if error is not None:
                raise suspected(error)
            found = decode(reply.body, type_, operation=task, surprise=self.surprise)
            if found == type_():
                raise CallError(Reason.DECODE, f"{task}: the answer is not the farm's")
            return found, reply.body
