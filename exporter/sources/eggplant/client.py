"""The client of an Eggplant DAI server: a call for all agents, and a call per vanished run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from exporter.errors import CallError, PollError, Reason, SuspectError
from exporter.fleet.readings import Agent, Reading
from exporter.http import Call, HttpClient, status_error
from exporter.sources.base import Client, Explanation, Failure, Poll, SourceContext
from exporter.sources.calls import suspected
from exporter.sources.decode import NOT_SHOWN, decode, part_of, redacted_reply, text, well_formed
from exporter.sources.eggplant.inventory import Inventory
from exporter.sources.eggplant.replies import AgentEntry, read_progress
from exporter.sources.eggplant.runs import RunsMemory
from exporter.sources.eggplant.tokens import GivenToken, LoginTokens, Token, login_of
from exporter.sources.memory import known_readings, remembered


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.metrics.telemetry import Surprise
    from exporter.sources.eggplant.settings import EggplantSettings


T = TypeVar("T")

TASK = "agents"

STATUS, PROGRESS = "status", "progress"

#: The only paths that are called, apart from the login. They only read, although by POST.
READ_ONLY = {STATUS: "/api/sut/status", PROGRESS: "/api/run/progress"}

#: One call covers all agents. Without concurrent calls the server refuses at most two calls in a
#: row: one with the held token and one with its successor.
CONCURRENCY = 1

#: The largest number of runs that a poll asks for, and the part of `timeout` it spends on that, so
#: that these calls do not delay the agents' readings.
MOST_RUNS = 20
RUNS_PART = 0.25


class EggplantClient(Client):
    """The client of one server."""

    def __init__(
        self, settings: EggplantSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        secret = settings.auth.secret
        super().__init__(
            settings, context, http=http, concurrency=CONCURRENCY, fingerprint=secret.fingerprint
        )
        self._base = settings.url.rstrip("/")
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
        """Read all agents and their runs.

        Returns:
            The readings of all connected and missing agents and their runs, and failed calls for
            runs.

        Raises:
            PollError: The call for the agents failed.
        """
        await self._read()
        failures = await self._ask_for_runs()
        now = self.context.clock.now()
        # `inventory` is empty: an agent missing from the list is down, so the list counts at once.
        return Poll(
            readings=self._inventory.readings(now),
            failures=failures,
            memory=msgspec.json.encode(self._inventory.runs.memory(now)),
        )

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Return the reading of an agent or a run, read now.

        Raises:
            LookupError: The target is neither listed nor remembered.
            PollError: The call failed.
        """
        readings, body = await self._read()
        for reading in readings:
            if target_id == getattr(reading, f"{kind}_id", None):
                entries = redacted_reply(body, list[AgentEntry])
                listed = (entry for entry in entries if _is_about(entry, reading))
                return Explanation(reading=reading, reply=_shown(next(listed, None)))
        raise LookupError(f"there is no {kind} {target_id!r}")

    async def prove(self) -> None:
        """Find out whether the server accepts the credentials; no call is cheaper than a poll's."""
        await self._attempt()

    async def _read(self) -> tuple[tuple[Reading, ...], bytes]:
        """Read the agents; return all readings, and the body of the reply."""
        entries, body = await self.guard.call(self._attempt)
        return self._inventory.update(entries, self.context.clock.now()), body

    async def _ask_for_runs(self) -> tuple[Failure, ...]:
        """Ask for the runs that vanished without a verdict, until a call fails or time is up.

        Later polls ask for the remaining runs, and for the run whose answer takes too long. A late
        answer still counts.
        """
        runs, run_id, answered = self._inventory.runs, "", False
        try:
            async with asyncio.timeout(self.settings.timeout * RUNS_PART):
                for run_id in runs.wanting(self.context.clock.now())[:MOST_RUNS]:
                    runs.asked(run_id)
                    ask = partial(self._progress, run_id)
                    await self.guard.call(partial(self._renewing, ask), target=run_id)
                    answered = True
        except TimeoutError:
            if answered:
                return ()
            message = f"{PROGRESS}: no answer yet; the poll continues without it"
            return (Failure(reason=Reason.TIMEOUT, message=message, target=run_id),)
        except PollError as error:
            return (Failure(reason=error.reason, message=str(error), target=run_id),)
        return ()

    async def _attempt(self) -> tuple[list[AgentEntry], bytes]:
        """Return the open agent connections, and the body of the reply."""
        return await self._renewing(self._status)

    async def _renewing(self, ask: Callable[[Token], Awaitable[T]]) -> T:
        """Make a call; if the server no longer accepts the held token, repeat it with a new one."""
        token = await self._tokens.get()
        try:
            return await ask(token)
        except SuspectError as error:
            if token.fresh or error.reason is not Reason.AUTH:
                raise
        self.guard.refused()
        return await ask(await self._tokens.get())

    async def _status(self, token: Token) -> tuple[list[AgentEntry], bytes]:
        with self.context.telemetry.request(STATUS):
            try:
                body = await self._post(STATUS, token)
            except CallError as error:
                if error.status == 404:
                    raise _not_offered() from None
                raise suspected(error) from None
            return self._entries(body), body

    async def _progress(self, run_id: str, token: Token) -> None:
        """Ask for a run and record the answer; a 4xx answer means that the server has no data."""
        runs, execution = self._inventory.runs, None
        content = urlencode({"id": run_id}).encode(errors="surrogatepass")
        try:
            with self.context.telemetry.request(PROGRESS):
                body = await self._post(PROGRESS, token, content)
                execution = read_progress(body, run_id, operation=PROGRESS, surprise=self.surprise)
        except CallError as error:
            if error.reason is Reason.ACCESS_DENIED:
                runs.give_up(run_id)  # these credentials may not see the run's model
                return
            if error.reason is not Reason.HTTP_4XX or (error.status or 0) < 400:
                raise suspected(error) from None
        runs.learn(run_id, execution, self.context.clock.now())

    async def _post(self, operation: str, token: Token, content: bytes = b"") -> bytes:
        """Send a call and return the body of a successful reply.

        Raises:
            CallError: There is no successful reply.
        """
        call = Call(
            operation=operation,
            method="POST",
            url=self._base + READ_ONLY[operation],
            headers={
                "authorization": f"bearer {token.value}",
                "content-type": "application/x-www-form-urlencoded",
            },
            content=content,
        )
        reply = await self.http.send(call)
        if reply.status == 401:
            self._tokens.refused(token)
        if (error := status_error(operation, reply)) is not None:
            raise error
        return reply.body

    def _entries(self, body: bytes) -> list[AgentEntry]:
        """Decode a reply; an unreadable entry becomes an empty one, which can be any agent's."""
        odd: list[Surprise] = []
        entries = decode(body, list[AgentEntry], operation=STATUS, surprise=odd.append)
        for kind in odd:
            self.surprise(kind)
        if odd:
            count = len(msgspec.json.decode(well_formed(body), type=list[msgspec.Raw]))
            entries += [AgentEntry()] * (count - len(entries))
        return entries


def _not_offered() -> CallError:
    return CallError(
        Reason.HTTP_4XX,
        f"{STATUS}: the server does not offer {READ_ONLY[STATUS]} (404), which current DAI versions"
        " do not document and older ones do; without it there is no data on agents and runs. If the"
        " server is an older one, check the url",
        status=404,
    )


def _is_about(entry: Any, reading: Reading) -> bool:
    """Return whether a redacted entry is the one from which a reading was made."""
    if isinstance(reading, Agent):
        found = (part_of(entry, "agent_name"), text(part_of(entry, "port")))
        return found == (reading.agent, reading.port)
    return bool(part_of(entry, "execution_status", "id") == getattr(reading, "run_id", None))


def _shown(entry: Any) -> Any:
    """Return an entry without the text of its log line, which may hold secrets."""
    if isinstance(entry, dict) and "last_log" in entry:
        entry["last_log"] = NOT_SHOWN
    return entry
