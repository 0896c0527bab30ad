"""The interface to the providers, so that no other module depends on a vendor.

A provider is a settings model and a function that makes a `Source` from it. Each poll of a source
covers one task and returns readings and failures. A source sends its calls through a `Client`;
every vendor has its own subclass.
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
    """A call within a poll that failed and does not show whether a target is up.

    Attributes:
        reason: The `reason` label under which the failure is counted.
        message: One sentence for the log, written by the exporter and free of secrets.
        target: The id of the target that was called; empty if the call was not about one target.
        cuts_list: Whether a part of the task's list was not read, so that a target missing from
            the list may still exist. `None`: true if `target` is empty, else false.
    """

    reason: Reason
    message: str
    target: str = ""
    cuts_list: bool | None = None


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one poll of a task.

    Attributes:
        readings: The complete new snapshot of the task.
        failures: The calls that failed during the poll; the readings are valid all the same.
        memory: The task's data to keep over a restart or a reload, in a format of the task's
            own and without secrets.
        inventory: The kinds of targets that the vendor lists completely. When the list of a kind
            becomes empty, or is `incomplete`, the exporter believes the list only when it has
            stayed the same for an hour.
        elsewhere: The number of listed targets per kind that other processes watch.
        incomplete: Whether the vendor says that it has more targets than it listed.
        asked: False if there were targets to call and no call gave a result.
        vendor_slow: Whether calls timed out because the vendor is slow, and not their targets.
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
        """True if the failures show that a part of the list was not read."""
        return any(
            not failure.target if failure.cuts_list is None else failure.cuts_list
            for failure in self.failures
        )


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The vendor's current answer about one target.

    Attributes:
        reading: The reading made from the reply.
        reply: The reply as plain data; of fields that the decoder does not know only the names.
        more: Further readings of the target, for the provider's own families.
    """

    reading: Reading
    reply: Any
    more: tuple[Reading, ...] = ()


class Progress(msgspec.Struct, kw_only=True):
    """The progress of polls that call each of their targets.

    Attributes:
        targets: The number of target calls that the polls since the start had to make.
        called: The number of these calls that have ended.
    """

    targets: int = 0
    called: int = 0


class SourceContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a source needs besides its settings.

    Attributes:
        telemetry: The exporter's own metrics about this source.
        clock: The clock for all times of the source.
        ledger: The lock-out guard's ledger, shared by all processes that poll the same origin.
        random: The random source for the jitter of retries.
        shard: This process's share of the targets of a spread task.
        known: By task, the readings from before a restart, or from before a reload changed the
            source's settings.
        memory: By task, the `Poll.memory` of its newest poll.
        turn: Returns this process's turn to send a proof while the ledger is not shared with all
            processes that call; `None` while it is shared.
        may_call: Returns false while this process must find out whether it is still the leader.
        state: The storage that shares the pace of an account's calls; if not given, each client
            paces its calls alone.
        members: Returns the last known number of processes that call the same origin. Each uses
            an equal part of the budget while the state does not show what the others used.
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
    """The client of a vendor's API; every call goes through the lock-out guard.

    Attributes:
        settings: The source's settings, for the tasks.
        context: The source's context, for the tasks.
        surprise: Counts an unexpected value in a reply.
        http: The HTTP client that sends the calls.
        guard: The lock-out guard.
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
        """Initialize without sending a call.

        Args:
            settings: The source's settings.
            context: Everything else the source needs.
            http: Sends the calls; closed with this client.
            fingerprint: Returns a hash of the current credentials.
            concurrency: The largest number of concurrent calls, in place of the settings' value.
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
        """Make the cheapest call to find out whether the vendor accepts the credentials.

        Raises:
            SuspectError: The vendor seems to refuse the credentials.
            PollError: There is no valid answer.
        """

    async def aclose(self) -> None:
        """Close all connections, which ends the calls in flight."""
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
        """Join a client with the functions that poll and explain through it.

        Args:
            client: Closed with the source.
            tasks: The function that polls each task, by the task's name.
            explainers: The function that asks about one target, given its id, by kind of target.
        """
        self.settings = client.settings
        self._client = client
        self._tasks = tasks
        self._explainers = explainers

    @property
    def auth_failed(self) -> bool:
        """True while the guard holds calls back because the vendor refused the credentials."""
        return self._client.guard.auth_failed

    @property
    def progress(self) -> Progress:
        """The progress of polls that call each of their targets."""
        return self._client.context.progress

    @property
    def refusals(self) -> int:
        """The number of possibly refused calls in the last minute, over all processes."""
        return self._client.guard.refusals

    @property
    def blocked(self) -> bool:
        """True if the guard lets no call out now, so that a poll would fail without sending one."""
        return self._client.guard.blocked

    async def poll(self, task: str) -> Poll:
        """Poll a task.

        Returns:
            The complete snapshot of the task, and the calls that failed.

        Raises:
            LookupError: There is no such task.
            PollError: The poll failed as a whole; the task's snapshot stays until it expires.
        """
        return await self._tasks[task]()

    async def explain(self, kind: str, target_id: str) -> Explanation:
        """Return the vendor's current answer about one known target.

        Raises:
            LookupError: There is no such kind, or the inventory has no such target.
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
    """The description of one vendor's package.

    Attributes:
        name: The value of the `provider` label and of the configuration's `provider` key.
        settings: The settings model.
        connector: The function that makes a `Source` from settings and context, as
            `module:function`. The function is imported at its first use, because it loads httpx,
            which takes longer than everything else together, and only polling needs httpx.
        kinds: The kinds of targets that `explain` supports.
        spread: Tasks whose calls per target several processes can share; every other task runs
            as a whole in one process.
        mappings: The provider's own families, named `loadfleet_NAME_...`, by the type of the
            readings that fill them. Readings of the catalogue need no mapping here.
    """

    name: str
    settings: type[SourceSettings]
    connector: str
    kinds: tuple[str, ...]
    spread: frozenset[str] = frozenset()
    mappings: Mapping[type[Reading], tuple[TargetMapping, ...]] = {}

    def connect(self, settings: SourceSettings, context: SourceContext) -> Source:
        """Return a new source, which has not sent a call yet.

        Raises:
            ConfigurationError: The connector, possibly that of a plug-in, cannot be used.
        """
        try:
            source: Source = resolve_name(self.connector)(settings, context)
        except ExporterError:
            raise
        except Exception as error:  # noqa: BLE001 - a plug-in can raise anything
            # Name only the error's type: its text may quote data that the connector has read.
            problem = f"{settings.name}: {self.connector} cannot be used ({type(error).__name__})"
            raise ConfigurationError([problem]) from None
        return source
