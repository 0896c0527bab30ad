"""The only way to a Selenium Grid: three calls, which only read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter.sources.api import (
    Agent,
    AgentState,
    Call,
    CallError,
    Client,
    Controller,
    Explanation,
    HttpClient,
    Poll,
    Reason,
    Roster,
    Source,
    SourceContext,
    State,
    decode,
    http_client,
    known_readings,
    measured,
    older,
    redacted_reply,
    status_error,
    suspected,
)
from exporter.sources.selenium.families import GridLoad, NodeLoad
from exporter.sources.selenium.replies import Grid, GridReply, Node, Queue, Status


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.sources.api import Moment
    from exporter.sources.selenium.settings import SeleniumSettings


STATUS, GRID, QUEUE = "status", "grid", "queue"

#: All that is ever asked for: method, path and body. GraphQL takes a POST and has nothing that
#: changes anything.
READ_ONLY = {
    STATUS: ("GET", "/status", b""),
    GRID: ("POST", "/graphql", b'{"query":"{ grid { version sessionQueueSize } }"}'),
    QUEUE: ("GET", "/se/grid/newsessionqueue/queue", b""),
}

AGENTS, CONTROLLERS = "agents", "controllers"

#: Of two rows with one address, of a dead node and of its successor, the better one counts.
_ORDER = ("DOWN", "DRAINING", "UP")


def connect(
    settings: SeleniumSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Make a source; sends nothing yet. `http` may be a client with another transport."""
    http = http or http_client(settings, context, settings.fingerprint)
    client = SeleniumClient(settings, context, http=http)
    return Source(
        client,
        tasks={AGENTS: client.poll, CONTROLLERS: client.poll_hub},
        explainers={"agent": client.explain_node, "controller": client.explain_hub},
    )


class SeleniumClient(Client):
    """Asks one hub for its nodes, and for its version and its queue."""

    def __init__(
        self, settings: SeleniumSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        super().__init__(settings, context, http=http, fingerprint=settings.fingerprint)
        self._selenium = settings
        self._base = settings.url.rstrip("/")
        self._roster = Roster(
            settings.expected_agents,
            remember_for=settings.remember_for,
            grace=settings.leave_grace,
        )
        self._roster.recall(known_readings(self, AGENTS, Agent))

    async def poll(self) -> Poll:
        """Read all nodes.

        Raises:
            PollError: The call failed, and nothing is said about anybody.
        """
        agents, nodes, _ = await self._read()
        loads = (
            NodeLoad(
                agent_id=agent.agent_id,
                agent=agent.agent,
                sessions=nodes[agent.agent_id].sessions,
                sessions_limit=measured(nodes[agent.agent_id].max_sessions),
            )
            for agent in agents
            if agent.agent_id in nodes and nodes[agent.agent_id].availability != "DOWN"
        )
        # Without an inventory: that a node is not listed is how its end is known.
        return Poll(readings=(*agents, *loads))

    async def poll_hub(self) -> Poll:
        """Find out whether the hub answers, its version and its queue.

        Raises:
            PollError: It does not answer; the nodes' poll says the same.
        """
        await self.guard.call(self._status)
        grid = await self._ask()
        return Poll(readings=(self._hub(grid), GridLoad(queued=measured(grid.queued))))

    async def prove(self) -> None:
        """Find out whether the credentials are accepted."""
        await self._status()

    async def explain_node(self, target_id: str) -> Explanation:
        """Read a node now.

        Raises:
            LookupError: There is none of that address.
            PollError: The call failed.
        """
        agents, _, body = await self._read()
        for agent in agents:
            if agent.agent_id == target_id:
                return Explanation(reading=agent, reply=redacted_reply(body, Status))
        raise LookupError(f"there is no agent {target_id!r}")

    async def explain_hub(self, target_id: str) -> Explanation:
        """Read the hub now.

        Raises:
            LookupError: It is another one.
            PollError: The call failed.
        """
        _, body = await self.guard.call(self._status)
        hub = self._hub(await self._ask())
        if hub.controller != target_id:
            raise LookupError(f"there is no controller {target_id!r}")
        return Explanation(reading=hub, reply=redacted_reply(body, Status))

    async def _read(self) -> tuple[tuple[Agent, ...], dict[str, Node], bytes]:
        """Return the wanted nodes, the rows of those that are listed, and the body."""
        listed, body = await self.guard.call(self._status)
        now = self.context.clock.now()
        nodes = self._by_address(listed)
        agents = self._roster.update((self._agent(*each, now) for each in nodes.items()), now)
        wanted = tuple(each for each in agents if self.settings.wanted(AGENTS, each.agent))
        return wanted, nodes, body

    def _by_address(self, nodes: Iterable[Node]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for node in nodes:
            address = urlsplit(node.uri).netloc
            if not address or node.availability not in _ORDER:
                self.surprise("missing_field" if not address else "enum")
                continue
            best = found.get(address)
            if best is None or _ORDER.index(best.availability) < _ORDER.index(node.availability):
                found[address] = node
        return found

    def _agent(self, address: str, node: Node, now: Moment) -> Agent:
        host, _, port = address.rpartition(":")
        version, minimum = node.version.partition(" ")[0], self._selenium.min_agent_version
        up = node.availability == "UP"
        state = AgentState(
            read_at=now,
            up=up,
            reason=None if up else Reason.NO_HEARTBEAT,
            outdated=older(version, minimum) if up and minimum else None,
            version=version,
            os=node.os_info.name,
            os_version=node.os_info.version,
            busy=node.sessions > 0 if up else None,
        )
        # One that drains takes no new sessions and leaves after its last one: it is not judged.
        active = node.availability != "DRAINING"
        return Agent(
            agent_id=address,
            agent=address,
            host=host or address,
            port=port,
            active=active,
            state=state if active else None,
        )

    def _hub(self, grid: Grid) -> Controller:
        parts = urlsplit(self._base)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        version = grid.version.partition(" ")[0]
        state = State(read_at=self.context.clock.now(), up=True, version=version)
        return Controller(controller=f"{host}:{port}", host=host, port=str(port), state=state)

    async def _ask(self) -> Grid:
        """Return version and queue; where GraphQL is not offered, the queue alone."""
        try:
            return await self.guard.call(self._grid)
        except CallError as error:
            if error.status not in (404, 500):
                raise
        return await self.guard.call(self._queue)

    # A login page can come with status 200 as well, so replies are read before the guard takes a
    # call for accepted.

    async def _status(self) -> tuple[tuple[Node, ...], bytes]:
        with self.context.telemetry.request(STATUS):
            body = await self._send(STATUS)
            nodes = decode(body, Status, operation=STATUS, surprise=self.surprise).value.nodes
            if nodes is None:
                raise CallError(
                    Reason.DECODE,
                    f"{STATUS}: the answer has no nodes; the exporter needs Selenium Grid 4",
                )
            return nodes, body

    async def _grid(self) -> Grid:
        with self.context.telemetry.request(GRID):
            body = await self._send(GRID)
            grid = decode(body, GridReply, operation=GRID, surprise=self.surprise).data.grid
            if grid is None:
                raise CallError(Reason.DECODE, f"{GRID}: the answer has no grid")
            return grid

    async def _queue(self) -> Grid:
        with self.context.telemetry.request(QUEUE):
            body = await self._send(QUEUE)
            queue = decode(body, Queue, operation=QUEUE, surprise=self.surprise).value
            if queue is None:
                raise CallError(Reason.DECODE, f"{QUEUE}: the answer has no queue")
            return Grid(queued=len(queue))

    async def _send(self, operation: str) -> bytes:
        """Send one of the calls and return the body of a good reply.

        Raises:
            PollError: There is none.
        """
        method, path, content = READ_ONLY[operation]
        call = Call(
            operation=operation,
            method=method,
            url=self._base + path,
            headers={**self._selenium.authorization(), "content-type": "application/json"},
            content=content,
        )
        reply = await self.http.send(call)
        error = status_error(operation, reply)
        if error is not None:
            raise suspected(error)
        return reply.body
