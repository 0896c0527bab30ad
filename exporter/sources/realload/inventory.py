"""Inventories: targets that one call lists, and that are then filtered and pinged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from exporter.cooperative import in_turns
from exporter.fleet.readings import Cluster, Reading, Target
from exporter.sources.base import Explanation, Poll
from exporter.sources.decode import redacted_reply, text
from exporter.sources.memory import known_readings
from exporter.sources.realload.client import RealLoadClient, Trace
from exporter.sources.realload.pings import Pinger, PingResult


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from exporter.fleet.kinds import Kind
    from exporter.sources.realload.actions import Action, Flagged


R = TypeVar("R", bound=Target | Cluster)
T = TypeVar("T")


def wanted_items(
    client: RealLoadClient, kind: str, listed: Iterable[tuple[int | str | None, str | None, T]]
) -> Iterator[tuple[str, str, T]]:
    """Yield id, name and item of each item to watch; if an id occurs twice, the first item counts.

    Args:
        client: Counts an item without an id or with a repeated id as a surprise.
        kind: The items' kind in `include` and `exclude`.
        listed: Each item with its id and its name; without a name the id takes its place.
    """
    seen: set[str] = set()
    for number, name, item in listed:
        target_id = text(number)
        if not target_id:
            client.surprise("missing_field")
        elif target_id in seen:
            client.surprise("type")
        elif client.settings.wanted(kind, name or target_id):
            seen.add(target_id)
            yield target_id, name or target_id, item


def address(host: str | None, port: int | str | None) -> str:
    """Return the `host:port` that identifies a controller."""
    name = host or ""
    return f"[{name}]:{text(port)}" if ":" in name else f"{name}:{text(port)}"


class Inventory(ABC, Generic[R]):
    """The targets of one kind, listed with one call and then pinged one by one.

    Attributes:
        kind: The kind. The name of its task is also the key in `include` and `exclude`; the name
            of its id field is also the request field of the ping.
        list_action: The action that lists the targets.
        ping_action: The action that pings one target.
        known: The readings of the newest poll, by id. If a poll cannot judge a target, it keeps
            the known state with the time at which that was read.
    """

    kind: ClassVar[Kind]
    list_action: ClassVar[Action[Any]]
    ping_action: ClassVar[Action[Any]]

    def __init__(self, client: RealLoadClient) -> None:
        self.client = client
        before: Iterable[Any] = known_readings(client, self.kind.task, Reading)
        self.known: Mapping[str, R] = {self.kind.id_of(each): each for each in before}
        self._listed: Mapping[str, R] | None = None
        self._elsewhere = 0
        self._pinger = Pinger(client)

    @abstractmethod
    def read(self, item: Any) -> R:
        """Return a listed target, without a state."""

    @abstractmethod
    def with_state(self, listed: R, ping: PingResult[Any] | None, previous: R | None) -> R:
        """Return a listed target with its state.

        Args:
            listed: The target without a state.
            ping: The result of its ping, `None` if there is none.
            previous: The target's reading from the newest poll.
        """

    async def items(self) -> list[Any]:
        """Return the items of the portal's list, unfiltered and in its order.

        Raises:
            PollError: The list could not be read.
        """
        reply = await self.client.data(self.list_action)
        return list(getattr(reply, self.list_action.data) or ())

    async def ping(self, target_id: str, trace: Trace) -> Any | Flagged:
        """Return the reply to a ping of a target, or the meaning of an error flag.

        Raises:
            PollError: The call failed.
        """
        field = self.kind.id_field.replace("_id", "Id")
        return await self.client.call(self.ping_action, {field: int(target_id)}, trace=trace)

    async def answer(self, target_id: str, trace: Trace) -> Any | Flagged:
        """Return the part of the reply to a ping that is kept until all targets have replied.

        Raises:
            PollError: The call failed.
        """
        return await self.ping(target_id, trace)

    def should_ping(self, listed: R) -> bool:
        """Return whether to ping a target; inactive targets are shown without a state."""
        return getattr(listed, "active", None) is not False

    async def poll(self) -> Poll:
        """List the targets, then ping each.

        Returns:
            The readings of all listed targets, and the pings that failed.

        Raises:
            PollError: The list could not be read.
        """
        targets = await self.listed()
        pinged = await self._pinger.run(
            {
                target_id: partial(self.answer, target_id)
                async for target_id, listed in in_turns(targets.items())
                if self.should_ping(listed)
            }
        )
        self.known = {
            target_id: self.with_state(
                listed, pinged.results.get(target_id), self.known.get(target_id)
            )
            async for target_id, listed in in_turns(targets.items())
        }
        return Poll(
            readings=tuple(self.known.values()),
            failures=pinged.failures,
            inventory=(self.kind,),
            elsewhere={self.kind: self._elsewhere},
            asked=pinged.asked,
            vendor_slow=pinged.vendor_slow,
        )

    async def listed(self) -> Mapping[str, R]:
        """Return the listed targets that this process watches, by id.

        Raises:
            PollError: The list could not be read.
        """
        settings, shard, task = self.client.settings, self.client.context.shard, self.kind.task
        ours: list[tuple[str, str, R]] = []
        elsewhere = 0
        async for item in in_turns(await self.items()):
            listed = self.read(item)
            target_id, name = self.kind.id_of(listed), self.kind.name_of(listed)
            # No shard owns an item without an id, so every process counts it as a surprise.
            if not target_id or shard.owns(settings.name, task, target_id):
                ours.append((target_id, name, listed))
            else:
                elsewhere += settings.wanted(task, name or target_id)
        self._elsewhere = elsewhere
        wanted = in_turns(wanted_items(self.client, task, ours))
        before = self._listed or {}
        targets: dict[str, R] = {}
        async for target_id, _, listed in wanted:
            known = before.get(target_id)
            # Reuse the object of an unchanged target, which saves memory.
            same = known if known is not None and known == listed else listed
            targets[self.kind.id_of(same)] = same
        self._listed = targets
        return targets

    async def explain(self, target_id: str) -> Explanation:
        """Return the reading of a target from a ping made now; read the list only if no poll has.

        Raises:
            LookupError: The inventory has no such target.
            PollError: The call failed. A time-out alone does not show whether the target or the
                portal is the cause.
        """
        targets = self._listed if self._listed is not None else await self.listed()
        if target_id not in targets:
            raise LookupError(f"{self.kind.task}: there is no {target_id!r}")
        listed, previous = targets[target_id], self.known.get(target_id)
        if not self.should_ping(listed):
            return Explanation(reading=self.with_state(listed, None, previous), reply=None)
        trace = Trace(keeps_body=True)
        answer = await self.answer(target_id, trace)
        now = self.client.context.clock.now()
        ping = PingResult(at=now, answer=answer, seconds=trace.seconds)
        reply = redacted_reply(trace.body, self.ping_action.reply) if trace.body else None
        return Explanation(reading=self.with_state(listed, ping, previous), reply=reply)
