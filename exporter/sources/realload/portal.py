"""What all tasks of a portal share, and how targets that are pinged one by one are polled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from exporter.clock import Clock, Moment
from exporter.cooperative import in_turns
from exporter.fleet.readings import Cluster, Target
from exporter.sharding import Shard
from exporter.sources.base import Explanation, Poll
from exporter.sources.decode import Surprised, redacted_reply
from exporter.sources.realload.actions import TIMED_OUT, Flagged
from exporter.sources.realload.client import RealLoadClient, TargetTimeoutError, Trace
from exporter.sources.realload.replies import Envelope
from exporter.sources.realload.rounds import Look, Rounds
from exporter.sources.realload.settings import RealLoadSettings
from exporter.sources.realload.values import seconds, signed_seconds


if TYPE_CHECKING:
    from exporter.sources.realload.replies import SystemInfo


R = TypeVar("R", bound=Target | Cluster)
A = TypeVar("A", bound=Envelope)
T = TypeVar("T", bound=Target)


class Portal(msgspec.Struct, frozen=True, kw_only=True):
    """One account at a portal, as its tasks see it.

    Attributes:
        known: What is known by task from before, of the type that the task reads.
    """

    client: RealLoadClient
    settings: RealLoadSettings
    clock: Clock
    surprise: Surprised
    shard: Shard = Shard()
    known: Mapping[str, tuple[Any, ...]] = {}

    def rounds(self) -> Rounds:
        """Make the memory of one kind of targets' rounds."""
        return Rounds(
            self.client,
            clock=self.clock,
            timeout_seconds=self.settings.timeout,
            concurrency=self.settings.concurrency,
        )


class Inventory(ABC, Generic[R, A]):
    """One kind of targets: listed with one call, then looked at one by one.

    Attributes:
        known: The readings of the newest poll, by id. What a poll cannot find out about a target
            is taken from here, with the age it had.
    """

    kind: ClassVar[str]
    reply: ClassVar[type[Envelope]]

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.known: Mapping[str, R] = {
            self.key(reading): reading for reading in portal.known.get(self.kind, ())
        }
        self._listed: Mapping[str, R] | None = None
        self._rounds = portal.rounds()

    @abstractmethod
    async def listing(self) -> list[R]:
        """Return all targets, without a state and in the portal's order.

        Raises:
            PollError: The list could not be read.
        """

    @abstractmethod
    async def ask(self, target_id: str, trace: Trace) -> A | Flagged:
        """Ping a target.

        Raises:
            PollError: The call failed.
        """

    @abstractmethod
    def settled(self, bare: R, look: Look[A] | None, before: R | None) -> R:
        """Return a listed target with what is known of its state.

        Args:
            bare: As it was listed.
            look: What was found out now, `None` if nothing was.
            before: What the newest poll said of it.
        """

    @abstractmethod
    def key(self, reading: R) -> str:
        """Return the id of a target."""

    @abstractmethod
    def name(self, reading: R) -> str:
        """Return what `include` and `exclude` are compared with."""

    def pinged(self, bare: R) -> bool:
        """Tell whether a target is to be looked at; an inactive one is only shown."""
        del bare
        return True

    async def poll(self) -> Poll:
        """List, then look at every target.

        Raises:
            PollError: The list could not be read.
        """
        listed = await self.listed()
        round_ = await self._rounds.go(
            {
                target_id: partial(self.ask, target_id)
                for target_id, bare in listed.items()
                if self.pinged(bare)
            }
        )
        self.known = {
            target_id: self.settled(bare, round_.looks.get(target_id), self.known.get(target_id))
            async for target_id, bare in in_turns(listed.items())
        }
        return Poll(readings=tuple(self.known.values()), failures=round_.failures)

    async def listed(self) -> Mapping[str, R]:
        """List the targets that are wanted and ours; of two with the same id the first counts.

        Raises:
            PollError: The list could not be read.
        """
        listed: dict[str, R] = {}
        settings = self.portal.settings
        async for bare in in_turns(await self.listing()):
            target_id = self.key(bare)
            if target_id in listed:
                self.portal.surprise("type")
            elif self._is_ours(target_id) and settings.wanted(self.kind, self.name(bare)):
                listed[target_id] = bare
        self._listed = listed
        return listed

    def _is_ours(self, target_id: str) -> bool:
        return self.portal.shard.owns(self.portal.settings.name, self.kind, target_id)

    async def explain(self, target_id: str) -> Explanation:
        """Look at one target now; the list is only read if it never was.

        Raises:
            LookupError: It is not in the inventory.
            PollError: The look failed.
        """
        listed = self._listed if self._listed is not None else await self.listed()
        if target_id not in listed:
            raise LookupError(f"{self.kind}: there is no {target_id!r}")
        bare, before = listed[target_id], self.known.get(target_id)
        if not self.pinged(bare):
            return Explanation(reading=self.settled(bare, None, before), reply=None)
        trace = Trace(keeps_body=True)
        answer: A | Flagged
        try:
            answer = await self.ask(target_id, trace)
        except TargetTimeoutError:
            answer = TIMED_OUT
        look = Look(at=self.portal.clock.now(), answer=answer)
        reply = redacted_reply(trace.body, self.reply) if trace.body else None
        return Explanation(reading=self.settled(bare, look, before), reply=reply)


def target(bare: T, state: Any, before: T | None) -> T:
    """Return a machine with its state and with when it was last seen up."""
    last_up = before.last_up_timestamp_seconds if before else None
    if state is not None and state.up:
        last_up = state.read_at.unix
    return msgspec.structs.replace(bare, state=state, last_up_timestamp_seconds=last_up)


def flagged(at: Moment, answer: Flagged) -> dict[str, Any]:
    """Return what an error flag, or a time-out, says of a machine."""
    return {"read_at": at, "up": answer.up, "reason": answer.reason, "outdated": answer.outdated}


def facts(at: Moment, info: SystemInfo) -> dict[str, Any]:
    """Return what a machine that answered says of itself."""
    return {
        "read_at": at,
        "up": True,
        "version": info.product_version or "",
        "os": info.os_name or "",
        "os_version": info.os_version or "",
        "java_version": info.java_version or "",
        "java_vendor": info.java_vendor or "",
        "clock_delta_seconds": signed_seconds(info.delta_time_millis),
        "ping_duration_seconds": seconds(info.http_execute_time_millis),
    }
