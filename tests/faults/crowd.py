"""Several processes at one portal, which counts the calls that it refuses."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any, Self

import msgspec
import yaml

from exporter.clock import SYSTEM_CLOCK
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload import app as realload
from exporter.simulator.realload.fleet import AGENT_VERSION, Fleet
from exporter.simulator.server import serve
from exporter.simulator.vendor import Command, Portal, Refusal
from tests.support.processes import EXPORTER, Process, fetch, free_port, running
from tests.support.redis import RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


Scenario = Callable[..., Awaitable[None]]

#: The token that the portal accepts in the beginning, and two others.
GOOD, BAD, NEXT = "the-good-token", "a-bad-token", "the-next-token"

AGENTS = 6
PING = "pingMeasuringAgent"

#: The most refused calls in a minute: the vendor blocks at the fifth.
ALLOWED = 4
WINDOW_SECONDS = 60.0

#: The longest time of a call to the portal, and of its answer back.
THERE_SECONDS, BACK_SECONDS = 0.2, 0.1

#: Half of the `auth_retry`.
PATIENCE_SECONDS = 30.0

FLEET = SimulatorOptions(
    still=True,
    agents=AGENTS,
    controllers=1,
    clusters=0,
    recorders=1,
    suites=0,
    token=GOOD,
    # No block, so that the number of refused calls shows how wrong the run went.
    block_seconds=0.0,
)


class Distance:
    """The network between callers and a portal: a sent call arrives, even if its sender is dead.

    Attributes:
        under_way: Calls on their way there or back.
        bad_at_once: The most calls that were under way at once with a token that was bad when they
            were sent.
        sent: When each call was sent, and the id of the agent that it is about, if it is a ping.
    """

    def __init__(self, app: ASGIApp, portal: Portal, chance: Random) -> None:
        self.under_way = 0
        self.bad_at_once = 0
        self.sent: list[tuple[float, int | None]] = []
        self._app = app
        self._portal = portal
        self._chance = chance
        self._bad = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through, late."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        call = json.loads(body)
        self.sent.append((SYSTEM_CLOCK.monotonic(), call.get("agentId")))
        bad = call["authTokenValue"] != self._portal.token
        arrived: list[Message] = [{"type": "http.request", "body": body}]

        async def taken() -> Message:
            return arrived.pop() if arrived else await receive()

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._chance.uniform(0, BACK_SECONDS))
            await send(message)

        self.under_way += 1
        self._bad += bad
        self.bad_at_once = max(self.bad_at_once, self._bad)
        try:
            await asyncio.sleep(self._chance.uniform(0, THERE_SECONDS))
            await self._app(scope, taken, answered)
        finally:
            self.under_way -= 1
            self._bad -= bad


class Crowd:
    """Processes at one portal that share a state, or do not.

    Attributes:
        chance: The source of randomness.
        portal: The portal, with its calls and its token.
        distance: The network to the portal.
        tokens: The files with the sources' tokens, by source.
        concurrency: The concurrency of each source.
        budget: The `requests_per_minute` of each source.
        daemons: The running daemons, by name.
        journal: The actions, to explain how refusals came about.
        server: The store, if it is a Redis.
    """

    def __init__(
        self, folder: Path, seed: int, *, shared: bool = True, remote: bool = False
    ) -> None:
        """Make a portal whose agents are well, and the file of one source with its token.

        Args:
            folder: The folder of all files.
            seed: The seed of all randomness.
            shared: Whether all processes have one state, or each its own.
            remote: Whether the state is in a Redis, `server`.
        """
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.chance = Random(seed)  # noqa: S311 - repeatable, not secret
        self.fleet = Fleet(FLEET)
        for agent in self.fleet.agents.values():
            agent.up, agent.active, agent.outdated, agent.skew_seconds = True, True, False, 0.0
            agent.version, agent.token = AGENT_VERSION, "token"
        self._newest = max(agent.agent_id for agent in self.fleet.agents.values())
        self._app = realload.app(self.fleet, FLEET)
        self.portal: Portal = self._app.state.portal
        self.portal.refusal = self.chance.choice(list(Refusal))
        self.distance = Distance(self._app, self.portal, Random(seed + 1))  # noqa: S311 - not secret
        self.tokens: dict[str, Path] = {}
        self.token("prod", GOOD)
        self.concurrency = 3
        self.budget: int | None = None
        self.daemons: dict[str, Process] = {}
        self.journal: list[str] = []
        self._flags: dict[str, tuple[str, ...]] = {}
        self._shared = shared
        self.server = RedisServer("redis-server", folder / "redis") if remote else None
        self._addresses: dict[str, str] = {}
        self._url = ""
        self._began = SYSTEM_CLOCK.monotonic()
        self._started = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the portal, and make the server's data old enough to be trusted."""
        if self.server is not None:
            self._stack.callback(self.server.stop)
            await self.server.begin()
        self._url = await self._stack.enter_async_context(serve(self.distance))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all processes, then the portal and the server."""
        await self._stack.__aexit__(kind, error, traceback)

    def note(self, what: str) -> None:
        """Add an action to the journal."""
        self.journal.append(f"{SYSTEM_CLOCK.monotonic() - self._began:6.2f} {what}")

    def token(self, source: str, token: str) -> None:
        """Write a source's token into its file, which its configuration names."""
        path = self._folder / f"{source}.token"
        path.write_text(token)
        self.tokens[source] = path

    def revoke(self) -> None:
        """Accept another token from now on."""
        self.note(f"revoked, {self.distance.under_way} calls under way")
        self.portal.obey(Command(token=NEXT))

    def come(self) -> None:
        """Add an agent to the portal."""
        self._newest += 1
        known = next(iter(self.fleet.agents.values()))
        self.fleet.agents[str(self._newest)] = msgspec.structs.replace(
            known, agent_id=self._newest, host=f"{self._newest}.load.example.com"
        )
        self.note(f"{self._newest} came")

    def go(self) -> None:
        """Remove an agent from the portal."""
        gone = self.chance.choice(list(self.fleet.agents))
        self.fleet.delete("agents", gone)
        self.note(f"{gone} went")

    async def start(self, name: str, *flags: str) -> None:
        """Start a daemon, without waiting for it."""
        port = free_port()
        self._flags[name] = flags
        self._addresses[name] = f"http://127.0.0.1:{port}"
        self.daemons[name] = await self._run(name, f"--web.listen-address=127.0.0.1:{port}", *flags)
        self.note(f"{name} started")

    async def healthy(self, *names: str) -> None:
        """Wait until daemons, all if none is named, answer for the first time."""
        for name in names or tuple(self.daemons):
            await until(functools.partial(self._answers, name))

    async def kill(self, name: str) -> None:
        """Kill a daemon by SIGKILL."""
        self.note(f"{name} killed, {self.distance.under_way} calls under way")
        process = self.daemons.pop(name)
        assert -signal.SIGKILL == await process.stop(signal.SIGKILL), process.errors

    async def restart(self, name: str) -> None:
        """Kill a daemon and start it anew at once."""
        await self.kill(name)
        await self.start(name, *self._flags[name])

    async def command(self, *words: str) -> str:
        """Run a command and return its output; exit code 1 means a fleet with problems."""
        self.note(f"{words[0]} begins")
        process = await self._run(words[0], *words[1:], command=words[0])
        code = await process.process.wait()
        self.note(f"{words[0]} ends with {code}")
        assert code in (0, 1), process.errors
        return process.output

    async def moment(self, least: float, most: float) -> None:
        """Let a random time pass, in seconds."""
        await asyncio.sleep(self.chance.uniform(least, most))

    async def page(self, name: str) -> str:
        """Scrape a daemon."""
        return await fetch(f"{self._addresses[name]}/metrics")

    async def shows(self, sample: str, *, count: int = 1) -> None:
        """Wait until every daemon's page has so many series of a sample.

        The wait is shorter than `auth_retry`, so that a retry cannot cause the change.

        Args:
            sample: As in `series`.
            count: The number of series.
        """
        for name in self.daemons:

            async def shown(name: str = name) -> bool:
                return count == series(await self.page(name), sample)

            await until(shown, timeout_seconds=PATIENCE_SECONDS)

    async def polled(self, calls: int = 2 * AGENTS) -> None:
        """Wait for so many pings more."""
        wanted = self.portal.calls[PING] + calls
        await until(lambda: self.portal.calls[PING] >= wanted, timeout_seconds=PATIENCE_SECONDS)

    async def settled(self) -> None:
        """Wait until no call is under way, those of dead processes included."""
        await until(lambda: not self.distance.under_way)

    @property
    def worst(self) -> int:
        """The most refused calls in any minute."""
        return _most(self.portal.refused)

    @property
    def busiest(self) -> int:
        """The most calls that were sent in any minute."""
        return _most([at for at, _ in self.distance.sent])

    @property
    def story(self) -> str:
        """The journal, refused calls included, one event a line."""
        refused = [f"{at - self._began:6.2f} refused" for at in self.portal.refused]
        return "\n" + "\n".join(sorted([*self.journal, *refused]))

    def _configured(self, name: str) -> Path:
        path = self._folder / ("state" if self._shared else f"state-{name}")
        document: dict[str, Any] = {
            "state": {"url": self.server.url()} if self.server else {"path": str(path)},
            "defaults": {
                "interval": "2s",
                "timeout": "1900ms",
                "stale_after": "1m",
                "auth_retry": "60s",
                "concurrency": self.concurrency,
            },
            "sources": [
                {
                    "provider": "realload",
                    "name": source,
                    "url": self._url + realload.PATH,
                    "auth_token_file": str(token),
                    **({"requests_per_minute": self.budget} if self.budget else {}),
                    "tasks": dict.fromkeys(("clusters", "suites", "versions"), "off"),
                }
                for source, token in self.tokens.items()
            ],
        }
        file = self._folder / f"{name}.yml"
        file.write_text(yaml.safe_dump(document))
        return file

    async def _run(self, name: str, *flags: str, command: str = "run") -> Process:
        self._started += 1
        own = f"{name}-{self._started}"
        file = self._configured(own if command != "run" else name)
        return await self._stack.enter_async_context(
            running(
                *EXPORTER, command, f"--config.file={file}", *flags, folder=self._folder, name=own
            )
        )

    async def _answers(self, name: str) -> bool:
        assert not self.daemons[name].ended, self.daemons[name].errors
        try:
            return bool(await fetch(f"{self._addresses[name]}/-/healthy"))
        except OSError:
            return False


def _most(times: Sequence[float]) -> int:
    """Count the times in that minute which has the most of them."""
    return max(
        (sum(first <= other <= first + WINDOW_SECONDS for other in times) for first in times),
        default=0,
    )


def series(page: str, sample: str) -> int:
    """Count a page's series of a source that have a value.

    Args:
        page: The scraped page.
        sample: Family, source and value, as in `loadfleet_source_up prod 1.0`.
    """
    family, source, value = sample.split()
    return sum(
        line.startswith(f"{family}{{")
        and f'source="{source}"' in line
        and line.endswith(f" {value}")
        for line in page.splitlines()
    )


def played(*, shared: bool = True, remote: bool = False) -> Callable[[Scenario], Scenario]:
    """Play a scenario once per seed, two at a time, each with a crowd of its own.

    Args:
        shared: Whether the processes of a crowd share a state.
        remote: Whether they share it in a Redis.
    """

    def around(scenario: Scenario) -> Scenario:
        async def test(tmp_path: Path, seeds: range, **parameters: Any) -> None:
            slots = asyncio.Semaphore(2)

            async def play(seed: int) -> None:
                folder = tmp_path / str(seed)
                async with slots, Crowd(folder, seed, shared=shared, remote=remote) as crowd:
                    await scenario(crowd, **parameters)

            ends = await asyncio.gather(*map(play, seeds), return_exceptions=True)
            wrong = {seed: end for seed, end in zip(seeds, ends, strict=True) if end is not None}
            if wrong:
                raise BaseExceptionGroup(f"wrong with the seeds {list(wrong)}", [*wrong.values()])

        functools.update_wrapper(test, scenario)
        _, *rest = inspect.signature(scenario).parameters.values()
        own = list(inspect.signature(test, follow_wrapped=False).parameters.values())[:2]
        # pytest reads the fixtures to pass from the signature.
        test.__signature__ = inspect.Signature([*own, *rest])  # type: ignore[attr-defined]
        return test

    return around
