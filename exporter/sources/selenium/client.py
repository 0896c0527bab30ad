"""The client of a Selenium Grid; it makes three calls, all of them read-only."""

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
    Failure,
    HttpClient,
    Poll,
    Reason,
    Roster,
    Source,
    SourceContext,
    controller_at,
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

#: Method, path and body of the only calls. Selenium's GraphQL needs a POST, but can only read.
READ_ONLY = {
    STATUS: ("GET", "/status", b""),
    GRID: ("POST", "/graphql", b'{"query":"{ grid { version sessionQueueSize } }"}'),
    QUEUE: ("GET", "/se/grid/newsessionqueue/queue", b""),
}

AGENTS, CONTROLLERS = "agents", "controllers"

#: The known availabilities, the worst first. If a dead node and its successor are listed with the
#: same address, the better one counts.
_ORDER = ("DOWN", "DRAINING", "UP")


def connect(
    settings: SeleniumSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Return a new source, which has not sent a call yet.

    Args:
        settings: The source's settings.
        context: Everything else the source needs.
        http: The HTTP client to use; a new one if not given.
    """
    http = http or http_client(settings, context, settings.fingerprint)
    client = SeleniumClient(settings, context, http=http)
    return Source(
        client,
        tasks={AGENTS: client.poll, CONTROLLERS: client.poll_hub},
        explainers={"agent": client.explain_node, "controller": client.explain_hub},
    )


class SeleniumClient(Client):
    """The client of one hub."""

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

        Returns:
            The readings of all nodes.

        Raises:
            PollError: The call failed.
        """
        agents, loads, _ = await self._read()
        # `inventory` is empty: a node missing from the list is gone, so the list counts at once.
        return Poll(readings=(*agents, *loads.values()))

    async def poll_hub(self) -> Poll:
        """Read the hub's version and queue, and find out whether it answers.

        Returns:
            The readings of the hub; a failure if version and queue could not be read.

        Raises:
            PollError: The hub does not answer.
        """
        await self.guard.call(self._nodes)
        grid, failures = await self._ask()
        load = GridLoad(queued=measured(grid.queued))
        return Poll(readings=(self._hub(grid), load), failures=failures)

    async def prove(self) -> None:
        """Find out whether the hub accepts the credentials."""
        await self._nodes()

    async def explain_node(self, target_id: str) -> Explanation:
        """Return the reading of a node, read now.

        Raises:
            LookupError: There is no node with that address.
            PollError: The call failed.
        """
        agents, loads, body = await self._read()
        for agent in agents:
            if agent.agent_id == target_id:
                more = (loads[target_id],) if target_id in loads else ()
                return Explanation(reading=agent, reply=redacted_reply(body, Status), more=more)
        raise LookupError(f"there is no agent {target_id!r}")

    async def explain_hub(self, target_id: str) -> Explanation:
        """Return the reading of the hub, read now.

        Raises:
            LookupError: The hub has another address.
            PollError: The call failed.
        """
        _, body = await self.guard.call(self._nodes)
        grid, _ = await self._ask()
        hub = self._hub(grid)
        if hub.controller != target_id:
            raise LookupError(f"there is no controller {target_id!r}")
        return Explanation(reading=hub, reply=redacted_reply(body, Status))

    async def _read(self) -> tuple[tuple[Agent, ...], dict[str, NodeLoad], bytes]:
        """Read the nodes; return the wanted nodes, the loads of the living ones, and the body."""
        listed, body = await self.guard.call(self._nodes)
        now = self.context.clock.now()
        nodes = self._by_address(listed)
        agents = self._roster.update((self._agent(*each, now) for each in nodes.items()), now)
        wanted = tuple(each for each in agents if self.settings.wanted(AGENTS, each.agent))
        loads = {
            each.agent_id: NodeLoad(
                agent_id=each.agent_id,
                agent=each.agent,
                sessions=nodes[each.agent_id].sessions,
                sessions_limit=measured(nodes[each.agent_id].max_sessions),
            )
            for each in wanted
            if each.agent_id in nodes and nodes[each.agent_id].availability != "DOWN"
        }
        return wanted, loads, body

    def _by_address(self, nodes: Iterable[Node]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for node in nodes:
            address = address_of(node.uri)
            if node.availability not in _ORDER:
                self.surprise("enum" if node.availability else "missing_field")
            if not address:
                self.surprise("type" if node.uri else "missing_field")
            elif address not in found or _rank(found[address]) < _rank(node):
                found[address] = node
        return found

    def _agent(self, address: str, node: Node, now: Moment) -> Agent:
        parts = urlsplit(f"//{address}")
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
        # A draining node takes no new sessions and leaves after its last one, so it is not judged.
        judged = node.availability in ("UP", "DOWN")
        return Agent(
            agent_id=address,
            agent=address,
            host=parts.hostname or "",
            port="" if parts.port is None else str(parts.port),
            active=node.availability != "DRAINING" if node.availability in _ORDER else None,
            state=state if judged else None,
        )

    def _hub(self, grid: Grid) -> Controller:
        version = grid.version.partition(" ")[0]
        return controller_at(self._base, version=version, now=self.context.clock.now())

    async def _ask(self) -> tuple[Grid, tuple[Failure, ...]]:
        """Return version and queue, or the queue alone if the hub does not offer GraphQL."""
        try:
            return await self.guard.call(self._grid), ()
        except CallError as error:
            if not _is_not_offered(error):
                raise
        try:
            return await self.guard.call(self._queue), ()
        except CallError as error:
            if not _is_not_offered(error):
                raise
            failure = Failure(reason=error.reason, message=str(error), cuts_list=False)
            return Grid(), (failure,)

    # A login page can have the status 200, so these methods decode replies before the guard counts
    # a call as accepted.

    async def _nodes(self) -> tuple[tuple[Node, ...], bytes]:
        """Return the nodes, and the body of the reply."""
        with self.context.telemetry.request(STATUS):
            body = await self._send(STATUS)
            nodes = decode(body, Status, operation=STATUS, surprise=self.surprise).value.nodes
            if nodes is None:
                raise CallError(
                    Reason.DECODE,
                    f"{STATUS}: the reply has no nodes; the exporter needs Selenium Grid 4",
                )
            return nodes, body

    async def _grid(self) -> Grid:
        with self.context.telemetry.request(GRID):
            body = await self._send(GRID)
            reply = decode(body, GridReply, operation=GRID, surprise=self.surprise)
            if reply.data is None and reply.errors is None:
                raise CallError(Reason.DECODE, f"{GRID}: the reply is not from GraphQL")
            return reply.data.grid or Grid() if reply.data is not None else Grid()

    async def _queue(self) -> Grid:
        with self.context.telemetry.request(QUEUE):
            body = await self._send(QUEUE)
            queue = decode(body, Queue, operation=QUEUE, surprise=self.surprise).value
            if queue is None:
                raise CallError(Reason.DECODE, f"{QUEUE}: the reply has no queue")
            return Grid(queued=len(queue))

    async def _send(self, operation: str) -> bytes:
        """Send one of the calls and return the body of a successful reply.

        Raises:
            PollError: There is no successful reply.
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


def address_of(uri: str) -> str:
    """Return host and port of a node's URI, without user and password; empty if it is invalid."""
    try:
        parts = urlsplit(uri)
        known = parts.hostname and (parts.port is None or parts.port >= 0)
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2] if known else ""


def _rank(node: Node) -> int:
    return _ORDER.index(node.availability) if node.availability in _ORDER else -1


def _is_not_offered(error: CallError) -> bool:
    """Return whether an error means that the hub does not offer a call.

    An older hub answers with 500 to a query with an unknown field, and a proxy may block all
    methods but GET.
    """
    return error.status in (404, 405, 500)
