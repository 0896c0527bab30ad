"""The only way to an Eggplant DAI server: a call for all agents, and one for each run that went."""

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

#: The only paths that are asked for, beside the login. They read, by POST.
READ_ONLY = {STATUS: "/api/sut/status", PROGRESS: "/api/run/progress"}

#: One call covers all agents. Alone, it is also refused at most twice in one go: with the token
#: that was held and with its successor.
CONCURRENCY = 1

#: For so many runs a poll asks at most, and only for so long, as a part of the time-out of a call:
#: they must not hold up the agents.
MOST_RUNS = 20
RUNS_PART = 0.25


class EggplantClient(Client):
    """Asks one server for all agents at once, and for each run that went."""

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
        """Read all agents, connected or missed, and their runs.

        Raises:
            PollError: The call failed, and nothing is said about anybody.
        """
        await self._read()
        failures = await self._ask_for_runs()
        now = self.context.clock.now()
        # Without an inventory: that an agent is not listed is how its absence is known.
        return Poll(
            readings=self._inventory.readings(now),
            failures=failures,
            memory=msgspec.json.encode(self._inventory.runs.memory(now)),
        )

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Read an agent or a run now.

        Raises:
            LookupError: There is no such target listed or remembered.
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
        """Find out whether the credentials are accepted; there is no cheaper call than the one."""
        await self._attempt()

    async def _read(self) -> tuple[tuple[Reading, ...], bytes]:
        """Return all readings, and the body of the reply."""
        entries, body = await self.guard.call(self._attempt)
        return self._inventory.update(entries, self.context.clock.now()), body

    async def _ask_for_runs(self) -> tuple[Failure, ...]:
        """Ask for runs that went without a verdict, until one cannot be asked for.

        Those that are left are asked for by later polls. So is the one whose answer takes too long,
        but that still counts when it comes.
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
            message = f"{PROGRESS}: no answer yet, and the agents' poll does not wait for it"
            return (Failure(reason=Reason.TIMEOUT, message=message, target=run_id),)
        except PollError as error:
            return (Failure(reason=error.reason, message=str(error), target=run_id),)
        return ()

    async def _attempt(self) -> tuple[list[AgentEntry], bytes]:
        """Return the open agent connections, and the body of the reply."""
        return await self._renewing(self._status)

    async def _renewing(self, ask: Callable[[Token], Awaitable[T]]) -> T:
        """Ask, and once more with a new token if one that was held is no longer accepted."""
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
        """Ask for a run and take in the answer, which may be that nothing is known of it."""
        runs, execution = self._inventory.runs, None
        content = urlencode({"id": run_id}).encode(errors="surrogatepass")
        try:
            with self.context.telemetry.request(PROGRESS):
                body = await self._post(PROGRESS, token, content)
                execution = read_progress(body, run_id, operation=PROGRESS, surprise=self.surprise)
        except CallError as error:
            if error.reason is Reason.ACCESS_DENIED:
                runs.give_up(run_id)  # its model is not for us, and never will be
                return
            if error.reason is not Reason.HTTP_4XX or (error.status or 0) < 400:
                raise suspected(error) from None
        runs.learn(run_id, execution, self.context.clock.now())

    async def _post(self, operation: str, token: Token, content: bytes = b"") -> bytes:
        """Send a call and return the body of a good reply.

        Raises:
            CallError: There is none.
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
        """Decode a reply; an entry that cannot be read becomes an empty one: some agent's."""
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
        " do not document and older ones do; so nothing is known of agents, whether they are"
        " connected or busy, nor of runs. If the server is an older one, check the url",
        status=404,
    )


def _is_about(entry: Any, reading: Reading) -> bool:
    """Return whether an entry, as it is shown, is the one that a reading was made from."""
    if isinstance(reading, Agent):
        found = (part_of(entry, "agent_name"), text(part_of(entry, "port")))
        return found == (reading.agent, reading.port)
    return bool(part_of(entry, "execution_status", "id") == getattr(reading, "run_id", None))


def _shown(entry: Any) -> Any:
    """Return an entry for people; what its log says is nothing for them."""
    if isinstance(entry, dict) and "last_log" in entry:
        entry["last_log"] = NOT_SHOWN
    return entry
