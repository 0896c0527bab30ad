"""The only way to an Eggplant DAI server: one call, which reads all agents and their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.errors import CallError, Reason, SuspectError
from exporter.fleet.readings import Agent, Reading
from exporter.http import Call, HttpClient, status_error
from exporter.sources.base import Client, Explanation, Poll, SourceContext
from exporter.sources.calls import suspected
from exporter.sources.decode import decode, part_of, redacted_reply, well_formed
from exporter.sources.eggplant.inventory import Inventory, RunsMemory
from exporter.sources.eggplant.replies import AgentEntry
from exporter.sources.eggplant.tokens import GivenToken, LoginTokens, Token, login_of
from exporter.sources.memory import known_readings, remembered


if TYPE_CHECKING:
    from exporter.metrics.telemetry import Surprise
    from exporter.sources.eggplant.settings import EggplantSettings


TASK = "agents"

OPERATION = "status"

#: The only path that is asked for, beside the login. It reads, by POST.
PATH = "/api/sut/status"

#: One call covers the whole server. Alone, it is also refused at most twice in one go: with the
#: token that was held and with its successor.
CONCURRENCY = 1


class EggplantClient(Client):
    """Asks one server for all agents at once."""

    def __init__(
        self, settings: EggplantSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        secret = settings.auth.secret
        super().__init__(
            settings, context, http=http, concurrency=CONCURRENCY, fingerprint=secret.fingerprint
        )
        self._url = settings.url.rstrip("/") + PATH
        login = login_of(settings)
        self._tokens = (
            GivenToken(secret) if login is None else LoginTokens(login, context, http=http)
        )
        self._inventory = Inventory(settings, surprise=self.surprise)
        self._inventory.recall(
            known_readings(self, TASK, Agent),
            remembered(self, TASK, RunsMemory),
            context.clock.now(),
        )

    async def poll(self) -> Poll:
        """Read all agents, connected or missed, and their runs.

        Raises:
            PollError: The call failed, and nothing is said about anybody.
        """
        readings, _ = await self._read()
        memory = self._inventory.memory(self.context.clock.now())
        return Poll(readings=readings, memory=msgspec.json.encode(memory))

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Read an agent or a run now.

        Raises:
            LookupError: There is no such target listed or remembered.
            PollError: The call failed.
        """
        path = ("agent_name",) if kind == "agent" else ("execution_status", "id")
        readings, body = await self._read()
        for reading in readings:
            if target_id == getattr(reading, f"{kind}_id", None):
                entries = redacted_reply(body, list[AgentEntry])
                listed = (entry for entry in entries if target_id == part_of(entry, *path))
                return Explanation(reading=reading, reply=next(listed, None))
        raise LookupError(f"there is no {kind} {target_id!r}")

    async def prove(self) -> None:
        """Find out whether the credentials are accepted; there is no cheaper call than the one."""
        await self._attempt()

    async def _read(self) -> tuple[tuple[Reading, ...], bytes]:
        """Return all readings, and the body of the reply."""
        entries, body = await self.guard.call(self._attempt)
        return self._inventory.update(entries, self.context.clock.now()), body

    async def _attempt(self) -> tuple[list[AgentEntry], bytes]:
        """Ask, and once more with a new token if one that was held is no longer accepted.

        Returns:
            The open agent connections, and the body of the reply.
        """
        token = await self._tokens.get()
        try:
            return await self._ask(token)
        except SuspectError as error:
            if token.fresh or error.reason is not Reason.AUTH:
                raise
        return await self._ask(await self._tokens.get())

    async def _ask(self, token: Token) -> tuple[list[AgentEntry], bytes]:
        call = Call(
            operation=OPERATION,
            method="POST",
            url=self._url,
            headers={
                "authorization": f"bearer {token.value}",
                "content-type": "application/x-www-form-urlencoded",
            },
        )
        with self.context.telemetry.request(OPERATION):
            reply = await self.http.send(call)
            if reply.status == 401:
                self._tokens.refused(token)
            if reply.status == 404:
                raise CallError(
                    Reason.HTTP_4XX,
                    f"{OPERATION}: the server does not offer {PATH} (404),"
                    " so nothing is known of agents",
                    status=404,
                )
            if (error := status_error(OPERATION, reply)) is not None:
                raise suspected(error)
            return self._entries(reply.body), reply.body

    def _entries(self, body: bytes) -> list[AgentEntry]:
        """Decode a reply; an entry that cannot be read becomes an empty one: some agent's."""
        odd: list[Surprise] = []
        entries = decode(body, list[AgentEntry], operation=OPERATION, surprise=odd.append)
        for kind in odd:
            self.surprise(kind)
        if odd:
            count = len(msgspec.json.decode(well_formed(body), type=list[msgspec.Raw]))
            entries += [AgentEntry()] * (count - len(entries))
        return entries
