"""The interface to a vendor's package, so that nothing else has to know one.

A provider is a settings model and a way to make a `Source` from it. A source is polled one task
at a time; what it learnt comes back as readings, what went wrong as failures. Its calls are sent
by a `Client`, of which every vendor has its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pkgutil import resolve_name
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.clock import Clock
from exporter.errors import ConfigurationError, ExporterError, Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Reading
from exporter.lockout.guard import Guard
from exporter.lockout.keeper import Participant
from exporter.lockout.ledger import Ledger
from exporter.lockout.record import Turn
from exporter.metrics.columns import TargetMapping
from exporter.metrics.telemetry import SourceMetrics
from exporter.sharding import Shard
from exporter.sources.settings import SourceSettings
from exporter.state.base import State


if TYPE_CHECKING:
    from exporter.http import HttpClient


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A call within a poll that failed without saying anything about a target.

    Attributes:
        reason: Under which it is counted.
        message: One sentence for the log, made by us and free of secrets.
        target: The id of the target whose call it was, if it was one's.
        cuts_list: Whether a part of the task's list was not read, so that a target that is missing
            may still be there. `None`: it was not, unless the call was a target's.
    """

    reason: Reason
    message: str
    target: str = ""
    cuts_list: bool | None = None


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one poll of a task.

    Attributes:
        readings: The new snapshot of the task, whole.
        failures: The calls that failed on the way; the readings stand nevertheless.
        memory: What the task wants to find again after a restart or a reload, in a form of its
            own and without a secret.
        inventory: The kinds of targets of which the vendor lists all. When there are none of a
            kind any more, or the list is `incomplete`, that is not believed at once.
        elsewhere: How many more targets of a kind the list has, which other processes watch.
        incomplete: Whether the vendor says that it has more targets than it listed.
        asked: Whether a target could be asked, if any was to be.
        vendor_slow: Whether calls timed out by the vendor's doing rather than their targets'.
    """

    readings: tuple[Reading, ...]
    failures: tuple[Failure, ...] = ()
    memory: bytes = b""
    inventory: tuple[Kind, ...] = ()
    elsewhere: Mapping[Kind, int] = {}
    incomplete: bool = False
    asked: bool = True
    vendor_slow: bool = False

    @property
    def cut(self) -> bool:
        """True if a part of the list was not read, by the failures."""
        return any(
            not failure.target if failure.cuts_list is None else failure.cuts_list
            for failure in self.failures
        )


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a vendor that was asked about one target just now.

    Attributes:
        reading: What was read from the reply.
        reply: The reply's fields that the decoder knows; all others are named, not shown.
        more: What else was read about the target, for families of the provider's own.
    """

    reading: Reading
    reply: Any
    more: tuple[Reading, ...] = ()


class Progress(msgspec.Struct, kw_only=True):
    """The progress of polls that call each of their targets, for whoever waits for them.

    Attributes:
        targets: How many were to be called since the start.
        called: How many of them were.
    """

    targets: int = 0
    called: int = 0


class SourceContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a source is given beside its settings.

    Attributes:
        ledger: The lock-out guard's ledger, shared by all who poll the same origin.
        random: For the jitter of retries.
        shard: Our share of the targets of a spread task.
        known: The readings by task from before a restart, or before a reload changed the source's
            settings.
        memory: What the tasks' newest polls gave as `Poll.memory`, by task.
        turn: Returns what to heed while the ledger is not shared with all who call.
        may_call: False while this process has to find out whether it is still the one that polls.
        state: Where the pace of an account's calls is shared; each client has its own if not given.
        members: How many processes call the same origin, as far as was seen last; each takes its
            part of the budget while the state cannot tell what the others took.
        progress: Counts the targets that polls call.
    """

    telemetry: SourceMetrics
    clock: Clock
    ledger: Ledger
    random: Random
    shard: Shard = Shard()
    known: Mapping[str, tuple[Reading, ...]] = {}
    memory: Mapping[str, bytes] = {}
    turn: Callable[[], Turn | None] = lambda: None
    may_call: Callable[[], bool] = lambda: True
    state: State | None = None
    members: Callable[[], int] = lambda: 1
    progress: Progress = msgspec.field(default_factory=Progress)


class Client(ABC):
    """A vendor's API as it is called, each call through the lock-out guard.

    Attributes:
        settings: What it was made from, as is `context`; the tasks find them here.
        surprise: Counts a value that did not fit.
    """

    def __init__(
        self,
        settings: SourceSettings,
        context: SourceContext,
        *,
        http: HttpClient,
        fingerprint: Callable[[], str],
        concurrency: int | None = None,
    ) -> None:
        """Send nothing yet.

        Args:
            settings: The settings.
            context: Whatever else a source needs.
            http: Sends the calls; closed with the client.
            fingerprint: Of the credentials as they are now.
            concurrency: Calls under way at once, in place of the settings'.
        """
        self.settings = settings
        self.context = context
        self.surprise = context.telemetry.surprise
        self.http = http
        self.guard = Guard(
            Participant(
                concurrency=concurrency or settings.concurrency,
                retry_seconds=settings.auth_retry,
                proof=self.prove,
                fingerprint=fingerprint,
                ledger=context.ledger,
                clock=context.clock,
                turn=context.turn,
                may_call=context.may_call,
            )
        )

    @abstractmethod
    async def prove(self) -> None:
        """Find out with the cheapest call whether the credentials are accepted.

        Raises:
            SuspectError: They look refused.
            PollError: There is no valid answer.
        """

    async def aclose(self) -> None:
        """Close all connections, which ends the calls under way."""
        await self.http.aclose()
        await self.guard.aclose()


class Source:
    """One configured account or portal of a vendor."""

    def __init__(
        self,
        client: Client,
        *,
        tasks: Mapping[str, Callable[[], Awaitable[Poll]]],
        explainers: Mapping[str, Callable[[str], Awaitable[Explanation]]],
    ) -> None:
        """Join a client with what is asked through it.

        Args:
            client: Closed with the source.
            tasks: By the task's name, what polls it.
            explainers: By the kind of target, what asks about one of them, given its id.
        """
        self.settings = client.settings
        self._client = client
        self._tasks = tasks
        self._explainers = explainers

    @property
    def auth_failed(self) -> bool:
        """True while calls are held back because the credentials were refused."""
        return self._client.guard.auth_failed

    @property
    def progress(self) -> Progress:
        """The progress of polls that call each of their targets."""
        return self._client.context.progress

    @property
    def refusals(self) -> int:
        """The number of calls of the last minute that may have been refused, over all processes."""
        return self._client.guard.refusals

    @property
    def blocked(self) -> bool:
        """True if no call may be sent now: the next poll would fail without one."""
        return self._client.guard.blocked

    async def poll(self, task: str) -> Poll:
        """Read everything a task covers.

        Raises:
            LookupError: There is no such task.
            PollError: Nothing could be learnt; the snapshot of the task stays until it expires.
        """
        return await self._tasks[task]()

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Ask the vendor about one known target now.

        Raises:
            LookupError: There is no such kind, or no such target in the inventory.
            PollError: The call failed.
        """
        if kind not in self._explainers:
            known = ", ".join(self._explainers)
            raise LookupError(f"there is no kind {kind!r}; there is: {known}")
        return await self._explainers[kind](target_id)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor.

    Attributes:
        name: The value of the `provider` label and of the configuration's key.
        settings: Its settings model.
        connector: The function that makes a `Source` from settings and context, as
            `module:function`. It is imported at its first use, since it brings httpx, which takes
            longer to load than everything else together, and only polling needs it.
        kinds: Its kinds of targets that `explain` knows.
        spread: Tasks whose calls per target can be divided over several processes; any other
            task belongs to one of them as a whole.
        mappings: Families of its own, below `loadfleet_NAME_`, by the type of the readings that
            fill them. The catalogue's readings fill the catalogue's families by themselves.
    """

    name: str
    settings: type[SourceSettings]
    connector: str
    kinds: tuple[str, ...]
    spread: frozenset[str] = frozenset()
    mappings: Mapping[type[Reading], tuple[TargetMapping, ...]] = {}

    def connect(self, settings: SourceSettings, context: SourceContext) -> Source:
        """Make a source; sends nothing yet.

        Raises:
            ConfigurationError: The connector, which may be a plug-in's, cannot be used.
        """
        try:
            source: Source = resolve_name(self.connector)(settings, context)
        except ExporterError:
            raise
        except Exception as error:  # noqa: BLE001 - a plug-in can raise anything
            # Of the error its type alone: the text may hold whatever the connector has read.
            problem = f"{settings.name}: {self.connector} cannot be used ({type(error).__name__})"
            raise ConfigurationError([problem]) from None
        return source
